// From directives to a Program: reads each by its kind, then puts rules into the order of their
// phases, resolves chains and skips, and applies what removes and changes rules.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "waf/internal/program.h"
#include "waf/internal/rule_reader.h"

namespace leeward::waf {

class ProgramBuilder {
 public:
  ProgramBuilder(Problems& problems, const RuleSet::Options& options)
      : problems_(problems), reader_(problems, options.files), files_(options.files) {}

  void read(const Directive& directive);
  // REQUIRES: called once, after all directives. With problems the program is of no use.
  std::unique_ptr<Program> build();
  // Digests of the files that rules named, one a line.
  std::string files_read() const { return reader_.files_read() + map_read_; }

 private:
  friend struct DirectiveTable;
  struct Marker {
    std::string name;
    std::size_t before;  // the rule of program_->rules that comes next
  };
  // SecRuleRemove…, SecRuleUpdate…: which rules, and what becomes of them.
  struct Change {
    enum class By : std::uint8_t { kId, kTag, kMsg };
    Place place;
    By by = By::kId;
    std::vector<IdRange> ids;
    std::string text;
    bool remove = false;
    RuleReader::Targets targets;
    std::optional<ActionSet> actions;

    bool is_about(const Rule& rule) const;
    std::string name() const;
  };

  void add_rule(Rule rule);
  void end_chain();
  void add_marker(const Directive& directive);
  void add_defaults(const Directive& directive);
  void add_change(const Directive& directive, Change::By by, bool remove);
  void add_action_change(const Directive& directive);
  void read_unicode_map(const Directive& directive);

  void apply_changes();
  static void change_actions(ActionSet& actions, ActionSet&& by);
  void drop_removed(const std::vector<bool>& removed);
  void resolve_actions(Rule& rule);
  void resolve_transforms(Rule& rule);
  void order_by_phase();
  void resolve_controls();
  std::vector<std::uint32_t> rules_of(const Control& control) const;
  void note_what_is_looked_at();
  void note_interpreted();
  void look_at(Variable variable);
  void look_at(const Macro& macro);

  Problems& problems_;
  RuleReader reader_;
  bool files_;
  std::string map_read_;
  std::unique_ptr<Program> program_ = std::make_unique<Program>();
  std::vector<Marker> markers_;
  std::vector<Change> changes_;
  std::map<std::uint32_t, Place> ids_;
  std::uint32_t open_chain_ = Rule::kNowhere;  // the rule that waits for the next of its chain
};

}  // namespace leeward::waf

// Reads the words of SecRule and SecAction into a Rule. All that is wrong goes to `problems` with
// its place; a rule with a problem is of no use, but reading goes on, for more of them.
// Reads the files that @pmFromFile and @ipMatchFromFile name, when `files` allows it.
#pragma once

#include <string_view>
#include <vector>

#include "waf/internal/rule.h"

namespace leeward::waf {

class RuleReader {
 public:
  RuleReader(Problems& problems, bool files) : problems_(problems), files_(files) {}

  Rule read_rule(const Directive& directive);    // SecRule
  Rule read_action(const Directive& directive);  // SecAction
  ActionSet read_actions(const Word& word);

  // Targets as they stand in a rule, those with '!' apart.
  struct Targets {
    std::vector<Target> taken;
    std::vector<Selection> excluded;
  };
  Targets read_targets(const Word& word);
  // "ARGS:name" within word.text, from `begin` to `end`.
  std::optional<Selection> read_selection(const Word& word, std::size_t begin, std::size_t end);
  Macro read_macro(const Word& word, std::size_t offset, std::string_view text, bool strict = true);
  // "920100 930000-930099" and with commas. Empty when one is wrong.
  std::vector<IdRange> read_ids(const Word& word, std::size_t offset, std::string_view text);
  // Digests of the files that were read, one a line.
  const std::string& files_read() const { return files_read_; }

 private:
  friend class ActionReader;
  void problem(const Word& word, std::size_t offset, std::string_view what) {
    problems_.add(word.at(offset), what);
  }
  OperatorUse read_operator(const Word& word);
  void prepare(const Word& word, std::size_t at, OperatorUse& use);
  void prepare_phrases(const Word& word, std::size_t at, OperatorUse& use);
  std::optional<std::string> file_beside(const Word& word, std::size_t at, std::string_view name);

  Problems& problems_;
  bool files_;
  std::string files_read_;
};

// Moves what excludes into the targets that it is about.
void apply_exclusions(std::vector<Target>& targets, const std::vector<Selection>& excluded);

}  // namespace leeward::waf

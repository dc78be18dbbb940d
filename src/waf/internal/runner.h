// Runs the rules of a Program over the values of one transaction. The rules' part is in
// runner.cc, their operators in run_operator.cc, their actions in run_actions.cc, where the values
// come from in request_values.cc, what transformations and the prefilter make of them in
// run_values.cc.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "waf/internal/rooms.h"
#include "waf/transaction.h"

namespace leeward::waf {

struct MultipartResult;

class Runner {
 public:
  Runner(Rooms& rooms, Collections& collections, Transaction::Time time);

  void run_phase(int phase);  // stops at an intervention

  // request_values.cc
  void take_head(const RequestHead& head);
  void take_body(std::string_view body);
  // The same body as somebody else may read it. Empty: nobody does.
  void take_other_reading(std::string_view body);
  void take_response_head(int status, std::string_view protocol,
                          std::span<const HeaderField> fields);
  void take_response_body(std::string_view body);
  bool engine_off() const { return engine_ == Engine::kOff; }
  // Refuse for its size; false when the engine only detects.
  bool refuse_body();
  void note_partial_body() { set(Variable::kInboundDataError, "1"); }
  // A body with Content-Encoding has two readings, because some origins unpack it and most do not.
  struct Readings {
    std::string_view body;        // what rules look at
    std::string_view other = {};  // how else it may be read; empty when there is but one
  };
  // `body` without its Content-Encoding, as Settings::coded_body says; the same when it has none.
  // `whole`: nothing of it was cut off before. Nullopt: it is refused.
  std::optional<Readings> unpack(std::string_view body, bool whole);

  Intervention intervention;
  std::uint32_t limits = 0;
  bool unfinished = false;  // see Transaction::Time
  std::span<const MatchedRule> matches() const {
    return std::span(rooms_.matches).first(rooms_.match_count);
  }

  // Off: what rules would store between requests is not stored.
  void write_collections(bool on) { writes_collections_ = on; }
  std::string_view tx(std::string_view name) const;
  const Settings& settings() const { return program_.settings; }
  bool body_access() const { return body_access_; }
  bool response_access() const { return response_access_; }

 private:
  // The values of a target are walked by `visit(name, list, position)`; a value that stands in no
  // list comes with its text.
  struct Source {
    std::string_view name;  // in its collection
    std::string_view text;  // untransformed
    ValueList* list = nullptr;
    std::size_t position = 0;
    std::string_view origin = {};  // see MatchedRule; empty: it is what its own name says
  };

  // runner.cc
  void run_head(const Rule& rule);
  void begin_head(const Rule& rule);
  void run_number(const Step& step, const Rule& rule);
  bool run_chained(const Rule& rule);
  bool run_rule(const Rule& rule, std::uint32_t number);
  bool run_target(const Rule& rule, std::uint32_t number, const Target& target);
  bool run_list(const Rule& rule, std::uint32_t number, const Target& target, ValueList& list);
  bool run_value(const Rule& rule, const Target& target, const Source& source);
  bool run_text(const Rule& rule, const Target& target, const Source& source,
                std::string_view text);
  template <typename Visit>
  void each_value(const Selection& selection, Visit&& visit);
  template <typename Visit>
  void each_changing(const Selection& selection, Visit&& visit);
  bool excluded(const Target& target, std::string_view name);
  bool removed_by_ctl(std::uint32_t number, const Target& target, std::string_view name);
  static std::string_view full_name(const Target& target, const Source& source, Arena& arena);
  std::string_view origin();  // of the text that an operator looks at, see MatchedRule
  void note_match(std::string_view name, std::string_view text, std::string_view origin);
  void forget_matched();
  bool too_late();                             // looks at the clock now and then
  std::string_view single(Variable variable);  // of those that change
  std::string_view time_text(Variable variable);

  // run_values.cc
  std::string_view transformed(const Source& source, std::uint16_t node);
  std::string_view remembered(const ValueList& list, std::size_t position, Column& column);
  std::string_view unremembered(std::string_view text, std::uint16_t node);
  // What `node` makes of the values; texts of it may be missing.
  Column& column(ValueList& list, std::uint16_t node);
  Column& complete(const ValueList& list, Column& column);  // none is missing
  bool remembers() const;  // there is memory for more transformed texts
  bool may_match(const Step& step);
  void scan(std::uint32_t number);
  bool add_unchanged_text(const Prefilter::Scan& scan);
  void add_text(const Prefilter::Scan& scan, const Prefilter::Chain& chain);
  void look_at_text(std::uint32_t number, std::size_t text);
  void look_apart(std::uint32_t number, const Prefilter::Chain& chain);

  // run_operator.cc
  bool operate(const Rule& rule, std::string_view text);
  bool give_up_search(const Rule& rule);
  bool search(const Rule& rule, const Regex& regex, std::string_view text);
  bool search_all(const Rule& rule, const Regex& regex, std::string_view text);
  bool verify(const Rule& rule, const Regex& regex, std::string_view text);
  bool search_macro(const Rule& rule, std::string_view text);
  void capture(int group, std::string_view text);

  // run_actions.cc
  std::string_view expand(const Macro& macro, std::string& into);
  std::string_view first_value(Variable variable, const std::string& name, std::uint32_t hash);
  void first_changing(const Selection& selection, std::string_view& found);  // runner.cc
  void set_variables(const Rule& rule);
  void set_variable(const SetVar& set);
  std::string_view origin_of(const Macro& macro);
  void tell(const Rule& rule);
  void after_match(const Rule& rule);
  void run_control(const Control& control);
  void disrupt(const ActionSet& actions, Disruption disruption);
  void finish_match(const Rule& head);
  std::optional<std::string_view> key_of(Variable collection) const;
  static Collections::Kind kind_of(Variable collection);

  // request_values.cc
  void add(Variable variable, std::string_view name, std::string_view text);
  void set(Variable variable, std::string_view text);
  void set(Variable variable, std::size_t number);
  bool wanted(Variable variable) const { return program_.looked_at[index(variable)]; }
  void take_target(const RequestHead& head);
  void take_cookies(std::string_view text);
  void take_field(const HeaderField& field);
  void take_arguments(std::string_view text, bool post);
  void add_argument(std::string_view name, std::string_view text, bool post);
  void take_json(std::string_view body);
  void take_xml(std::string_view body);
  void take_multipart(std::string_view body);
  void add_parts(const MultipartResult& parts);
  void take_other_parts(std::string_view body);
  void add_readable(std::string_view name, std::string_view text);
  void body_error(std::string_view what, std::string_view why);
  bool refuse_coded(int status, std::string why);

  const Program& program_;
  Rooms& rooms_;
  Collections& collections_;
  Transaction::Time time_;
  Engine engine_;
  bool body_access_, response_access_;
  enum class Allowed : std::uint8_t { kNo, kPhase, kRequest, kAll };
  Allowed allowed_ = Allowed::kNo;
  bool hurried_;  // there is a deadline
  bool writes_collections_ = true;
  std::uint32_t looks_ = 0;
  std::uint32_t skip_ = 0, jump_ = 0;  // rules to leave out; position + 1 to go on at
  std::string_view content_type_, content_coding_, body_processor_, body_;
  std::size_t content_types_ = 0;
  std::size_t arguments_bytes_ = 0;
  std::array<std::optional<std::string_view>, 5> keys_;  // of collections, by Kind
  std::string_view country_;
  std::string_view matched_var_, matched_var_name_, matched_origin_;
  int highest_severity_ = 255;
  // Of the text that an operator looks at; its origin is only made when somebody asks.
  const Target* target_ = nullptr;
  const Source* source_ = nullptr;
  std::string_view origin_;
  // Of the rule and of the chain that run.
  const Rule* rule_ = nullptr;
  std::string_view message_, data_;
  std::vector<std::string> tags_;
  int severity_ = -1;
  bool disruptive_ = false;
  bool tells_ = false;  // somebody may want to know of its match
};

}  // namespace leeward::waf

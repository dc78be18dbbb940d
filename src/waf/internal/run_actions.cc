#include <algorithm>
#include <charconv>

#include "waf/internal/runner.h"

namespace leeward::waf {
namespace {

bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

std::int64_t whole_number(std::string_view text) { return number_of(Comparison::kEq, text); }

}  // namespace

std::string_view Runner::expand(const Macro& macro, std::string& into) {
  if (macro.is_literal()) return macro.literal();
  into.clear();
  for (const Macro::Piece& piece : macro.pieces())
    into.append(piece.variable ? first_value(*piece.variable, piece.name, piece.hash)
                               : std::string_view(piece.literal));
  return into;
}

std::string_view Runner::first_value(Variable variable, const std::string& name,
                                     std::uint32_t hash) {
  if (is_stable(variable)) {
    for (const Value& value : rooms_.lists[index(variable)].values)
      if (name.empty() || same_ignoring_case(value.name, name)) return value.text;
    return {};
  }
  if (variable == Variable::kTx) {
    const std::string_view* text = rooms_.tx.get(name, hash);
    return text == nullptr ? std::string_view() : *text;
  }
  if (variable == Variable::kRule) {
    const auto number = [&](auto value) { return rooms_.arena.copy(fmt::format("{}", value)); };
    if (rule_ == nullptr) return {};
    if (name == "id") return number(rule_->id);
    if (name == "rev") return rule_->actions.rev;
    if (name == "severity")
      return rule_->actions.severity ? number(int{*rule_->actions.severity}) : std::string_view();
    const auto& text = name == "msg" ? rule_->actions.msg : rule_->actions.logdata;
    if ((name != "msg" && name != "logdata") || !text) return {};
    std::string inner;
    return rooms_.arena.copy(text->is_literal() ? text->literal()
                                                : std::string_view(expand(*text, inner)));
  }
  std::string_view found;
  const Selection selection{.variable = variable,
                            .kind = name.empty() ? Selection::Kind::kAll : Selection::Kind::kName,
                            .name = name,
                            .hash = hash,
                            .source = {},
                            .regex = nullptr};
  first_changing(selection, found);
  return found;
}

std::optional<std::string_view> Runner::key_of(Variable collection) const {
  return keys_[static_cast<std::size_t>(kind_of(collection))];
}

Collections::Kind Runner::kind_of(Variable collection) {
  return static_cast<Collections::Kind>(index(collection) - index(Variable::kIp));
}

void Runner::set_variables(const Rule& rule) {
  rule_ = &rule;
  for (const SetVar& set : rule.actions.setvars) set_variable(set);
}

// Where the text of a macro was taken from: of several variables it is as secret as a whole
// request.
std::string_view Runner::origin_of(const Macro& macro) {
  std::string_view found;
  for (const Macro::Piece& piece : macro.pieces()) {
    if (!piece.variable) continue;
    const Variable variable = *piece.variable;
    std::string_view origin;
    if (variable == Variable::kMatchedVar)
      origin = matched_origin_;
    else if (variable == Variable::kMatchedVars)
      origin = name(variable);
    else if (variable == Variable::kTx)
      origin = rooms_.tx.origin(piece.name, piece.hash);
    else if (is_stable(variable))
      origin =
          piece.name.empty() ? name(variable) : rooms_.arena.join(name(variable), ":", piece.name);
    if (!found.empty() && !origin.empty() && origin != found) return name(Variable::kFullRequest);
    if (!origin.empty()) found = origin;
  }
  return found;
}

void Runner::set_variable(const SetVar& set) {
  const std::string_view name = expand(set.name, rooms_.macro_name);
  const bool tx = set.collection == Variable::kTx;
  const auto key = tx ? std::nullopt : key_of(set.collection);
  if (!tx && (!key || !writes_collections_)) return;  // no initcol: there is no record to write to
  if (set.how == SetVar::How::kUnset) {
    if (tx)
      rooms_.tx.unset(name);
    else
      collections_.unset(kind_of(set.collection), *key, name, time_.now);
    return;
  }
  const std::string_view text = expand(set.value, rooms_.macro);
  const bool kept = set.name.is_literal();
  const std::uint32_t hash = kept ? set.name.hash() : hash_ignoring_case(name);
  const auto stable_name = [&] { return kept ? name : rooms_.arena.copy(name); };
  if (set.how == SetVar::How::kSet) {
    if (tx)
      rooms_.tx.set(stable_name(), hash, set.value.is_literal() ? text : rooms_.arena.copy(text),
                    origin_of(set.value));
    else
      collections_.set(kind_of(set.collection), *key, name, text, time_.now);
    return;
  }
  std::int64_t by = whole_number(text);
  if (set.how == SetVar::How::kSubtract) by = -by;
  if (!tx) return collections_.add(kind_of(set.collection), *key, name, by, time_.now);
  const std::string_view* before = rooms_.tx.get(name, hash);
  char digits[24];
  const std::int64_t sum = (before == nullptr ? 0 : whole_number(*before)) + by;
  const auto end = std::to_chars(digits, digits + sizeof digits, sum).ptr;
  rooms_.tx.set(stable_name(), hash,
                rooms_.arena.copy({digits, static_cast<std::size_t>(end - digits)}));
}

// What a match is told with: the head's words win, because they are taken last.
void Runner::tell(const Rule& rule) {
  rule_ = &rule;
  const ActionSet& actions = rule.actions;
  if (actions.severity) {
    severity_ = *actions.severity;
    highest_severity_ = std::min<int>(highest_severity_, severity_);
  }
  if (!tells_) return;
  for (const Macro& tag : actions.tags) tags_.emplace_back(expand(tag, rooms_.macro));
  if (actions.logdata) {
    const std::string_view text = expand(*actions.logdata, rooms_.macro);
    data_ = actions.logdata->is_literal() ? text : rooms_.arena.copy(text);
  }
  if (actions.msg) {
    const std::string_view text = expand(*actions.msg, rooms_.macro);
    message_ = actions.msg->is_literal() ? text : rooms_.arena.copy(text);
  }
}

void Runner::after_match(const Rule& rule) {
  const Defaults& defaults = program_.defaults[rule.phase];
  if (defaults.given && defaults.actions.status) intervention.status = *defaults.actions.status;
  tell(rule);
  const ActionSet& actions = rule.actions;
  for (const InitCol& init : actions.initcols)
    keys_[static_cast<std::size_t>(kind_of(init.collection))] =
        rooms_.arena.copy(expand(init.key, rooms_.macro));
  for (const ExpireVar& expire : actions.expirevars) {
    const auto key = expire.collection == Variable::kTx ? std::nullopt : key_of(expire.collection);
    if (!key || !writes_collections_) continue;
    const std::int64_t seconds = whole_number(expand(expire.seconds, rooms_.macro));
    collections_.expire(kind_of(expire.collection), *key, expand(expire.name, rooms_.macro_name),
                        time_.now + std::chrono::seconds(seconds), time_.now);
  }
  for (const Control& control : actions.controls) run_control(control);
  if (actions.status) intervention.status = *actions.status;
  if (actions.skip > 0) skip_ = actions.skip;
  if (rule.skip_to != Rule::kNowhere) jump_ = rule.skip_to + 1;
  if (engine_ != Engine::kOn) return;
  if (rule.runs_defaults && actions.disruption == Disruption::kNone && defaults.given)
    disrupt(defaults.actions, defaults.actions.disruption);
  if (actions.disruption != Disruption::kNone) disrupt(actions, actions.disruption);
}

void Runner::disrupt(const ActionSet& actions, Disruption disruption) {
  switch (disruption) {
    case Disruption::kNone:
      return;
    case Disruption::kPass:
      if (intervention.due || intervention.status != 200) intervention = {};
      return;
    case Disruption::kAllow:
      allowed_ = Allowed::kAll;
      return;
    case Disruption::kAllowPhase:
      allowed_ = Allowed::kPhase;
      return;
    case Disruption::kAllowRequest:
      allowed_ = Allowed::kRequest;
      return;
    case Disruption::kRedirect: {
      const std::string_view to = expand(actions.redirect, rooms_.macro);
      if (!to.empty() && printable(to)) intervention.location = to;
      if (intervention.status < 300 || intervention.status > 399) intervention.status = 302;
      if (intervention.location.empty()) intervention.status = 403;
      break;
    }
    case Disruption::kDrop:
      intervention.drop = true;
      [[fallthrough]];
    case Disruption::kDeny:
      if (intervention.status == 200) intervention.status = 403;
      break;
  }
  intervention.due = true;
  disruptive_ = true;
}

void Runner::run_control(const Control& control) {
  using What = Control::What;
  const auto mark = [&](std::uint8_t bit) {
    for (std::uint32_t rule : control.rules) {
      if (rooms_.marks[rule] == 0) rooms_.marked.push_back(rule);
      rooms_.marks[rule] |= bit;
    }
  };
  switch (control.what) {
    case What::kRuleEngine:
      engine_ = control.engine == Control::Engine::kOn    ? Engine::kOn
                : control.engine == Control::Engine::kOff ? Engine::kOff
                                                          : Engine::kDetectionOnly;
      return;
    case What::kRemoveById:
    case What::kRemoveByTag:
    case What::kRemoveByMsg:
      return mark(Rooms::kRemoved);
    case What::kRemoveTargetById:
    case What::kRemoveTargetByTag:
    case What::kRemoveTargetByMsg:
      mark(Rooms::kTargets);
      for (std::uint32_t rule : control.rules)
        rooms_.removed_targets.push_back({rule, &control.selection});
      return;
    case What::kBodyProcessor:
      body_processor_ = control.word;
      set(Variable::kReqbodyProcessor, body_processor_);
      return;
    case What::kBodyAccess:
      body_access_ = control.engine == Control::Engine::kOn;
      return;
    case What::kResponseBodyAccess:
      response_access_ = control.engine == Control::Engine::kOn;
      return;
    case What::kForceBodyVariable:  // REQUEST_BODY is always there
    case What::kAuditEngine:
    case What::kAuditParts:
    case What::kNoEffect:
      return;
  }
}

void Runner::finish_match(const Rule& head) {
  if (disruptive_) intervention.rule = head.id;
  if (rooms_.match_count >= Transaction::kMatchesMax && !disruptive_) return;
  if (rooms_.match_count == rooms_.matches.size()) rooms_.matches.emplace_back();
  MatchedRule& matched = rooms_.matches[rooms_.match_count++];
  matched.id = head.id;
  matched.phase = head.phase;
  matched.severity = severity_;
  matched.told = head.telling.message;
  matched.audit = head.telling.audit;
  matched.disruptive = disruptive_;
  for (std::string* text : {&matched.message, &matched.data, &matched.variable, &matched.value,
                            &matched.origin, &matched.place})
    text->clear();
  matched.tags.clear();
  if (!tells_) return;
  matched.message = message_;
  matched.data = data_;
  std::swap(matched.tags, tags_);
  matched.variable = matched_var_name_;
  matched.origin = matched_origin_;
  matched.value = matched_var_.substr(0, Transaction::kValueMax);
  matched.place = head.place.text();
}

}  // namespace leeward::waf

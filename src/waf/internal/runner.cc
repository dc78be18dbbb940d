#include "waf/internal/runner.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

namespace leeward::waf {
namespace {

constexpr std::size_t kStepsMax = 32;  // of a rule with multiMatch that is run as run_list() does

}  // namespace
Rooms::Rooms(const Program& p) : program(p), regex(p.settings.regex_steps_max) {
  marks.resize(p.rules.size());
  if (p.prefilter) p.prefilter->prepare(prefilter);
}

void Rooms::reset() {
  for (ValueList& list : lists) {
    list.values.clear();
    list.columns = nullptr;
  }
  tx.reset();
  arena.reset();
  matched.clear();
  match_count = 0;
  if (unpacked.capacity() > Arena::kKept) unpacked = {};
  for (std::uint32_t rule : marked) marks[rule] = 0;
  marked.clear();
  removed_targets.clear();
  if (program.prefilter) program.prefilter->reset(prefilter);
}

Runner::Runner(Rooms& rooms, Collections& collections, Transaction::Time time)
    : program_(rooms.program),
      rooms_(rooms),
      collections_(collections),
      time_(time),
      engine_(rooms.program.settings.engine),
      body_access_(rooms.program.settings.request_body_access),
      response_access_(rooms.program.settings.response_body_access),
      hurried_(time.deadline != std::chrono::steady_clock::time_point::max()) {
  rooms_.reset();
  const std::uint32_t steps = program_.settings.regex_steps_max;
  rooms_.regex.set_match_limit(hurried_ ? std::min(steps, Transaction::kHurriedSteps) : steps);
  rooms_.regex.restart(Transaction::kSearchTimeMax);
  for (std::size_t i = kListCount; i < kStableCount; ++i)
    rooms_.lists[i].values.push_back({});  // one value each, empty as yet
  set(Variable::kUrlencodedError, "0");
  set(Variable::kInboundDataError, "0");
  set(Variable::kModsecBuild, "030000090");
  set(Variable::kWebAppId, program_.settings.web_app_id);
}

std::string_view Runner::tx(std::string_view name) const {
  const std::string_view* text = rooms_.tx.get(name);
  return text == nullptr ? std::string_view() : *text;
}

void Runner::run_phase(int phase) {
  if (engine_ == Engine::kOff || intervention.due || unfinished) return;
  if (allowed_ == Allowed::kAll && phase != 5) return;
  if (allowed_ == Allowed::kRequest && phase <= 2) return;
  allowed_ = Allowed::kNo;
  skip_ = 0;
  const std::vector<Step>& steps = program_.steps[phase];
  for (std::size_t at = 0; at < steps.size(); ++at) {
    if (skip_ > 0) {
      --skip_;
      continue;
    }
    const Step& step = steps[at];
    const std::uint8_t marks = rooms_.marks[step.rule];
    if ((marks & Rooms::kRemoved) != 0) continue;
    const Rule& rule = program_.rules[step.rule];
    if (step.kind != Step::Kind::kAny && marks == 0) {
      run_number(step, rule);
    } else if (step.candidate != Rule::kNowhere && !may_match(step)) {
      forget_matched();
      continue;
    } else {
      run_head(rule);
    }
    if (too_late()) return;
    if (intervention.due || allowed_ != Allowed::kNo || engine_ == Engine::kOff) return;
    if (jump_ > 0) at = std::exchange(jump_, 0) - 2;  // the loop adds one
  }
}

// A rule that compares a number in TX.
void Runner::run_number(const Step& step, const Rule& rule) {
  const std::string_view* text = rooms_.tx.get(step.selection->name, step.selection->hash);
  constexpr std::string_view kNone = "0", kOne = "1";
  if (step.kind == Step::Kind::kCount) text = text == nullptr ? &kNone : &kOne;
  if (text == nullptr ||
      compare(step.comparison, number_of(step.comparison, *text), step.number) == step.negated)
    return forget_matched();
  begin_head(rule);
  const std::string_view origin =
      step.kind == Step::Kind::kCount
          ? std::string_view()
          : rooms_.tx.origin(step.selection->name, step.selection->hash);
  note_match(step.matched_name, *text, origin.empty() ? step.matched_name : origin);
  set_variables(rule);
  if (run_chained(rule)) finish_match(rule);
}

bool Runner::too_late() {
  if (!hurried_) return false;
  if (!unfinished && ++looks_ % 8 == 0)
    unfinished = std::chrono::steady_clock::now() > time_.deadline;
  return unfinished;
}

void Runner::note_match(std::string_view name, std::string_view text, std::string_view origin) {
  matched_var_name_ = name;
  matched_var_ = text;
  matched_origin_ = origin;
  if (rooms_.matched.size() < Transaction::kMatchesMax)
    rooms_.matched.push_back({name, text, origin});
}

void Runner::forget_matched() {
  matched_var_ = matched_var_name_ = matched_origin_ = {};
  rooms_.matched.clear();
}

void Runner::begin_head(const Rule& rule) {
  message_ = data_ = {};
  tags_.clear();
  severity_ = -1;
  disruptive_ = false;
  tells_ = rule.telling.message || rule.telling.audit || rule.actions.block ||
           rule.actions.disruption > Disruption::kPass;
}

void Runner::run_head(const Rule& rule) {
  begin_head(rule);
  const auto number = static_cast<std::uint32_t>(&rule - program_.rules.data());
  if (run_rule(rule, number)) finish_match(rule);
}

bool Runner::run_rule(const Rule& rule, std::uint32_t number) {
  bool found = rule.targets.empty();
  if (found)
    set_variables(rule);
  else
    for (const Target& target : rule.targets) found |= run_target(rule, number, target);
  if (!found) {
    forget_matched();
    return false;
  }
  return run_chained(rule);
}

// What follows once a rule itself has matched.
bool Runner::run_chained(const Rule& rule) {
  if (rule.chained != Rule::kNowhere && !run_rule(program_.rules[rule.chained], rule.chained))
    return false;
  after_match(rule);
  return true;
}

bool Runner::run_target(const Rule& rule, std::uint32_t number, const Target& target) {
  const bool marked = (rooms_.marks[number] & Rooms::kTargets) != 0;
  if (target.count) {
    std::size_t count = 0;
    each_value(target.selection, [&](const Source& source) {
      count += !excluded(target, source.name);
      return true;
    });
    if (marked && removed_by_ctl(number, target, {})) return false;
    char digits[24];
    const char* const end = std::to_chars(digits, digits + sizeof digits, count).ptr;
    const Source source{
        .name = {}, .text = rooms_.arena.copy({digits, static_cast<std::size_t>(end - digits)})};
    return run_value(rule, target, source);
  }
  if (target.selection.kind == Selection::Kind::kAll && is_stable(target.selection.variable) &&
      target.selection.variable != Variable::kGeo && rule.steps.size() <= kStepsMax && remembers())
    return run_list(rule, number, target, rooms_.lists[index(target.selection.variable)]);
  bool found = false;
  each_value(target.selection, [&](const Source& source) {
    if (!target.without.empty() && excluded(target, source.name)) return true;
    if (marked && removed_by_ctl(number, target, source.name)) return true;
    found |= run_value(rule, target, source);
    return true;
  });
  return found;
}

// All values of a variable; with multiMatch before the first transformation, and after each that
// changed something.
bool Runner::run_list(const Rule& rule, std::uint32_t number, const Target& target,
                      ValueList& list) {
  if (list.values.empty()) return false;
  const bool marked = (rooms_.marks[number] & Rooms::kTargets) != 0;
  std::array<const Column*, kStepsMax> columns;
  std::size_t count = 0;
  const auto add = [&](std::uint16_t node) {
    const Column& made = complete(list, column(list, node));
    if (count == 0 || columns[count - 1] != &made) columns[count++] = &made;
  };
  if (rule.actions.multi_match)
    std::for_each(rule.steps.begin(), rule.steps.end(), add);
  else
    add(rule.node);
  bool found = false;
  for (std::size_t i = 0; i < list.values.size(); ++i) {
    const Value& value = list.values[i];
    if (!target.without.empty() && excluded(target, value.name)) continue;
    if (marked && removed_by_ctl(number, target, value.name)) continue;
    for (std::size_t step = 0; step < count; ++step) {
      const std::string_view text = text_of(list, *columns[step], i);
      if (step > 0 && text == text_of(list, *columns[step - 1], i)) continue;
      const std::uint16_t classes = classes_of(list, *columns[step], i);
      if ((classes & rule.first_classes) == 0 || (classes & rule.last_classes) == 0) continue;
      found |= run_text(rule, target, Source{value.name, value.text, &list, i}, text);
    }
  }
  return found;
}

bool Runner::excluded(const Target& target, std::string_view name) {
  return std::any_of(target.without.begin(), target.without.end(),
                     [&](const Selection& out) { return out.takes(name, rooms_.regex); });
}

bool Runner::removed_by_ctl(std::uint32_t number, const Target& target, std::string_view name) {
  return std::any_of(
      rooms_.removed_targets.begin(), rooms_.removed_targets.end(),
      [&](const Rooms::RemovedTarget& removed) {
        if (removed.rule != number || removed.selection->variable != target.selection.variable)
          return false;
        if (target.count)
          return same_ignoring_case(removed.selection->source, target.selection.source);
        return removed.selection->takes(name, rooms_.regex);
      });
}

bool Runner::run_value(const Rule& rule, const Target& target, const Source& source) {
  if (!rule.actions.multi_match)
    return run_text(rule, target, source, transformed(source, rule.node));
  // Before the first transformation, and after each that changed something.
  bool found = false;
  std::string_view before = transformed(source, 0);
  found |= run_text(rule, target, source, before);
  for (std::uint16_t node : rule.steps) {
    if (node == 0) continue;
    std::string_view text = transformed(source, node);
    if (text.data() == rooms_.unremembered.data()) text = rooms_.arena.copy(text);
    if (text != before) found |= run_text(rule, target, source, text);
    before = text;
  }
  return found;
}

// "ARGS:name", also when the target was all of ARGS; of what has one value only its name.
std::string_view Runner::full_name(const Target& target, const Source& source, Arena& arena) {
  if (target.count) return target.selection.source;
  const std::string_view collection = name(target.selection.variable);
  const bool whole = source.name.empty() && !has_names(target.selection.variable);
  return whole ? collection : arena.join(collection, ":", source.name);
}

std::string_view Runner::origin() {
  if (origin_.empty())
    origin_ =
        source_->origin.empty() ? full_name(*target_, *source_, rooms_.arena) : source_->origin;
  return origin_;
}

bool Runner::run_text(const Rule& rule, const Target& target, const Source& source,
                      std::string_view text) {
  target_ = &target;
  source_ = &source;
  origin_ = {};
  if (operate(rule, text) == rule.use.negated) return false;
  const std::string_view name = full_name(target, source, rooms_.arena);
  note_match(name, text.data() == rooms_.unremembered.data() ? rooms_.arena.copy(text) : text,
             source.origin.empty() ? name : source.origin);
  set_variables(rule);
  return true;
}

template <typename Visit>
void Runner::each_value(const Selection& selection, Visit&& visit) {
  if (!is_stable(selection.variable)) return each_changing(selection, visit);
  ValueList& list = rooms_.lists[index(selection.variable)];
  for (std::size_t i = 0; i < list.values.size(); ++i) {
    if (selection.kind != Selection::Kind::kAll &&
        !selection.takes(list.values[i].name, rooms_.regex))
      continue;
    if (!visit(Source{list.values[i].name, list.values[i].text, &list, i})) return;
  }
}

template <typename Visit>
void Runner::each_changing(const Selection& selection, Visit&& visit) {
  switch (selection.variable) {
    case Variable::kTx: {
      if (selection.kind == Selection::Kind::kName) {
        if (const std::string_view* text = rooms_.tx.get(selection.name, selection.hash))
          visit(Source{.name = selection.name,
                       .text = *text,
                       .origin = rooms_.tx.origin(selection.name, selection.hash)});
        return;
      }
      // Rules may store while their values are walked, so by position, up to where it ends now.
      const std::size_t end = rooms_.tx.entries().size();
      for (std::size_t i = 0; i < end; ++i) {
        const TxStore::Entry entry = rooms_.tx.entries()[i];
        if (entry.set && selection.takes(entry.name, rooms_.regex) &&
            !visit(Source{.name = entry.name, .text = entry.text, .origin = entry.origin}))
          return;
      }
      return;
    }
    case Variable::kMatchedVars:
    case Variable::kMatchedVarsNames: {
      const bool names = selection.variable == Variable::kMatchedVarsNames;
      const std::size_t end = rooms_.matched.size();
      for (std::size_t i = 0; i < end; ++i) {
        const Rooms::Matched value = rooms_.matched[i];
        if (!selection.takes(value.name, rooms_.regex)) continue;
        if (!visit(names ? Source{.name = value.name, .text = value.name}
                         : Source{.name = value.name, .text = value.text, .origin = value.origin}))
          return;
      }
      return;
    }
    case Variable::kIp:
    case Variable::kGlobal:
    case Variable::kResource:
    case Variable::kSession:
    case Variable::kUser: {
      const auto key = key_of(selection.variable);
      if (!key) return;
      const Collections::Kind kind = kind_of(selection.variable);
      if (selection.kind == Selection::Kind::kName) {
        const auto text = collections_.get(kind, *key, selection.name, time_.now);
        if (text) visit(Source{selection.name, rooms_.arena.copy(*text)});
        return;
      }
      for (const auto& [name, text] : collections_.all(kind, *key, time_.now))
        if (selection.takes(name, rooms_.regex) &&
            !visit(Source{rooms_.arena.copy(name), rooms_.arena.copy(text)}))
          return;
      return;
    }
    case Variable::kMatchedVar:
      visit(Source{.name = {}, .text = matched_var_, .origin = matched_origin_});
      return;
    default:
      visit(Source{{}, single(selection.variable)});
  }
}

void Runner::first_changing(const Selection& selection, std::string_view& found) {
  each_changing(selection, [&](const Source& source) {
    found = source.text;
    return false;
  });
}

std::string_view Runner::single(Variable variable) {
  const auto number = [&](auto value) {
    char digits[24];
    const auto end = fmt::format_to_n(digits, sizeof digits, "{}", value);
    return rooms_.arena.copy({digits, end.size});
  };
  switch (variable) {
    case Variable::kMatchedVarName:
      return matched_var_name_;
    case Variable::kSessionId:
      return key_of(Variable::kSession).value_or("");
    case Variable::kUserId:
      return key_of(Variable::kUser).value_or("");
    case Variable::kHighestSeverity:
      return number(highest_severity_);
    case Variable::kDuration:
      return number(std::chrono::duration_cast<std::chrono::milliseconds>(
                        std::chrono::steady_clock::now() - time_.now)
                        .count());
    default:
      return time_text(variable);
  }
}

std::string_view Runner::time_text(Variable variable) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time_.wall);
  std::tm local{};
  ::localtime_r(&seconds, &local);
  std::string text;
  switch (variable) {
    case Variable::kTime:
      text = fmt::format("{:02}:{:02}:{:02}", local.tm_hour, local.tm_min, local.tm_sec);
      break;
    case Variable::kTimeDay:
      text = std::to_string(local.tm_mday);
      break;
    case Variable::kTimeEpoch:
      text = std::to_string(seconds);
      break;
    case Variable::kTimeHour:
      text = std::to_string(local.tm_hour);
      break;
    case Variable::kTimeMin:
      text = std::to_string(local.tm_min);
      break;
    case Variable::kTimeMon:
      text = std::to_string(local.tm_mon + 1);
      break;
    case Variable::kTimeSec:
      text = std::to_string(local.tm_sec);
      break;
    case Variable::kTimeWday:
      text = std::to_string(local.tm_wday);
      break;
    case Variable::kTimeYear:
      text = std::to_string(local.tm_year + 1900);
      break;
    default:
      break;
  }
  return rooms_.arena.copy(text);
}

}  // namespace leeward::waf

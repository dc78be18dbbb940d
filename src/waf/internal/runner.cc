#include "waf/internal/runner.h"

#include <algorithm>
#include <ctime>

#include "waf/internal/byte_classes.h"

namespace leeward::waf {
namespace {

// Above it, transformed texts are made anew for each rule instead of being kept.
constexpr std::size_t kRememberedMax = 128u << 20;

bool none_may_change(Transform transform, const ValueList& list) {
  // That no value has any of the classes is quickly told from all values together.
  if ((list.classes & changed_classes(transform)) == 0) return true;
  return std::none_of(list.values.begin(), list.values.end(),
                      [&](const Value& value) { return may_change(transform, value.classes); });
}

}  // namespace

Rooms::Rooms(const Program& p) : program(p), regex(p.settings.regex_steps_max) {
  marks.resize(p.rules.size());
  if (!p.prefilter) return;
  p.prefilter->prepare(prefilter);
  joined_raw.resize(p.prefilter->sets());
  has_joined_raw.resize(p.prefilter->sets());
}

void Rooms::reset() {
  for (ValueList& list : lists) {
    list.values.clear();
    list.columns = nullptr;
  }
  tx.reset();
  arena.reset();
  matched.clear();
  matches.clear();
  for (std::uint32_t rule : marked) marks[rule] = 0;
  marked.clear();
  removed_targets.clear();
  if (program.prefilter) program.prefilter->reset(prefilter);
  has_joined_raw.assign(has_joined_raw.size(), false);
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
  const std::vector<std::uint32_t>& order = program_.order[phase];
  for (std::size_t at = 0; at < order.size(); ++at) {
    if (skip_ > 0) {
      --skip_;
      continue;
    }
    const Rule& rule = program_.rules[order[at]];
    if ((rooms_.marks[order[at]] & Rooms::kRemoved) != 0) continue;
    if (rule.candidate != Rule::kNowhere && !may_match(rule)) {
      forget_matched();
      continue;
    }
    run_head(rule);
    if (too_late()) return;
    if (intervention.due || allowed_ != Allowed::kNo || engine_ == Engine::kOff) return;
    if (jump_ > 0) at = std::exchange(jump_, 0) - 2;  // the loop adds one
  }
}

bool Runner::too_late() {
  if (!hurried_) return false;
  if (!unfinished && ++looks_ % 8 == 0)
    unfinished = std::chrono::steady_clock::now() > time_.deadline;
  return unfinished;
}

bool Runner::may_match(const Rule& rule) {
  if (!program_.prefilter->scanned(rooms_.prefilter, rule.group)) scan_group(rule.group);
  return program_.prefilter->may_match(rooms_.prefilter, rule.candidate);
}

void Runner::scan_group(std::uint32_t group) {
  const Prefilter::Group& g = program_.prefilter->groups()[group];
  const auto join = [&](std::uint16_t node, std::string& text) {
    text.clear();
    for (const Selection& selection : g.selections)
      each_value(selection, [&](const Source& source) {
        text.append(transformed(source, node));
        text += g.separator;
        return true;
      });
  };
  bool same = true;
  if (rooms_.arena.used() <= kRememberedMax)
    for (const Selection& selection : g.selections)
      same = transform_all(rooms_.lists[index(selection.variable)], g.node) && same;
  else
    same = g.node == 0;
  if (!same) {
    join(g.node, rooms_.joined);
  } else if (!rooms_.has_joined_raw[g.set]) {
    join(0, rooms_.joined_raw[g.set]);
    rooms_.has_joined_raw[g.set] = true;
  }
  program_.prefilter->scan(rooms_.prefilter, group,
                           same ? rooms_.joined_raw[g.set] : rooms_.joined);
}

void Runner::forget_matched() {
  matched_var_ = matched_var_name_ = {};
  rooms_.matched.clear();
}

void Runner::run_head(const Rule& rule) {
  message_ = data_ = {};
  tags_.clear();
  severity_ = -1;
  disruptive_ = false;
  tells_ = rule.telling.message || rule.telling.audit || rule.actions.block ||
           rule.actions.disruption > Disruption::kPass;
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
    const auto end = fmt::format_to_n(digits, sizeof digits, "{}", count);
    const Source source{.name = {}, .text = rooms_.arena.copy({digits, end.size})};
    return run_value(rule, target, source);
  }
  bool found = false;
  each_value(target.selection, [&](const Source& source) {
    if (!target.without.empty() && excluded(target, source.name)) return true;
    if (marked && removed_by_ctl(number, target, source.name)) return true;
    found |= run_value(rule, target, source);
    return true;
  });
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
    const std::string_view text = rooms_.arena.copy(transformed(source, node));
    if (text != before) found |= run_text(rule, target, source, text);
    before = text;
  }
  return found;
}

bool Runner::run_text(const Rule& rule, const Target& target, const Source& source,
                      std::string_view text) {
  if (operate(rule, text) == rule.use.negated) return false;
  // "ARGS:name", also when the target was all of ARGS; of what has one value only its name.
  const std::string_view collection = name(target.selection.variable);
  const bool whole = source.name.empty() && !has_names(target.selection.variable);
  if (target.count)
    matched_var_name_ = target.selection.source;
  else
    matched_var_name_ = whole ? collection : rooms_.arena.join(collection, ":", source.name);
  matched_var_ = text.data() == rooms_.unremembered.data() ? rooms_.arena.copy(text) : text;
  if (rooms_.matched.size() < Transaction::kMatchesMax)
    rooms_.matched.push_back({matched_var_name_, matched_var_});
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
        if (const std::string_view* text = rooms_.tx.get(selection.name))
          visit(Source{selection.name, *text});
        return;
      }
      // Rules may store while their values are walked, so by position, up to where it ends now.
      const std::size_t end = rooms_.tx.entries().size();
      for (std::size_t i = 0; i < end; ++i) {
        const TxStore::Entry entry = rooms_.tx.entries()[i];
        if (entry.set && selection.takes(entry.name, rooms_.regex) &&
            !visit(Source{entry.name, entry.text}))
          return;
      }
      return;
    }
    case Variable::kMatchedVars:
    case Variable::kMatchedVarsNames: {
      const bool names = selection.variable == Variable::kMatchedVarsNames;
      const std::size_t end = rooms_.matched.size();
      for (std::size_t i = 0; i < end; ++i) {
        const Value value = rooms_.matched[i];
        if (selection.takes(value.name, rooms_.regex) &&
            !visit(Source{value.name, names ? value.name : value.text}))
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
    case Variable::kMatchedVar:
      return matched_var_;
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

std::string_view Runner::transformed(const Source& source, std::uint16_t node) {
  if (node == 0) return source.text;
  if (source.list == nullptr) return rooms_.arena.copy(unremembered(source.text, node));
  if (source.list->columns != nullptr) {  // mostly it is there already
    const Column& known = source.list->columns[node];
    if (known.state == Column::State::kSame) return source.text;
    if (known.state == Column::State::kOwn && known.texts[source.position].data() != nullptr)
      return known.texts[source.position];
  }
  if (rooms_.arena.used() > kRememberedMax) return unremembered(source.text, node);
  return remembered(*source.list, source.position, node);
}

Column& Runner::column(ValueList& list, std::uint16_t node) {
  if (list.columns == nullptr) {
    list.columns = rooms_.arena.zeroed<Column>(program_.transforms.size());
    list.columns[0].state = Column::State::kSame;
    list.classes = kAny;
    for (Value& value : list.values) {
      value.classes = classes_in(value.text);
      list.classes |= value.classes;
    }
  }
  Column& found = list.columns[node];
  if (found.state != Column::State::kUnknown) return found;
  const TransformTree::Node& step = program_.transforms[node];
  if (column(list, step.parent).state == Column::State::kSame && none_may_change(step.step, list)) {
    found.state = Column::State::kSame;
  } else {
    found.state = Column::State::kOwn;
    found.texts = rooms_.arena.zeroed<std::string_view>(list.values.size());
  }
  return found;
}

std::string_view Runner::remembered(ValueList& list, std::size_t position, std::uint16_t node) {
  const Column& own = column(list, node);
  if (own.state == Column::State::kSame) return list.values[position].text;
  std::string_view& text = own.texts[position];
  if (text.data() != nullptr) return text;
  const TransformTree::Node& step = program_.transforms[node];
  const std::string_view before = remembered(list, position, step.parent);
  const Value& raw = list.values[position];
  if (before.data() == raw.text.data() && !may_change(step.step, raw.classes)) return text = before;
  rooms_.scratch.assign(before);
  text = apply(step.step, rooms_.scratch, program_.unicode_map.get())
             ? rooms_.arena.copy(rooms_.scratch)
             : before;
  return text;
}

bool Runner::transform_all(ValueList& list, std::uint16_t node) {
  Column& own = column(list, node);
  if (own.state == Column::State::kSame) return true;
  const TransformTree::Node& step = program_.transforms[node];
  const bool parent_same = transform_all(list, step.parent);
  bool same = true;
  for (std::size_t i = 0; i < list.values.size(); ++i) {
    const Value& raw = list.values[i];
    if (parent_same && !may_change(step.step, raw.classes))
      own.texts[i] = raw.text;
    else
      same &= remembered(list, i, node).data() == raw.text.data();
  }
  if (same) own.state = Column::State::kSame;
  return same;
}

std::string_view Runner::unremembered(std::string_view text, std::uint16_t node) {
  std::array<std::uint16_t, 64> path;
  std::size_t length = 0;
  for (; node != 0 && length < path.size(); node = program_.transforms[node].parent)
    path[length++] = node;
  rooms_.unremembered.assign(text);
  while (length > 0)
    apply(program_.transforms[path[--length]].step, rooms_.unremembered,
          program_.unicode_map.get());
  return rooms_.unremembered;
}

}  // namespace leeward::waf

#include "waf/internal/program_builder.h"

#include <algorithm>

#include "waf/internal/prefilter.h"

namespace leeward::waf {
namespace {

constexpr std::size_t kRulesMax = 50'000;
constexpr std::size_t kChainMax = 64;

void fold(Telling& telling, const std::vector<Action>& actions) {
  for (Action action : actions) {
    if (action == Action::kLog)
      telling.message = true;
    else if (action == Action::kNolog)
      telling.message = telling.audit = false;
    else if (action == Action::kAuditlog)
      telling.message = telling.audit = true;
    else
      telling.message = telling.audit = false;  // noauditlog
  }
}

}  // namespace

Program::Program() = default;
Program::~Program() = default;

bool ProgramBuilder::Change::is_about(const Rule& rule) const {
  switch (by) {
    case By::kId:
      return std::any_of(ids.begin(), ids.end(),
                         [&](const IdRange& range) { return range.holds(rule.id); });
    case By::kTag:
      return std::any_of(rule.actions.tags.begin(), rule.actions.tags.end(),
                         [&](const Macro& tag) { return tag.source() == text; });
    case By::kMsg:
      return rule.actions.msg && rule.actions.msg->source() == text;
  }
  return false;
}

std::string ProgramBuilder::Change::name() const {
  if (by != By::kId) return fmt::format("{} '{}'", by == By::kTag ? "tag" : "message", text);
  std::string list = "id";
  for (const IdRange& range : ids)
    list += range.first == range.last ? fmt::format(" {}", range.first)
                                      : fmt::format(" {}-{}", range.first, range.last);
  return list;
}

void ProgramBuilder::add_rule(Rule rule) {
  if (program_->rules.size() >= kRulesMax) {
    if (program_->rules.size() == kRulesMax)
      problems_.add(rule.place, fmt::format("more than {} rules", kRulesMax));
    return;
  }
  const auto here = static_cast<std::uint32_t>(program_->rules.size());
  if (open_chain_ != Rule::kNowhere) {
    Rule& before = program_->rules[open_chain_];
    before.chained = here;
    rule.phase = before.phase;
    rule.id = before.id;
    if (rule.actions.disruption != Disruption::kNone || rule.actions.block)
      problems_.add(rule.place, "only the first rule of a chain may be disruptive");
    if (rule.actions.id) problems_.add(rule.place, "only the first rule of a chain has an id");
  } else {
    rule.phase = rule.actions.phase.value_or(2);
    rule.id = rule.actions.id.value_or(0);
    if (!rule.actions.id) {
      problems_.add(rule.place, "the rule has no id");
    } else if (const auto [at, fresh] = ids_.emplace(rule.id, rule.place); !fresh) {
      problems_.add(rule.place,
                    fmt::format("Rule id: {} is duplicated, it is at {} too; give this one another",
                                rule.id, at->second.text()));
    }
    ++program_->heads;
  }
  open_chain_ = rule.actions.chain ? here : Rule::kNowhere;
  program_->rules.push_back(std::move(rule));
}

void ProgramBuilder::end_chain() {
  if (open_chain_ == Rule::kNowhere) return;
  problems_.add(program_->rules[open_chain_].place,
                "a rule with 'chain' is followed by no rule; end the chain or remove the action");
  open_chain_ = Rule::kNowhere;
}

void ProgramBuilder::add_marker(const Directive& directive) {
  end_chain();
  if (directive.arguments.size() != 1)
    problems_.add(directive.name.place(), "SecMarker takes one name");
  else
    markers_.push_back({directive.arguments[0].text, program_->rules.size()});
}

void ProgramBuilder::add_defaults(const Directive& directive) {
  if (directive.arguments.size() != 1)
    return problems_.add(directive.name.place(), "SecDefaultAction takes one word, its actions");
  const Word& word = directive.arguments[0];
  ActionSet actions = reader_.read_actions(word);
  if (!actions.phase) return problems_.add(word.place(), "SecDefaultAction names its phase");
  if (actions.disruption == Disruption::kNone)
    return problems_.add(word.place(),
                         "SecDefaultAction says what is done with a request: pass, deny, …");
  if (actions.id || actions.chain || actions.skip > 0 || !actions.skip_after.empty())
    return problems_.add(word.place(), "id, chain and skip belong to one rule, not to all");
  Defaults& defaults = program_->defaults[*actions.phase];
  if (defaults.given)
    return problems_.add(word.place(),
                         fmt::format("phase {} has its default actions already", *actions.phase));
  defaults = {.actions = std::move(actions), .given = true};
}

void ProgramBuilder::add_change(const Directive& directive, Change::By by, bool remove) {
  const auto& words = directive.arguments;
  if (words.empty() || (!remove && words.size() != 2))
    return problems_.add(directive.name.place(),
                         remove ? "which rules?" : "which rules, and which variables?");
  const std::size_t named = remove ? words.size() : 1;
  for (std::size_t i = 0; i < named; ++i) {
    Change change;
    change.place = words[i].place();
    change.by = by;
    change.remove = remove;
    change.text = words[i].text;
    if (by == Change::By::kId) change.ids = reader_.read_ids(words[i], 0, words[i].text);
    if (!remove) change.targets = reader_.read_targets(words[1]);
    changes_.push_back(std::move(change));
  }
}

void ProgramBuilder::add_action_change(const Directive& directive) {
  if (directive.arguments.size() != 2)
    return problems_.add(directive.name.place(), "which rule, and which actions?");
  const Word& word = directive.arguments[1];
  Change change;
  change.place = directive.arguments[0].place();
  change.ids = reader_.read_ids(directive.arguments[0], 0, directive.arguments[0].text);
  change.actions = reader_.read_actions(word);
  if (change.actions->id || change.actions->phase || change.actions->chain)
    return problems_.add(word.place(),
                         "the id, the phase and the chain of a rule stay as they are");
  changes_.push_back(std::move(change));
}

void ProgramBuilder::change_actions(ActionSet& actions, ActionSet&& by) {
  if (by.disruption != Disruption::kNone) {
    actions.disruption = by.disruption;
    actions.redirect = std::move(by.redirect);
    actions.block = false;
  }
  if (by.block) {
    actions.block = true;
    actions.disruption = Disruption::kNone;
  }
  if (by.drops_defaults) {
    actions.drops_defaults = true;
    actions.transforms.clear();
  }
  const auto append = [](auto& to, auto& from) {
    to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
  };
  append(actions.transforms, by.transforms);
  append(actions.setvars, by.setvars);
  append(actions.expirevars, by.expirevars);
  append(actions.initcols, by.initcols);
  append(actions.controls, by.controls);
  append(actions.telling, by.telling);
  append(actions.tags, by.tags);
  actions.capture |= by.capture;
  actions.multi_match |= by.multi_match;
  if (by.msg) actions.msg = std::move(by.msg);
  if (by.logdata) actions.logdata = std::move(by.logdata);
  if (by.severity) actions.severity = by.severity;
  if (by.status) actions.status = by.status;
  if (!by.rev.empty()) actions.rev = std::move(by.rev);
  if (!by.ver.empty()) actions.ver = std::move(by.ver);
  if (by.skip > 0) actions.skip = by.skip;
  if (!by.skip_after.empty()) actions.skip_after = std::move(by.skip_after);
}

void ProgramBuilder::apply_changes() {
  std::vector<Rule>& rules = program_->rules;
  std::vector<bool> removed(rules.size());
  std::vector<bool> chained(rules.size());
  for (const Rule& rule : rules)
    if (rule.chained != Rule::kNowhere) chained[rule.chained] = true;
  for (Change& change : changes_) {
    bool found = false;
    for (std::size_t i = 0; i < rules.size(); ++i) {
      if (chained[i] || !change.is_about(rules[i])) continue;
      found = true;
      if (change.remove) {
        removed[i] = true;
        continue;
      }
      if (change.actions) change_actions(rules[i].actions, ActionSet(*change.actions));
      for (const Target& target : change.targets.taken) rules[i].targets.push_back(target);
      apply_exclusions(rules[i].targets, change.targets.excluded);
    }
    if (!found)
      program_->notes.push_back(
          fmt::format("{}: there is no rule with {}", change.place.text(), change.name()));
  }
  for (std::size_t i = 0; i < rules.size(); ++i)  // a chain goes as a whole
    if (removed[i] && rules[i].chained != Rule::kNowhere) removed[rules[i].chained] = true;
  drop_removed(removed);
}

void ProgramBuilder::drop_removed(const std::vector<bool>& removed) {
  std::vector<Rule> kept;
  std::vector<std::uint32_t> moved(removed.size() + 1, Rule::kNowhere);
  for (std::size_t i = 0; i < removed.size(); ++i) {
    moved[i] = static_cast<std::uint32_t>(kept.size());
    if (!removed[i]) kept.push_back(std::move(program_->rules[i]));
  }
  moved[removed.size()] = static_cast<std::uint32_t>(kept.size());
  for (Rule& rule : kept)
    if (rule.chained != Rule::kNowhere) rule.chained = moved[rule.chained];
  for (Marker& marker : markers_) marker.before = moved[marker.before];
  program_->rules = std::move(kept);
}

void ProgramBuilder::resolve_transforms(Rule& rule) {
  ActionSet& actions = rule.actions;
  std::vector<Transform> all;
  if (!actions.drops_defaults) all = program_->defaults[rule.phase].actions.transforms;
  all.insert(all.end(), actions.transforms.begin(), actions.transforms.end());
  rule.node = 0;
  rule.steps = {0};
  for (Transform step : all) {
    rule.node = program_->transforms.after(rule.node, step);
    if (rule.node == 0xffff)
      return problems_.add(rule.place, "too many different chains of transformations");
    rule.steps.push_back(rule.node);
  }
}

// What a chain tells is folded from its last rule to its head, because that is how its actions
// run, each rule's after its phase's defaults.
void ProgramBuilder::resolve_actions(Rule& head) {
  std::vector<Rule*> chain;
  for (Rule* rule = &head; chain.size() <= kChainMax; rule = &program_->rules[rule->chained]) {
    chain.push_back(rule);
    if (rule->chained == Rule::kNowhere) break;
  }
  if (chain.size() > kChainMax)
    problems_.add(head.place, fmt::format("a chain of more than {} rules", kChainMax));
  Telling telling;
  for (auto rule = chain.rbegin(); rule != chain.rend(); ++rule) {
    fold(telling, program_->defaults[head.phase].actions.telling);
    fold(telling, (*rule)->actions.telling);
  }
  head.telling = telling;
  head.runs_defaults = head.actions.block;
}

void ProgramBuilder::order_by_phase() {
  std::vector<Rule>& rules = program_->rules;
  std::vector<bool> chained(rules.size());
  for (const Rule& rule : rules)
    if (rule.chained != Rule::kNowhere) chained[rule.chained] = true;
  for (std::uint32_t i = 0; i < rules.size(); ++i) {
    resolve_transforms(rules[i]);
    if (chained[i]) continue;
    resolve_actions(rules[i]);
    program_->order[rules[i].phase].push_back(i);
  }
  for (std::uint32_t i = 0; i < rules.size(); ++i) {
    Rule& rule = rules[i];
    if (rule.actions.skip_after.empty()) continue;
    // The next marker of that name; one that was passed already ends the phase.
    const Marker* to = nullptr;
    bool exists = false;
    for (const Marker& marker : markers_) {
      if (marker.name != rule.actions.skip_after) continue;
      exists = true;
      if (to == nullptr && marker.before > i) to = &marker;
    }
    if (!exists)
      problems_.add(rule.place, fmt::format("skipAfter:{}: there is no such SecMarker, so all "
                                            "rules behind this one would be skipped",
                                            rule.actions.skip_after));
    const auto& order = program_->order[rule.phase];
    const auto position =
        to == nullptr ? order.end() : std::lower_bound(order.begin(), order.end(), to->before);
    rule.skip_to = static_cast<std::uint32_t>(position - order.begin());
  }
}

std::vector<std::uint32_t> ProgramBuilder::rules_of(const Control& control) const {
  using What = Control::What;
  std::vector<std::uint32_t> about;
  for (const auto& order : program_->order)
    for (std::uint32_t i : order) {
      Change change;
      change.ids = control.ids;
      change.text = control.text.source();
      if (control.what == What::kRemoveByTag || control.what == What::kRemoveTargetByTag)
        change.by = Change::By::kTag;
      else if (control.what == What::kRemoveByMsg || control.what == What::kRemoveTargetByMsg)
        change.by = Change::By::kMsg;
      if (change.is_about(program_->rules[i])) about.push_back(i);
    }
  return about;
}

void ProgramBuilder::resolve_controls() {
  using What = Control::What;
  for (Rule& rule : program_->rules)
    for (Control& control : rule.actions.controls) {
      if (control.what < What::kRemoveById || control.what > What::kRemoveTargetByMsg) continue;
      if (!control.text.is_literal())
        problems_.add(rule.place, "which rules ctl removes may not depend on a macro");
      control.rules = rules_of(control);
      if (control.rules.empty())
        program_->notes.push_back(
            fmt::format("{}: ctl is about rules of which there is none", rule.place.text()));
    }
}

void ProgramBuilder::look_at(Variable variable) {
  if (is_stable(variable)) program_->looked_at[index(variable)] = true;
}

void ProgramBuilder::look_at(const Macro& macro) {
  for (const Macro::Piece& piece : macro.pieces())
    if (piece.variable) look_at(*piece.variable);
}

void ProgramBuilder::note_what_is_looked_at() {
  for (const Rule& rule : program_->rules) {
    for (const Target& target : rule.targets) look_at(target.selection.variable);
    look_at(rule.use.argument);
    for (const SetVar& set : rule.actions.setvars) {
      look_at(set.name);
      look_at(set.value);
    }
    for (const InitCol& init : rule.actions.initcols) look_at(init.key);
    for (const ExpireVar& expire : rule.actions.expirevars) look_at(expire.seconds);
    for (const Macro& tag : rule.actions.tags) look_at(tag);
    if (rule.actions.msg) look_at(*rule.actions.msg);
    if (rule.actions.logdata) look_at(*rule.actions.logdata);
    look_at(rule.actions.redirect);
    if (rule.use.op == Operator::kRbl)
      program_->notes.push_back(fmt::format(
          "{}: @rbl asks a name server and is never true here, so that no request waits for one",
          rule.place.text()));
  }
}

// A slow firewall is better than none, but whoever runs it should know why it is slow.
void ProgramBuilder::note_interpreted() {
  std::size_t all = 0, interpreted = 0;
  for (const Rule& rule : program_->rules)
    if (rule.use.regex) {
      ++all;
      interpreted += !rule.use.regex->jit();
    }
  if (interpreted > 0)
    program_->notes.push_back(fmt::format(
        "{} of {} regular expressions are interpreted, which is several times slower: may "
        "this process not make memory executable (systemd's MemoryDenyWriteExecute)?",
        interpreted, all));
}

std::unique_ptr<Program> ProgramBuilder::build() {
  end_chain();
  if (!problems_.empty()) return std::move(program_);
  apply_changes();
  order_by_phase();
  resolve_controls();
  note_what_is_looked_at();
  note_interpreted();
  return std::move(program_);
}

}  // namespace leeward::waf

#include "compute/autoscaler_core.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace leeward::compute {
namespace {

constexpr std::int64_t kPeakHours = 24;
constexpr double kCountMax = 1e6;  // of instances in a proposal; far beyond what can be configured

// Instances for a demand. A demand of 3.0000000001 comes from arithmetic, not from load.
int whole_instances(double demand) {
  return static_cast<int>(std::ceil(std::clamp(demand, 0.0, kCountMax) - 1e-9));
}

void add_reason(Decision& d, ScalingReason why, int number) {
  if (d.reason_count < Decision::kReasonsMax) d.reasons[d.reason_count++] = {why, number};
}

bool in_force(const ScalingSchedule& schedule, WallTime now, Duration utc_offset) {
  constexpr Duration kDay = std::chrono::hours(24);
  auto local = now.time_since_epoch() + utc_offset;
  auto day = std::chrono::floor<std::chrono::days>(local);
  Duration of_day = local - day;
  auto weekday = [](std::chrono::days d) {  // from Monday; the epoch was a Thursday
    return static_cast<std::size_t>(((d.count() + 3) % 7 + 7) % 7);
  };
  bool over_midnight = schedule.until <= schedule.from;
  Duration until = over_midnight ? schedule.until + kDay : schedule.until;
  if (schedule.days[weekday(day)] && of_day >= schedule.from && of_day < until) return true;
  return over_midnight && schedule.days[weekday(day - std::chrono::days(1))] &&
         of_day + kDay >= schedule.from && of_day + kDay < until;
}

}  // namespace

std::string_view name(ProposalReason r) {
  switch (r) {
    case ProposalReason::kNoData:
      return "no data";
    case ProposalReason::kOnTarget:
      return "on target";
    case ProposalReason::kInTolerance:
      return "within the tolerance";
    case ProposalReason::kAboveTarget:
      return "above the target";
    case ProposalReason::kBelowTarget:
      return "below the target";
    case ProposalReason::kComing:
      return "above the target, and what is starting is enough";
    case ProposalReason::kNotBreached:
      return "threshold not reached";
    case ProposalReason::kNotYet:
      return "threshold reached, not for long enough";
    case ProposalReason::kStep:
      return "threshold reached";
    case ProposalReason::kOnlyOut:
      return "below the target, but may not scale in";
  }
  return "unknown";
}

std::string_view name(ScalingReason r) {
  switch (r) {
    case ScalingReason::kPolicy:
      return "the highest proposal";
    case ScalingReason::kNoProposal:
      return "no policy proposes a number";
    case ScalingReason::kMissingData:
      return "not fewer while a metric is missing";
    case ScalingReason::kMinimum:
      return "the minimum";
    case ScalingReason::kMaximum:
      return "the maximum";
    case ScalingReason::kSchedule:
      return "a schedule";
    case ScalingReason::kForecast:
      return "the forecast for this hour of the week";
    case ScalingReason::kFailover:
      return "what the other site needed in the last 24 hours";
    case ScalingReason::kOperator:
      return "an operator's setting";
    case ScalingReason::kRate:
      return "not faster than the rate limit";
    case ScalingReason::kHoldDown:
      return "nothing scales in until the hold-down ends";
    case ScalingReason::kProtected:
      return "protected instances stay";
    case ScalingReason::kStabilisation:
      return "more was wanted within the stabilisation window";
    case ScalingReason::kCooldown:
      return "scaled in a short while ago";
  }
  return "unknown";
}

bool Decision::because(ScalingReason why) const {
  return std::any_of(reasons.begin(), reasons.begin() + reason_count,
                     [why](const Reason& r) { return r.why == why; });
}

std::string explain(const ScalingSpec& spec, const Decision& d) {
  std::string text = d.changed() ? fmt::format("{} → {}", d.before, d.desired)
                                 : fmt::format("stays at {}", d.desired);
  std::string separator = ": ";
  for (std::size_t i = 0; i < d.policies && i < spec.policies.size(); ++i) {
    const Proposal& p = d.proposals[i];
    const ScalingPolicy& policy = spec.policies[i];
    text += separator + policy.name;
    separator = "; ";
    if (p.proposes()) text += fmt::format(" wanted {}", p.wanted);
    text += " (";
    if (p.value)
      text += fmt::format("value {:.4g}, {} {:.4g}, ", *p.value,
                          policy.kind == ScalingKind::kTarget ? "target" : "threshold",
                          policy.kind == ScalingKind::kTarget ? policy.target : policy.threshold);
    text += fmt::format("{})", name(p.reason));
  }
  for (std::size_t i = 0; i < d.reason_count; ++i) {
    const Decision::Reason& r = d.reasons[i];
    if (r.why == ScalingReason::kPolicy && d.policies < 2) continue;  // said by the policy itself
    text += fmt::format("{}{}: {}", separator, name(r.why), r.number);
    separator = "; ";
  }
  return text;
}

int round_percent_change(double change) {
  change = std::clamp(change, -kCountMax, kCountMax);
  if (change > 0 && change < 1) return 1;
  if (change < 0 && change > -1) return -1;
  return static_cast<int>(change);
}

std::vector<int> choose_victims(std::span<const Victim> instances, int count) {
  std::vector<Victim> order;
  for (const Victim& v : instances)
    if (!v.is_protected) order.push_back(v);
  std::stable_sort(order.begin(), order.end(), [](const Victim& a, const Victim& b) {
    if (a.healthy != b.healthy) return !a.healthy;
    if (a.old_revision != b.old_revision) return a.old_revision;
    if (a.connections != b.connections) return a.connections < b.connections;
    return a.since > b.since;
  });
  std::vector<int> chosen;
  for (const Victim& v : order) {
    if (static_cast<int>(chosen.size()) >= count) break;
    chosen.push_back(v.number);
  }
  return chosen;
}

AutoscalerCore::AutoscalerCore(ScalingSpec spec, int initial)
    : spec_(std::move(spec)),
      desired_(std::clamp(initial, spec_.min, spec_.max)),
      states_(spec_.policies.size()),
      forecast_(spec_.utc_offset) {
  LEEWARD_CHECK(spec_.min <= spec_.max);
  LEEWARD_CHECK(spec_.policies.size() <= ScalingSpec::kPoliciesMax);
}

void AutoscalerCore::restore(const AutoscalerMemory& memory, Now now) {
  if (memory.desired > 0) desired_ = std::clamp(memory.desired, spec_.min, spec_.max);
  bounds_ = memory.bounds && memory.bounds->until > now.wall ? memory.bounds : std::nullopt;
  peaks_.clear();
  for (const auto& peak : memory.peaks)
    if (peaks_.empty() || peak.first > peaks_.back().first) peaks_.push_back(peak);
  while (peaks_.size() > kPeakHours + 1) peaks_.pop_front();
  forecast_.restore(memory.forecast);
  frozen_until_.reset();
  failover_floor_ = 0;
  if (!memory.frozen_until || *memory.frozen_until <= now.wall) return;
  // A wall clock that was set back must not freeze for longer than a hold-down.
  frozen_until_ = now.boot + std::min(*memory.frozen_until - now.wall, spec_.hold_down);
  failover_floor_ = std::clamp(memory.failover_floor, 0, spec_.max);
}

AutoscalerMemory AutoscalerCore::memory(Now now) const {
  AutoscalerMemory m{desired_,           bounds_, {peaks_.begin(), peaks_.end()},
                     forecast_.memory(), {},      failover_floor_};
  if (frozen_until_) m.frozen_until = now.wall + (*frozen_until_ - now.boot);
  return m;
}

void AutoscalerCore::activate(Now now, std::optional<int> peak, bool failover) {
  window_.clear();
  states_.assign(states_.size(), {});
  scaled_in_at_.reset();
  rate_since_.reset();
  if (failover) frozen_until_ = now.boot + spec_.hold_down;
  if (peak) {
    failover_floor_ = std::clamp(whole_instances(*peak * spec_.failover_percent), 0, spec_.max);
    desired_ = std::max(desired_, failover_floor_);
  }
}

void AutoscalerCore::deactivate() {
  frozen_until_.reset();
  failover_floor_ = 0;
  window_.clear();
}

// ---------------------------------------------------------------------------------- proposals

Proposal AutoscalerCore::propose(std::size_t index, const ScalingInput& input) {
  const ScalingPolicy& policy = spec_.policies[index];
  PolicyState& state = states_[index];
  const std::optional<double>& sample = input.samples[index];
  bool of_instances = policy.kind == ScalingKind::kTarget && !policy.total;
  if (!sample || !std::isfinite(*sample) || (of_instances && input.counted == 0)) {
    state.beyond_since.reset();
    state.recent.clear();
    return {};
  }
  Proposal p = policy.kind == ScalingKind::kTarget ? propose_target(policy, state, input, *sample)
                                                   : propose_step(policy, state, input, *sample);
  p.value = sample;
  return p;
}

// The mean of the last minute's values as shares of the target, the newest included.
double AutoscalerCore::mean_ratio(PolicyState& state, BootTime now, double ratio) {
  auto& recent = state.recent;
  recent.emplace_back(now, ratio);
  while (recent.size() > kRecentMax || now - recent.front().first >= 1min) recent.pop_front();
  double sum = 0;
  for (const auto& [at, value] : recent) sum += value;
  return sum / static_cast<double>(recent.size());
}

Proposal AutoscalerCore::propose_target(const ScalingPolicy& policy, PolicyState& state,
                                        const ScalingInput& input, double value) {
  double capacity = policy.total ? std::max(desired_, 1) : input.counted;
  double ratio = policy.total ? value / policy.target / capacity : value / policy.target;
  double demand = ratio * capacity;  // in instances
  if (mean_ratio(state, input.now.boot, ratio) <= 1)
    state.beyond_since.reset();
  else if (!state.beyond_since)
    state.beyond_since = input.now.boot;
  bool lasts = state.beyond_since && input.now.boot - *state.beyond_since >= spec_.tolerance_for;
  auto same = [this](ProposalReason why) { return Proposal{{}, why, desired_}; };
  int wanted = whole_instances(demand);
  bool one_short = wanted <= desired_ + 1;
  if (ratio > 1 + spec_.tolerance || (ratio > 1 && (lasts || !one_short))) {
    if (wanted <= desired_) return same(ProposalReason::kComing);
    return {{}, ProposalReason::kAboveTarget, wanted};
  }
  if (ratio >= 1 - spec_.tolerance) return same(ProposalReason::kInTolerance);
  // The demand of a sum is the tier's whole demand: nothing has to be added for the warming ones.
  int enough = wanted + (policy.total ? 0 : input.warming);
  wanted = std::max(enough, whole_instances(enough / (1 - spec_.tolerance)) - 1);
  if (wanted >= desired_) return same(ProposalReason::kOnTarget);
  return {{}, policy.scale_in ? ProposalReason::kBelowTarget : ProposalReason::kOnlyOut, wanted};
}

Proposal AutoscalerCore::propose_step(const ScalingPolicy& policy, PolicyState& state,
                                      const ScalingInput& input, double value) {
  BootTime now = input.now.boot;
  double beyond = policy.below ? policy.threshold - value : value - policy.threshold;
  const ScalingStep* step = nullptr;
  for (const ScalingStep& s : policy.steps)
    if (beyond >= s.offset) step = &s;
  if (beyond < 0 || step == nullptr) {
    state.beyond_since.reset();
    return {{}, ProposalReason::kNotBreached, 0};
  }
  if (!state.beyond_since) state.beyond_since = now;
  if (now - *state.beyond_since < policy.sustain) return {{}, ProposalReason::kNotYet, 0};
  bool cooling = state.stepped_at && now - *state.stepped_at < spec_.scale_out_cooldown;
  int base = cooling ? state.base : desired_;
  int wanted = step->change;
  if (policy.unit == StepUnit::kChange) wanted += base;
  if (policy.unit == StepUnit::kPercent) {
    int change = round_percent_change(base * (step->change / 100.0));
    if (std::abs(change) < policy.change_min)
      change = step->change < 0 ? -policy.change_min : policy.change_min;
    wanted = base + change;
  }
  wanted = std::max(wanted, 0);
  if (wanted > desired_) {
    if (!cooling) {
      state.stepped_at = now;
      state.base = desired_;
    }
    return {{}, ProposalReason::kStep, wanted};
  }
  if (wanted == desired_ || cooling) return {{}, ProposalReason::kComing, desired_};
  return {{}, policy.scale_in ? ProposalReason::kStep : ProposalReason::kOnlyOut, wanted};
}

int AutoscalerCore::most_proposed(const ScalingInput& input, Decision& d) {
  bool missing = false;
  for (std::size_t i = 0; i < spec_.policies.size(); ++i) {
    Proposal& p = d.proposals[i];
    p = propose(i, input);
    missing |= p.reason == ProposalReason::kNoData;
    if (p.proposes() && (!d.winner || p.wanted > d.proposals[*d.winner].wanted))
      d.winner = static_cast<std::uint8_t>(i);
  }
  if (!d.winner) {
    add_reason(d, ScalingReason::kNoProposal, desired_);
    return desired_;
  }
  int wanted = d.proposals[*d.winner].wanted;
  add_reason(d, ScalingReason::kPolicy, wanted);
  if (wanted < desired_ && missing) {
    add_reason(d, ScalingReason::kMissingData, desired_);
    return desired_;
  }
  d.needed = std::clamp(wanted, spec_.min, spec_.max);
  return wanted;
}

// ------------------------------------------------------------------------------------- limits

AutoscalerCore::Range AutoscalerCore::range(Now now, Decision& d) {
  Range r{spec_.min, spec_.max, ScalingReason::kMinimum, ScalingReason::kMaximum};
  auto raise = [&](int floor, ScalingReason why) {
    if (floor > r.floor) r.floor = floor, r.floor_why = why;
  };
  auto lower = [&](int ceiling, ScalingReason why) {
    if (ceiling < r.ceiling) r.ceiling = ceiling, r.ceiling_why = why;
  };
  for (const ScalingSchedule& schedule : spec_.schedules) {
    if (!in_force(schedule, now.wall, spec_.utc_offset)) continue;
    if (schedule.min) raise(*schedule.min, ScalingReason::kSchedule);
    if (schedule.max) lower(*schedule.max, ScalingReason::kSchedule);
  }
  if (spec_.forecast != ForecastMode::kOff) {
    // For the time when an instance that is started now has warmed up.
    d.predicted = forecast_.predict(now.wall + spec_.warm_up);
    if (d.predicted && spec_.forecast == ForecastMode::kFloor)
      raise(*d.predicted, ScalingReason::kForecast);
  }
  if (frozen_until_ && now.boot >= *frozen_until_) frozen_until_.reset(), failover_floor_ = 0;
  raise(failover_floor_, ScalingReason::kFailover);
  if (bounds_ && now.wall >= bounds_->until) bounds_.reset();
  if (bounds_) {  // a person knows better than schedules and forecasts
    if (bounds_->min) r.floor = *bounds_->min, r.floor_why = ScalingReason::kOperator;
    if (bounds_->max) r.ceiling = *bounds_->max, r.ceiling_why = ScalingReason::kOperator;
  }
  r.ceiling = std::clamp(r.ceiling, 0, spec_.max);
  r.floor = std::min(r.floor, r.ceiling);
  return r;
}

int AutoscalerCore::rate_limited(BootTime now, int wanted, int floor, Decision& d) {
  if (!rate_since_ || now - *rate_since_ >= spec_.rate_period) {
    rate_since_ = now;
    rate_base_ = desired_;
  }
  int allowed = std::max({whole_instances(rate_base_ * (1 + spec_.rate_percent)),
                          rate_base_ + spec_.rate_count, floor, desired_});
  if (wanted <= allowed) return wanted;
  add_reason(d, ScalingReason::kRate, allowed);
  return allowed;
}

// `wanted` is fewer than there are: how far the number may really go down now.
int AutoscalerCore::held(const ScalingInput& input, int wanted, Decision& d) {
  auto hold = [&](ScalingReason why, int number) {
    add_reason(d, why, number);
    return number;
  };
  if (frozen_until_) return hold(ScalingReason::kHoldDown, desired_);
  if (int kept = std::min(input.protected_instances, desired_); kept > wanted)
    wanted = hold(ScalingReason::kProtected, kept);
  if (int most = std::min(window_.front().wanted, desired_); most > wanted)
    wanted = hold(ScalingReason::kStabilisation, most);
  if (wanted < desired_ && scaled_in_at_ &&
      input.now.boot - *scaled_in_at_ < spec_.scale_in_cooldown)
    wanted = hold(ScalingReason::kCooldown, desired_);
  return wanted;
}

void AutoscalerCore::remember(BootTime now, int wanted) {
  if (window_.empty()) window_.push_back({now, desired_});  // nothing is known of the time before
  while (!window_.empty() && window_.back().wanted <= wanted) window_.pop_back();
  window_.push_back({now, wanted});
  while (window_.size() > 1 && now - window_.front().at >= spec_.stabilisation) window_.pop_front();
}

void AutoscalerCore::note_need(WallTime now, int needed) {
  forecast_.observe(now, needed);
  std::int64_t hour = hour_of(now, 0s);
  if (!peaks_.empty() && hour < peaks_.back().first) return;  // the wall clock was set back
  if (peaks_.empty() || hour > peaks_.back().first)
    peaks_.emplace_back(hour, needed);
  else
    peaks_.back().second = std::max(peaks_.back().second, needed);
  while (hour - peaks_.front().first > kPeakHours) peaks_.pop_front();
}

std::optional<int> AutoscalerCore::peak(WallTime now) const {
  std::int64_t hour = hour_of(now, 0s);
  std::optional<int> most;
  for (const auto& [at, needed] : peaks_)
    if (hour - at <= kPeakHours) most = std::max(most.value_or(0), needed);
  return most;
}

Decision AutoscalerCore::decide(const ScalingInput& input) {
  LEEWARD_CHECK(input.samples.size() == spec_.policies.size());
  Decision d;
  d.at = input.now;
  d.before = desired_;
  d.counted = input.counted;
  d.warming = input.warming;
  d.policies = static_cast<std::uint8_t>(spec_.policies.size());
  int wanted = most_proposed(input, d);
  if (d.needed > 0) note_need(input.now.wall, d.needed);

  Range r = range(input.now, d);
  if (wanted < r.floor) add_reason(d, r.floor_why, wanted = r.floor);
  if (wanted > r.ceiling) add_reason(d, r.ceiling_why, wanted = r.ceiling);
  remember(input.now.boot, wanted);
  if (wanted > desired_) wanted = rate_limited(input.now.boot, wanted, r.floor, d);
  if (wanted < desired_) wanted = held(input, wanted, d);
  // A lowered ceiling is an order, not a wish: it holds at once.
  if (wanted > r.ceiling) add_reason(d, r.ceiling_why, wanted = r.ceiling);
  if (wanted < desired_) scaled_in_at_ = input.now.boot;
  if (wanted > desired_) scaled_in_at_.reset();
  desired_ = d.desired = wanted;
  return d;
}

}  // namespace leeward::compute

// How many instances a tier should have, as a pure function of its metrics and its past.
//
// Each decision goes through these steps, in this order; each step that changes the number, or that
// keeps it from changing, is in the decision's list of reasons.
//
//  1. Every policy proposes a number (below). The highest proposal wins (AWS: "the policy that
//     provides the largest capacity for both scale out and scale in").
//  2. A policy without data proposes nothing, and as long as one has no data nothing scales in
//     (AWS: insufficient data; missing data is no change).
//  3. Floors: the minimum, a schedule, the forecast, what an operator set, the failover's floor.
//     Ceilings: the maximum, a schedule, what an operator set.
//  4. Out: at most max(rate_percent, rate_count) more in each rate_period (Kubernetes' HPA policy).
//     A floor is not delayed by it.
//  5. In: not during a failover's hold-down; not below the number of protected instances; only to
//     the most that was wanted at any time of the stabilisation window; not within
//     scale_in_cooldown of the last scale-in. Any scale-out ends that cooldown (AWS).
//
// Target tracking: `counted` instances are ready and warmed up, `warming` ones are not yet.
//   demand = counted × value / target (for a sum over the tier: value / target), in instances.
//   Out: ceil(demand), if that is more than what is there or on its way: a warming instance has no
//   load yet but is capacity being added, so one breach leads to one scale-out (AWS's warm-up).
//   In: n = ceil(demand) + warming: a warming instance is taken to be fully used (HPA). From ten on
//   n / (1 − tolerance) − 1 is more than n, and asked for instead: AWS's low alarm leaves a tier
//   alone down to 90 % of the target, so it may keep that many for the same load.
//   Within `tolerance` of the target nothing changes, unless more than one instance is lacking (a
//   large tier), or the mean of a minute stays above the target for tolerance_for: AWS acts on
//   three data points of a minute however close they are (two minutes here: the first of AWS's may
//   have risen above it at its end only).
// Steps: AWS's step adjustments. While scale_out_cooldown of a policy's scale-out lasts, its next
//   step starts from the number before that scale-out, so that what is already being added counts.
//   kPercent rounds as AWS does: beyond 1 towards zero, between 0 and 1 to 1.
//
// Failover: the standby does not wait for load. activate() sets a floor, the primary's maximum of
// the last 24 hours × failover_percent (as AWS ARC Region switch scales before it moves traffic),
// and freezes scale-in until the hold-down ends.
//
// Why stabilisation is 18 minutes by default: AWS's low alarm needs 15 data points of a minute
// each, and the newest is up to two minutes old. With less, this scaler would be below AWS's for
// these minutes (tests/unit/compute/autoscaler_sim_test.cc compares them).
//
// Pure: no clock, no I/O. `now` never goes back. All memory is bounded: the stabilisation window
// keeps numbers that descend, so never more than `max` of them.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "compute/forecast_core.h"
#include "model/scaling.h"

namespace leeward::compute {

enum class ProposalReason : std::uint8_t {
  kNoData,       // proposes nothing, and forbids scaling in
  kOnTarget,     // the same number
  kInTolerance,  // the same number
  kAboveTarget,  // more
  kBelowTarget,  // fewer
  kComing,       // what is warming up is enough: the same number
  kNotBreached,  // steps: proposes nothing
  kNotYet,       // steps: breached, but not for long enough; proposes nothing
  kStep,         // steps: breached
  kOnlyOut,      // wants fewer, but may not ask for it: proposes nothing
};
std::string_view name(ProposalReason r);

struct Proposal {
  std::optional<double> value;  // of the metric
  ProposalReason reason = ProposalReason::kNoData;
  int wanted = 0;  // meaningless where it proposes nothing
  bool proposes() const {
    return reason != ProposalReason::kNoData && reason != ProposalReason::kNotBreached &&
           reason != ProposalReason::kNotYet && reason != ProposalReason::kOnlyOut;
  }
};

enum class ScalingReason : std::uint8_t {
  kPolicy,       // the proposal that won
  kNoProposal,   // no policy proposed anything: as it was
  kMissingData,  // would scale in, but a policy has no data
  kMinimum,
  kMaximum,
  kSchedule,
  kForecast,
  kFailover,       // the floor of a failover
  kOperator,       // `leeward scale set`
  kRate,           // not faster than the rate limit
  kHoldDown,       // would scale in, but the failover's hold-down lasts
  kProtected,      // would scale in, but these instances are protected
  kStabilisation,  // would scale in further, but more was wanted a short while ago
  kCooldown,       // would scale in, but did so a short while ago
};
std::string_view name(ScalingReason r);

struct Decision {
  static constexpr std::size_t kReasonsMax = 16;

  Now at;
  int before = 0;
  int desired = 0;
  int counted = 0;
  int warming = 0;
  std::uint8_t policies = 0;  // used entries of `proposals`
  std::array<Proposal, ScalingSpec::kPoliciesMax> proposals;
  std::optional<std::uint8_t> winner;  // index of the policy that proposed most
  struct Reason {
    ScalingReason why{};
    int number = 0;  // after it
  };
  std::uint8_t reason_count = 0;
  std::array<Reason, kReasonsMax> reasons;
  std::optional<int> predicted;  // by the forecast, for the hour that an instance would be ready in
  int needed = 0;                // by the policies alone, within min and max

  bool changed() const { return desired != before; }
  bool because(ScalingReason why) const;
};

// What a person reads: which policy wanted what, and why this number.
//   "2 → 4: cpu wanted 5 (value 143.0, target 60.0, above the target); not faster than the rate
//    limit: 4"
std::string explain(const ScalingSpec& spec, const Decision& decision);

// What an operator set (`leeward scale set`).
struct OperatorBounds {
  std::optional<int> min;
  std::optional<int> max;
  WallTime until;
};

// Kept over a restart and sent to the other site.
struct AutoscalerMemory {
  int desired = 0;
  std::optional<OperatorBounds> bounds;
  // The most that was needed in each of the last 24 hours, by hour since the epoch.
  std::vector<std::pair<std::int64_t, int>> peaks;
  ForecastMemory forecast;
  std::optional<WallTime> frozen_until;  // a failover's hold-down
  int failover_floor = 0;
};

struct ScalingInput {
  Now now;
  int counted = 0;  // instances that are ready and warmed up: the metrics are theirs
  int warming = 0;  // that run or are being started, and are not counted yet
  int protected_instances = 0;
  std::span<const std::optional<double>> samples;  // one a policy; none: no data
};

class AutoscalerCore {
 public:
  // REQUIRES: a spec that config has checked (min ≤ max, at most kPoliciesMax policies, targets
  // above zero).
  AutoscalerCore(ScalingSpec spec, int initial);
  void restore(const AutoscalerMemory& memory, Now now);
  AutoscalerMemory memory(Now now) const;

  // REQUIRES: one sample for each policy. To be called every spec().interval while the site serves.
  Decision decide(const ScalingInput& input);

  // The site becomes the one that serves. `peak`: the most that the former one needed in 24 hours,
  // if known. The desired number is at least the floor at once.
  void activate(Now now, std::optional<int> peak, bool failover);
  void deactivate();

  void set(const std::optional<OperatorBounds>& bounds) { bounds_ = bounds; }
  const std::optional<OperatorBounds>& bounds() const { return bounds_; }

  int desired() const { return desired_; }
  // The most that was needed in the last 24 hours; nothing before the first decision.
  std::optional<int> peak(WallTime now) const;
  std::optional<BootTime> frozen_until() const { return frozen_until_; }
  const ScalingSpec& spec() const { return spec_; }
  const ForecastCore& forecast() const { return forecast_; }

 private:
  struct PolicyState {
    std::optional<BootTime> beyond_since;  // the mean has been above the target, or breaching
    std::deque<std::pair<BootTime, double>>
        recent;                          // oldest first: the last minute's value / target
    std::optional<BootTime> stepped_at;  // steps: the scale-out whose cooldown may last
    int base = 0;                        // steps: the number before it
  };
  struct WindowEntry {
    BootTime at;
    int wanted;
  };

  struct Range {
    int floor;
    int ceiling;
    ScalingReason floor_why;
    ScalingReason ceiling_why;
  };

  Proposal propose(std::size_t index, const ScalingInput& input);
  static constexpr std::size_t kRecentMax = 60;
  static double mean_ratio(PolicyState& state, BootTime now, double ratio);
  Proposal propose_target(const ScalingPolicy& policy, PolicyState& state,
                          const ScalingInput& input, double value);
  Proposal propose_step(const ScalingPolicy& policy, PolicyState& state, const ScalingInput& input,
                        double value);
  int most_proposed(const ScalingInput& input, Decision& d);
  Range range(Now now, Decision& d);
  int rate_limited(BootTime now, int wanted, int floor, Decision& d);
  int held(const ScalingInput& input, int wanted, Decision& d);
  void remember(BootTime now, int wanted);
  void note_need(WallTime now, int needed);

  ScalingSpec spec_;
  int desired_;
  std::vector<PolicyState> states_;
  std::deque<WindowEntry> window_;  // descending wanted, ascending time: its front is the maximum
  std::optional<BootTime> scaled_in_at_;
  std::optional<BootTime> rate_since_;
  int rate_base_ = 0;
  std::optional<BootTime> frozen_until_;
  int failover_floor_ = 0;
  std::optional<OperatorBounds> bounds_;
  std::deque<std::pair<std::int64_t, int>> peaks_;
  ForecastCore forecast_;
};

// Which instances a scale-in ends.
struct Victim {
  int number = 0;
  bool healthy = true;  // ready
  bool old_revision = false;
  bool is_protected = false;
  std::uint64_t connections = 0;  // requests under way, or established connections
  BootTime since;                 // started
};
// At most `count`, in the order in which they should go: unhealthy ones first, then those of an old
// revision, then those with the fewest connections, then the youngest (its caches are coldest).
// Protected ones never.
std::vector<int> choose_victims(std::span<const Victim> instances, int count);

// AWS's rounding of a percentage of a capacity (its guide to step adjustments): beyond 1 towards
// zero, between 0 and 1 away from it.
int round_percent_change(double change);

}  // namespace leeward::compute

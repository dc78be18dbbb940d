#include "compute/autoscaler_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace leeward::compute {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Monday 2026-01-05 00:00 UTC.
const WallTime kMonday{std::chrono::seconds(1767571200)};
constexpr Duration kHour = std::chrono::hours(1);

ScalingPolicy tracking(std::string name, double target) {
  ScalingPolicy policy;
  policy.name = std::move(name);
  policy.target = target;
  return policy;
}

ScalingPolicy stepping(double threshold, std::vector<ScalingStep> steps) {
  ScalingPolicy policy;
  policy.name = "latency";
  policy.kind = ScalingKind::kStep;
  policy.threshold = threshold;
  policy.steps = std::move(steps);
  return policy;
}

class Scaling : public ::testing::Test {
 protected:
  void make(std::vector<ScalingPolicy> policies, int initial) {
    spec.policies = std::move(policies);
    core.emplace(spec, initial);
  }
  // All instances have warmed up unless said otherwise.
  Decision decide(std::vector<std::optional<double>> samples, int warming = 0) {
    ScalingInput input;
    input.now = now;
    input.counted = core->desired() - warming;
    input.warming = warming;
    input.protected_instances = protected_instances;
    input.samples = samples;
    return core->decide(input);
  }
  // The same metrics every interval; returns the last decision.
  Decision live(Duration time, std::vector<std::optional<double>> samples) {
    Decision d;
    for (Duration passed{}; passed < time; passed += spec.interval) {
      advance(spec.interval);
      d = decide(samples);
    }
    return d;
  }
  void advance(Duration d) {
    now.boot += d;
    now.wall += d;
  }

  ScalingSpec spec = [] {
    ScalingSpec s;
    s.min = 1;
    s.max = 20;
    return s;
  }();
  std::optional<AutoscalerCore> core;
  Now now{BootTime{1000s}, kMonday};
  int protected_instances = 0;
};

TEST_F(Scaling, TracksItsTargetInProportion) {
  make({tracking("cpu", 60)}, 4);
  Decision d = decide({90.0});
  EXPECT_EQ(d.desired, 6);
  EXPECT_EQ(d.proposals[0].reason, ProposalReason::kAboveTarget);
  EXPECT_EQ(explain(spec, d), "4 → 6: cpu wanted 6 (value 90, target 60, above the target)");
}

TEST_F(Scaling, ASumOverTheTierNeedsNoInstanceToMeasureIt) {
  ScalingPolicy queue = tracking("queue", 100);
  queue.total = true;
  make({queue}, 2);
  EXPECT_EQ(decide({730.0}, 2).desired, 6) << "at most four more at once";
  advance(20s);
  EXPECT_EQ(decide({730.0}, 6).desired, 8);
}

TEST_F(Scaling, CloseToTheTargetNothingChangesUnlessItLasts) {
  make({tracking("cpu", 60)}, 10);
  EXPECT_EQ(decide({65.0}).proposals[0].reason, ProposalReason::kInTolerance);
  EXPECT_EQ(decide({55.0}).proposals[0].reason, ProposalReason::kInTolerance);
  Decision d = live(110s, {65.0});
  EXPECT_FALSE(d.changed());
  d = live(20s, {65.0});
  EXPECT_EQ(d.desired, 11) << "it was above the target for two minutes";
}

TEST_F(Scaling, WhatIsWarmingUpIsCapacityBeingAdded) {
  make({tracking("cpu", 60)}, 2);
  EXPECT_EQ(decide({120.0}).desired, 4);
  advance(10s);
  Decision d = decide({120.0}, 2);  // the old two are still as busy
  EXPECT_EQ(d.desired, 4);
  EXPECT_EQ(d.proposals[0].reason, ProposalReason::kComing);
  advance(10s);
  EXPECT_EQ(decide({150.0}, 2).desired, 5) << "more load than what was added for";
}

TEST_F(Scaling, AWarmingInstanceCountsAsFullyUsedWhenScalingIn) {
  spec.stabilisation = 0s;
  make({tracking("cpu", 60)}, 10);
  // Eight measured at a quarter of the target need two; the two that warm up may need two more.
  EXPECT_EQ(decide({15.0}, 2).desired, 4);
}

TEST_F(Scaling, TheHighestProposalWins) {
  make({tracking("cpu", 60), tracking("requests", 100)}, 4);
  Decision d = decide({66.5, 160.0});
  EXPECT_EQ(d.desired, 7);
  EXPECT_EQ(d.winner, 1);
  EXPECT_THAT(explain(spec, d), HasSubstr("cpu wanted 5"));
  EXPECT_THAT(explain(spec, d), HasSubstr("the highest proposal: 7"));
}

TEST_F(Scaling, ScalesInOnlyWhenEveryPolicyAgrees) {
  spec.stabilisation = 0s;
  make({tracking("cpu", 60), tracking("memory", 70)}, 4);
  EXPECT_EQ(decide({10.0, 70.0}).desired, 4);
  EXPECT_EQ(decide({10.0, 30.0}).desired, 2);
}

TEST_F(Scaling, APolicyThatMayNotScaleInHasNoSayInIt) {
  spec.stabilisation = 0s;
  ScalingPolicy only_out = tracking("requests", 100);
  only_out.scale_in = false;
  make({tracking("cpu", 60), only_out}, 4);
  EXPECT_EQ(decide({30.0, 10.0}).desired, 2);
  make({only_out}, 4);
  EXPECT_EQ(decide({10.0}).desired, 4);
}

TEST_F(Scaling, MissingDataIsNoChange) {
  spec.stabilisation = 0s;
  make({tracking("cpu", 60), tracking("requests", 100)}, 4);
  Decision d = decide({std::nullopt, std::nullopt});
  EXPECT_FALSE(d.changed());
  EXPECT_TRUE(d.because(ScalingReason::kNoProposal));
  d = decide({10.0, std::nullopt});
  EXPECT_FALSE(d.changed());
  EXPECT_TRUE(d.because(ScalingReason::kMissingData));
  EXPECT_EQ(decide({90.0, std::nullopt}).desired, 6) << "more is safe";
}

TEST_F(Scaling, ANumberThatIsNoneIsMissing) {
  make({tracking("cpu", 60)}, 4);
  for (double v : {std::nan(""), std::numeric_limits<double>::infinity()})
    EXPECT_EQ(decide({v}).proposals[0].reason, ProposalReason::kNoData);
  EXPECT_EQ(decide({1e300}).desired, 8) << "absurd, but bounded by the rate limit";
}

TEST_F(Scaling, WithoutAWarmInstanceItsAverageSaysNothing) {
  make({tracking("cpu", 60)}, 2);
  EXPECT_EQ(decide({500.0}, 2).proposals[0].reason, ProposalReason::kNoData);
}

TEST_F(Scaling, GrowsNoFasterThanTheRateLimit) {
  make({tracking("cpu", 60)}, 2);
  Decision d = decide({600.0});
  EXPECT_EQ(d.desired, 6) << "2 + 4 is more than double";
  EXPECT_TRUE(d.because(ScalingReason::kRate));
  advance(10s);
  EXPECT_EQ(decide({600.0}).desired, 6) << "the same period";
  advance(10s);
  EXPECT_EQ(decide({600.0}).desired, 12) << "double is more than 6 + 4";
  advance(20s);
  d = decide({600.0});
  EXPECT_EQ(d.desired, 20);
  EXPECT_TRUE(d.because(ScalingReason::kMaximum));
}

TEST_F(Scaling, ScalesInOnlyToTheMostThatWasWantedOfLate) {
  make({tracking("cpu", 60)}, 10);
  decide({60.0});
  Decision d = live(17min, {18.0});
  EXPECT_EQ(d.desired, 10);
  EXPECT_TRUE(d.because(ScalingReason::kStabilisation));
  live(1min, {36.0});  // needs six for a minute
  live(1min, {18.0});
  EXPECT_EQ(core->desired(), 6);
  live(20min, {30.0});
  EXPECT_EQ(core->desired(), 3);
}

TEST_F(Scaling, ScalesInOncePerCooldownWhichAScaleOutEnds) {
  spec.stabilisation = 0s;
  make({tracking("cpu", 60)}, 10);
  EXPECT_EQ(decide({30.0}).desired, 5);
  advance(1min);
  Decision d = decide({24.0});
  EXPECT_EQ(d.desired, 5);
  EXPECT_TRUE(d.because(ScalingReason::kCooldown));
  advance(10s);
  EXPECT_EQ(decide({72.0}).desired, 6) << "out is never delayed by it";
  advance(10s);
  EXPECT_EQ(decide({20.0}).desired, 2);
}

TEST_F(Scaling, ProtectedInstancesStay) {
  spec.stabilisation = 0s;
  make({tracking("cpu", 60)}, 6);
  protected_instances = 4;
  Decision d = decide({6.0});
  EXPECT_EQ(d.desired, 4);
  EXPECT_TRUE(d.because(ScalingReason::kProtected));
}

// ---------------------------------------------------------------------------------------- steps

TEST_F(Scaling, TakesTheStepThatTheBreachReaches) {
  make({stepping(300, {{0, 1}, {200, 3}})}, 2);
  EXPECT_EQ(decide({299.0}).proposals[0].reason, ProposalReason::kNotBreached);
  EXPECT_EQ(decide({300.0}).desired, 3);
  make({stepping(300, {{0, 1}, {200, 3}})}, 2);
  EXPECT_EQ(decide({500.0}).desired, 5);
}

TEST_F(Scaling, DuringAStepsCooldownWhatIsBeingAddedCounts) {
  make({stepping(300, {{0, 2}, {200, 3}})}, 2);
  EXPECT_EQ(decide({350.0}).desired, 4);
  advance(20s);
  EXPECT_EQ(decide({350.0}).desired, 4);
  EXPECT_EQ(decide({550.0}).desired, 5) << "three, of which two are there";
  advance(60s);
  EXPECT_EQ(decide({350.0}).desired, 7) << "the cooldown is over";
}

TEST_F(Scaling, AStepWaitsUntilItsBreachHasLasted) {
  ScalingPolicy policy = stepping(300, {{0, 1}});
  policy.sustain = 30s;
  make({policy}, 2);
  EXPECT_EQ(decide({400.0}).proposals[0].reason, ProposalReason::kNotYet);
  EXPECT_FALSE(live(20s, {400.0}).changed());
  EXPECT_FALSE(live(10s, {200.0}).changed());
  EXPECT_FALSE(live(30s, {400.0}).changed()) << "it began anew";
  EXPECT_TRUE(live(10s, {400.0}).changed());
}

TEST_F(Scaling, AStepDownGoesOneAfterTheOther) {
  spec.stabilisation = 0s;
  ScalingPolicy policy = stepping(20, {{0, -1}});
  policy.below = true;
  make({policy}, 5);
  EXPECT_EQ(decide({25.0}).desired, 5);
  EXPECT_EQ(decide({15.0}).desired, 4);
  EXPECT_EQ(live(4min, {15.0}).desired, 4);
  live(1min, {15.0});
  EXPECT_EQ(core->desired(), 3);
}

TEST_F(Scaling, RoundsPercentagesAsAwsDocuments) {
  EXPECT_EQ(round_percent_change(12.7), 12);
  EXPECT_EQ(round_percent_change(0.67), 1);
  EXPECT_EQ(round_percent_change(-0.58), -1);
  EXPECT_EQ(round_percent_change(-6.67), -6);
  EXPECT_EQ(round_percent_change(0), 0);
  ScalingPolicy policy = stepping(300, {{0, 10}});
  policy.unit = StepUnit::kPercent;
  policy.change_min = 2;
  make({policy}, 10);
  EXPECT_EQ(decide({400.0}).desired, 12) << "10 % is one, the least is two";
  policy.unit = StepUnit::kExact;
  make({policy}, 7);
  EXPECT_EQ(decide({400.0}).desired, 10);
}

// --------------------------------------------------------------------------- schedule, forecast

TEST_F(Scaling, AScheduleBoundsItsHours) {
  ScalingSchedule office;
  office.name = "office";
  office.days = {true, true, true, true, true, false, false};
  office.from = 8 * kHour;
  office.until = 18 * kHour;
  office.min = 5;
  ScalingSchedule night;
  night.days = {false, false, false, false, true, false, false};  // Friday to Saturday
  night.from = 22 * kHour;
  night.until = 6 * kHour;
  night.max = 2;
  spec.schedules = {office, night};
  spec.utc_offset = 9 * kHour;
  make({tracking("cpu", 60)}, 1);
  now.wall = kMonday - 1h - 1min;  // 07:59 there
  EXPECT_EQ(decide({60.0}).desired, 1);
  now.wall = kMonday - 1h;
  Decision d = decide({60.0});
  EXPECT_EQ(d.desired, 5);
  EXPECT_TRUE(d.because(ScalingReason::kSchedule));
  now.wall = kMonday + 4 * 24h + 13h;  // Friday 22:00 there
  EXPECT_EQ(decide({90.0}).desired, 2) << "at once, an order";
  now.wall += 8h - 1s;
  EXPECT_EQ(decide({90.0}).desired, 2);
  now.wall += 1s;
  EXPECT_EQ(decide({90.0}).desired, 3);
}

TEST_F(Scaling, AForecastIsAFloorOnlyWhenAskedFor) {
  AutoscalerMemory memory;
  for (int week = 0; week < 2; ++week)
    memory.forecast.needs.emplace_back(hour_of(kMonday, 0s) + (week - 2) * kHoursOfWeek, 6);
  for (ForecastMode mode : {ForecastMode::kOff, ForecastMode::kObserve, ForecastMode::kFloor}) {
    spec.forecast = mode;
    make({tracking("cpu", 60)}, 1);
    core->restore(memory, now);
    Decision d = decide({60.0});
    EXPECT_EQ(d.desired, mode == ForecastMode::kFloor ? 6 : 1);
    EXPECT_EQ(d.predicted.has_value(), mode != ForecastMode::kOff);
    EXPECT_EQ(d.because(ScalingReason::kForecast), mode == ForecastMode::kFloor);
    EXPECT_EQ(d.needed, 1) << "the forecast must not learn from itself";
  }
}

TEST_F(Scaling, AForecastLooksAheadByTheWarmUp) {
  AutoscalerMemory memory;
  for (int week = 0; week < 2; ++week)
    memory.forecast.needs.emplace_back(hour_of(kMonday, 0s) + (week - 2) * kHoursOfWeek, 6);
  spec.forecast = ForecastMode::kFloor;
  make({tracking("cpu", 60)}, 1);
  core->restore(memory, now);
  now.wall = kMonday - spec.warm_up - 1s;
  EXPECT_EQ(decide({60.0}).desired, 1);
  now.wall += 1s;
  EXPECT_EQ(decide({60.0}).desired, 6);
}

// ------------------------------------------------------------------------------------- failover

TEST_F(Scaling, AFailoverStartsWithWhatTheOtherSiteNeeded) {
  spec.failover_percent = 1.2;
  make({tracking("cpu", 60)}, 1);
  core->activate(now, 6, true);
  EXPECT_EQ(core->desired(), 8) << "6 × 120 % = 7.2";
  // No load yet: nothing is taken away before the hold-down ends.
  Decision d = live(29min, {1.0});
  EXPECT_EQ(d.desired, 8);
  EXPECT_TRUE(d.because(ScalingReason::kFailover));
  live(2min + spec.stabilisation, {1.0});
  EXPECT_EQ(core->desired(), 1);
}

TEST_F(Scaling, DuringTheHoldDownItScalesOutOnly) {
  make({tracking("cpu", 60)}, 1);
  core->activate(now, 4, true);
  EXPECT_EQ(decide({90.0}).desired, 6);
  Decision d = live(25min, {30.0});
  EXPECT_EQ(d.desired, 6);
  EXPECT_TRUE(d.because(ScalingReason::kHoldDown));
}

TEST_F(Scaling, AHoldDownOutlivesARestart) {
  make({tracking("cpu", 60)}, 1);
  core->activate(now, 6, true);
  live(10min, {1.0});
  AutoscalerMemory memory = core->memory(now);
  Now later{BootTime{5s}, now.wall + 1min};  // after a reboot
  AutoscalerCore next(spec, 1);
  next.restore(memory, later);
  EXPECT_EQ(next.desired(), 6);
  EXPECT_EQ(next.frozen_until(), later.boot + 19min);
  memory.frozen_until = now.wall + 24h;  // by a clock that was wrong
  next.restore(memory, later);
  EXPECT_EQ(next.frozen_until(), later.boot + spec.hold_down);
}

TEST_F(Scaling, AFloorIsNotDelayedByTheRateLimit) {
  make({tracking("cpu", 60)}, 1);
  core->activate(now, 19, true);
  EXPECT_EQ(core->desired(), 19);
  make({tracking("cpu", 60)}, 1);
  core->set(OperatorBounds{15, std::nullopt, now.wall + 1h});
  EXPECT_EQ(decide({60.0}).desired, 15);
}

TEST_F(Scaling, AFailoverWithoutNewsFromTheOtherSiteKeepsItsOwnNumber) {
  make({tracking("cpu", 60)}, 3);
  core->activate(now, std::nullopt, true);
  EXPECT_EQ(core->desired(), 3);
  EXPECT_EQ(live(29min, {1.0}).desired, 3);
}

TEST_F(Scaling, ThePeakIsThatOfTheLast24Hours) {
  make({tracking("cpu", 60)}, 2);
  EXPECT_FALSE(core->peak(now.wall).has_value());
  decide({200.0});  // needs seven, gets six
  EXPECT_EQ(core->peak(now.wall), 7);
  live(23h, {30.0});
  EXPECT_EQ(core->peak(now.wall), 7);
  live(3h, {30.0});
  EXPECT_LT(core->peak(now.wall), 7);
  AutoscalerCore next(spec, 1);
  next.restore(core->memory(now), now);
  EXPECT_EQ(next.peak(now.wall), core->peak(now.wall));
  EXPECT_EQ(next.desired(), core->desired());
}

// ------------------------------------------------------------------------------------- operator

TEST_F(Scaling, AnOperatorsNumberHoldsUntilItExpires) {
  spec.stabilisation = 0s;
  make({tracking("cpu", 60)}, 4);
  core->set(OperatorBounds{2, 2, now.wall + 10min});
  Decision d = decide({90.0});
  EXPECT_EQ(d.desired, 2);
  EXPECT_TRUE(d.because(ScalingReason::kOperator));
  live(9min, {90.0});
  EXPECT_EQ(core->desired(), 2);
  live(90s, {90.0});
  EXPECT_GT(core->desired(), 2);
  EXPECT_FALSE(core->bounds().has_value());
}

TEST_F(Scaling, NeverLeavesTheConfiguredMaximum) {
  make({tracking("cpu", 60)}, 4);
  core->set(OperatorBounds{90, 100, now.wall + 1h});
  EXPECT_EQ(decide({60.0}).desired, 20);
}

// -------------------------------------------------------------------------------------- victims

TEST_F(Scaling, EndsTheLeastUsefulInstancesFirst) {
  auto victim = [](int number, bool healthy, bool old, std::uint64_t connections, int age) {
    return Victim{number, healthy, old, false, connections, BootTime{-std::chrono::seconds(age)}};
  };
  std::vector<Victim> all{victim(0, true, false, 2, 100), victim(1, true, false, 9, 10),
                          victim(2, true, true, 50, 50),  victim(3, false, false, 70, 90),
                          victim(4, true, false, 2, 20),  victim(5, false, true, 80, 5)};
  EXPECT_THAT(choose_victims(all, 6), ElementsAre(5, 3, 2, 4, 0, 1));
  EXPECT_THAT(choose_victims(all, 2), ElementsAre(5, 3));
  all[5].is_protected = true;
  EXPECT_THAT(choose_victims(all, 2), ElementsAre(3, 2));
  EXPECT_THAT(choose_victims(all, 0), IsEmpty());
}

}  // namespace
}  // namespace leeward::compute

// Replayed traces against a simulated tier, and against a model of AWS's target tracking.
//
// Two things are claimed and checked here.
//
// It never oscillates. Said exactly: a scale-in is undone when, within the stabilisation window
// after it, the number grows above what the scale-in left, although the load has not needed more
// since than it had needed in the stabilisation window before. No scale-in is ever undone; under a
// steady load the number settles; and a load that flaps faster than the window causes no scale-in
// at all.
//
// It is never more than one instance below what AWS would have at that moment.
#include <gtest/gtest.h>

#include "scaling_world.h"

namespace leeward::compute {
namespace {

constexpr int kHour = 3600;
constexpr int kWindow = 18 * 60;  // the default stabilisation

double sinus(int t, int period, double mean, double swing) {
  return mean + swing * std::sin(2 * 3.14159265358979 * t / period);
}

Trace step_trace() {
  return {"step", 4 * kHour, [](int t) { return t < kHour ? 1.0 : t < 2 * kHour ? 9.0 : 1.5; }};
}
Trace ramp_trace() {
  return {"ramp", 6 * kHour, [](int t) {
            double up = 1 + 20.0 * std::min(t, 2 * kHour) / (2 * kHour);
            double down = 20.0 * std::clamp(t - 3 * kHour, 0, 2 * kHour) / (2 * kHour);
            return up - down;
          }};
}
Trace spike_trace() {
  return {"spike", 4 * kHour, [](int t) {
            bool spike = (t >= kHour && t < kHour + 300) || (t >= 2 * kHour && t < 2 * kHour + 40);
            return spike ? 14.0 : 2.0;
          }};
}
Trace sinus_trace() {
  return {"sinus", 12 * kHour, [](int t) { return sinus(t, 3 * kHour, 8, 6); }};
}
Trace slow_sinus_trace() {
  return {"slow sinus", 24 * kHour, [](int t) { return sinus(t, 12 * kHour, 15, 12); }};
}
// The metric is gone while the load rises, and later while it falls.
Trace missing_trace() {
  Trace t{"missing data", 6 * kHour, [](int s) {
            return s < kHour ? 3.0 : s < 3 * kHour ? 8.0 : 2.0;
          }};
  t.has_data = [](int s) {
    bool rising = s >= kHour - 300 && s < kHour + 300;
    bool falling = s >= 3 * kHour + 600 && s < 3 * kHour + 1800;
    bool torn = s >= 4 * kHour && s < 5 * kHour && s % 900 < 200;
    return !rising && !falling && !torn;
  };
  return t;
}
Trace flapping_trace(int half_period) {
  return {"flapping every " + std::to_string(half_period) + " s", 6 * kHour,
          [half_period](int t) { return (t / half_period) % 2 == 0 ? 2.0 : 8.0; }};
}
Trace random_trace(std::uint64_t seed) {
  // A walk between 0.5 and 30 with jumps, piecewise linear over five minutes.
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> step(-2, 2);
  std::uniform_real_distribution<double> chance(0, 1);
  auto points = std::make_shared<std::vector<double>>();
  double load = 4;
  for (int i = 0; i <= 8 * 12; ++i) {
    double jump = chance(random) < 0.1 ? 8 * step(random) : step(random);
    load = std::clamp(load + jump, 0.5, 30.0);
    points->push_back(load);
  }
  return {"walk " + std::to_string(seed), 8 * kHour - 300, [points](int t) {
            auto i = static_cast<std::size_t>(t / 300);
            double part = (t % 300) / 300.0;
            return (*points)[i] * (1 - part) + (*points)[i + 1] * part;
          }};
}

std::vector<Trace> traces() {
  std::vector<Trace> all{step_trace(),       ramp_trace(),           spike_trace(),
                         sinus_trace(),      slow_sinus_trace(),     missing_trace(),
                         flapping_trace(60), flapping_trace(3 * 60), flapping_trace(10 * 60)};
  for (std::uint64_t seed = 1; seed <= 15; ++seed) all.push_back(random_trace(seed));
  return all;
}

// The second of the first scale-in that was undone, or −1.
int undone_scale_in(const Replay& run) {
  int end = static_cast<int>(run.desired.size());
  auto at = [](const auto& v, int i) { return v[static_cast<std::size_t>(i)]; };
  for (int t = 1; t < end; ++t) {
    if (at(run.desired, t) >= at(run.desired, t - 1)) continue;
    double before = 0;
    for (int i = std::max(0, t - kWindow); i < t; ++i) before = std::max(before, at(run.demand, i));
    for (int i = t + 1; i < std::min(end, t + kWindow); ++i) {
      if (at(run.desired, i) <= at(run.desired, t)) continue;
      double after = 0;
      for (int j = t; j <= i; ++j) after = std::max(after, at(run.demand, j));
      if (after <= before) return t;
      break;  // the load did grow
    }
  }
  return -1;
}

int changes(const Replay& run, int from, int until) {
  int count = 0;
  for (int t = std::max(from, 1); t < until; ++t)
    count +=
        run.desired[static_cast<std::size_t>(t)] != run.desired[static_cast<std::size_t>(t - 1)];
  return count;
}

bool scales_in(const Replay& run, int from, int until) {
  for (int t = from; t < until; ++t)
    if (run.desired[static_cast<std::size_t>(t)] < run.desired[static_cast<std::size_t>(t - 1)])
      return true;
  return false;
}

TEST(AutoscalerSimulation, NoScaleInIsEverUndone) {
  for (const Trace& trace : traces())
    for (std::uint64_t seed : {1, 2, 3}) {
      Replay run = run_leeward(trace, seed);
      EXPECT_EQ(undone_scale_in(run), -1) << trace.name << ", seed " << seed;
    }
}

// The check above can fail: a scaler without its stabilisation window fails it.
TEST(AutoscalerSimulation, WithoutStabilisationAScaleInIsUndone) {
  ScalingSpec spec = cpu_tracking();
  spec.stabilisation = 0s;
  spec.scale_in_cooldown = 0s;
  EXPECT_NE(undone_scale_in(run_leeward(flapping_trace(3 * 60), 1, spec)), -1);
}

TEST(AutoscalerSimulation, UnderASteadyLoadTheNumberSettles) {
  for (double load : {0.3, 0.61, 1.0, 1.79, 2.4, 3.0, 5.97, 12.0, 29.9}) {
    Trace trace{"steady", 6 * kHour, [load](int) { return load; }};
    for (std::uint64_t seed : {1, 2, 3}) {
      Replay run = run_leeward(trace, seed);
      // A load that needs a whole number exactly (2.4 at 60 % is four) may seem to need more for
      // two minutes, once; then it has more.
      bool exact = std::abs(run.demand.back() - std::round(run.demand.back())) < 0.01;
      EXPECT_LE(changes(run, kHour, trace.seconds), exact ? 1 : 0) << load << ", seed " << seed;
      EXPECT_FALSE(scales_in(run, kHour, trace.seconds)) << load << ", seed " << seed;
      EXPECT_GE(run.desired.back(), std::ceil(run.demand.back() - 1e-9)) << load;
    }
  }
}

TEST(AutoscalerSimulation, AFlappingLoadIsCarriedWithoutScalingIn) {
  for (int half_period : {60, 180, 600}) {
    Replay run = run_leeward(flapping_trace(half_period), 7);
    int settled = 2 * half_period + 600;
    EXPECT_FALSE(scales_in(run, settled, 6 * kHour)) << half_period;
    EXPECT_GE(run.desired.back(), 14) << "8 fully used instances at 60 %";
  }
}

TEST(AutoscalerSimulation, IsNeverMoreThanOneInstanceBelowAws) {
  for (const Trace& trace : traces())
    for (std::uint64_t seed : {1, 2}) {
      Replay ours = run_leeward(trace, seed);
      for (int in_delay : {0, 1, 2}) {
        Replay aws = run_aws(trace, seed, in_delay);
        for (std::size_t t = 0; t < ours.desired.size(); ++t)
          ASSERT_GE(ours.desired[t], aws.desired[t] - 1)
              << trace.name << ", seed " << seed << ", second " << t << ", its data " << in_delay
              << " min old";
      }
    }
}

// The comparison above can fail: with HPA's five minutes the scaler is below AWS's for a while.
TEST(AutoscalerSimulation, AShorterWindowIsBelowAws) {
  ScalingSpec spec = cpu_tracking();
  spec.stabilisation = 5min;
  Replay ours = run_leeward(step_trace(), 1, spec);
  Replay aws = run_aws(step_trace(), 1, 0);
  bool below = false;
  for (std::size_t t = 0; t < ours.desired.size(); ++t)
    below |= ours.desired[t] < aws.desired[t] - 1;
  EXPECT_TRUE(below);
}

TEST(AutoscalerSimulation, FollowsAStepSoonerThanAws) {
  Replay ours = run_leeward(step_trace(), 1);
  Replay aws = run_aws(step_trace(), 1, 0);
  auto reached = [](const Replay& run) {
    for (int t = kHour; t < 2 * kHour; ++t)
      if (run.desired[static_cast<std::size_t>(t)] >= 15) return t - kHour;
    return -1;
  };
  int ours_after = reached(ours);
  int aws_after = reached(aws);
  ASSERT_GT(ours_after, 0);
  ASSERT_GT(aws_after, 0);
  EXPECT_LT(ours_after, aws_after);
  RecordProperty("leeward_seconds", ours_after);
  RecordProperty("aws_seconds", aws_after);
}

TEST(AutoscalerSimulation, MissingDataNeverScales) {
  Trace trace = missing_trace();
  Replay run = run_leeward(trace, 5);
  int judged = 0;
  for (const Decision& d : run.decisions) {
    if (d.proposals[0].reason != ProposalReason::kNoData) continue;
    ++judged;
    EXPECT_EQ(d.desired, d.before) << seconds(d.at.boot.time_since_epoch());
  }
  EXPECT_GT(judged, 100);
}

}  // namespace
}  // namespace leeward::compute

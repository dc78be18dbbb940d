// A simulated tier for tests of the autoscaler: instances that take time to start and to warm up, a
// load that they share, and two scalers that may steer it. Time is simulated, one second a step.
//
// AwsTargetTracking is a model of its own of what AWS documents about target tracking, and shares
// no code with the product:
//   - the metric is the average of a minute over the instances that have warmed up (EC2 Auto
//     Scaling User Guide, "Set the default instance warmup");
//   - the high alarm wants 3 data points in a row above the target, the low alarm 15 below 90 % of
//     it (the alarms that a policy creates: TargetTracking-…-AlarmHigh and -AlarmLow);
//   - out: proportionally to the metric, from the warmed-up capacity, "as fast as it can"; what is
//     warming counts as capacity already added;
//   - in: only while nothing warms up, at most every 300 s (ScaleInCooldown), down to what the
//     metric asks for. AWS says "more gradually" and no more; `in_delay` makes its data older;
//   - a minute without data makes both alarms INSUFFICIENT_DATA: nothing happens.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "compute/autoscaler_core.h"

namespace leeward::compute {

class Fleet {
 public:
  Fleet(int count, int boot_seconds, int warm_up_seconds)
      : boot_(boot_seconds), warm_up_(warm_up_seconds) {
    // What runs at the beginning has been there for ever.
    for (int i = 0; i < count; ++i) started_.push_back(-100'000);
  }
  void set(int now, int desired) {
    while (static_cast<int>(started_.size()) < desired) started_.push_back(now);
    while (static_cast<int>(started_.size()) > desired) started_.pop_back();
  }
  int size() const { return static_cast<int>(started_.size()); }
  int serving(int now) const { return older_than(now, boot_); }
  int counted(int now) const { return older_than(now, boot_ + warm_up_); }

 private:
  int older_than(int now, int age) const {
    return static_cast<int>(
        std::count_if(started_.begin(), started_.end(), [&](int s) { return now - s >= age; }));
  }
  int boot_;
  int warm_up_;
  std::vector<int> started_;
};

struct Trace {
  std::string name;
  int seconds = 0;
  std::function<double(int second)> load;  // in fully used instances
  std::function<bool(int second)> has_data = [](int) { return true; };
  double noise = 0.03;  // of the load, uniformly distributed
};

// One scaler's life under a trace, second by second.
struct Replay {
  std::vector<int> desired;
  std::vector<double> demand;  // instances that the load needs at the target, without noise
  std::vector<Decision> decisions;
};

inline constexpr double kTarget = 60;  // percent
inline constexpr int kBoot = 20;
inline constexpr int kWarmUp = 30;
inline constexpr int kFirst = 2;  // instances at the beginning

class Load {
 public:
  Load(const Trace& trace, std::uint64_t seed) : trace_(trace), random_(seed) {}
  // Percent of each serving instance.
  double utilisation(int now, int serving) {
    std::uniform_real_distribution<double> noise(1 - trace_.noise, 1 + trace_.noise);
    double load = trace_.load(now) * noise(random_);
    return serving == 0 ? 100 : std::min(100.0, 100 * load / serving);
  }

 private:
  const Trace& trace_;
  std::mt19937_64 random_;
};

inline ScalingSpec cpu_tracking() {
  ScalingSpec spec;
  spec.min = 1;
  spec.max = 64;
  ScalingPolicy policy;
  policy.name = "cpu";
  policy.target = kTarget;
  spec.policies = {policy};
  return spec;
}

inline Replay run_leeward(const Trace& trace, std::uint64_t seed,
                          const ScalingSpec& spec = cpu_tracking()) {
  Replay run;
  Load load(trace, seed);
  Fleet fleet(kFirst, kBoot, kWarmUp);
  AutoscalerCore core(spec, kFirst);
  double sum = 0;
  int points = 0;
  int interval = static_cast<int>(seconds(spec.interval));
  for (int now = 0; now < trace.seconds; ++now) {
    double value = load.utilisation(now, fleet.serving(now));
    if (trace.has_data(now)) sum += value, ++points;
    if (now > 0 && now % interval == 0) {
      std::optional<double> sample;
      if (points > 0) sample = sum / points;
      ScalingInput input;
      input.now = {BootTime{std::chrono::seconds(now)}, WallTime{std::chrono::seconds(now)}};
      input.counted = fleet.counted(now);
      input.warming = fleet.size() - input.counted;
      input.samples = {&sample, 1};
      run.decisions.push_back(core.decide(input));
      fleet.set(now, core.desired());
      sum = points = 0;
    }
    run.desired.push_back(fleet.size());
    run.demand.push_back(100 * trace.load(now) / kTarget);
  }
  return run;
}

class AwsTargetTracking {
 public:
  AwsTargetTracking(int in_delay_minutes, int most) : in_delay_(in_delay_minutes), most_(most) {}

  // A minute has ended. Returns the capacity from now on.
  // `warmed`: how many instances the average is of.
  int minute(int now, std::optional<double> average, int capacity, double warmed, bool warming) {
    history_.push_back(average);
    if (!average) return capacity;
    int size = static_cast<int>(history_.size());
    if (all_of_last(3, size, [](double v) { return v > kTarget; })) {
      int wanted = static_cast<int>(std::ceil(warmed * *average / kTarget - 1e-9));
      if (wanted > capacity) {
        scaled_in_at_.reset();
        return std::min(wanted, most_);
      }
      return capacity;
    }
    if (warming || (scaled_in_at_ && now - *scaled_in_at_ < 300)) return capacity;
    int end = size - in_delay_;
    if (!all_of_last(15, end, [](double v) { return v < 0.9 * kTarget; })) return capacity;
    double old = *history_[static_cast<std::size_t>(end - 1)];
    int wanted = std::max(1, static_cast<int>(std::ceil(warmed * old / kTarget - 1e-9)));
    if (wanted < capacity) scaled_in_at_ = now;
    return std::min(wanted, capacity);
  }

 private:
  template <typename Predicate>
  bool all_of_last(int count, int end, Predicate holds) const {
    if (end < count) return false;
    for (int i = end - count; i < end; ++i) {
      const std::optional<double>& v = history_[static_cast<std::size_t>(i)];
      if (!v || !holds(*v)) return false;
    }
    return true;
  }

  int in_delay_;
  int most_;
  std::vector<std::optional<double>> history_;
  std::optional<int> scaled_in_at_;
};

inline Replay run_aws(const Trace& trace, std::uint64_t seed, int in_delay_minutes) {
  Replay run;
  Load load(trace, seed);
  Fleet fleet(kFirst, kBoot, kWarmUp);
  AwsTargetTracking aws(in_delay_minutes, 64);
  double sum = 0;
  double warmed = 0;
  int points = 0;
  for (int now = 0; now < trace.seconds; ++now) {
    double value = load.utilisation(now, fleet.serving(now));
    if (trace.has_data(now)) sum += value, warmed += fleet.counted(now), ++points;
    if (now > 0 && now % 60 == 0) {
      std::optional<double> average;
      if (points > 0) average = sum / points;
      bool warming = fleet.counted(now) < fleet.size();
      fleet.set(now, aws.minute(now, average, fleet.size(), warmed / std::max(points, 1), warming));
      sum = warmed = points = 0;
    }
    run.desired.push_back(fleet.size());
    run.demand.push_back(100 * trace.load(now) / kTarget);
  }
  return run;
}

}  // namespace leeward::compute

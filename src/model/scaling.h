// How a tier's number of instances follows its load: the `scaling` section of a tier in
// leeward.yaml. Plain data; what the rules mean is in compute/autoscaler_core.h.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"

namespace leeward {

enum class ScalingSource : std::uint8_t {
  kCpu,         // percent of one core, or of limits.cpu where there is one; average over instances
  kMemory,      // percent of limits.memory; average over instances
  kRequests,    // requests a second that the edge sent to an instance; average over instances
  kLatency,     // milliseconds within which `quantile` of the edge's requests got their first byte
  kPrometheus,  // a series of any endpoint in Prometheus text format
};

// How a step's change is meant, as AWS names them.
enum class StepUnit : std::uint8_t {
  kChange,   // so many instances more or fewer
  kPercent,  // of the current number
  kExact,    // this number
};

struct ScalingStep {
  double offset = 0;  // applies from this distance beyond the threshold, up to the next step's
  int change = 0;
};

struct ScalingMetric {
  ScalingSource source = ScalingSource::kCpu;
  double quantile = 0.99;         // latency
  std::string series;             // Prometheus: name{label="value",…}
  std::string path = "/metrics";  // Prometheus
  std::string address;            // Prometheus: HOST:PORT; empty: each instance's own port
  bool rate = false;              // Prometheus: a counter, of which the increase a second counts
};

enum class ScalingKind : std::uint8_t { kTarget, kStep };

struct ScalingPolicy {
  std::string name;
  ScalingKind kind = ScalingKind::kTarget;
  ScalingMetric metric;
  bool scale_in = true;  // false: it never asks for fewer

  // Target tracking.
  double target = 0;
  bool total = false;  // the metric is a sum over the tier (a queue): value / target instances

  // Steps.
  double threshold = 0;
  bool below = false;     // breached below the threshold instead of above it
  Duration sustain = 0s;  // breached for this long before anything is done
  StepUnit unit = StepUnit::kChange;
  int change_min = 0;              // kPercent: at least so many
  std::vector<ScalingStep> steps;  // ascending offsets
};

// Bounds during hours of the week.
struct ScalingSchedule {
  std::string name;
  std::array<bool, 7> days{};  // from Monday
  Duration from{};             // since midnight, local by ScalingSpec::utc_offset
  Duration until{};            // not after `from`: on the next day
  std::optional<int> min;
  std::optional<int> max;
};

enum class ForecastMode : std::uint8_t {
  kOff,
  kObserve,  // predicts and compares, changes nothing
  kFloor,    // the prediction is a minimum
};

struct ScalingSpec {
  static constexpr std::size_t kPoliciesMax = 8;
  static constexpr std::size_t kSchedulesMax = 32;
  static constexpr int kInstancesMax = 64;

  int min = 1;
  int max = 1;
  std::vector<ScalingPolicy> policies;
  std::vector<ScalingSchedule> schedules;
  Duration utc_offset{};  // of the schedules' and the forecast's clock
  ForecastMode forecast = ForecastMode::kOff;

  Duration interval = 10s;        // between two decisions
  Duration warm_up = 30s;         // from ready until an instance's metrics count
  double tolerance = 0.1;         // of a target: within it nothing changes, for
  Duration tolerance_for = 2min;  //   at most this long above the target
  Duration scale_out_cooldown = 60s;
  Duration scale_in_cooldown = 5min;
  Duration stabilisation = 18min;  // fewer only when the most wanted in this time allows it
  double rate_percent = 1.0;       // out, each rate_period: at most this share more,
  int rate_count = 4;              //   or so many, whichever is more
  Duration rate_period = 15s;

  double failover_percent = 1.0;  // of the primary's maximum of the last 24 h
  Duration hold_down = 30min;     // after a failover nothing scales in

  std::uint64_t scrape_bytes_max = 1u << 20;
};

}  // namespace leeward

// How long the autoscaler takes to decide for many tiers at once, each with three policies, a
// schedule, a forecast of four weeks and a full past. The clock on the wall of one thread.
//
//   leeward-bench-scale [TARGETS [ROUNDS]]      default 10000 targets, 50 rounds
//
// Prints the median, the 99th percentile and the slowest round, in milliseconds for all targets.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "base/time.h"
#include "compute/autoscaler_core.h"

namespace {

using namespace leeward;
using namespace leeward::compute;

const WallTime kStart{std::chrono::seconds(1767571200)};

ScalingSpec spec() {
  ScalingSpec s;
  s.min = 1;
  s.max = 64;
  s.forecast = ForecastMode::kFloor;
  ScalingPolicy cpu;
  cpu.name = "cpu";
  cpu.target = 60;
  ScalingPolicy requests = cpu;
  requests.name = "requests";
  requests.target = 200;
  ScalingPolicy latency;
  latency.name = "latency";
  latency.kind = ScalingKind::kStep;
  latency.threshold = 300;
  latency.steps = {{0, 1}, {200, 3}};
  s.policies = {cpu, requests, latency};
  ScalingSchedule office;
  office.days.fill(true);
  office.from = 8h;
  office.until = 18h;
  office.min = 2;
  s.schedules = {office};
  return s;
}

AutoscalerMemory four_weeks(std::mt19937_64& random) {
  AutoscalerMemory memory;
  memory.desired = 4;
  for (int i = 0; i < static_cast<int>(ForecastCore::kNeedsMax); ++i)
    memory.forecast.needs.emplace_back(
        hour_of(kStart, 0s) - static_cast<int>(ForecastCore::kNeedsMax) + i,
        static_cast<int>(random() % 8 + 1));
  return memory;
}

int number(const char* text, int fallback) {
  int value = fallback;
  if (text != nullptr) std::from_chars(text, text + std::strlen(text), value);
  return std::max(value, 1);
}

}  // namespace

int main(int argc, char** argv) {
  int targets = number(argc > 1 ? argv[1] : nullptr, 10'000);
  int rounds = number(argc > 2 ? argv[2] : nullptr, 50);
  std::mt19937_64 random(1);
  std::vector<AutoscalerCore> cores;
  cores.reserve(static_cast<std::size_t>(targets));
  for (int i = 0; i < targets; ++i) {
    cores.emplace_back(spec(), 4);
    cores.back().restore(four_weeks(random), Now{BootTime{1000s}, kStart});
  }
  std::uniform_real_distribution<double> load(0.3, 1.7);
  std::vector<double> milliseconds;
  long changed = 0;
  for (int round = 0; round < rounds; ++round) {
    Now now{BootTime{std::chrono::seconds(1000 + round * 10)},
            kStart + std::chrono::seconds(round * 10)};
    std::vector<std::vector<std::optional<double>>> samples;
    for (int i = 0; i < targets; ++i)
      samples.push_back({60 * load(random), 200 * load(random), 300 * load(random)});
    BootTime begun = BootClock::now();
    for (std::size_t i = 0; i < cores.size(); ++i) {
      ScalingInput input;
      input.now = now;
      input.counted = cores[i].desired();
      input.samples = samples[i];
      changed += cores[i].decide(input).changed();
    }
    milliseconds.push_back(seconds(BootClock::now() - begun) * 1e3);
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  auto at = [&](double share) {
    return milliseconds[static_cast<std::size_t>(share *
                                                 static_cast<double>(milliseconds.size() - 1))];
  };
  fmt::print(
      "{} targets, {} rounds, {} changes: median {:.2f} ms, p99 {:.2f} ms, slowest {:.2f} ms\n",
      targets, rounds, changed, at(0.5), at(0.99), milliseconds.back());
  return 0;
}

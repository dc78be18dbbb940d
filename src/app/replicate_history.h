// How far a task was, second by second, for plots. Bounded: the newest kSamplesMax samples, about
// an hour; older ones are dropped. Not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/time.h"
#include "replication/driver.h"

namespace leeward::app {

inline constexpr Duration kSampleEvery = 1s;
inline constexpr std::size_t kSamplesMax = 3600;

struct LagSample {
  WallTime at{};
  replication::LinkState state = replication::LinkState::kStopped;
  replication::LinkLag received, durable, applied;
  std::uint64_t transactions = 0;  // applied by this process so far
  std::uint64_t rows = 0;
};

class LagHistory {
 public:
  void add(LagSample sample) {
    samples_.push_back(sample);
    if (samples_.size() > kSamplesMax) samples_.pop_front();
  }
  // Those of at most `back` before `now`, oldest first.
  std::vector<LagSample> since(WallTime now, Duration back) const {
    std::vector<LagSample> found;
    for (const LagSample& sample : samples_)
      if (sample.at >= now - back) found.push_back(sample);
    return found;
  }
  const LagSample* newest() const { return samples_.empty() ? nullptr : &samples_.back(); }

 private:
  std::deque<LagSample> samples_;
};

}  // namespace leeward::app

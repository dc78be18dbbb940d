// How far the standby was behind, second by second, for plots: one sample a second, the last hour.
// Kept in memory only; a control process that starts anew begins a new one. Not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "base/time.h"
#include "control/control_core.h"
#include "model/platform.h"

namespace leeward::console {

class LagHistory {
 public:
  static constexpr Duration kEvery = std::chrono::seconds(1);
  static constexpr std::size_t kSamplesMax = 3600;  // then the oldest goes

  // Takes a sample when the last one is a second old and the standby's agent has reported since.
  void look(Now now, const control::ControlCore& core);

  // {"interval_ms": 1000, "samples": [{"time", "writer", "standby", "lag_seconds": N|null,
  // "written",
  //  "received", "durable", "applied", "transactions_behind"}]}, oldest first.
  std::string json(const Platform& platform) const;

 private:
  struct Sample {
    WallTime time;
    SiteId writer;
    SiteId standby;
    Duration lag;
    Position written, received, durable, applied;
  };
  std::deque<Sample> samples_;
  BootTime last_{};
};

// Transactions that the writer had and the standby had not applied, by their newest reports.
std::uint64_t transactions_behind(Position written, Position applied);

}  // namespace leeward::console

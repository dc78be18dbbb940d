// How often something may be logged that strangers can make happen: so many lines a second, and how
// many were left out. Thread-safe.
#pragma once

#include <cstdint>
#include <mutex>

#include "base/time.h"

namespace leeward {

class LogBudget {
 public:
  static constexpr int kLinesPerSecond = 10;

  struct Grant {
    bool granted = false;
    std::uint64_t left_out = 0;  // of the seconds before, told once
  };
  // For one line. `now` may go back a little, as it does between threads.
  Grant take(BootTime now) {
    const std::int64_t second =
        std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
    std::lock_guard lock(mutex_);
    Grant grant;
    if (second > second_) {
      second_ = second;
      lines_ = 0;
      grant.left_out = left_out_;
      left_out_ = 0;
    }
    grant.granted = lines_ < kLinesPerSecond;
    if (grant.granted)
      ++lines_;
    else
      ++left_out_;
    return grant;
  }

 private:
  std::mutex mutex_;  // of what follows
  std::int64_t second_ = -1;
  int lines_ = 0;
  std::uint64_t left_out_ = 0;
};

}  // namespace leeward

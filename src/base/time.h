// Time. Decisions use BootTime (CLOCK_BOOTTIME: monotonic, counts suspend; design §5.2); people and
// logs read WallTime. A BootTime is never compared with one from another machine.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/error.h"

namespace leeward {

using Duration = std::chrono::nanoseconds;
using namespace std::chrono_literals;

struct BootClock {  // satisfies the Clock requirements except is_steady's promise across hosts
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;
  static time_point now();
};
using BootTime = BootClock::time_point;
using WallTime = std::chrono::time_point<std::chrono::system_clock, Duration>;

// Both readings of one instant, as handed to every pure core.
struct Now {
  BootTime boot;
  WallTime wall;
};

// The seam for time: daemons use SystemClock, tests and the simulator their own.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Now now() const = 0;
};

class SystemClock final : public Clock {
 public:
  Now now() const override;
};

// Identity of this boot (/proc/sys/kernel/random/boot_id): a persisted BootTime means nothing after
// a reboot. Empty when the kernel does not tell.
std::string boot_id();

// "250ms", "3s", "1.5s", "30m", "2h", "1d". A unit is required; negative, unit-less or overflowing
// text is kInvalid and the message says what to write.
Result<Duration> parse_duration(std::string_view text);
std::string format_duration(Duration d);  // shortest exact form in one unit: "4.5s", "250ms"

std::string format_wall(WallTime t);  // RFC 3339 UTC with milliseconds
double seconds(Duration d);

}  // namespace leeward

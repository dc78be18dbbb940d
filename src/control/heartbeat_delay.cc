#include "control/heartbeat_delay.h"

#include <algorithm>

namespace leeward::control {
namespace {

constexpr Duration kWindow = 5min;
constexpr Duration kSettle = 1s;
constexpr Duration kNoise = 50ms;  // of two rows that took as long as each other

}  // namespace

void HeartbeatDelay::begin(BootTime now, const HeartbeatMemory& stream) {
  *this = HeartbeatDelay{};
  stream_ = stream;
  window_ = fell_at_ = now;
  least_before_ = kept_ = fell_to_ = stream.least;
  settled_ = stream.least != kNever;
}

void HeartbeatDelay::start(Now now, const HeartbeatMemory& memory) { begin(now.boot, memory); }

Duration HeartbeatDelay::least() const { return std::min(least_now_, least_before_); }

HeartbeatMemory HeartbeatDelay::memory() const {
  HeartbeatMemory memory = stream_;
  memory.least = settled_ ? least() : kNever;
  return memory;
}

bool HeartbeatDelay::on_look(BootTime seen, const DatabaseStatus& status) {
  if (!status.reachable || status.heartbeat_age == kNever) return false;
  HeartbeatMemory stream{status.source, status.source_node, status.epoch, stream_.least};
  if (!(stream == stream_)) {
    stream.least = kNever;
    begin(seen, stream);
  }
  if (status.heartbeat_written == row_) return false;
  row_ = status.heartbeat_written;
  if (seen - window_ >= kWindow) {
    least_before_ = seen - window_ < 2 * kWindow ? least_now_ : kNever;
    least_now_ = kNever;
    window_ = seen;
  }
  Duration delay = (seen - status.heartbeat_age).time_since_epoch() -
                   status.heartbeat_written.time_since_epoch();
  least_now_ = std::min(least_now_, delay);
  late_ = delay - least();
  if (fell_to_ == kNever || least() < fell_to_ - kNoise) {
    fell_to_ = least();
    fell_at_ = seen;
  }
  settled_ = settled_ || seen - fell_at_ >= kSettle;
  bool moved =
      settled_ && (kept_ == kNever || least() < kept_ - kNoise || least() > kept_ + kNoise);
  if (moved) kept_ = least();
  return moved;
}

}  // namespace leeward::control

#include "control/heartbeat_delay.h"

#include <algorithm>

namespace leeward::control {
namespace {

constexpr Duration kWindow = 5min;

}  // namespace

void HeartbeatDelay::on_look(BootTime seen, const DatabaseStatus& status) {
  if (!status.reachable || status.heartbeat_age == kNever) return;
  if (Stream stream{status.source, status.source_node, status.epoch}; !(stream == stream_)) {
    *this = HeartbeatDelay{};
    stream_ = stream;
    window_ = seen;
  }
  if (status.heartbeat_written == row_) return;
  row_ = status.heartbeat_written;
  if (seen - window_ >= kWindow) {
    least_before_ = seen - window_ < 2 * kWindow ? least_ : kNever;
    least_ = kNever;
    window_ = seen;
  }
  Duration delay = (seen - status.heartbeat_age).time_since_epoch() -
                   status.heartbeat_written.time_since_epoch();
  least_ = std::min(least_, delay);
  late_ = delay - std::min(least_, least_before_);
}

}  // namespace leeward::control

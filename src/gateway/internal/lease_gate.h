// The local lease as the gateway's thread asks it before each send: one atomic deadline. Writers
// (control calls, extend()) take a lock that is held for a few instructions only.
#pragma once

#include <atomic>
#include <limits>
#include <mutex>

#include "base/time.h"
#include "model/ids.h"

namespace leeward::gateway {

class LeaseGate {
 public:
  // Thread-safe, lock-free. The clock is read here, at the moment of the question.
  bool holds() const { return BootClock::now().time_since_epoch().count() < deadline_.load(); }
  BootTime deadline() const { return BootTime(Duration(deadline_.load())); }
  bool is_open() const { return deadline_.load() != kClosed; }

  Epoch epoch() const {
    const std::lock_guard lock(mutex_);
    return epoch_;
  }
  void open(Epoch epoch, BootTime deadline) {
    const std::lock_guard lock(mutex_);
    epoch_ = epoch;
    deadline_ = deadline.time_since_epoch().count();
  }
  // Only a lease that still holds can be made longer: past its deadline the gateway has fenced
  // itself, or is about to. False when it was not that lease, or too late.
  bool extend(Epoch epoch, BootTime deadline) {
    const std::lock_guard lock(mutex_);
    if (epoch != epoch_ || !holds()) return false;
    if (deadline > this->deadline()) deadline_ = deadline.time_since_epoch().count();
    return true;
  }
  void expire() { deadline_ = kExpired; }
  void close() {
    const std::lock_guard lock(mutex_);
    epoch_ = Epoch{};
    deadline_ = kClosed;
  }

 private:
  static constexpr std::int64_t kClosed = std::numeric_limits<std::int64_t>::min();
  static constexpr std::int64_t kExpired = kClosed + 1;
  mutable std::mutex mutex_;
  Epoch epoch_;
  std::atomic<std::int64_t> deadline_{kClosed};
};

}  // namespace leeward::gateway

// What the answering threads share with the control side: the zone and the active state.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>

#include "dns/zone.h"

namespace leeward::dns::internal {

class SharedZone {
 public:
  SharedZone(std::shared_ptr<const Zone> zone, ActiveState::Value v)
      : active(v), zone_(std::move(zone)) {}

  void replace(std::shared_ptr<const Zone> zone) {
    std::lock_guard lock(mutex_);
    zone_ = std::move(zone);
    generation_.fetch_add(1, std::memory_order_release);
  }

  ActiveState active;

 private:
  friend class ZoneReader;
  std::mutex mutex_;
  std::shared_ptr<const Zone> zone_;
  std::atomic<std::uint64_t> generation_{1};
};

// One thread's view: as long as nothing was replaced, a look costs one load of a word that nobody
// writes. The thread keeps an old zone alive until its next look.
class ZoneReader {
 public:
  explicit ZoneReader(SharedZone& shared) : shared_(shared) {}

  const Zone& zone() {
    if (seen_ != shared_.generation_.load(std::memory_order_acquire)) {
      std::lock_guard lock(shared_.mutex_);
      zone_ = shared_.zone_;
      seen_ = shared_.generation_.load(std::memory_order_relaxed);
    }
    return *zone_;
  }
  const ActiveState& active() const { return shared_.active; }

 private:
  SharedZone& shared_;
  std::shared_ptr<const Zone> zone_;
  std::uint64_t seen_ = 0;
};

}  // namespace leeward::dns::internal

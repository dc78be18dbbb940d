#include "edge/rate_limiter.h"

#include <algorithm>
#include <bit>

namespace leeward::edge {
namespace {

constexpr std::size_t kWays = 7;
constexpr std::int64_t kBlocked = 1;

}  // namespace

// Two cache lines. `arrival` is GCRA's theoretical arrival time in nanoseconds of the boot clock;
// an entry whose arrival is past says no more than no entry.
struct alignas(128) RateLimiter::Set {
  std::atomic_flag busy;
  std::uint64_t keys[kWays] = {};
  std::int64_t arrivals[kWays] = {};

  void lock() {
    while (busy.test_and_set(std::memory_order_acquire))
      while (busy.test(std::memory_order_relaxed)) __builtin_ia32_pause();
  }
  void unlock() { busy.clear(std::memory_order_release); }

  std::size_t find(std::uint64_t key) const {
    std::size_t way = 0;
    while (way < kWays && keys[way] != key) ++way;
    return way;
  }
  std::size_t earliest() const {
    return static_cast<std::size_t>(std::min_element(arrivals, arrivals + kWays) - arrivals);
  }
};

RateLimiter::RateLimiter(std::size_t keys_max)
    : mask_(std::bit_ceil(std::max<std::size_t>(1, (keys_max + kWays - 1) / kWays)) - 1),
      sets_(std::make_unique<Set[]>(mask_ + 1)) {}

RateLimiter::~RateLimiter() = default;

Duration RateLimiter::take(std::uint64_t key, const Limit& limit, BootTime now) {
  const std::int64_t at = now.time_since_epoch().count();
  const std::int64_t tolerance = limit.tolerance.count();
  Set& set = sets_[key & mask_];
  set.lock();
  std::size_t way = set.find(key);
  if (way == kWays) {
    way = set.earliest();
    if (set.arrivals[way] > at) forgotten_.fetch_add(1, std::memory_order_relaxed);
    set.keys[way] = key;
    set.arrivals[way] = 0;
  }
  std::int64_t& arrival = set.arrivals[way];
  std::int64_t early = (arrival & ~kBlocked) - tolerance - at;
  if (early <= 0) {
    arrival = (std::max(arrival, at) + limit.interval.count()) & ~kBlocked;
  } else if (limit.block_for > 0ns && (arrival & kBlocked) == 0) {
    // The first one too many: the bucket stays empty until the block ends.
    arrival = (at + limit.block_for.count() + tolerance) | kBlocked;
    early = limit.block_for.count();
  }
  set.unlock();
  return Duration{std::max<std::int64_t>(0, early)};
}

RateLimiter::Room RateLimiter::room(std::uint64_t key, const Limit& limit, BootTime now) const {
  const std::int64_t at = now.time_since_epoch().count();
  Set& set = sets_[key & mask_];
  set.lock();
  const std::size_t way = set.find(key);
  const std::int64_t arrival = way == kWays ? 0 : set.arrivals[way] & ~kBlocked;
  set.unlock();
  const std::int64_t early = arrival - limit.tolerance.count() - at;
  if (early > 0) return {.requests = 0, .wait = Duration{early}};
  const std::int64_t ahead = std::max(arrival, at) - at;
  return {.requests = (limit.tolerance.count() - ahead) / limit.interval.count() + 1, .wait = {}};
}

}  // namespace leeward::edge

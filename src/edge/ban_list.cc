#include "edge/ban_list.h"

#include <algorithm>
#include <bit>
#include <mutex>

namespace leeward::edge {
namespace {

constexpr std::size_t kWays = 4;

}  // namespace

struct alignas(64) BanList::Set {
  mutable std::atomic_flag busy;
  std::uint64_t keys[kWays] = {};
  std::int64_t ends[kWays] = {};  // nanoseconds of the boot clock
  std::uint64_t rules[kWays] = {};
  std::uint8_t clients[kWays][sizeof(ClientAddress::bytes)] = {};

  void lock() const {
    while (busy.test_and_set(std::memory_order_acquire))
      while (busy.test(std::memory_order_relaxed)) __builtin_ia32_pause();
  }
  void unlock() const { busy.clear(std::memory_order_release); }

  Ban at(std::size_t way, std::int64_t now) const {
    Ban ban{.rule = rules[way], .client = {}, .left = Duration{ends[way] - now}};
    std::copy_n(clients[way], sizeof clients[way], ban.client.bytes);
    return ban;
  }
};

BanList::BanList(std::size_t bans_max)
    : bans_max_(bans_max),
      mask_(std::bit_ceil(std::max<std::size_t>(1, (bans_max + kWays - 1) / kWays)) - 1),
      sets_(std::make_unique<Set[]>(mask_ + 1)) {}

BanList::~BanList() = default;

void BanList::add(std::uint64_t key, const Ban& ban, BootTime now) {
  const std::int64_t at = now.time_since_epoch().count();
  const std::int64_t end = at + ban.left.count();
  Set& set = sets_[key & mask_];
  {
    std::lock_guard lock(set);
    std::size_t way =
        static_cast<std::size_t>(std::find(set.keys, set.keys + kWays, key) - set.keys);
    if (way == kWays) {
      way = static_cast<std::size_t>(std::min_element(set.ends, set.ends + kWays) - set.ends);
      if (set.ends[way] > at) forgotten_.fetch_add(1, std::memory_order_relaxed);
      set.ends[way] = 0;
    }
    set.keys[way] = key;
    set.ends[way] = std::max(set.ends[way], end);
    set.rules[way] = ban.rule;
    std::copy_n(ban.client.bytes, sizeof ban.client.bytes, set.clients[way]);
  }
  std::int64_t last = last_end_.load(std::memory_order_relaxed);
  while (last < end && !last_end_.compare_exchange_weak(last, end, std::memory_order_relaxed)) {
  }
}

Duration BanList::left(std::uint64_t key, BootTime now) const {
  const std::int64_t at = now.time_since_epoch().count();
  if (!any(now)) return {};
  const Set& set = sets_[key & mask_];
  std::lock_guard lock(set);
  for (std::size_t way = 0; way < kWays; ++way)
    if (set.keys[way] == key) return Duration{std::max<std::int64_t>(0, set.ends[way] - at)};
  return {};
}

void BanList::each(BootTime now, const std::function<void(const Ban&)>& visit) const {
  const std::int64_t at = now.time_since_epoch().count();
  if (!any(now)) return;
  for (std::size_t i = 0; i <= mask_; ++i) {
    std::lock_guard lock(sets_[i]);
    for (std::size_t way = 0; way < kWays; ++way)
      if (sets_[i].ends[way] > at) visit(sets_[i].at(way, at));
  }
}

std::size_t BanList::lift(const std::function<bool(const Ban&)>& meant, BootTime now) {
  const std::int64_t at = now.time_since_epoch().count();
  std::size_t lifted = 0;
  for (std::size_t i = 0; i <= mask_; ++i) {
    Set& set = sets_[i];
    std::lock_guard lock(set);
    for (std::size_t way = 0; way < kWays; ++way) {
      if (set.ends[way] <= at || !meant(set.at(way, at))) continue;
      set.ends[way] = 0;
      ++lifted;
    }
  }
  return lifted;
}

}  // namespace leeward::edge

#include "edge/internal/cache_collapse.h"

#include <algorithm>

#include "edge/cache_policy.h"

namespace leeward::edge {

CollapseTable::Role CollapseTable::join(std::string_view key, std::string_view url,
                                        std::uint64_t hash, Waiter waiter, bool may_wait,
                                        BootTime now, std::shared_ptr<PendingFill>& pending) {
  Shard& shard = shard_of(hash);
  std::lock_guard lock(shard.mutex);
  bool alone = false;
  if (!shard.alone.empty()) {
    std::uint64_t key_hash = hash_url(key);
    const Shard::Alone& a = shard.alone[key_hash % kAloneMax];
    alone = a.key_hash == key_hash && now < a.until;
  }
  if (!alone) {
    for (const auto& p : shard.open) {
      if (p->hash != hash || p->key != key) continue;
      if (may_wait) p->waiters.push_back(waiter);
      return Role::kWait;
    }
  }
  pending = std::make_shared<PendingFill>();
  pending->key = key;
  pending->url = url;
  pending->hash = hash;
  shard.running.push_back(pending);
  if (alone) return Role::kAlone;
  shard.open.push_back(pending);
  return Role::kLead;
}

void CollapseTable::release(const std::shared_ptr<PendingFill>& pending, BootTime alone_until) {
  std::vector<Waiter> wake;
  {
    Shard& shard = shard_of(pending->hash);
    std::lock_guard lock(shard.mutex);
    if (alone_until != BootTime{}) {
      if (shard.alone.empty()) shard.alone.resize(kAloneMax);
      std::uint64_t key_hash = hash_url(pending->key);
      shard.alone[key_hash % kAloneMax] = {key_hash, alone_until};
    }
    std::erase(shard.open, pending);
    wake.swap(pending->waiters);
  }
  for (const Waiter& w : wake) {
    if (w.loop != nullptr) w.loop->wake(w.token);
  }
}

void CollapseTable::retire(const std::shared_ptr<PendingFill>& pending) {
  Shard& shard = shard_of(pending->hash);
  std::lock_guard lock(shard.mutex);
  std::erase(shard.running, pending);
}

void CollapseTable::doom(std::uint64_t hash, std::string_view url) {
  Shard& shard = shard_of(hash);
  std::lock_guard lock(shard.mutex);
  for (const auto& p : shard.running) {
    if (p->hash == hash && p->url == url) p->doomed = true;
  }
}

void CollapseTable::doom_all() {
  for (Shard& shard : shards_) {
    std::lock_guard lock(shard.mutex);
    for (const auto& p : shard.running) p->doomed = true;
  }
}

}  // namespace leeward::edge

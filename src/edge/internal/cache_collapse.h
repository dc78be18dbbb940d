// Collapsed forwarding (RFC 9111 §4): of all requests that miss on the same thing at once, one goes
// to the origin, the others wait for its response head. Then they either read what it stores, while
// it still arrives, or go on by themselves, all at once.
//
// What turns out not to be shared is remembered for a while, so that requests for it never queue
// up behind each other ("hit for miss"): 1,024 places a shard, later ones overwrite earlier ones.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "edge/exchange.h"

namespace leeward::edge {

struct PendingFill {
  std::string key;  // full key and variant
  std::string url;
  std::uint64_t hash = 0;
  std::atomic<bool> doomed{false};  // purged or invalidated meanwhile: not to be stored
  std::vector<Waiter> waiters;      // guarded by the table
};

class CollapseTable {
 public:
  enum class Role : std::uint8_t {
    kLead,   // fetch it; `pending` is yours until release()
    kWait,   // the waiter is woken at release()
    kAlone,  // fetch it, but nobody waits for you; `pending` is yours too
  };
  // `may_wait`: false for background fetches: kWait then means that one is on its way, and the
  // waiter is not kept.
  Role join(std::string_view key, std::string_view url, std::uint64_t hash, Waiter waiter,
            bool may_wait, BootTime now, std::shared_ptr<PendingFill>& pending);
  // A leader that is none: somebody else had stored it just before. Who waits looks again.
  void give_back(const std::shared_ptr<PendingFill>& pending) {
    release(pending);
    retire(pending);
  }
  // Idempotent. `alone_until`: later than now if requests for it are not to wait for each other.
  void release(const std::shared_ptr<PendingFill>& pending, BootTime alone_until = {});
  // Ends the life of a fill: it can no longer be doomed.
  void retire(const std::shared_ptr<PendingFill>& pending);
  // What is being fetched for this URL is not to be stored.
  void doom(std::uint64_t hash, std::string_view url);
  void doom_all();

 private:
  static constexpr std::size_t kShards = 64;
  static constexpr std::size_t kAloneMax = 1024;
  struct Shard {
    std::mutex mutex;
    std::vector<std::shared_ptr<PendingFill>> open;     // can be joined
    std::vector<std::shared_ptr<PendingFill>> running;  // all that can be doomed
    struct Alone {
      std::uint64_t key_hash = 0;
      BootTime until;
    };
    std::vector<Alone> alone;
  };
  Shard& shard_of(std::uint64_t hash) { return shards_[hash % kShards]; }
  std::array<Shard, kShards> shards_;
};

}  // namespace leeward::edge

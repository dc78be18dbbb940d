// Purges by surrogate key and by prefix in constant time: a purge is a rule with a number, and an
// object is held against the rules that came after its request was sent when it is next looked up,
// once per purge. Nothing is walked, whether the cache holds a hundred objects or ten million.
//
// Bounds: kTagsMax keys and kPrefixesMax prefixes. When a table is full, the caller sweeps the
// cache once (apply() to every object), after which compact() empties both.
#pragma once

#include <atomic>
#include <cstdint>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "edge/internal/cache_object.h"

namespace leeward::edge {

enum class PurgeKind : std::uint8_t {
  kHard,  // gone
  kSoft,  // stale: still served while it is validated and when the origin fails
};

std::uint64_t hash_tag(std::string_view tag);  // the same in every process, for the disk

class PurgeRules {
 public:
  static constexpr std::size_t kTagsMax = 1u << 16;
  static constexpr std::size_t kPrefixesMax = 1024;

  // The number of the newest rule; 0 at first.
  std::uint64_t sequence() const { return sequence_.load(std::memory_order_acquire); }
  bool full() const;
  // The rule's number. REQUIRES: !full()
  std::uint64_t add_tag(std::uint64_t tag, PurgeKind kind);
  std::uint64_t add_prefix(std::string_view url_prefix, PurgeKind kind);

  // What an earlier process had numbered, read back from disk, oldest first.
  void restore_tag(std::uint64_t number, std::uint64_t tag, PurgeKind kind);
  void restore_prefix(std::uint64_t number, std::string_view url_prefix, PurgeKind kind);
  void restore_sequence(std::uint64_t newest);

  // False: a purge took this object; it must not be used. Sets soft_purged as the rules say. One
  // atomic load when no rule came since the object was last checked.
  bool check(StoredObject& object) const {
    std::uint64_t now = sequence();
    return object.purges_seen.load(std::memory_order_relaxed) == now || check_rules(object, now);
  }

  // Forgets all rules. Objects not checked since (fills in flight) count as purged.
  // REQUIRES: check() was called on every stored object, and those it refused were removed.
  void compact(std::uint64_t up_to);

 private:
  struct Rule {
    std::uint64_t hard = 0;
    std::uint64_t soft = 0;
  };
  struct Prefix {
    std::string text;
    std::uint64_t number = 0;
    PurgeKind kind = PurgeKind::kHard;
  };
  void set_tag(std::uint64_t number, std::uint64_t tag, PurgeKind kind);
  void set_prefix(std::uint64_t number, std::string_view url_prefix, PurgeKind kind);
  bool check_rules(StoredObject& object, std::uint64_t now) const;

  mutable std::shared_mutex mutex_;
  std::atomic<std::uint64_t> sequence_{0};
  std::uint64_t floor_ = 0;  // rules up to here are forgotten
  std::unordered_map<std::uint64_t, Rule> tags_;
  std::vector<Prefix> prefixes_;
};

}  // namespace leeward::edge

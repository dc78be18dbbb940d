// The memory tier: a hash table in shards, each with its lock and its S3-FIFO queues, under one
// byte-exact bound for all of them.
//
// Locking. A look-up takes its shard's mutex for one walk of a short chain and one reference count
// (its cost is not measured yet); with 256 shards two loops meet in one rarely, and nothing is
// allocated, freed or called under a lock. The alternatives, epochs or hazard pointers, would save
// the mutex but not the reference count that an answer in flight needs (docs/adr/0014).
//
// Eviction is S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache
// eviction", SOSP 2023): new objects enter a small queue of 10 % of the bytes; one that is not used
// again on its way through leaves, remembered in a ghost list of fingerprints; used ones and those
// that come back while remembered enter the main queue, where each use buys one more round.
// One-time visitors (crawlers, scans) so never push out what is in demand.
//
// The 10 % are of the whole; each eviction takes the tail of the chosen queue in the next shard
// that has one, so the shards together behave as one pair of queues, with the order of arrival kept
// within a shard and nearly so across them.
//
// Bound. `bytes_max` counts what objects cost (StoredObject::charge) and what fills hold. insert()
// evicts until it holds again; an object larger than all evictable bytes
// is refused.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "edge/internal/cache_object.h"

namespace leeward::edge {

class CacheIndex {
 public:
  using ObjectPtr = std::shared_ptr<StoredObject>;
  static constexpr std::size_t kShards = 256;
  static constexpr std::size_t kVariantsMax = 64;  // of one URL; the least recently stored leaves

  struct Stats {
    std::uint64_t objects = 0;
    std::uint64_t bytes = 0;
    std::uint64_t evicted = 0;
    std::uint64_t evicted_unused = 0;  // of these, never used after they were stored
  };

  explicit CacheIndex(std::uint64_t bytes_max);
  ~CacheIndex();

  // Calls `rank` for the objects of this URL, newest first, under the shard's lock. The one of the
  // highest rank above 0 is returned (the newest of equals) and counts as used.
  template <typename Rank>
  ObjectPtr find(std::uint64_t hash, std::string_view url, Rank rank) {
    Shard& shard = shard_of(hash);
    std::lock_guard lock(shard.mutex);
    ObjectPtr* best = nullptr;
    int best_rank = 0;
    for (ObjectPtr* p = &shard.bucket(hash); *p != nullptr; p = &(*p)->bucket_next) {
      StoredObject& o = **p;
      if (o.hash() != hash || o.url() != url) continue;
      if (int r = rank(o); r > best_rank) {
        best_rank = r;
        best = p;
      }
    }
    if (best == nullptr) return nullptr;
    StoredObject& o = **best;
    std::uint8_t uses = o.uses.load(std::memory_order_relaxed);
    if (uses < 3) o.uses.store(static_cast<std::uint8_t>(uses + 1), std::memory_order_relaxed);
    return *best;
  }

  // Puts `object` in place of those of the same URL, extra key and variant, the compressed forms of
  // them included; a compressed one only in place of its like. A growing one is found
  // but not in a queue (and not charged) until publish() of its final form. False: too large.
  // `beside`: only if that one is still in the index (false otherwise).
  bool insert(ObjectPtr object, const StoredObject* beside = nullptr);
  // Removes exactly this object; false when it is no longer in the index.
  bool remove(const StoredObject& object);
  // Removes all objects of a URL; the number.
  std::size_t remove_url(std::uint64_t hash, std::string_view url);
  // Visits every object of a URL under the lock.
  void for_url(std::uint64_t hash, std::string_view url,
               const std::function<void(StoredObject&)>& visit);
  // Removes the objects for which `gone` is true, shard by shard; the number. Other threads go on
  // meanwhile.
  std::size_t sweep(const std::function<bool(StoredObject&)>& gone);
  void for_each(const std::function<void(const ObjectPtr&)>& visit);

  // Bytes of fills in flight. reserve() evicts to make room; false when there is none.
  bool reserve(std::uint64_t bytes);
  void release(std::uint64_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }

  Stats stats() const;
  std::uint64_t bytes_max() const { return bytes_max_; }

 private:
  using Queue = StoredObject::Queue;

  struct List {  // intrusive; new objects at the head, eviction at the tail
    StoredObject* head = nullptr;
    StoredObject* tail = nullptr;
    void push(StoredObject& o);
    void take(StoredObject& o);
  };

  // Fingerprints of objects that left the small queue, each with the count of such departures when
  // it did; one that lies more departures back than the main queue has objects is forgotten.
  class Ghost {
   public:
    void add(std::uint64_t hash, std::size_t main_objects);
    bool take(std::uint64_t hash, std::size_t main_objects);

   private:
    struct Entry {
      std::uint32_t print = 0;
      std::uint32_t when = 0;
    };
    static constexpr std::size_t kWays = 4;
    std::size_t set_of(std::uint64_t hash) const;
    std::vector<Entry> entries_;
    std::uint32_t clock_ = 0;
  };

  struct alignas(64) Shard {
    std::mutex mutex;
    std::vector<ObjectPtr> buckets{16};
    std::size_t objects = 0;
    std::size_t main_objects = 0;
    List small;
    List main;
    Ghost ghost;
    ObjectPtr& bucket(std::uint64_t hash) { return buckets[(hash >> 8) & (buckets.size() - 1)]; }
  };

  Shard& shard_of(std::uint64_t hash) { return shards_[hash % kShards]; }
  static void grow(Shard& shard);
  // All with the shard's lock held; what they return is destroyed after it is released.
  ObjectPtr unlink(Shard& shard, StoredObject& object);
  void enqueue(Shard& shard, StoredObject& object, Queue queue, std::uint64_t charge);
  void dequeue(Shard& shard, StoredObject& object, std::uint64_t charge);
  ObjectPtr evict_one(Shard& shard, bool from_small);
  bool shrink_to(std::uint64_t wanted);

  const std::uint64_t bytes_max_;
  std::atomic<std::uint64_t> used_{0};
  std::atomic<std::uint64_t> small_bytes_{0};
  std::atomic<std::uint64_t> main_bytes_{0};
  std::atomic<std::uint64_t> objects_{0};
  std::atomic<std::uint64_t> evicted_{0};
  std::atomic<std::uint64_t> evicted_unused_{0};
  std::atomic<std::size_t> hand_{0};  // the shard to evict from next
  std::unique_ptr<Shard[]> shards_;
};

}  // namespace leeward::edge

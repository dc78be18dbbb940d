#include "edge/internal/cache_index.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace leeward::edge {

void CacheIndex::List::push(StoredObject& o) {
  o.queue_prev = nullptr;
  o.queue_next = head;
  (head != nullptr ? head->queue_prev : tail) = &o;
  head = &o;
}

void CacheIndex::List::take(StoredObject& o) {
  (o.queue_prev != nullptr ? o.queue_prev->queue_next : head) = o.queue_next;
  (o.queue_next != nullptr ? o.queue_next->queue_prev : tail) = o.queue_prev;
  o.queue_prev = o.queue_next = nullptr;
}

void CacheIndex::enqueue(Shard& shard, StoredObject& o, Queue queue, std::uint64_t charge) {
  o.queue = queue;
  if (queue == Queue::kMain) {
    shard.main.push(o);
    ++shard.main_objects;
    main_bytes_.fetch_add(charge, std::memory_order_relaxed);
  } else {
    shard.small.push(o);
    small_bytes_.fetch_add(charge, std::memory_order_relaxed);
  }
}

void CacheIndex::dequeue(Shard& shard, StoredObject& o, std::uint64_t charge) {
  if (o.queue == Queue::kMain) {
    shard.main.take(o);
    --shard.main_objects;
    main_bytes_.fetch_sub(charge, std::memory_order_relaxed);
  } else {
    shard.small.take(o);
    small_bytes_.fetch_sub(charge, std::memory_order_relaxed);
  }
  o.queue = Queue::kNone;
}

std::size_t CacheIndex::Ghost::set_of(std::uint64_t hash) const {
  return (hash >> 24) % (entries_.size() / kWays) * kWays;
}

void CacheIndex::Ghost::add(std::uint64_t hash, std::size_t main_objects) {
  std::size_t wanted = std::bit_ceil(std::max<std::size_t>(main_objects * 2, 64));
  if (entries_.size() < wanted) {  // what was remembered is lost now and then, as the shard grows
    entries_.assign(wanted, Entry{});
  }
  ++clock_;
  Entry* oldest = &entries_[set_of(hash)];
  for (std::size_t i = 1; i < kWays; ++i) {
    Entry* e = &entries_[set_of(hash) + i];
    if (clock_ - e->when > clock_ - oldest->when) oldest = e;
  }
  *oldest = {static_cast<std::uint32_t>(hash >> 32) | 1u, clock_};
}

bool CacheIndex::Ghost::take(std::uint64_t hash, std::size_t main_objects) {
  if (entries_.empty()) return false;
  std::uint32_t print = static_cast<std::uint32_t>(hash >> 32) | 1u;
  for (std::size_t i = 0; i < kWays; ++i) {
    Entry& e = entries_[set_of(hash) + i];
    if (e.print != print) continue;
    bool remembered = clock_ - e.when <= std::max<std::size_t>(main_objects, 16);
    e = {};
    return remembered;
  }
  return false;
}

CacheIndex::CacheIndex(std::uint64_t bytes_max)
    : bytes_max_(bytes_max), shards_(std::make_unique<Shard[]>(kShards)) {}

CacheIndex::~CacheIndex() {
  // A chain of shared_ptr would be destroyed recursively.
  for (std::size_t i = 0; i < kShards; ++i) {
    for (ObjectPtr& head : shards_[i].buckets) {
      while (head != nullptr) head = std::exchange(head->bucket_next, nullptr);
    }
  }
}

void CacheIndex::grow(Shard& shard) {
  if (shard.objects < shard.buckets.size()) return;
  std::vector<ObjectPtr> old(shard.buckets.size() * 2);
  old.swap(shard.buckets);
  for (ObjectPtr& head : old) {
    // Keep the order of a chain: newest first matters to variants.
    while (head != nullptr) {
      ObjectPtr o = std::exchange(head, std::exchange(head->bucket_next, nullptr));
      ObjectPtr* p = &shard.bucket(o->hash());
      while (*p != nullptr) p = &(*p)->bucket_next;
      *p = std::move(o);
    }
  }
}

CacheIndex::ObjectPtr CacheIndex::unlink(Shard& shard, StoredObject& object) {
  for (ObjectPtr* p = &shard.bucket(object.hash()); *p != nullptr; p = &(*p)->bucket_next) {
    if (p->get() != &object) continue;
    ObjectPtr taken = std::exchange(*p, nullptr);
    *p = std::exchange(taken->bucket_next, nullptr);
    taken->indexed = false;
    --shard.objects;
    objects_.fetch_sub(1, std::memory_order_relaxed);
    if (object.queue != Queue::kNone) {
      std::uint64_t charge = object.charge();
      dequeue(shard, object, charge);
      used_.fetch_sub(charge, std::memory_order_relaxed);
    }
    return taken;
  }
  return nullptr;
}

bool CacheIndex::insert(ObjectPtr object, const StoredObject* beside) {
  StoredObject& o = *object;
  std::uint64_t charge = o.charge();
  bool queued = !o.growing();
  if (queued && !reserve(charge)) return false;
  std::vector<ObjectPtr> gone;
  Shard& shard = shard_of(o.hash());
  {
    std::lock_guard lock(shard.mutex);
    if (beside != nullptr && !beside->indexed) {
      if (queued) release(charge);
      return false;
    }
    std::size_t variants = 0;
    StoredObject* oldest = nullptr;
    std::vector<StoredObject*> same;
    for (StoredObject* p = shard.bucket(o.hash()).get(); p != nullptr; p = p->bucket_next.get()) {
      if (p->hash() != o.hash() || p->url() != o.url()) continue;
      bool alike = p->extra() == o.extra() && p->vary() == o.vary() && p->variant() == o.variant();
      if (alike && (o.coding == Coding::kNone || p->coding == o.coding)) same.push_back(p);
      ++variants;
      oldest = p;
    }
    std::uint8_t uses = 0;
    bool was_main = false;
    for (StoredObject* p : same) {
      // A refreshed object keeps its standing.
      uses = std::max(uses, p->uses.load(std::memory_order_relaxed));
      was_main |= p->queue == Queue::kMain;
      gone.push_back(unlink(shard, *p));
    }
    if (same.empty() && variants >= kVariantsMax) gone.push_back(unlink(shard, *oldest));
    o.uses.store(uses, std::memory_order_relaxed);
    o.indexed = true;
    ++shard.objects;
    objects_.fetch_add(1, std::memory_order_relaxed);
    grow(shard);
    ObjectPtr& bucket = shard.bucket(o.hash());
    o.bucket_next = std::move(bucket);
    if (queued) {
      bool to_main = was_main || shard.ghost.take(o.hash(), shard.main_objects);
      enqueue(shard, o, to_main ? Queue::kMain : Queue::kSmall, charge);
    }
    bucket = std::move(object);
  }
  return true;
}

bool CacheIndex::remove(const StoredObject& object) {
  Shard& shard = shard_of(object.hash());
  ObjectPtr gone;
  std::lock_guard lock(shard.mutex);
  if (object.indexed) gone = unlink(shard, const_cast<StoredObject&>(object));
  return gone != nullptr;
}

std::size_t CacheIndex::remove_url(std::uint64_t hash, std::string_view url) {
  std::vector<ObjectPtr> gone;
  Shard& shard = shard_of(hash);
  std::lock_guard lock(shard.mutex);
  for (StoredObject* p = shard.bucket(hash).get(); p != nullptr;) {
    StoredObject* next = p->bucket_next.get();
    if (p->hash() == hash && p->url() == url) gone.push_back(unlink(shard, *p));
    p = next;
  }
  return gone.size();
}

void CacheIndex::for_url(std::uint64_t hash, std::string_view url,
                         const std::function<void(StoredObject&)>& visit) {
  Shard& shard = shard_of(hash);
  std::lock_guard lock(shard.mutex);
  for (StoredObject* p = shard.bucket(hash).get(); p != nullptr; p = p->bucket_next.get()) {
    if (p->hash() == hash && p->url() == url) visit(*p);
  }
}

std::size_t CacheIndex::sweep(const std::function<bool(StoredObject&)>& gone) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < kShards; ++i) {
    std::vector<ObjectPtr> removed;
    std::lock_guard lock(shards_[i].mutex);
    for (std::size_t b = 0; b < shards_[i].buckets.size(); ++b) {
      for (StoredObject* p = shards_[i].buckets[b].get(); p != nullptr;) {
        StoredObject* next = p->bucket_next.get();
        if (gone(*p)) removed.push_back(unlink(shards_[i], *p));
        p = next;
      }
    }
    count += removed.size();
  }
  return count;
}

void CacheIndex::for_each(const std::function<void(const ObjectPtr&)>& visit) {
  for (std::size_t i = 0; i < kShards; ++i) {
    std::lock_guard lock(shards_[i].mutex);
    for (ObjectPtr& head : shards_[i].buckets) {
      for (ObjectPtr* p = &head; *p != nullptr; p = &(*p)->bucket_next) visit(*p);
    }
  }
}

CacheIndex::ObjectPtr CacheIndex::evict_one(Shard& shard, bool from_small) {
  // Each turn moves one object on; 64 turns bound the time under the lock, then the tail goes
  // whatever its uses.
  for (int turn = 0;; ++turn) {
    StoredObject* o = from_small ? shard.small.tail : shard.main.tail;
    if (o == nullptr) return nullptr;
    std::uint8_t uses = o->uses.load(std::memory_order_relaxed);
    if (uses >= (from_small ? 2 : 1) && turn < 64) {  // the paper's thresholds
      std::uint64_t charge = o->charge();
      dequeue(shard, *o, charge);
      o->uses.store(from_small ? std::uint8_t{0} : static_cast<std::uint8_t>(uses - 1),
                    std::memory_order_relaxed);
      enqueue(shard, *o, Queue::kMain, charge);
      continue;
    }
    if (from_small) {
      shard.ghost.add(o->hash(), shard.main_objects);
      if (uses == 0) evicted_unused_.fetch_add(1, std::memory_order_relaxed);
    }
    evicted_.fetch_add(1, std::memory_order_relaxed);
    return unlink(shard, *o);
  }
}

bool CacheIndex::shrink_to(std::uint64_t wanted) {
  std::size_t empty_in_turn = 0;
  while (used_.load(std::memory_order_relaxed) > wanted) {
    std::uint64_t small = small_bytes_.load(std::memory_order_relaxed);
    std::uint64_t main = main_bytes_.load(std::memory_order_relaxed);
    bool from_small = main == 0 || small * 10 >= small + main;
    if (empty_in_turn > kShards) from_small = !from_small;  // charges in motion: look in the other
    if (empty_in_turn > 2 * kShards) return false;          // only growing objects are left
    Shard& shard = shards_[hand_.fetch_add(1, std::memory_order_relaxed) % kShards];
    ObjectPtr gone;
    {
      std::lock_guard lock(shard.mutex);
      gone = evict_one(shard, from_small);
    }
    empty_in_turn = gone == nullptr ? empty_in_turn + 1 : 0;
  }
  return true;
}

bool CacheIndex::reserve(std::uint64_t bytes) {
  if (bytes > bytes_max_) return false;
  std::uint64_t used = used_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  if (used <= bytes_max_ || shrink_to(bytes_max_)) return true;
  release(bytes);
  return false;
}

CacheIndex::Stats CacheIndex::stats() const {
  return {objects_.load(std::memory_order_relaxed), used_.load(std::memory_order_relaxed),
          evicted_.load(std::memory_order_relaxed),
          evicted_unused_.load(std::memory_order_relaxed)};
}

}  // namespace leeward::edge

// How often each of very many clients may ask: the generic cell rate algorithm (GCRA, ITU-T I.371,
// which is a token bucket that stores one time per key). A table of fixed size, shared by all
// loops.
//
// Bounds: `keys_max` keys, rounded up, 17 bytes each. A key whose bucket is full again needs no
// entry. When the seven entries of a key's set are all in use by others, the one that is nearest to
// a full bucket is forgotten; forgotten() counts that.
//
// Threading: take() from any thread; two keys of one set exclude each other for some nanoseconds.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/time.h"

namespace leeward::edge {

class RateLimiter {
 public:
  struct Limit {
    Duration interval{};   // between two requests at the steady rate; > 0
    Duration tolerance{};  // how far ahead of that a key may be: interval * (burst - 1)
    Duration block_for{};  // > 0: who exceeds it gets nothing at all for this long
  };

  explicit RateLimiter(std::size_t keys_max);
  ~RateLimiter();
  RateLimiter(const RateLimiter&) = delete;
  RateLimiter& operator=(const RateLimiter&) = delete;

  // Counts a request of `key` (a seeded hash of limit and client) when it conforms and returns 0;
  // otherwise returns after how long the next one would.
  Duration take(std::uint64_t key, const Limit& limit, BootTime now);

  // What take() would say, for people.
  struct Room {
    std::int64_t requests = 0;  // that conform at once
    Duration wait{};            // for the next one; 0: none
  };
  Room room(std::uint64_t key, const Limit& limit, BootTime now) const;

  std::uint64_t forgotten() const { return forgotten_.load(std::memory_order_relaxed); }

 private:
  struct Set;
  std::size_t mask_;
  std::unique_ptr<Set[]> sets_;
  std::atomic<std::uint64_t> forgotten_{0};
};

}  // namespace leeward::edge

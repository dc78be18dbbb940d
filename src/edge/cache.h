// The edge's cache: a shared HTTP cache as RFC 9111 has it, in memory and on disk, used by all
// loops at once through the seam of edge/exchange.h. The life of an object:
// docs/internals/cache.md.
//
// Ownership. Fills and answers point into the cache, so it must outlive every loop that uses it;
// objects that are being sent outlive their eviction.
// Threading. Every method may be called from any thread. The paths of requests (lookup, fills)
// never block on disk and hold no lock longer than the walk of a chain.
// Bounds. memory_bytes_max counts what is stored and what is being stored; a call that takes it
// above evicts before it returns. The disk tier: edge/cache_disk.h.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "edge/cache_policy.h"
#include "edge/exchange.h"

namespace leeward::edge {

struct CacheOptions {
  std::string name = "leeward";               // in Cache-Status
  std::uint64_t memory_bytes_max = 1u << 30;  // objects, their keys and heads, and fills in flight
  std::string disk_directory;                 // empty: no disk tier
  std::uint64_t disk_bytes_max = 16ull << 30;
  Logger logger;
};

struct PurgeRequest {
  enum class Kind : std::uint8_t { kUrl, kPrefix, kTag, kAll };
  Kind kind = Kind::kUrl;
  std::string text;   // URL or prefix ("host/path", a scheme is ignored), or surrogate key
  bool soft = false;  // stale instead of gone
};

struct CacheStats {
  std::uint64_t objects = 0;
  std::uint64_t bytes = 0;
  std::uint64_t hits = 0;
  std::uint64_t stale_hits = 0;  // of these, served stale
  std::uint64_t misses = 0;
  std::uint64_t validations = 0;  // fetches with a condition
  std::uint64_t waits = 0;        // requests that waited for another's fetch
  std::uint64_t passes = 0;
  std::uint64_t stored = 0;
  std::uint64_t evicted = 0;
  std::uint64_t disk_objects = 0;
  std::uint64_t disk_bytes = 0;
  std::uint64_t disk_loads = 0;
};

class HttpCache final : public Cache {
 public:
  // With a disk tier, reads its index. A directory that cannot be used is logged and done without:
  // a cache that cannot write serves on from memory.
  explicit HttpCache(CacheOptions options);
  ~HttpCache() override;

  std::string_view name() const override;
  void lookup(const RequestView& request, const CachePolicy& policy, Now now, Waiter waiter,
              CacheDecision& decision) override;
  void passed(const RequestView& request, const CachePolicy& policy, const ResponseView& response,
              Now now) override;
  std::string explain(const RequestView& request, const CachePolicy& policy, Now now) override;

  // In force when it returns, for every later look-up on any loop; what is being fetched meanwhile
  // counts as older. By URL: the number of objects removed or made stale. Otherwise 0: a rule, in
  // constant time. kInvalid for an empty text.
  Result<std::uint64_t> purge(const PurgeRequest& request);

  CacheStats stats() const;
  std::string prometheus_text() const;
  // What is stored and was used most lately, as "scheme://host/path?query", at most `count`: what a
  // standby's cache is to be warmed with. Walks the whole index, a shard at a time.
  std::vector<std::string> popular_urls(std::size_t count) const;

  // Waits until everything stored so far is on disk (or was refused). For shutdown and tests.
  void flush_disk();
  // Leaves the disk tier's directory to another process, see DiskTier::release().
  void release_disk();

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace leeward::edge

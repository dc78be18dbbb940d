// What the parts of the cache share: HttpCache::Impl, seen by cache.cc (decisions on requests) and
// cache_fill.cc (decisions on responses).
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "edge/cache.h"
#include "edge/cache_core.h"
#include "edge/cache_disk.h"
#include "edge/internal/cache_answer.h"
#include "edge/internal/cache_collapse.h"
#include "edge/internal/cache_encode.h"
#include "edge/internal/cache_index.h"
#include "edge/internal/cache_purge.h"

namespace leeward::edge {

// How long requests for something that turned out not to be shareable do not wait for each other,
// and how long stale answers are given without asking an origin that has just failed.
inline constexpr Duration kAloneFor = std::chrono::seconds(10);
inline constexpr Duration kOriginRetry = std::chrono::seconds(1);
inline constexpr std::size_t kTagsPerObject = 256;

using ObjectPtr = std::shared_ptr<StoredObject>;

// A request that outlives its views.
class OwnedRequest {
 public:
  explicit OwnedRequest(const RequestView& request);
  OwnedRequest(const OwnedRequest&) = delete;
  OwnedRequest& operator=(const OwnedRequest&) = delete;
  const RequestView& view() const { return view_; }

 private:
  std::string bytes_;
  std::vector<Field> fields_;
  RequestView view_;
};

struct HttpCache::Impl {
  explicit Impl(CacheOptions o);

  CacheOptions options;
  CacheIndex index;
  PurgeRules rules;
  CollapseTable collapse;
  std::unique_ptr<DiskTier> disk;  // null: none
  std::unique_ptr<Encoder> encoder;

  // Each loop adds to these; separate cache lines would not pay: one add a request.
  struct Counts {
    std::atomic<std::uint64_t> hits{0}, stale_hits{0}, misses{0}, validations{0}, waits{0},
        passes{0}, stored{0}, disk_loads{0};
  } counts;

  // The object that matches key, Vary and, when it is partial, Range; null if none. Purged ones are
  // removed on the way.
  ObjectPtr find(const RequestView& request, const CacheKey& key, BootTime now);
  // Key and, for a URL known to vary, the request's variant: what fills are collapsed by.
  void collapse_key(const RequestView& request, const CacheKey& key, std::string& out);
  // make_answer() of an object of whatever kind. `first`: of a sliced one, the slice that is being
  // fetched for this very answer.
  void answer(const ObjectPtr& object, const RequestView& request, Now now,
              const AnswerStatus& status, CacheAnswer& answer, const ObjectPtr& first = nullptr);
  // What an unsafe request that succeeded makes out of date (RFC 9111 §4.4).
  void invalidate(const RequestView& request, const CachePolicy& policy,
                  const ResponseView& response, BootTime now);
  // Stores a complete object, in memory and on disk. `beside`: only if that one is still in memory.
  void store(const ObjectPtr& object, bool validated = false, const StoredObject* beside = nullptr);
};

std::unique_ptr<Fill> make_fill(HttpCache::Impl& cache, const RequestView& request,
                                const CachePolicy& policy, const CacheKey& key,
                                std::shared_ptr<PendingFill> pending, ObjectPtr stale,
                                BootTime now);
// A HEAD that goes to the origin although `stored` would have been chosen for it (RFC 9111 §4.3.5).
std::unique_ptr<Fill> make_head_fill(HttpCache::Impl& cache, const CachePolicy& policy,
                                     ObjectPtr stored, BootTime now);

}  // namespace leeward::edge

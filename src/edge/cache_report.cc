// What the cache tells people and other edges about itself.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <unordered_set>

#include "edge/internal/cache_impl.h"

namespace leeward::edge {
namespace {

// The key of a policy without key_scheme names none; either will do then.
std::string url_of(const StoredObject& object) {
  constexpr char kScheme = '\x01';  // see make_key()
  std::string_view extra = object.extra();
  const bool https = extra.starts_with(std::string{kScheme} + "https");
  return (https ? "https://" : "http://") + std::string(object.url());
}

}  // namespace

std::vector<std::string> HttpCache::popular_urls(std::size_t count) const {
  struct Candidate {
    std::uint8_t uses;
    BootTime stored_at;
    std::string url;
  };
  std::vector<Candidate> all;
  impl_->index.for_each([&](const ObjectPtr& o) {
    if (o->status() == 200 && !o->from_post && o->coding == Coding::kNone)
      all.push_back({o->uses.load(std::memory_order_relaxed), o->stored_at, url_of(*o)});
  });
  std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
    return a.uses != b.uses ? a.uses > b.uses : a.stored_at > b.stored_at;
  });
  std::vector<std::string> urls;
  std::unordered_set<std::string> seen;
  for (Candidate& c : all) {
    if (urls.size() == count) break;
    if (seen.insert(c.url).second) urls.push_back(std::move(c.url));
  }
  return urls;
}

std::string HttpCache::prometheus_text() const {
  const CacheStats s = stats();
  struct Family {
    std::string_view name, type, help;
    std::uint64_t value;
  };
  const Family families[] = {
      {"objects", "gauge", "Stored objects in memory.", s.objects},
      {"bytes", "gauge", "Bytes of objects and of fills in flight.", s.bytes},
      {"hits_total", "counter", "Answers out of the cache.", s.hits},
      {"stale_hits_total", "counter", "Of these, stale ones.", s.stale_hits},
      {"misses_total", "counter", "Fetches from an origin.", s.misses},
      {"validations_total", "counter", "Fetches with a condition.", s.validations},
      {"waits_total", "counter", "Requests that waited for another's fetch.", s.waits},
      {"passes_total", "counter", "Requests that went past the cache.", s.passes},
      {"stored_total", "counter", "Responses stored.", s.stored},
      {"evicted_total", "counter", "Objects that made room.", s.evicted},
      {"disk_objects", "gauge", "Stored objects on disk.", s.disk_objects},
      {"disk_bytes", "gauge", "Bytes on disk.", s.disk_bytes},
      {"disk_loads_total", "counter", "Objects read from disk.", s.disk_loads}};
  std::string out;
  for (const Family& f : families)
    fmt::format_to(std::back_inserter(out),
                   "# HELP leeward_edge_cache_{0} {2}\n# TYPE leeward_edge_cache_{0} {1}\n"
                   "leeward_edge_cache_{0} {3}\n",
                   f.name, f.type, f.help, f.value);
  return out;
}

}  // namespace leeward::edge

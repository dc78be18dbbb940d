// The settings of edge.cache and edge.cache_policies.
#include "config/internal/edge_table.h"

namespace leeward::config {
namespace {

constexpr std::int64_t kMiB = 1 << 20;
constexpr std::int64_t kTiB = std::int64_t{1} << 40;
constexpr Bounds<Duration> kLifetime{0s, std::chrono::seconds(std::int64_t{1} << 31)};

auto of(auto member) {
  return [member](EdgeCachePolicy & p) -> auto& { return p.policy.*member; };
}

void add_key(Table<EdgeCachePolicy>& t) {
  using P = CachePolicy;
  t.boolean("key_scheme", of(&P::key_scheme), "http and https are two objects.");
  t.choice("query", of(&P::query),
           std::vector<std::pair<std::string, QueryKey>>{{"all", QueryKey::kAll},
                                                         {"none", QueryKey::kNone},
                                                         {"allow", QueryKey::kAllow},
                                                         {"deny", QueryKey::kDeny}},
           "Which arguments of the query make another object: all, none, only query_names (allow) "
           "or all but query_names (deny).");
  t.texts("query_names", of(&P::query_names), kAnyText, "See query.");
  t.boolean("sort_query", of(&P::sort_query), "The order of the arguments does not count.");
  t.texts("key_headers", of(&P::key_headers), kAnyText,
          "Header fields whose values make another object, beside what Vary names.");
  t.texts("key_cookies", of(&P::key_cookies), kAnyText, "Cookies whose values do.");
  t.texts("bypass_headers", of(&P::bypass_headers), kAnyText,
          "A request with one of these fields goes to the origin, and nothing of it is kept.");
  t.texts("bypass_cookies", of(&P::bypass_cookies), kAnyText, "The same for cookies.");
}

void add_lifetimes(Table<EdgeCachePolicy>& t) {
  using P = CachePolicy;
  t.duration("ttl_min", of(&P::ttl_min), kLifetime,
             "A response that may be kept is fresh for at least this long, whatever it says.");
  t.duration("ttl_max", of(&P::ttl_max), kLifetime, "And for at most this long.");
  t.duration("ttl_default", of(&P::ttl_default), kLifetime,
             "For responses that say nothing about it.");
  t.duration("negative_ttl", of(&P::negative_ttl), kLifetime,
             "The same for 404, 405, 410, 414 and 501; 0: as ttl_default.");
  t.duration("error_ttl", of(&P::error_ttl), kLifetime,
             "The same for 500, 502, 503 and 504; 0: not kept.");
  t.integer("heuristic_percent", of(&P::heuristic_percent), {0, 100},
            "Without any other word, fresh for this part of the time since Last-Modified; 0: off.");
  t.duration("heuristic_max", of(&P::heuristic_max), kLifetime, "But at most this long.");
  t.duration("stale_while_revalidate", of(&P::stale_while_revalidate), kLifetime,
             "Served stale for this long while one request renews it (RFC 5861), where the "
             "response does not say.");
  t.duration("stale_if_error", of(&P::stale_if_error), kLifetime,
             "Served stale for this long when no origin answers properly, where the response does "
             "not say. Never with must-revalidate, proxy-revalidate, s-maxage or no-cache.");
}

}  // namespace

Table<EdgeCache> edge_cache_table() {
  Table<EdgeCache> t;
  t.integer("memory_bytes_max", &EdgeCache::memory_bytes_max, {kMiB, 16 * kTiB},
            "Objects in memory, with their heads and keys; above it the least used go.");
  t.integer("disk_bytes_max", &EdgeCache::disk_bytes_max, {0, 1024 * kTiB},
            "Objects on disk, in the role's state directory; they survive a restart. 0: none.");
  return t;
}

Table<EdgeCachePolicy> edge_cache_policy_table() {
  Table<EdgeCachePolicy> t;
  using P = CachePolicy;
  add_lifetimes(t);
  add_key(t);
  t.choice(
      "set_cookie", of(&P::set_cookie),
      std::vector<std::pair<std::string, SetCookiePolicy>>{{"refuse", SetCookiePolicy::kRefuse},
                                                           {"store", SetCookiePolicy::kStore},
                                                           {"strip", SetCookiePolicy::kStrip}},
      "Responses with Set-Cookie: refuse (kept only if they say public, s-maxage or "
      "CDN-Cache-Control), store (kept with it) or strip (kept without it).");
  t.boolean("honour_request_directives", of(&P::honour_request_directives),
            "Cache-Control of requests counts: a client can make the edge ask the origin.");
  t.boolean(
      "store_post", of(&P::store_post),
      "Keep the response to a POST for later GETs where it says so (RFC 9110 section 9.3.3).");
  t.boolean("compress", of(&P::compress), "Keep gzip, br and zstd forms of compressible objects.");
  t.integer("object_bytes_max", of(&P::object_bytes_max), {0, kTiB},
            "Larger responses pass without being kept.");
  t.integer("slice_bytes", of(&P::slice_bytes), {0, 64 * kMiB},
            "Keep larger objects in slices of so many bytes, each fetched by Range when somebody "
            "asks for it: for downloads and video. 0: whole objects only; else at least 65536.");
  return t;
}

}  // namespace leeward::config

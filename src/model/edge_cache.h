// What the edge's cache may do: its size, and policies that routes name. Plain data; the cache
// takes a policy over as it is (edge/cache_policy.h).
//
// Every field of a policy has a default that follows RFC 9111 without surprises: no heuristics, the
// whole query in the key, and nothing with Set-Cookie kept unless the origin clearly means it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"

namespace leeward {

enum class QueryKey : std::uint8_t {
  kAll,    // every argument counts
  kNone,   // no argument counts
  kAllow,  // those of `query_names` count
  kDeny,   // all but those of `query_names` count
};

enum class SetCookiePolicy : std::uint8_t {
  kRefuse,  // not stored, unless the response says public or s-maxage or has CDN-Cache-Control
  kStore,   // as RFC 9111 has it: stored, and sent to everybody
  kStrip,   // stored without it
};

struct CachePolicy {
  // The key. Host and path always count; names of arguments and cookies are case-sensitive.
  bool key_scheme = true;  // http and https are two objects
  QueryKey query = QueryKey::kAll;
  std::vector<std::string> query_names;
  bool sort_query = false;               // ?b=2&a=1 is ?a=1&b=2
  std::vector<std::string> key_headers;  // their values count
  std::vector<std::string> key_cookies;

  // Requests with one of these are passed to the origin, and their responses are not stored.
  std::vector<std::string> bypass_headers;
  std::vector<std::string> bypass_cookies;

  // Lifetimes. The bounds apply to what a response says; they do not make a response storable.
  Duration ttl_min{0};
  Duration ttl_max = std::chrono::seconds(std::int64_t{1} << 31);  // RFC 9111 §1.2.2
  Duration ttl_default{0};   // for storable responses that say nothing
  Duration negative_ttl{0};  // the same for 404, 405, 410, 414 and 501; 0: as ttl_default
  Duration error_ttl{0};     // the same for 500, 502, 503 and 504; 0: not stored
  int heuristic_percent =
      0;  // of the time since Last-Modified (RFC 9111 §4.2.2 suggests 10); 0: off
  Duration heuristic_max = std::chrono::hours(24);

  // Stale answers where the response says nothing itself (RFC 5861). Never for responses with
  // must-revalidate, proxy-revalidate, s-maxage or no-cache.
  Duration stale_while_revalidate{0};
  Duration stale_if_error = std::chrono::hours(1);

  SetCookiePolicy set_cookie = SetCookiePolicy::kRefuse;
  // Cache-Control of requests (no-cache, max-age …). Off: a client cannot make us go to the origin.
  bool honour_request_directives = false;
  // Keep the response to a POST that says so (Content-Location is its own URL, explicit lifetime;
  // RFC 9110 §9.3.3) for later GETs.
  bool store_post = false;
  bool compress = true;  // make gzip, br and zstd variants of compressible objects

  std::uint64_t object_bytes_max = 64u << 20;  // larger responses pass
  // Above 0: what is larger than this is fetched and kept in parts of this size, each when it is
  // asked for; object_bytes_max then bounds a part. For origins that answer Range and give strong
  // entity tags; others are asked once more, for the whole.
  std::uint64_t slice_bytes = 0;
};

struct EdgeCachePolicy {
  std::string name;
  CachePolicy policy;
};

struct EdgeCache {
  std::uint64_t memory_bytes_max = 256u << 20;
  std::uint64_t disk_bytes_max = 0;  // 0: no disk tier
};

}  // namespace leeward

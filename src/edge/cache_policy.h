// The key that a request has under a policy (model/edge_cache.h). A policy is built once with the
// route and is read-only while requests use it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "edge/exchange.h"
#include "model/edge_cache.h"

namespace leeward::edge {

// A request's place in the cache. `url` is "host/path?query" as far as it counts; purges name it.
// `extra` holds scheme, headers and cookies that the policy adds; several objects of one URL differ
// in it, as they differ in what Vary names.
struct CacheKey {
  std::string text;  // url, then extra
  std::size_t url_size = 0;
  std::uint64_t hash = 0;  // of the url

  std::string_view url() const { return std::string_view(text).substr(0, url_size); }
  std::string_view extra() const { return std::string_view(text).substr(url_size); }
};

// Fills `key`, reusing its memory: no allocation for a key that fits what an earlier one needed.
void make_key(const RequestView& request, const CachePolicy& policy, CacheKey& key);
// The URL part of the key of "host/path?query".
std::string key_url(std::string_view url, const CachePolicy& policy);
// The URL part alone, for a purge by "host/path?query" or "scheme://host/path?query" (the scheme is
// not looked at): the host is lower-cased, the rest taken as it is.
std::string url_of_text(std::string_view url);

// Not cryptographic; seeded per process so that nobody outside can aim at one shard.
std::uint64_t hash_bytes(std::string_view bytes, std::uint64_t seed);
std::uint64_t hash_url(std::string_view url);

// Static text for Cache-Status when the policy sends the request past the cache; empty otherwise.
std::string_view bypass_reason(const RequestView& request, const CachePolicy& policy);

// The value of cookie `name` in the request's Cookie fields; null data when absent.
std::string_view find_cookie(Fields fields, std::string_view name);

}  // namespace leeward::edge

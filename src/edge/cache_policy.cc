#include "edge/cache_policy.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>

#include "edge/internal/cache_text.h"
#include "edge/internal/proxy_fields.h"

namespace leeward::edge {
namespace {

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {  // multiply and fold, as wyhash does
  __extension__ using Wide = unsigned __int128;
  Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t load(const char* p, std::size_t n) {
  std::uint64_t v = 0;
  std::memcpy(&v, p, n);
  return v;
}

std::uint64_t process_seed() {
  std::uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed) seed = 0x9e3779b97f4a7c15;
  return seed;
}

bool counts(std::string_view argument, const CachePolicy& policy) {
  std::string_view name = argument.substr(0, argument.find('='));
  bool listed = std::find(policy.query_names.begin(), policy.query_names.end(), name) !=
                policy.query_names.end();
  return policy.query == QueryKey::kAllow ? listed : !listed;
}

void append_query(std::string_view query, const CachePolicy& policy, std::string& out) {
  if (policy.query == QueryKey::kNone) return;
  if (policy.query == QueryKey::kAll && !policy.sort_query) {
    out += '?';
    out += query;
    return;
  }
  std::vector<std::string_view> kept;
  std::string_view rest = query;
  for (;;) {
    std::size_t end = rest.find('&');
    std::string_view argument = rest.substr(0, end);
    if (!argument.empty() && (policy.query == QueryKey::kAll || counts(argument, policy))) {
      kept.push_back(argument);
    }
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  // Stable and by name only: the order of equal names means something to many applications.
  if (policy.sort_query) {
    std::stable_sort(kept.begin(), kept.end(), [](std::string_view a, std::string_view b) {
      return a.substr(0, a.find('=')) < b.substr(0, b.find('='));
    });
  }
  char separator = '?';
  for (std::string_view argument : kept) {
    out += separator;
    out += argument;
    separator = '&';
  }
}

}  // namespace

std::uint64_t hash_bytes(std::string_view bytes, std::uint64_t seed) {
  constexpr std::uint64_t kA = 0xa0761d6478bd642f, kB = 0xe7037ed1a0b428db;
  const char* p = bytes.data();
  std::size_t n = bytes.size();
  std::uint64_t h = seed ^ kA;
  while (n > 16) {
    h = mix(load(p, 8) ^ kB, load(p + 8, 8) ^ h);
    p += 16;
    n -= 16;
  }
  std::uint64_t a = load(p, std::min<std::size_t>(n, 8));
  std::uint64_t b = n > 8 ? load(p + 8, n - 8) : 0;
  return mix(kB ^ bytes.size(), mix(a ^ kB, b ^ h));
}

std::uint64_t hash_url(std::string_view url) {
  static const std::uint64_t seed = process_seed();
  return hash_bytes(url, seed);
}

void make_key(const RequestView& request, const CachePolicy& policy, CacheKey& key) {
  std::string& out = key.text;
  out.clear();
  out += request.host;
  std::size_t question = request.target.find('?');
  out += request.target.substr(0, question);
  if (question != std::string_view::npos) {
    append_query(request.target.substr(question + 1), policy, out);
  }
  key.url_size = out.size();
  key.hash = hash_url(out);
  // The separators are control characters, which no field value holds: parts cannot run together.
  if (policy.key_scheme) {
    out += '\x01';
    out += request.scheme;
  }
  for (const std::string& name : policy.key_headers) {
    out += '\x02';
    for (const Field& f : request.fields) {
      if (!same_name(f.name, name)) continue;
      out += '\x03';
      out += f.value;
    }
  }
  for (const std::string& name : policy.key_cookies) {
    out += '\x04';
    std::string_view value = find_cookie(request.fields, name);
    if (value.data() != nullptr) {
      out += '\x05';
      out += value;
    }
  }
}

std::string key_url(std::string_view url, const CachePolicy& policy) {
  const std::size_t question = url.find('?');
  std::string out(url.substr(0, question));
  if (question != std::string_view::npos) append_query(url.substr(question + 1), policy, out);
  return out;
}

std::string url_of_text(std::string_view url) {
  std::size_t scheme = url.find("://");
  if (scheme != std::string_view::npos && url.substr(0, scheme).find('/') == std::string_view::npos)
    url.remove_prefix(scheme + 3);
  std::size_t path = std::min(url.find('/'), url.size());
  std::string out;
  out.reserve(url.size() + 1);
  for (char c : url.substr(0, path)) out += lower(c);
  out += path == url.size() ? std::string_view("/") : url.substr(path);
  return out;
}

std::string_view find_cookie(Fields fields, std::string_view name) {
  for (const Field& f : fields) {
    if (!same_name(f.name, "cookie")) continue;
    std::string_view rest = f.value;
    while (!rest.empty()) {
      std::size_t end = rest.find(';');
      std::string_view pair = trim(rest.substr(0, end));
      rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
      std::size_t equals = pair.find('=');
      if (equals != std::string_view::npos && pair.substr(0, equals) == name) {
        return pair.substr(equals + 1);
      }
    }
  }
  return {};
}

std::string_view bypass_reason(const RequestView& request, const CachePolicy& policy) {
  for (const Field& field : request.fields)
    if (overrides_method(field.name)) return "fwd=bypass; detail=method-override";
  for (const std::string& name : policy.bypass_headers) {
    if (find_field(request.fields, name).data() != nullptr) return "fwd=bypass; detail=header";
  }
  for (const std::string& name : policy.bypass_cookies) {
    if (find_cookie(request.fields, name).data() != nullptr) return "fwd=bypass; detail=cookie";
  }
  return {};
}

}  // namespace leeward::edge

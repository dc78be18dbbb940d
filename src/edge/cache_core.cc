#include "edge/cache_core.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "edge/internal/cache_date.h"
#include "edge/internal/cache_range.h"
#include "edge/internal/cache_text.h"

namespace leeward::edge {
namespace {

constexpr std::array<std::string_view, 10> kHopByHop = {"connection",
                                                        "keep-alive",
                                                        "proxy-authenticate",
                                                        "proxy-authentication-info",
                                                        "proxy-authorization",
                                                        "proxy-connection",
                                                        "te",
                                                        "trailer",
                                                        "transfer-encoding",
                                                        "upgrade"};
// Not kept for other reasons: Age is computed anew, the tag lists are between origin and edge, and
// Content-Length is written from the bytes that are there.
constexpr std::array<std::string_view, 4> kOurs = {"age", "surrogate-key", "cache-tag",
                                                   "content-length"};
constexpr std::array<std::string_view, 5> kOfStoredBytes = {"content-length", "content-encoding",
                                                            "content-md5", "content-range", "etag"};

template <typename Names>
bool contains(const Names& names, std::string_view name) {
  return std::any_of(names.begin(), names.end(),
                     [&](std::string_view n) { return same_name(n, name); });
}

std::int64_t wall_seconds(WallTime t) {
  return std::chrono::floor<Seconds>(t).time_since_epoch().count();
}

// RFC 9110 §15: statuses that a response may be kept for without being told (heuristically
// cacheable), §15.1.
bool cacheable_by_default(int status) {
  switch (status) {
    case 200:
    case 203:
    case 204:
    case 206:
    case 300:
    case 301:
    case 308:
    case 404:
    case 405:
    case 410:
    case 414:
    case 501:
      return true;
    default:
      return false;
  }
}

// The statuses whose caching rules this file knows: all of RFC 9110 §15. For must-understand.
bool understood(int status) {
  static constexpr std::array<int, 41> kKnown = {
      200, 201, 202, 203, 204, 205, 206, 300, 301, 302, 303, 305, 307, 308,
      400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413,
      414, 415, 416, 417, 421, 422, 426, 500, 501, 502, 503, 504, 505};
  return std::binary_search(kKnown.begin(), kKnown.end(), status);
}

bool negative(int status) {
  return status == 404 || status == 405 || status == 410 || status == 414 || status == 501;
}

// Whether a Set-Cookie is for the one who asked only.
bool refuses_set_cookie(const ResponseDirectives& d, const CachePolicy& policy) {
  return policy.set_cookie == SetCookiePolicy::kRefuse && !d.is_public && !d.s_maxage &&
         !d.targeted;
}

// What the edge itself tells the origin about a client: no request that comes in has it.
bool is_told_by_edge(std::string_view name, const CachePolicy& policy) {
  static constexpr std::array<std::string_view, 4> kOfClient = {"x-forwarded-for", "x-real-ip",
                                                                "forwarded", "via"};
  return contains(kOfClient, name) || (!policy.key_scheme && same_name(name, "x-forwarded-proto"));
}

struct Dates {
  std::optional<std::int64_t> date;
  std::optional<std::int64_t> last_modified;
  bool has_expires = false;
  std::int64_t expires = 0;  // 0 (the past) when unreadable
};

Dates dates_of(Fields fields, std::int64_t now) {
  Dates d;
  std::string_view date = find_field(fields, "date");
  if (!date.empty()) d.date = parse_http_date(date, now);
  std::string_view modified = find_field(fields, "last-modified");
  if (!modified.empty()) d.last_modified = parse_http_date(modified, now);
  for (const Field& f : fields) {
    if (!same_name(f.name, "expires")) continue;
    // Several lines: the earliest holds (§4.2.1 leaves it to us).
    std::int64_t value = parse_http_date(f.value, now).value_or(0);
    d.expires = d.has_expires ? std::min(d.expires, value) : value;
    d.has_expires = true;
  }
  return d;
}

bool has_validator(Fields fields) {
  return !find_field(fields, "etag").empty() || !find_field(fields, "last-modified").empty();
}

struct Lifetime {
  Duration value{0};
  bool stated = false;  // by the response, not by us
};

// §4.2.1 and §4.2.2, before the policy's bounds.
Lifetime lifetime_of(const ResponseView& response, const ResponseDirectives& d,
                     const CachePolicy& policy, const Dates& dates, std::int64_t received) {
  if (d.s_maxage) return {*d.s_maxage, true};
  if (d.max_age) return {*d.max_age, true};
  if (dates.has_expires && !d.targeted) {
    std::int64_t from = dates.date.value_or(received);
    return {Seconds(std::clamp<std::int64_t>(dates.expires - from, 0, kDeltaMax.count())), true};
  }
  if (policy.negative_ttl > Duration{0} && negative(response.status)) {
    return {policy.negative_ttl, false};
  }
  if (is_origin_failure(response.status)) return {policy.error_ttl, false};
  if (!cacheable_by_default(response.status) && !d.is_public) return {};
  if (policy.heuristic_percent > 0 && dates.last_modified) {
    std::int64_t since = dates.date.value_or(received) - *dates.last_modified;
    Duration part = Seconds(std::clamp<std::int64_t>(since, 0, kDeltaMax.count())) *
                    policy.heuristic_percent / 100;
    return {std::min(part, policy.heuristic_max), false};
  }
  return {policy.ttl_default, false};
}

}  // namespace

std::string_view name(StoreVerdict v) {
  switch (v) {
    case StoreVerdict::kStored:
      return "stored";
    case StoreVerdict::kMethod:
      return "method";
    case StoreVerdict::kStatus:
      return "status";
    case StoreVerdict::kNoStore:
      return "no-store";
    case StoreVerdict::kPrivate:
      return "private";
    case StoreVerdict::kAuthorization:
      return "authorization";
    case StoreVerdict::kVaryStar:
      return "vary-star";
    case StoreVerdict::kSetCookie:
      return "set-cookie";
    case StoreVerdict::kNoLifetime:
      return "no-lifetime";
    case StoreVerdict::kPartial:
      return "partial";
    case StoreVerdict::kTooLarge:
      return "too-large";
  }
  return "unknown";
}

Seconds age_value(Fields fields) {
  std::string_view value = find_field(fields, "age");
  if (value.empty()) return Seconds{0};
  auto first = next_member(value);
  auto n = parse_digits(*first, static_cast<std::uint64_t>(kDeltaMax.count()));
  return Seconds(static_cast<std::int64_t>(n.value_or(0)));
}

bool is_origin_failure(int status) {
  return status == 500 || status == 502 || status == 503 || status == 504;
}

Freshness freshness_of(const ResponseView& response, const ResponseDirectives& directives,
                       const CachePolicy& policy, const FetchTimes& times) {
  std::int64_t received = wall_seconds(times.received.wall);
  Dates dates = dates_of(response.fields, received);
  Freshness f;
  // §4.2.3
  Duration apparent{0};
  if (dates.date) {
    apparent = Seconds(std::clamp<std::int64_t>(received - *dates.date, 0, kDeltaMax.count()));
  }
  Duration corrected = age_value(response.fields) + (times.received.boot - times.sent);
  f.born = times.received.boot - std::max(apparent, corrected);

  Lifetime life = lifetime_of(response, directives, policy, dates, received);
  f.lifetime = life.value;
  if (life.value > Duration{0}) f.lifetime = std::clamp(life.value, policy.ttl_min, policy.ttl_max);
  f.no_cache = directives.no_cache;
  f.no_stale = directives.no_cache || directives.must_revalidate || directives.proxy_revalidate ||
               directives.s_maxage.has_value();
  if (!f.no_stale) {
    f.stale_while_revalidate = directives.stale_while_revalidate
                                   ? Duration(*directives.stale_while_revalidate)
                                   : policy.stale_while_revalidate;
    f.stale_if_error =
        directives.stale_if_error ? Duration(*directives.stale_if_error) : policy.stale_if_error;
  }
  return f;
}

StoreVerdict may_store(const RequestView& request, const ResponseView& response,
                       const ResponseDirectives& d, const Freshness& freshness,
                       const CachePolicy& policy) {
  if (request.method == Method::kPost) {  // RFC 9110 §9.3.3
    std::string_view location = find_field(response.fields, "content-location");
    bool own = location.data() != nullptr && response.status == 200 &&
               same_origin_url(request, location) ==
                   std::string(request.host) + std::string(request.target);
    if (!own || freshness.lifetime <= Duration{0}) return StoreVerdict::kMethod;
  } else if (request.method != Method::kGet) {
    return StoreVerdict::kMethod;
  }
  if (response.status < 200 || response.status > 599 || response.status == 304 ||
      response.status == 416) {
    return StoreVerdict::kStatus;
  }
  if (d.must_understand && !understood(response.status)) return StoreVerdict::kStatus;
  if (d.no_store && !d.must_understand) return StoreVerdict::kNoStore;  // §5.2.2.3
  if (policy.honour_request_directives && request_directives(request.fields).no_store) {
    return StoreVerdict::kNoStore;
  }
  if (d.is_private) return StoreVerdict::kPrivate;
  if (find_field(request.fields, "authorization").data() != nullptr && !d.is_public &&
      !d.must_revalidate && !d.s_maxage) {
    return StoreVerdict::kAuthorization;
  }
  for (const Field& f : response.fields) {
    if (!same_name(f.name, "vary")) continue;
    std::string_view rest = f.value;
    while (auto member = next_member(rest)) {
      if (*member == "*" || is_told_by_edge(*member, policy)) return StoreVerdict::kVaryStar;
    }
  }
  if (refuses_set_cookie(d, policy) &&
      find_field(response.fields, "set-cookie").data() != nullptr) {
    return StoreVerdict::kSetCookie;
  }
  if (response.status == 206) {
    auto range = parse_content_range(find_field(response.fields, "content-range"));
    bool asked = find_field(request.fields, "range").data() != nullptr;
    if (!range || (!asked && !is_cut_as_said(response))) {
      return StoreVerdict::kPartial;
    }
    if (policy.slice_bytes == 0 && range->complete > policy.object_bytes_max)
      return StoreVerdict::kTooLarge;
  }
  if (response.content_length && *response.content_length > policy.object_bytes_max) {
    return StoreVerdict::kTooLarge;
  }
  bool usable = freshness.lifetime > Duration{0} && !freshness.no_cache;
  bool checkable =
      (cacheable_by_default(response.status) || d.is_public || d.max_age || d.s_maxage) &&
      has_validator(response.fields);
  return usable || checkable ? StoreVerdict::kStored : StoreVerdict::kNoLifetime;
}

bool is_cut_as_said(const ResponseView& response) {
  auto range = parse_content_range(find_field(response.fields, "content-range"));
  return range && (!response.content_length || *response.content_length == range->size());
}

Reuse may_reuse(const Freshness& f, const RequestDirectives& directives, BootTime now) {
  if (f.no_cache || directives.no_cache) return Reuse::kValidate;
  Duration age = f.age(now);
  if (directives.max_age && age > *directives.max_age) return Reuse::kValidate;
  Duration wanted = directives.min_fresh ? Duration(*directives.min_fresh) : Duration{0};
  if (age + wanted < f.lifetime) return Reuse::kFresh;
  if (f.no_stale || directives.min_fresh) return Reuse::kValidate;
  Duration staleness = age - f.lifetime;
  if (directives.max_stale && staleness <= *directives.max_stale) return Reuse::kFresh;
  if (staleness < f.stale_while_revalidate) return Reuse::kStaleWhileRevalidate;
  return Reuse::kValidate;
}

bool may_serve_stale_on_error(const Freshness& f, BootTime now) {
  if (f.no_stale || f.no_cache) return false;
  return f.age(now) - f.lifetime < f.stale_if_error;
}

FieldFilter::FieldFilter(Fields response, const ResponseDirectives& directives,
                         const CachePolicy& policy)
    : withheld_(&directives.withheld),
      strip_set_cookie_(policy.set_cookie == SetCookiePolicy::kStrip),
      withhold_set_cookie_(refuses_set_cookie(directives, policy)) {
  for (const Field& f : response) {
    if (!same_name(f.name, "connection")) continue;
    std::string_view rest = f.value;
    while (auto option = next_member(rest)) {
      if (!option->empty()) dropped_.push_back(*option);
    }
  }
}

bool FieldFilter::is_ours_to_drop(std::string_view name) const {
  return contains(kHopByHop, name) || contains(kOurs, name) || contains(dropped_, name) ||
         (strip_set_cookie_ && same_name(name, "set-cookie"));
}

bool FieldFilter::keeps(std::string_view name) const {
  return !is_ours_to_drop(name) && !contains(*withheld_, name) &&
         !(withhold_set_cookie_ && same_name(name, "set-cookie"));
}

bool FieldFilter::withholds(std::string_view name) const {
  return !is_ours_to_drop(name) && !keeps(name);
}

std::string stored_lines(const ResponseView& response, const FieldFilter& filter,
                         std::optional<std::uint64_t> length, WallTime received) {
  std::string out;
  bool has_date = false;
  for (const Field& f : response.fields) {
    if (!filter.keeps(f.name)) continue;
    has_date |= same_name(f.name, "date");
    out.append(f.name).append(": ").append(f.value).append("\r\n");
  }
  if (!has_date) out += fmt::format("Date: {}\r\n", format_http_date(wall_seconds(received)));
  if (length) out += fmt::format("Content-Length: {}\r\n", *length);
  return out;
}

std::string updated_lines(std::string_view stored, const ResponseView& update,
                          const FieldFilter& filter) {
  auto replaces = [&](std::string_view name) {
    return filter.keeps(name) && !contains(kOfStoredBytes, name);
  };
  std::string out;
  for_each_line(stored, [&](std::string_view name, std::string_view value) {
    bool replaced = replaces(name) && find_field(update.fields, name).data() != nullptr;
    if (!replaced) out.append(name).append(": ").append(value).append("\r\n");
  });
  for (const Field& f : update.fields) {
    if (replaces(f.name)) out.append(f.name).append(": ").append(f.value).append("\r\n");
  }
  return out;
}

std::string_view find_line(std::string_view lines, std::string_view name) {
  std::string_view found;
  for_each_line(lines, [&](std::string_view n, std::string_view value) {
    if (found.data() == nullptr && same_name(n, name)) found = value;
  });
  return found;
}

bool validates(const ResponseView& not_modified, std::string_view stored_etag,
               std::string_view stored_last_modified) {
  auto opaque = [](std::string_view tag) { return tag.starts_with("W/") ? tag.substr(2) : tag; };
  std::string_view etag = find_field(not_modified.fields, "etag");
  if (!etag.empty()) {
    if (stored_etag.empty()) return false;
    bool both_strong = !etag.starts_with("W/") && !stored_etag.starts_with("W/");
    return both_strong ? etag == stored_etag : opaque(etag) == opaque(stored_etag);
  }
  std::string_view modified = find_field(not_modified.fields, "last-modified");
  return modified.empty() || modified == stored_last_modified;
}

std::string same_origin_url(const RequestView& request, std::string_view reference) {
  reference = reference.substr(0, reference.find('#'));
  std::size_t colon = reference.find(':');
  if (colon != std::string_view::npos && reference.find_first_of("/?") > colon) {
    if (!same_name(reference.substr(0, colon), request.scheme)) return {};
    reference.remove_prefix(colon + 1);
    if (!reference.starts_with("//")) return {};
  }
  if (reference.starts_with("//")) {
    reference.remove_prefix(2);
    std::string_view host = reference.substr(0, reference.find_first_of("/?"));
    std::string_view port = same_name(request.scheme, "https") ? ":443" : ":80";
    std::string_view plain = host;
    if (plain.ends_with(port)) plain.remove_suffix(port.size());
    if (!same_name(plain, request.host)) return {};
    reference.remove_prefix(host.size());
    std::string path = reference.starts_with('/') ? "" : "/";
    return std::string(request.host) + path + std::string(reference);
  }
  std::string_view base = request.target.substr(0, request.target.find('?'));
  std::string path;
  if (reference.empty()) {
    path = request.target;
  } else if (reference.starts_with('/')) {
    path = reference;
  } else if (reference.starts_with('?')) {
    path = std::string(base) + std::string(reference);
  } else {
    path = std::string(base.substr(0, base.rfind('/') + 1)) + std::string(reference);
  }
  return std::string(request.host) + path;
}

std::vector<std::string> invalidated_urls(const RequestView& request,
                                          const ResponseView& response) {
  std::vector<std::string> urls;
  if (is_safe(request.method) || response.status < 200 || response.status >= 400) return urls;
  urls.push_back(std::string(request.host) + std::string(request.target));
  for (std::string_view field : {"location", "content-location"}) {
    std::string_view reference = find_field(response.fields, field);
    if (reference.data() == nullptr) continue;
    std::string url = same_origin_url(request, reference);
    if (!url.empty() && std::find(urls.begin(), urls.end(), url) == urls.end()) {
      urls.push_back(std::move(url));
    }
  }
  return urls;
}

std::vector<std::string_view> tags_of(Fields fields, std::size_t max) {
  std::vector<std::string_view> tags;
  auto split = [&](std::string_view list, std::string_view separators) {
    while (!list.empty() && tags.size() < max) {
      std::size_t start = list.find_first_not_of(separators);
      if (start == std::string_view::npos) return;
      list.remove_prefix(start);
      std::size_t end = std::min(list.find_first_of(separators), list.size());
      std::string_view tag = trim(list.substr(0, end));
      if (!tag.empty()) tags.push_back(tag);
      list.remove_prefix(end);
    }
  };
  for (const Field& f : fields) {
    if (same_name(f.name, "surrogate-key")) split(f.value, " \t");
    if (same_name(f.name, "cache-tag")) split(f.value, ",");
  }
  return tags;
}

}  // namespace leeward::edge

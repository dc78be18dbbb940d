// The decisions of a shared HTTP cache as pure functions: may this response be stored, how long is
// it fresh, may it be used for this request now, which stored field lines does a 304 replace, what
// does an unsafe request invalidate. RFC 9111, RFC 9110 §13–15, RFC 5861. No clock, no lock, no
// I/O; `now` is handed in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "edge/cache_control.h"
#include "edge/cache_policy.h"
#include "edge/exchange.h"

namespace leeward::edge {

// Why a response is not stored; kStored when it is.
enum class StoreVerdict : std::uint8_t {
  kStored,
  kMethod,   // RFC 9111 §3: only GET, and POST with Content-Location of its own URL
  kStatus,   // not final, 304, or must-understand with a status that we do not know
  kNoStore,  // by the response, or by the request where the policy honours that
  kPrivate,
  kAuthorization,  // §3.5: without public, must-revalidate or s-maxage
  kVaryStar,       // matches no later request (§4.1)
  kSetCookie,      // CachePolicy::set_cookie
  kNoLifetime,     // neither fresh for any time nor to be validated
  kPartial,        // a 206 whose Content-Range is unusable, or of several parts
  kTooLarge,       // CachePolicy::object_bytes_max
};
std::string_view name(StoreVerdict v);  // stable, for Cache-Status detail, explain and metrics

// How long a stored response may be used, fixed when it is stored or validated.
struct Freshness {
  BootTime born;         // now minus the age it had: current_age = now - born (§4.2.3)
  Duration lifetime{0};  // §4.2.1; 0: to be validated before each use
  Duration stale_while_revalidate{0};
  Duration stale_if_error{0};
  bool no_cache = false;  // never used without validation (§5.2.2.4)
  bool no_stale = false;  // must-revalidate, proxy-revalidate, s-maxage (§4.2.4)

  Duration age(BootTime now) const { return now > born ? now - born : Duration{0}; }
  bool fresh(BootTime now) const { return !no_cache && age(now) < lifetime; }
};

// When the request was sent and its response head came.
struct FetchTimes {
  BootTime sent;
  Now received;
};

// The first member of Age (§5.1); 0 when absent or not a number.
Seconds age_value(Fields fields);

// §4.2: `directives` must be those of the response.
Freshness freshness_of(const ResponseView& response, const ResponseDirectives& directives,
                       const CachePolicy& policy, const FetchTimes& times);

// §3, §3.5 and the policy. `freshness` and `directives` are those of the response.
StoreVerdict may_store(const RequestView& request, const ResponseView& response,
                       const ResponseDirectives& directives, const Freshness& freshness,
                       const CachePolicy& policy);

// Of a 206 with a usable Content-Range: whether its body is as long as that says. One that is not
// can be sent again to who asks for the same range, but no part of it can be found.
bool is_cut_as_said(const ResponseView& response);

enum class Reuse : std::uint8_t {
  kFresh,
  kStaleWhileRevalidate,  // serve now, validate in the background (RFC 5861 §3)
  kValidate,              // not without asking the origin
};
// §4.2, §5.2.1. `directives`: of the request; pass none where the policy does not honour them.
Reuse may_reuse(const Freshness& freshness, const RequestDirectives& directives, BootTime now);

// Whether a stale response may be sent because the origin failed (RFC 5861 §4, RFC 9111 §4.2.4).
bool may_serve_stale_on_error(const Freshness& freshness, BootTime now);
// Statuses that count as a failure of the origin there: 500, 502, 503, 504.
bool is_origin_failure(int status);

// ---- stored field lines

// Whether a field is kept with a stored response: not hop-by-hop (RFC 9110 §7.6.1), not named by
// Connection, not ours to add (Age, Cache-Status is kept: it is a list), not withheld by
// no-cache="…" or private="…", not a tag list for the edge itself.
class FieldFilter {
 public:
  FieldFilter(Fields response, const ResponseDirectives& directives, const CachePolicy& policy);
  bool keeps(std::string_view name) const;
  // Dropped only because it is withheld from others: the one who asked gets it.
  bool withholds(std::string_view name) const;

 private:
  bool is_ours_to_drop(std::string_view name) const;

  std::vector<std::string_view> dropped_;
  const std::vector<std::string>* withheld_;
  bool strip_set_cookie_;
  bool withhold_set_cookie_;
};

// "Name: value\r\n" lines of a response to be stored; Content-Length only if `length` is known.
// A missing Date is added (RFC 9110 §6.6.1).
std::string stored_lines(const ResponseView& response, const FieldFilter& filter,
                         std::optional<std::uint64_t> length, WallTime received);

// §3.2: `stored` with every field that a 304 (or 200 to a HEAD) brings replaced, all its lines at
// once. Never replaced are Content-Length, Content-Encoding, Content-MD5, Content-Range and ETag:
// they describe the stored bytes.
std::string updated_lines(std::string_view stored, const ResponseView& update,
                          const FieldFilter& filter);

// Calls `visit(name, value)` for each of "Name: value\r\n" lines.
template <typename Visit>
void for_each_line(std::string_view lines, Visit visit) {
  while (!lines.empty()) {
    std::size_t end = lines.find("\r\n");
    std::string_view line = lines.substr(0, end);
    lines = end == std::string_view::npos ? std::string_view() : lines.substr(end + 2);
    std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    std::string_view value = line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    visit(line.substr(0, colon), value);
  }
}
// The first line of that name; null data when there is none.
std::string_view find_line(std::string_view lines, std::string_view name);

// ---- validation

// Whether a response to validate with selects the stored one (§4.3.4): same strong ETag, or same
// weak ETag, or Last-Modified, or no validator at all in the response. `stored_*` may be empty.
bool validates(const ResponseView& not_modified, std::string_view stored_etag,
               std::string_view stored_last_modified);

// ---- invalidation

// §4.4: the URLs (as in CacheKey::url, without the policy's query rules) that a non-error response
// to an unsafe request invalidates: the target, and Location and Content-Location where they are
// of the same host. Empty for safe methods and error responses.
std::vector<std::string> invalidated_urls(const RequestView& request, const ResponseView& response);

// Resolves a URI reference of a response against its request, to "host/path?query"; empty when it
// is of another origin or unusable.
std::string same_origin_url(const RequestView& request, std::string_view reference);

// Surrogate keys of a response: Surrogate-Key (separated by spaces) and Cache-Tag (by commas). At
// most `max`, the rest does not count.
std::vector<std::string_view> tags_of(Fields fields, std::size_t max);

}  // namespace leeward::edge

// Cache directives as a shared cache reads them: Cache-Control of responses and requests (RFC 9111
// §5.2) and CDN-Cache-Control (RFC 9213). Pure.
//
// Where the RFC leaves a choice for broken input we take the one that cannot serve a response that
// the origin did not mean to be served:
// - A lifetime that is no number of seconds ("3600.5", "-1", "'60'") counts as 0: stale at once.
// - Two different values of one lifetime count as 0 as well (RFC 9111 §4.2.1).
// - Numbers beyond 2^31 are 2^31 (§1.2.2). A number in double quotes is a number (§5.2).
// - White space beside "=" makes a lifetime invalid; no-store, no-cache and private hold even then.
// - An unterminated quoted string may hide a directive: the response counts as no-store.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "edge/exchange.h"

namespace leeward::edge {

using Seconds = std::chrono::seconds;
inline constexpr Seconds kDeltaMax{std::int64_t{1} << 31};

struct ResponseDirectives {
  bool no_store = false;
  bool no_cache = false;    // without field names
  bool is_private = false;  // without field names
  bool is_public = false;
  bool must_revalidate = false;
  bool proxy_revalidate = false;
  bool must_understand = false;
  bool no_transform = false;
  bool targeted = false;  // read from CDN-Cache-Control: Cache-Control and Expires do not count
  std::optional<Seconds> max_age;
  std::optional<Seconds> s_maxage;
  std::optional<Seconds> stale_while_revalidate;  // RFC 5861
  std::optional<Seconds> stale_if_error;
  std::vector<std::string> withheld;  // field names of no-cache="…" and private="…", lower case
};

// The directives that hold for us: those of CDN-Cache-Control if there is one and it is valid
// (RFC 9213 §2.2: a structured-field dictionary whose known members have the right types), else
// those of Cache-Control, else Pragma is not looked at (it has no meaning in a response).
ResponseDirectives response_directives(Fields fields);

struct RequestDirectives {
  bool no_store = false;
  bool no_cache = false;  // or Pragma: no-cache without Cache-Control (RFC 9111 §5.4)
  bool only_if_cached = false;
  std::optional<Seconds> max_age;
  std::optional<Seconds> min_fresh;
  std::optional<Seconds> max_stale;  // kDeltaMax when any staleness will do
  std::optional<Seconds> stale_if_error;
};
RequestDirectives request_directives(Fields fields);

}  // namespace leeward::edge

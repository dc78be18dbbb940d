// HTTP-date (RFC 9110 §5.6.7): the preferred form and the two obsolete ones that every recipient
// must read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace leeward::edge {

// Seconds since 1970-01-01T00:00:00Z. nullopt for anything but the three formats to the letter (the
// rule for an unreadable Expires is "in the past", RFC 9111 §5.3), except that case does not count,
// as caches should have it (§4.2). The day's name must be one but is not checked against the date.
// A two-digit year that seems more than 50 years after `now_seconds` means the past century.
std::optional<std::int64_t> parse_http_date(std::string_view text, std::int64_t now_seconds);

// "Sun, 06 Nov 1994 08:49:37 GMT". REQUIRES: a year between 0 and 9999.
std::string format_http_date(std::int64_t seconds);

}  // namespace leeward::edge

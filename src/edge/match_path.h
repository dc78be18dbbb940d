// The path of a request in the form in which routes and rate limits compare it: as an origin may
// understand it, however it was written. Percent-encoded octets are decoded once, slashes in a row
// are one, dot segments are removed (RFC 3986 §6.2.2), and the query is left out. What is sent to
// the origin and what the cache keeps it under stay as the client wrote them.
#pragma once

#include <string>
#include <string_view>

namespace leeward::edge {

// `target` is a request target, "*" or "/…". The result is a part of it, or of `storage`; it begins
// with '/'.
std::string_view match_path(std::string_view target, std::string& storage);

}  // namespace leeward::edge

// Vary (RFC 9110 §12.5.5, RFC 9111 §4.1): which request fields select a variant, and their values
// in a normal form, so that requests that mean the same find the same object. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "edge/exchange.h"

namespace leeward::edge {

// The names in a response's Vary, lower case, sorted, each once, joined by ','. Empty without Vary.
// REQUIRES: no "*" among them (may_store refuses those).
std::string vary_names(Fields response);

// Appends the normal form of the request's values for `names` to `out`. What counts as the same:
// - Accept-Encoding: the codings that we know (br, gzip, zstd) and the client takes, and whether it
//   refuses identity.
// - Accept-Language: lower case, by falling weight, equal weights in alphabetical order.
// - any other: lines joined, white space around commas removed.
// An absent field is not the same as an empty one.
void append_variant(std::string_view names, Fields request, std::string& out);

// The codings that a client takes, from its Accept-Encoding.
struct Codings {
  bool brotli = false;
  bool gzip = false;
  bool zstd = false;
  bool identity = true;
};
Codings accepted_codings(Fields request);
// Whether the client takes those codings of a Content-Encoding that no variant tells apart (deflate
// and whatever else).
bool accepts_other_codings(Fields request, std::string_view content_encoding);

// The single language that the client wants most, lower case; empty when there is a tie, none, or a
// wildcard. A stored response in exactly that language is the right one for any request that asks
// for it first (RFC 9111 §4.1: selection "by normalizing … in ways known to have identical
// semantics").
std::string preferred_language(Fields request);

}  // namespace leeward::edge

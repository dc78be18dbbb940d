// Range, If-Range, Content-Range (RFC 9110 §14) and the conditional fields that a cache evaluates
// itself (§13, RFC 9111 §4.3.2). Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "edge/exchange.h"

namespace leeward::edge {

// What a Range field asks for. Exactly one of the two forms: first[-last], or -suffix.
struct RangeSpec {
  bool is_suffix = false;
  std::uint64_t first = 0;
  std::uint64_t last = ~std::uint64_t{0};  // inclusive
  std::uint64_t suffix = 0;                // the last so many bytes
};

// nullopt: no "bytes" range, malformed, or more than one range (which a server may answer with the
// whole, §14.2): the field is then ignored.
std::optional<RangeSpec> parse_range(std::string_view value);

struct ByteRange {  // inclusive bounds
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::uint64_t size() const { return last - first + 1; }
  bool operator==(const ByteRange&) const = default;
};
// The bytes of a representation of `length` bytes that `spec` names; nullopt: not satisfiable
// (416).
std::optional<ByteRange> resolve(const RangeSpec& spec, std::uint64_t length);

struct ContentRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::uint64_t complete = 0;
  std::uint64_t size() const { return last - first + 1; }
};
// "bytes 0-4/10". nullopt for other units, "*/…", "…/*" (of no use to a cache) and nonsense.
std::optional<ContentRange> parse_content_range(std::string_view value);

// What the request's conditions say of a stored response with these validators (empty: none).
// `date` is its Date, which stands in for a missing Last-Modified (RFC 9111 §4.3.2).
enum class Condition : std::uint8_t {
  kNone,         // send it
  kNotModified,  // 304
};
Condition evaluate_conditions(Fields request, std::string_view etag, std::string_view last_modified,
                              std::string_view date, std::int64_t now_seconds);

// Whether Range applies: no If-Range, or one that names exactly this representation by a strong
// validator (§13.1.5).
bool if_range_holds(Fields request, std::string_view etag, std::string_view last_modified);

// Whether the list of If-None-Match (or one entity tag) has `etag` in it, by weak comparison.
bool matches_etag(std::string_view list, std::string_view etag);

}  // namespace leeward::edge

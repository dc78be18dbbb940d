#include "edge/internal/cache_range.h"

#include <algorithm>

#include "edge/internal/cache_date.h"
#include "edge/internal/cache_text.h"

namespace leeward::edge {
namespace {

constexpr std::uint64_t kMax = ~std::uint64_t{0} >> 1;

std::string_view opaque(std::string_view tag) {
  return tag.starts_with("W/") ? tag.substr(2) : tag;
}

}  // namespace

std::optional<RangeSpec> parse_range(std::string_view value) {
  std::size_t equals = value.find('=');
  if (equals == std::string_view::npos || !same_name(trim(value.substr(0, equals)), "bytes")) {
    return std::nullopt;
  }
  std::string_view set = trim(value.substr(equals + 1));
  if (set.find(',') != std::string_view::npos) return std::nullopt;
  std::size_t dash = set.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  std::string_view before = set.substr(0, dash), after = set.substr(dash + 1);
  RangeSpec spec;
  if (before.empty()) {
    auto n = parse_digits(after, kMax);
    if (!n) return std::nullopt;
    spec.is_suffix = true;
    spec.suffix = *n;
    return spec;
  }
  auto first = parse_digits(before, kMax);
  if (!first) return std::nullopt;
  spec.first = *first;
  if (!after.empty()) {
    auto last = parse_digits(after, kMax);
    if (!last || *last < spec.first) return std::nullopt;
    spec.last = *last;
  }
  return spec;
}

std::optional<ByteRange> resolve(const RangeSpec& spec, std::uint64_t length) {
  if (length == 0) return std::nullopt;
  if (spec.is_suffix) {
    if (spec.suffix == 0) return std::nullopt;
    return ByteRange{length - std::min(spec.suffix, length), length - 1};
  }
  if (spec.first >= length) return std::nullopt;
  return ByteRange{spec.first, std::min(spec.last, length - 1)};
}

std::optional<ContentRange> parse_content_range(std::string_view value) {
  std::size_t space = value.find(' ');
  if (space == std::string_view::npos || !same_name(value.substr(0, space), "bytes")) {
    return std::nullopt;
  }
  std::string_view rest = trim(value.substr(space + 1));
  std::size_t dash = rest.find('-'), slash = rest.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || dash > slash) {
    return std::nullopt;
  }
  auto first = parse_digits(rest.substr(0, dash), kMax);
  auto last = parse_digits(rest.substr(dash + 1, slash - dash - 1), kMax);
  auto complete = parse_digits(rest.substr(slash + 1), kMax);
  if (!first || !last || !complete || *first > *last || *last >= *complete) return std::nullopt;
  return ContentRange{*first, *last, *complete};
}

bool matches_etag(std::string_view list, std::string_view etag) {
  if (etag.empty()) return false;
  std::string_view rest = list;
  while (auto member = next_member(rest)) {
    if (!member->empty() && opaque(*member) == opaque(etag)) return true;
  }
  return false;
}

Condition evaluate_conditions(Fields request, std::string_view etag, std::string_view last_modified,
                              std::string_view date, std::int64_t now_seconds) {
  bool has_none_match = false;
  for (const Field& f : request) {
    if (!same_name(f.name, "if-none-match")) continue;
    has_none_match = true;
    if (trim(f.value) == "*" || matches_etag(f.value, etag)) return Condition::kNotModified;
  }
  if (has_none_match) return Condition::kNone;  // If-Modified-Since is ignored, §13.1.3
  std::string_view since = find_field(request, "if-modified-since");
  if (since.empty()) return Condition::kNone;
  auto asked = parse_http_date(since, now_seconds);
  auto have = parse_http_date(last_modified.empty() ? date : last_modified, now_seconds);
  return asked && have && *have <= *asked ? Condition::kNotModified : Condition::kNone;
}

bool if_range_holds(Fields request, std::string_view etag, std::string_view last_modified) {
  std::string_view value = find_field(request, "if-range");
  if (value.data() == nullptr) return true;
  if (value.starts_with("W/")) return false;
  if (value.starts_with('"')) return value == etag;
  // A date must match exactly; whether it is strong (§8.8.2.2) the client had to know.
  return !value.empty() && value == last_modified;
}

}  // namespace leeward::edge

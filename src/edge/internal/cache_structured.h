// Structured field values (RFC 8941): the dictionary, which is what targeted cache control fields
// are made of (RFC 9213 §2.1). The whole field fails on any error, as §4.2 there demands: half a
// dictionary is never used.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace leeward::edge {

struct SfToken {
  std::string text;
  bool operator==(const SfToken&) const = default;
};
struct SfBytes {  // base64-decoded
  std::string bytes;
  bool operator==(const SfBytes&) const = default;
};
struct SfDecimal {  // in thousandths, exact: a decimal has at most three digits after the point
  std::int64_t thousandths = 0;
  bool operator==(const SfDecimal&) const = default;
};
using SfBare = std::variant<bool, std::int64_t, SfDecimal, std::string, SfToken, SfBytes>;
using SfParameters = std::vector<std::pair<std::string, SfBare>>;

struct SfItem {
  SfBare value = true;
  SfParameters parameters;
};
struct SfMember {
  std::string key;
  bool inner_list = false;
  SfItem item;                // when not an inner list; of one, only its parameters
  std::vector<SfItem> items;  // of an inner list
};
using SfDictionary = std::vector<SfMember>;  // a repeated key keeps its place and its last value

// `text`: all lines of the field, joined by ", ". nullopt when it is not a dictionary, or has more
// than 256 members, items or parameters in one place (a bound of ours; the RFC asks for ≥ 1024
// members, which no cache control has).
std::optional<SfDictionary> parse_dictionary(std::string_view text);

// RFC 8941 §4.1.6: a string as it is written in a field; characters that it cannot hold become '?'.
std::string serialize_sf_string(std::string_view text);

}  // namespace leeward::edge

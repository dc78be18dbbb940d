#include "edge/internal/cache_text.h"

namespace leeward::edge {

std::optional<std::string_view> next_member(std::string_view& rest, bool* unterminated) {
  if (rest.data() == nullptr) return std::nullopt;
  bool quoted = false;
  std::size_t i = 0;
  for (; i < rest.size(); ++i) {
    char c = rest[i];
    if (quoted) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      break;
    }
  }
  if (quoted && unterminated != nullptr) *unterminated = true;
  if (i >= rest.size()) {
    std::string_view last = rest;
    rest = {};  // null data: the list is used up
    return trim(last);
  }
  std::string_view member = rest.substr(0, i);
  rest.remove_prefix(i + 1);
  return trim(member);
}

std::optional<std::uint64_t> parse_digits(std::string_view text, std::uint64_t max) {
  if (text.empty()) return std::nullopt;
  std::uint64_t value = 0;
  for (char c : text) {
    if (!is_digit(c)) return std::nullopt;
    std::uint64_t digit = static_cast<std::uint64_t>(c - '0');
    value = value > (max - digit) / 10 ? max : value * 10 + digit;
    if (value > max) value = max;
  }
  return value;
}

}  // namespace leeward::edge

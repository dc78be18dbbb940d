// Bytes as the rule language sees them: classes of the "C" locale, hexadecimal digits, and the scan
// that says whether there is anything to do at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace leeward::waf {

constexpr bool is_space(unsigned char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
constexpr bool is_digit(unsigned char c) { return c >= '0' && c <= '9'; }
constexpr bool is_octal(unsigned char c) { return c >= '0' && c <= '7'; }
constexpr bool is_upper(unsigned char c) { return c >= 'A' && c <= 'Z'; }
constexpr bool is_lower(unsigned char c) { return c >= 'a' && c <= 'z'; }
constexpr bool is_alpha(unsigned char c) { return is_upper(c) || is_lower(c); }
constexpr bool is_alnum(unsigned char c) { return is_alpha(c) || is_digit(c); }
constexpr bool is_hex(unsigned char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
constexpr char to_lower(char c) {
  return is_upper(static_cast<unsigned char>(c)) ? static_cast<char>(c | 0x20) : c;
}
constexpr char to_upper(char c) {
  return is_lower(static_cast<unsigned char>(c)) ? static_cast<char>(c & ~0x20) : c;
}
constexpr unsigned hex_value(unsigned char c) {  // REQUIRES: is_hex(c)
  return is_digit(c) ? c - '0' : (c | 0x20u) - 'a' + 10;
}

constexpr bool equal_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (to_lower(a[i]) != to_lower(b[i])) return false;
  return true;
}

// Index of the first byte of which `is` says yes, or value.size(). In blocks without a branch
// inside, which compilers turn into vector instructions when `is` is a few comparisons.
template <typename Is>
std::size_t first_that(std::string_view value, Is is) {
  constexpr std::size_t kBlock = 32;
  std::size_t at = 0;
  for (; at + kBlock <= value.size(); at += kBlock) {
    unsigned char any = 0;
    for (std::size_t i = 0; i < kBlock; ++i)
      any |= static_cast<unsigned char>(is(static_cast<unsigned char>(value[at + i])));
    if (any) break;
  }
  while (at < value.size() && !is(static_cast<unsigned char>(value[at]))) ++at;
  return at;
}

}  // namespace leeward::waf

// Lexical pieces of HTTP field values (RFC 9110 §5.6) that the cache's parsers share. Pure; no
// function allocates.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace leeward::edge {

inline bool is_token_char(char c) {  // RFC 9110 §5.6.2
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  switch (c) {
    case '!':
    case '#':
    case '$':
    case '%':
    case '&':
    case '\'':
    case '*':
    case '+':
    case '-':
    case '.':
    case '^':
    case '_':
    case '`':
    case '|':
    case '~':
      return true;
    default:
      return false;
  }
}
inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

inline std::string_view trim(std::string_view s) {  // OWS, RFC 9110 §5.6.3
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

// Takes the next member of a comma-separated list off `rest`, white space trimmed. A comma inside a
// quoted string separates nothing. nullopt at the end; empty members come back empty. An open quote
// reaches to the end and sets `*unterminated` (which may be null).
std::optional<std::string_view> next_member(std::string_view& rest, bool* unterminated = nullptr);

// 1*DIGIT, clamped to `max`; nullopt for anything else (signs, fractions, the empty string).
std::optional<std::uint64_t> parse_digits(std::string_view text, std::uint64_t max);

}  // namespace leeward::edge

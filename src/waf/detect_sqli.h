// @detectSQLi: does a value look like a piece of SQL that leaves the literal it was put into?
#pragma once

#include <array>
#include <string_view>

namespace leeward::waf {

struct SqliVerdict {
  bool attack = false;
  // The kinds of the first tokens after folding, at most five, as libinjection writes them:
  // "s&1" for a string, a logical operator and a number. What @detectSQLi captures.
  std::array<char, 6> fingerprint{};  // ends with NUL

  std::string_view text() const { return fingerprint.data(); }
};

// Pure; linear in the value, no allocation.
SqliVerdict detect_sqli(std::string_view value);

}  // namespace leeward::waf

// One regular expression, compiled by PCRE2 with its just-in-time compiler, and the room that a
// search needs. As libmodsecurity compiles them: '.' matches line ends, '^' and '$' match at lines.
//
// A Regex never changes: any number of threads may search with it, each with a RegexRoom of its
// own. Bound: a search ends after `match_limit` steps (SecPcreMatchLimit), and the caller is told.
#pragma once

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"

namespace leeward::waf {

class RegexRoom {
 public:
  explicit RegexRoom(std::uint32_t match_limit);
  ~RegexRoom();
  RegexRoom(const RegexRoom&) = delete;
  RegexRoom& operator=(const RegexRoom&) = delete;

  void set_match_limit(std::uint32_t steps);

  // Of the last successful search. `group` < the number that it returned.
  std::string_view group(std::string_view subject, int group) const;
  std::size_t group_begin(int group) const;
  std::size_t group_end(int group) const;

 private:
  friend class Regex;
  pcre2_match_context* context_;
  pcre2_match_data* data_;
  pcre2_jit_stack* stack_;
};

class Regex {
 public:
  static constexpr int kNoMatch = 0;
  static constexpr int kLimit = -1;  // the search was given up
  static constexpr int kGroupsMax = 64;

  // kInvalid with PCRE2's reason and the offset into `pattern`.
  static Result<std::shared_ptr<const Regex>> compile(std::string_view pattern, bool ignore_case);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // kNoMatch, kLimit, or one more than the number of the last group that took part.
  int search(std::string_view subject, RegexRoom& room, std::size_t from = 0,
             std::uint32_t options = 0) const;
  const std::string& pattern() const { return pattern_; }
  bool jit() const { return jit_; }

 private:
  Regex() = default;
  std::string pattern_;
  pcre2_code* code_ = nullptr;
  bool jit_ = false;
};

}  // namespace leeward::waf

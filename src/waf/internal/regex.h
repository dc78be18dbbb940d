// One regular expression, compiled by PCRE2 with its just-in-time compiler, and the room that a
// search needs. As libmodsecurity compiles them: '.' matches line ends, '^' and '$' match at lines.
//
// A Regex never changes: any number of threads may search with it, each with a RegexRoom of its
// own.
//
// Bounds: PCRE2's compiled code counts its steps (SecPcreMatchLimit) from each place where a match
// may begin, not over all places, and runs of one character not at all. So a search can take the
// square of a text's length, and nothing stops it. Therefore:
// - A text is searched in parts, by the places where a match may begin. Between parts, and now and
//   then between searches, the processor's time since restart() is looked at; when it is spent,
//   searches are given up at once.
// - A long text is first tried in windows of kWindow bytes. When one costs more than a text does
//   whose cost grows with its length, the whole is searched by PCRE2's interpreter, which counts
//   every step, and is soon given up.
#pragma once

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <bitset>
#include <chrono>
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
  // For the searches that follow, until the next call; it begins with the first that is not short.
  void restart(std::chrono::nanoseconds time_max);
  bool spent() const { return spent_; }

  // Of the last successful search. `group` < the number that it returned.
  std::string_view group(std::string_view subject, int group) const;
  std::size_t group_begin(int group) const;
  std::size_t group_end(int group) const;

 private:
  friend class Regex;
  static constexpr unsigned kLooksEvery = 8;
  void look_at_time();

  std::chrono::nanoseconds time_max_ = std::chrono::nanoseconds::max(), began_{};
  std::chrono::steady_clock::time_point began_at_;  // with began_
  unsigned searches_ = 0;
  bool spent_ = false;
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
  // A text that it is found in has one of each of these bytes; all of them: nothing is known, and
  // it may be found in an empty text.
  const std::bitset<256>& first_bytes() const { return first_; }
  const std::bitset<256>& needed_bytes() const { return needed_; }
  const std::string& pattern() const { return pattern_; }
  bool jit() const { return jit_; }

 private:
  Regex() = default;
  int search_in_parts(std::string_view subject, RegexRoom& room, std::size_t from,
                      std::uint32_t options) const;
  int search_part(std::string_view subject, RegexRoom& room, std::size_t from,
                  std::uint32_t options) const;
  bool grows_too_fast(std::string_view subject, RegexRoom& room) const;
  std::string pattern_;
  pcre2_code* code_ = nullptr;
  bool jit_ = false;
  std::bitset<256> first_, needed_;
};

}  // namespace leeward::waf

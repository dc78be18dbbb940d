// @pm, @pmFromFile: one pass over a value finds any of thousands of phrases (Aho and Corasick,
// "Efficient string matching", 1975), in any letter case.
//
// Made once, then constant: any number of threads may search at the same time. Memory: four bytes
// for each state (at most one a byte of phrase) and each distinct byte of the phrases; see bytes().
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace leeward::waf {

class PhraseSet {
 public:
  static constexpr std::size_t kPhraseBytesMax = 1u << 20;  // of all phrases together

  static Result<PhraseSet> make(const std::vector<std::string>& phrases);
  // The argument of @pm: phrases separated by blanks. Each stands for itself: libmodsecurity 3.0.9
  // does not decode the |hex| of the reference manual either.
  static Result<PhraseSet> parse_list(std::string_view list);
  // A file of @pmFromFile: one phrase a line with its blanks, '#' begins a comment line, empty
  // lines mean nothing. A CR before the end of the line is no part of the phrase (for the library
  // it is, and then nothing matches).
  static Result<PhraseSet> parse_file(std::string_view text);

  struct Match {
    std::size_t end = 0;      // bytes of the value up to the end of the phrase
    std::string_view phrase;  // as in the list: what libmodsecurity captures
  };
  // The phrase that ends first; of several that end there, the longest.
  std::optional<Match> first_match(std::string_view value) const;
  bool matches(std::string_view value) const { return first_match(value).has_value(); }

  const std::vector<std::string>& phrases() const { return phrases_; }
  std::size_t bytes() const;  // of memory

 private:
  void complete();

  std::vector<std::string> phrases_;
  std::vector<std::uint8_t> column_;  // of each byte: what phrases do not use shares one
  std::vector<std::uint32_t> next_;   // [state * columns + column]
  std::vector<std::uint32_t> ends_;   // of each state: 1 + the phrase that ends there, 0 for none
  std::size_t columns_ = 1;
};

}  // namespace leeward::waf

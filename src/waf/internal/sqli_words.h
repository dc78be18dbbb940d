// What is known about SQL: which words and operators are what, and which shapes of up to five
// tokens are attacks. Measured from libinjection by tools/waf_tables; see
// docs/adr/0033-measured-detectors.md.
#pragma once

#include <string_view>

namespace leeward::waf {

// The kind of a word, of two words with a blank between, or of an operator of two characters, in
// any letter case; 0 when it is none of those known.
char sql_kind_of(std::string_view word);

// Whether what is before one of the dots in the first 31 bytes is such a word.
bool has_word_before_a_dot(std::string_view text);

// `shape`: kinds of one to five tokens.
bool is_attack_shape(std::string_view shape);

}  // namespace leeward::waf

// The operators of the rule language that look at one value and need nothing else. Each says what
// libmodsecurity 3.0.9 says, oddities included (operators_test.cc runs both). @rx is the engine's;
// @pm, @ipMatch, @detectSQLi and @detectXSS have files of their own.
//
// Pure functions, except the two classes, which are made once from a rule's argument and then
// constant.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/error.h"

namespace leeward::waf {

// Text. `parameter` is the rule's argument, macros expanded. Matching is case-sensitive.
bool begins_with(std::string_view value, std::string_view parameter);
bool ends_with(std::string_view value, std::string_view parameter);
bool contains(std::string_view value, std::string_view parameter);
// Contains it with no letter at either side; digits and '_' may stand there, as in the library.
bool contains_word(std::string_view value, std::string_view parameter);
bool str_eq(std::string_view value, std::string_view parameter);
bool str_match(std::string_view value, std::string_view parameter);
// The value is somewhere in the parameter; an empty value is.
bool within(std::string_view value, std::string_view parameter);

// Numbers. What stands for one: leading blanks, a sign, digits; 0 when there are none. The library
// reads 32 bits for @eq, where a larger number is 0, and 64 for the others, where it is the
// largest.
enum class Comparison { kEq, kGe, kGt, kLe, kLt };
std::int64_t number_of(Comparison comparison, std::string_view text);
bool compare(Comparison comparison, std::int64_t value, std::int64_t parameter);

// @validateByteRange "32-126, 9, 10": matches a value that has a byte outside. An argument that is
// no list of bytes is kInvalid; the library would let no value pass, or crash on a number over 255.
class ByteRange {
 public:
  static Result<ByteRange> parse(std::string_view ranges);
  // Where the first byte outside is; nullopt when all are inside.
  std::optional<std::size_t> first_outside(std::string_view value) const;
  const std::bitset<256>& inside() const { return inside_; }

 private:
  std::bitset<256> inside_;
};

// @validateUrlEncoding: where the first '%' is that is followed by no two hexadecimal digits.
std::optional<std::size_t> first_invalid_url_escape(std::string_view value);

// @validateUtf8Encoding: what is wrong with the first sequence that is no UTF-8 (RFC 3629).
enum class Utf8Fault { kIncomplete, kInvalid, kOverlong, kRestricted };
std::optional<Utf8Fault> first_utf8_fault(std::string_view value);

// Check sums of numbers that an operator's expression found in a value. Bytes that are no digits
// are skipped.
bool is_card_number(std::string_view text);  // @verifyCC: Luhn (ISO/IEC 7812-1)
bool is_ssn(
    std::string_view text);  // @verifySSN: nine digits that the United States may have issued
bool is_cpf(std::string_view text);   // @verifyCPF: Brazil, two check digits modulo 11
bool is_svnr(std::string_view text);  // @verifySVNR: Austria, one check digit modulo 11

}  // namespace leeward::waf

// Which transformations can change a text at all, told from the kinds of bytes that are in it: one
// pass over a value saves most of the passes that its rules would make. "17", "blue-shirt" and
// "anna@example.test" are what they are to every decoder.
//
// A transformation that is not known to leave a kind of byte alone is taken to change it;
// byte_classes_test.cc holds each against its implementation.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "waf/transform.h"

namespace leeward::waf {

enum ByteClass : std::uint16_t {
  kUpper = 1 << 0,
  kLower = 1 << 1,
  kPercentOrPlus = 1 << 2,
  kAmpersand = 1 << 3,
  kBackslash = 1 << 4,
  kNul = 1 << 5,
  kHigh = 1 << 6,  // above ASCII
  kSpace = 1 << 7,
  kSlash = 1 << 8,
  kDot = 1 << 9,
  kQuoteOrCaret = 1 << 10,
  kCommaOrSemicolon = 1 << 11,
  kComment = 1 << 12,  // - # * < ! >
  kDigit = 1 << 13,
  kOther = 1 << 14,
  kAny = 1 << 15,  // of every text, the empty one too
};

constexpr std::array<std::uint16_t, 256> byte_classes() {
  std::array<std::uint16_t, 256> classes{};
  for (int c = 0; c < 256; ++c) {
    std::uint16_t bits = kOther;
    if (c >= 'A' && c <= 'Z') bits = kUpper;
    if (c >= 'a' && c <= 'z') bits = kLower;
    if (c >= '0' && c <= '9') bits = kDigit;
    if (c == '%' || c == '+') bits = kPercentOrPlus;
    if (c == '&') bits = kAmpersand;
    if (c == '\\') bits = kBackslash;
    if (c == 0) bits = kNul;
    if (c >= 0x80) bits = kHigh;
    if (c == ' ' || (c >= '\t' && c <= '\r')) bits = kSpace;
    if (c == '/') bits = kSlash;
    if (c == '.') bits = kDot;
    if (c == '"' || c == '\'' || c == '^') bits = kQuoteOrCaret;
    if (c == ',' || c == ';') bits = kCommaOrSemicolon;
    if (c == '-' || c == '#' || c == '*' || c == '<' || c == '!' || c == '>') bits = kComment;
    classes[static_cast<std::size_t>(c)] = bits;
  }
  return classes;
}
inline constexpr std::array<std::uint16_t, 256> kByteClasses = byte_classes();

inline std::uint16_t classes_in(std::string_view text) {
  std::uint16_t bits = kAny;
  for (unsigned char c : text) bits |= kByteClasses[c];
  return bits;
}

// The classes of which a text must have some to be changed; may_change() knows more.
constexpr std::uint16_t changed_classes(Transform transform) {
  switch (transform) {
    case Transform::kNone:
      return 0;
    case Transform::kLowercase:
      return kUpper;
    case Transform::kUppercase:
      return kLower;
    case Transform::kUrlDecode:
    case Transform::kUrlDecodeUni:
      return kPercentOrPlus;
    case Transform::kHtmlEntityDecode:
      return kAmpersand;
    case Transform::kJsDecode:
    case Transform::kEscapeSeqDecode:
      return kBackslash;
    case Transform::kCssDecode:
      return kBackslash | kNul;
    case Transform::kRemoveNulls:
    case Transform::kReplaceNulls:
      return kNul;
    case Transform::kUtf8ToUnicode:
      return kHigh | kNul;  // drops what is NUL
    case Transform::kCmdLine:
      return kUpper | kQuoteOrCaret | kBackslash | kCommaOrSemicolon | kSpace;
    case Transform::kCompressWhitespace:
    case Transform::kRemoveWhitespace:
      return kSpace | kHigh;
    case Transform::kTrim:
    case Transform::kTrimLeft:
    case Transform::kTrimRight:
      return kSpace;
    case Transform::kReplaceComments:
    case Transform::kRemoveComments:
    case Transform::kRemoveCommentsChar:
      return kSlash | kComment;
    case Transform::kParityZero7bit:
      return kHigh;
    default:
      return kAny;
  }
}

// Whether a text with these classes can be changed.
constexpr bool may_change(Transform transform, std::uint16_t classes) {
  // Only parts between slashes that are dots and nothing else are taken out.
  if (transform == Transform::kNormalizePath)
    return (classes & kSlash) != 0 || (classes & ~(kDot | kAny)) == 0;
  if (transform == Transform::kNormalizePathWin)
    return (classes & (kSlash | kBackslash)) != 0 || (classes & ~(kDot | kAny)) == 0;
  return (classes & changed_classes(transform)) != 0;
}

}  // namespace leeward::waf

// The transformations of the SecRule language ("t:lowercase"): what a rule does to a value before
// its operator looks at it. Byte for byte those of libmodsecurity 3.0.9, including what it does
// with malformed input, because rules are written against that; transform_test.cc runs both.
//
// Pure. Nothing is kept between calls, so any number of threads may transform at the same time.
// A value that a transformation leaves alone is only read: no allocation, no copy.
// Memory: no result is longer than six times its input (t:utf8toUnicode).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace leeward::waf {

enum class Transform : std::uint8_t {
  kNone,  // changes nothing; that it also drops what came before it is for the rule's reader
  kBase64Decode,
  kBase64DecodeExt,  // forgiving: skips what is not in the alphabet
  kBase64Encode,
  kCmdLine,
  kCompressWhitespace,
  kCssDecode,
  kEscapeSeqDecode,
  kHexDecode,
  kHexEncode,
  kHtmlEntityDecode,
  kJsDecode,
  kLength,
  kLowercase,
  kMd5,  // raw digest, as everywhere in the language: rules add t:hexEncode
  kNormalizePath,
  kNormalizePathWin,
  kParityEven7bit,
  kParityOdd7bit,
  kParityZero7bit,
  kRemoveComments,
  kRemoveCommentsChar,
  kRemoveNulls,
  kRemoveWhitespace,
  kReplaceComments,
  kReplaceNulls,
  kSha1,  // raw digest
  kSqlHexDecode,
  kTrim,
  kTrimLeft,
  kTrimRight,
  kUppercase,
  kUrlDecode,
  kUrlDecodeUni,
  kUrlEncode,
  kUtf8ToUnicode,
};
inline constexpr std::size_t kTransformCount = 36;

// By the name in a rule without its "t:", in any case, with both spellings of "normalise"; nullopt
// for a name that is none.
std::optional<Transform> transform_named(std::string_view name);
std::string_view name(Transform transform);  // as the reference manual writes it

// Code page of SecUnicodeMapFile: which byte %uHHHH stands for in t:urlDecodeUni. Without one it is
// the low byte, and for the full-width forms U+FF01 to U+FF5E the ASCII character.
class UnicodeMap {
 public:
  // The text of a unicode.mapping file: a line "20127 (US-ASCII)" and, after it, entries "00a0:20"
  // for that code page. kNotFound when the file does not have `code_page`; kInvalid, beginning
  // "FILE:LINE:COLUMN: ", for an entry that is none.
  static Result<UnicodeMap> parse(std::string_view text, int code_page, std::string_view file);
  // -1 when the code page says nothing of it.
  int byte_of(std::uint16_t code_point) const { return bytes_[code_point]; }

 private:
  std::array<std::int16_t, 65536> bytes_;
};

// Transforms in place; true when the value is another afterwards. `map` is for kUrlDecodeUni.
bool apply(Transform transform, std::string& value, const UnicodeMap* map = nullptr);

}  // namespace leeward::waf

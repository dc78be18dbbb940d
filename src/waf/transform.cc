#include "waf/transform.h"

#include <algorithm>
#include <utility>

#include "waf/internal/bytes.h"
#include "waf/internal/transforms.h"

namespace leeward::waf {
namespace {

constexpr std::array<std::string_view, kTransformCount> kNames = {
    "none",
    "base64Decode",
    "base64DecodeExt",
    "base64Encode",
    "cmdLine",
    "compressWhitespace",
    "cssDecode",
    "escapeSeqDecode",
    "hexDecode",
    "hexEncode",
    "htmlEntityDecode",
    "jsDecode",
    "length",
    "lowercase",
    "md5",
    "normalizePath",
    "normalizePathWin",
    "parityEven7bit",
    "parityOdd7bit",
    "parityZero7bit",
    "removeComments",
    "removeCommentsChar",
    "removeNulls",
    "removeWhitespace",
    "replaceComments",
    "replaceNulls",
    "sha1",
    "sqlHexDecode",
    "trim",
    "trimLeft",
    "trimRight",
    "uppercase",
    "urlDecode",
    "urlDecodeUni",
    "urlEncode",
    "utf8toUnicode",
};
static_assert(static_cast<std::size_t>(Transform::kUtf8ToUnicode) + 1 == kTransformCount);

constexpr std::pair<std::string_view, Transform> kOtherSpellings[] = {
    {"normalisePath", Transform::kNormalizePath},
    {"normalisePathWin", Transform::kNormalizePathWin},
};

// Where a reader of a unicode.mapping file is, for its errors.
struct Place {
  std::string_view file;
  std::size_t line = 1;
};

// One line of entries "HHHH:HH", with blanks between.
Status read_entries(std::string_view line, const Place& place,
                    std::array<std::int16_t, 65536>& bytes) {
  std::size_t at = 0;
  while (at < line.size()) {
    if (is_space(static_cast<unsigned char>(line[at]))) {
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < line.size() && !is_space(static_cast<unsigned char>(line[end]))) ++end;
    const std::string_view entry = line.substr(at, end - at);
    unsigned numbers[2] = {0, 0};
    bool well_formed = entry.size() == 7 && entry[4] == ':';
    for (std::size_t i = 0; well_formed && i < entry.size(); ++i) {
      if (i == 4) continue;
      const auto c = static_cast<unsigned char>(entry[i]);
      well_formed = is_hex(c);
      if (well_formed) numbers[i > 4] = numbers[i > 4] * 16 + hex_value(c);
    }
    if (!well_formed)
      return fail(Code::kInvalid,
                  "{}:{}:{}: '{}' is no entry; write code point and byte as 00a0:20", place.file,
                  place.line, at + 1, entry.substr(0, 32));
    bytes[numbers[0]] = static_cast<std::int16_t>(numbers[1]);
    at = end;
  }
  return {};
}

// "20127 (US-ASCII)" begins a code page; -1 for a line that does not.
int code_page_of(std::string_view line) {
  int page = 0;
  std::size_t at = 0;
  while (at < line.size() && at < 6 && is_digit(static_cast<unsigned char>(line[at])))
    page = page * 10 + (line[at++] - '0');
  const bool ends = at > 0 && (at == line.size() || is_space(static_cast<unsigned char>(line[at])));
  return ends ? page : -1;
}

}  // namespace

std::optional<Transform> transform_named(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (equal_ignoring_case(kNames[i], name)) return static_cast<Transform>(i);
  for (const auto& [spelling, transform] : kOtherSpellings)
    if (equal_ignoring_case(spelling, name)) return transform;
  return std::nullopt;
}

std::string_view name(Transform transform) { return kNames[static_cast<std::size_t>(transform)]; }

Result<UnicodeMap> UnicodeMap::parse(std::string_view text, int code_page, std::string_view file) {
  UnicodeMap map;
  map.bytes_.fill(-1);
  bool found = false;
  bool wanted = false;
  Place place{file};
  for (std::size_t at = 0; at < text.size(); ++place.line) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with('#')) continue;
    if (const int page = code_page_of(line); page >= 0) {
      wanted = page == code_page;
      found = found || wanted;
    } else if (wanted) {
      if (Status read = read_entries(line, place, map.bytes_); !read)
        return fail(std::move(read.error()));
    }
  }
  if (!found)
    return fail(Code::kNotFound,
                "{}: has no code page {}; name one that the file begins a line with", file,
                code_page);
  return map;
}

bool apply(Transform transform, std::string& value, const UnicodeMap* map) {
  switch (transform) {
    case Transform::kNone:
      return false;
    case Transform::kBase64Decode:
      return transforms::base64_decode(value);
    case Transform::kBase64DecodeExt:
      return transforms::base64_decode_ext(value);
    case Transform::kBase64Encode:
      return transforms::base64_encode(value);
    case Transform::kCmdLine:
      return transforms::cmd_line(value);
    case Transform::kCompressWhitespace:
      return transforms::compress_whitespace(value);
    case Transform::kCssDecode:
      return transforms::css_decode(value);
    case Transform::kEscapeSeqDecode:
      return transforms::escape_seq_decode(value);
    case Transform::kHexDecode:
      return transforms::hex_decode(value);
    case Transform::kHexEncode:
      return transforms::hex_encode(value);
    case Transform::kHtmlEntityDecode:
      return transforms::html_entity_decode(value);
    case Transform::kJsDecode:
      return transforms::js_decode(value);
    case Transform::kLength:
      return transforms::length(value);
    case Transform::kLowercase:
      return transforms::lowercase(value);
    case Transform::kMd5:
      return transforms::md5(value);
    case Transform::kNormalizePath:
      return transforms::normalize_path(value, false);
    case Transform::kNormalizePathWin:
      return transforms::normalize_path(value, true);
    case Transform::kParityEven7bit:
      return transforms::parity_even_7bit(value);
    case Transform::kParityOdd7bit:
      return transforms::parity_odd_7bit(value);
    case Transform::kParityZero7bit:
      return transforms::parity_zero_7bit(value);
    case Transform::kRemoveComments:
      return transforms::remove_comments(value);
    case Transform::kRemoveCommentsChar:
      return transforms::remove_comments_char(value);
    case Transform::kRemoveNulls:
      return transforms::remove_nulls(value);
    case Transform::kRemoveWhitespace:
      return transforms::remove_whitespace(value);
    case Transform::kReplaceComments:
      return transforms::replace_comments(value);
    case Transform::kReplaceNulls:
      return transforms::replace_nulls(value);
    case Transform::kSha1:
      return transforms::sha1(value);
    case Transform::kSqlHexDecode:
      return transforms::sql_hex_decode(value);
    case Transform::kTrim:
      return transforms::trim(value, true, true);
    case Transform::kTrimLeft:
      return transforms::trim(value, true, false);
    case Transform::kTrimRight:
      return transforms::trim(value, false, true);
    case Transform::kUppercase:
      return transforms::uppercase(value);
    case Transform::kUrlDecode:
      return transforms::url_decode(value);
    case Transform::kUrlDecodeUni:
      return transforms::url_decode_uni(value, map);
    case Transform::kUrlEncode:
      return transforms::url_encode(value);
    case Transform::kUtf8ToUnicode:
      return transforms::utf8_to_unicode(value);
  }
  return false;
}

}  // namespace leeward::waf

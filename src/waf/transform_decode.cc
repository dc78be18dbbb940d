// The decoders. Each works in place, because none of them makes a value longer, and begins at the
// first byte that can be part of an escape.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "waf/internal/bytes.h"
#include "waf/internal/transforms.h"
#include "waf/transform.h"

namespace leeward::waf::transforms {
namespace {

// Reads a value while its decoded form is written over it. What has been read is never needed
// again, so writing never overtakes reading.
class Rewriter {
 public:
  Rewriter(std::string& value, std::size_t first) : value_(value), read_(first), write_(first) {}

  bool more() const { return read_ < value_.size(); }
  std::size_t left() const { return value_.size() - read_; }
  unsigned char at(std::size_t ahead) const {  // REQUIRES: ahead < left()
    return static_cast<unsigned char>(value_[read_ + ahead]);
  }
  bool hex_at(std::size_t ahead, std::size_t digits) const {
    if (left() < ahead + digits) return false;
    for (std::size_t i = 0; i < digits; ++i)
      if (!is_hex(at(ahead + i))) return false;
    return true;
  }
  unsigned number_at(std::size_t ahead, std::size_t digits) const {  // REQUIRES: hex_at(…)
    unsigned number = 0;
    for (std::size_t i = 0; i < digits; ++i) number = number * 16 + hex_value(at(ahead + i));
    return number;
  }
  void skip(std::size_t bytes) { read_ += bytes; }
  void put(unsigned byte) { value_[write_++] = static_cast<char>(byte); }
  void copy(std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) put(at(i));
    skip(bytes);
  }
  // True when a decoded byte was put or one was skipped, that is, when the value is another.
  bool finish() {
    const bool changed = write_ != value_.size();
    value_.resize(write_);
    return changed;
  }

 private:
  std::string& value_;
  std::size_t read_;
  std::size_t write_;
};

// U+FF01 to U+FF5E are the printable ASCII characters in full width, 0x20 below: what a lenient
// decoder takes them for.
unsigned low_byte(unsigned code_point) {
  const unsigned low = code_point & 0xff;
  return (code_point >> 8) == 0xff && low > 0x00 && low < 0x5f ? low + 0x20 : low;
}

unsigned char lenient_hex_digit(unsigned char c) {
  return static_cast<unsigned char>(c >= 'A' ? (c & 0xdf) - 'A' + 10 : c - '0');
}

// As strtol() does: what is too large stays at the largest long, whose low byte is 0xff.
unsigned low_byte_of_number(const Rewriter& text, std::size_t ahead, std::size_t digits,
                            unsigned base) {
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    const unsigned digit = hex_value(text.at(ahead + i));
    if (number > (kMax - digit) / base) return 0xff;
    number = number * base + digit;
  }
  return static_cast<unsigned>(number & 0xff);
}

constexpr std::pair<std::string_view, unsigned char> kEntities[] = {
    {"quot", '"'}, {"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"nbsp", 0xa0}};

// At "&…": puts what it stands for and skips it, or copies what is no entity.
void decode_entity(Rewriter& text) {
  if (text.left() >= 3 && text.at(1) == '#') {
    const bool hex = text.at(2) == 'x' || text.at(2) == 'X';
    const std::size_t first = hex ? 3 : 2;
    std::size_t end = first;
    while (end < text.left() && (hex ? is_hex(text.at(end)) : is_digit(text.at(end)))) ++end;
    if (end == first) return text.copy(first);
    text.put(low_byte_of_number(text, first, end - first, hex ? 16 : 10));
    return text.skip(end < text.left() && text.at(end) == ';' ? end + 1 : end);
  }
  if (text.left() >= 2 && text.at(1) == '#') return text.copy(2);
  std::size_t end = 1;
  while (end < text.left() && is_alnum(text.at(end))) ++end;
  for (const auto& [entity, byte] : kEntities) {
    if (end != entity.size() + 1) continue;
    std::size_t same = 0;
    while (same < entity.size() && to_lower(static_cast<char>(text.at(same + 1))) == entity[same])
      ++same;
    if (same < entity.size()) continue;
    text.put(byte);
    return text.skip(end < text.left() && text.at(end) == ';' ? end + 1 : end);
  }
  text.copy(end);
}

unsigned char single_escape(unsigned char c) {
  switch (c) {
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    default:
      return c;
  }
}

std::size_t octal_digits(const Rewriter& text, std::size_t ahead) {
  std::size_t digits = 0;
  while (digits < 3 && ahead + digits < text.left() && is_octal(text.at(ahead + digits))) ++digits;
  return digits;
}

unsigned octal_number(const Rewriter& text, std::size_t ahead, std::size_t digits) {
  unsigned number = 0;
  for (std::size_t i = 0; i < digits; ++i) number = number * 8 + (text.at(ahead + i) - '0');
  return number;
}

template <typename Is>
bool nothing_from(std::string& value, std::size_t& first, Is is) {
  first = first_that(value, is);
  return first == value.size();
}

constexpr auto kIsBackslash = [](unsigned char c) { return c == '\\'; };
constexpr auto kIsPercentOrPlus = [](unsigned char c) { return c == '%' || c == '+'; };

}  // namespace

// The reference cuts the result at its first NUL, decoded or not.
bool css_decode(std::string& value) {
  std::size_t first = 0;
  if (nothing_from(value, first, [](unsigned char c) { return c == '\\' || c == 0; })) return false;
  Rewriter text(value, first);
  while (text.more()) {
    if (text.at(0) != '\\') {
      text.copy(1);
      continue;
    }
    text.skip(1);
    if (!text.more()) break;  // a backslash at the end means nothing
    std::size_t digits = 0;
    while (digits < 6 && digits < text.left() && is_hex(text.at(digits))) ++digits;
    if (digits == 0) {
      if (text.at(0) == '\n')
        text.skip(1);  // a line that goes on
      else
        text.copy(1);
      continue;
    }
    const unsigned number = text.number_at(0, digits);
    text.put(digits >= 4 && number <= 0xffff ? low_byte(number) : number);
    text.skip(digits);
    if (text.more() && is_space(text.at(0))) text.skip(1);
  }
  text.finish();
  value.resize(std::min(value.find('\0'), value.size()));
  return true;  // each of the two that there was at least one of makes the value shorter
}

bool escape_seq_decode(std::string& value) {
  std::size_t first = 0;
  if (nothing_from(value, first, kIsBackslash)) return false;
  Rewriter text(value, first);
  while (text.more()) {
    if (text.at(0) != '\\' || text.left() < 2) {
      text.copy(1);
    } else if ((text.at(1) == 'x' || text.at(1) == 'X') && text.hex_at(2, 2)) {
      text.put(text.number_at(2, 2));
      text.skip(4);
    } else if (const std::size_t digits = octal_digits(text, 1)) {
      text.put(octal_number(text, 1, digits));
      text.skip(1 + digits);
    } else {
      text.put(single_escape(text.at(1)));
      text.skip(2);
    }
  }
  return text.finish();
}

bool hex_decode(std::string& value) {
  if (value.empty()) return false;
  const std::size_t bytes = value.size() / 2;
  for (std::size_t i = 0; i < bytes; ++i) {
    const auto high = lenient_hex_digit(static_cast<unsigned char>(value[2 * i]));
    const auto low = lenient_hex_digit(static_cast<unsigned char>(value[2 * i + 1]));
    value[i] = static_cast<char>(high * 16 + low);
  }
  value.resize(bytes);
  return true;
}

bool html_entity_decode(std::string& value) {
  std::size_t first = 0;
  if (nothing_from(value, first, [](unsigned char c) { return c == '&'; })) return false;
  Rewriter text(value, first);
  while (text.more()) {
    if (text.at(0) == '&')
      decode_entity(text);
    else
      text.copy(1);
  }
  return text.finish();
}

bool js_decode(std::string& value) {
  std::size_t first = 0;
  if (nothing_from(value, first, kIsBackslash)) return false;
  Rewriter text(value, first);
  while (text.more()) {
    if (text.at(0) != '\\' || text.left() < 2) {
      text.copy(1);
    } else if (text.at(1) == 'u' && text.hex_at(2, 4)) {
      text.put(low_byte(text.number_at(2, 4)));
      text.skip(6);
    } else if (text.at(1) == 'x' && text.hex_at(2, 2)) {
      text.put(text.number_at(2, 2));
      text.skip(4);
    } else if (std::size_t digits = octal_digits(text, 1)) {
      if (digits == 3 && text.at(1) > '3') digits = 2;  // three would be more than a byte
      text.put(octal_number(text, 1, digits));
      text.skip(1 + digits);
    } else {
      text.put(single_escape(text.at(1)));
      text.skip(2);
    }
  }
  return text.finish();
}

// The reference drops the last byte that is not part of a literal, does not see a literal right
// after another, and cuts the result at its first NUL. All three are kept.
bool sql_hex_decode(std::string& value) {
  if (value.empty()) return false;
  const std::string before = value;
  Rewriter text(value, 0);
  while (text.left() > 1) {
    if (text.at(0) == '0' && (text.at(1) == 'x' || text.at(1) == 'X') && text.hex_at(2, 2)) {
      text.skip(2);
      for (; text.hex_at(0, 2); text.skip(2)) text.put(text.number_at(0, 2));
    }
    if (text.more()) text.copy(1);
  }
  text.finish();
  value.resize(std::min(value.find('\0'), value.size()));
  return value != before;
}

bool url_decode(std::string& value) {
  std::size_t first = 0;
  if (nothing_from(value, first, kIsPercentOrPlus)) return false;
  bool blanks = false;
  Rewriter text(value, first);
  while (text.more()) {
    if (text.at(0) == '%' && text.hex_at(1, 2)) {
      text.put(text.number_at(1, 2));
      text.skip(3);
    } else if (text.at(0) == '+') {
      text.put(' ');
      text.skip(1);
      blanks = true;
    } else {
      text.copy(1);
    }
  }
  return text.finish() || blanks;
}

bool url_decode_uni(std::string& value, const UnicodeMap* map) {
  std::size_t first = 0;
  if (nothing_from(value, first, kIsPercentOrPlus)) return false;
  bool blanks = false;
  Rewriter text(value, first);
  while (text.more()) {
    if (text.at(0) == '+') {
      text.put(' ');
      text.skip(1);
      blanks = true;
    } else if (text.at(0) == '%' && text.left() >= 2 && (text.at(1) == 'u' || text.at(1) == 'U')) {
      if (!text.hex_at(2, 4)) {
        text.copy(2);
        continue;
      }
      const unsigned code_point = text.number_at(2, 4);
      const int mapped = map ? map->byte_of(static_cast<std::uint16_t>(code_point)) : -1;
      text.put(mapped >= 0 ? static_cast<unsigned>(mapped) : low_byte(code_point));
      text.skip(6);
    } else if (text.at(0) == '%' && text.hex_at(1, 2)) {
      text.put(text.number_at(1, 2));
      text.skip(3);
    } else {
      text.copy(1);
    }
  }
  return text.finish() || blanks;
}

}  // namespace leeward::waf::transforms

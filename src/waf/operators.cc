#include "waf/operators.h"

#include <algorithm>
#include <array>
#include <limits>

#include "waf/internal/bytes.h"

namespace leeward::waf {
namespace {

bool letter_at(std::string_view text, std::size_t at) {
  return at < text.size() && is_alpha(static_cast<unsigned char>(text[at]));
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && is_space(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return text;
}

// 0 to 255; nullopt for anything else.
std::optional<unsigned> byte_of(std::string_view text) {
  text = trimmed(text);
  if (text.empty() || text.size() > 3) return std::nullopt;
  unsigned number = 0;
  for (const char c : text) {
    if (!is_digit(static_cast<unsigned char>(c))) return std::nullopt;
    number = number * 10 + static_cast<unsigned>(c - '0');
  }
  return number <= 255 ? std::optional(number) : std::nullopt;
}

// The first `kMax` digits of a text, and how many there are in all.
template <std::size_t kMax>
struct Digits {
  explicit Digits(std::string_view text) {
    for (const char c : text) {
      if (!is_digit(static_cast<unsigned char>(c))) continue;
      if (count < kMax) digit[count] = c - '0';
      ++count;
    }
  }
  bool all_are(int value) const {
    return std::all_of(digit.begin(), digit.end(), [value](int d) { return d == value; });
  }
  // 0, 1, 2 …: each one more than the one before.
  bool climb() const {
    for (std::size_t i = 0; i + 1 < kMax; ++i)
      if (digit[i] + 1 != digit[i + 1]) return false;
    return true;
  }
  int number(std::size_t from, std::size_t to) const {
    int value = 0;
    for (std::size_t i = from; i < to; ++i) value = value * 10 + digit[i];
    return value;
  }

  std::array<int, kMax> digit{};
  std::size_t count = 0;
};

// 11 - sum mod 11, where a remainder of 0 or 1 gives 0.
int cpf_check_digit(const Digits<11>& cpf, std::size_t digits) {
  int sum = 0;
  for (std::size_t i = 0; i < digits; ++i) sum += cpf.digit[i] * static_cast<int>(digits + 1 - i);
  return sum % 11 < 2 ? 0 : 11 - sum % 11;
}

}  // namespace

bool begins_with(std::string_view value, std::string_view parameter) {
  return value.starts_with(parameter);
}
bool ends_with(std::string_view value, std::string_view parameter) {
  return value.ends_with(parameter);
}
bool contains(std::string_view value, std::string_view parameter) {
  return value.find(parameter) != std::string_view::npos;
}
bool str_eq(std::string_view value, std::string_view parameter) { return value == parameter; }
bool str_match(std::string_view value, std::string_view parameter) {
  return contains(value, parameter);
}
bool within(std::string_view value, std::string_view parameter) {
  return contains(parameter, value);
}

bool contains_word(std::string_view value, std::string_view parameter) {
  if (parameter.empty()) return true;
  for (std::size_t at = value.find(parameter); at != std::string_view::npos;
       at = value.find(parameter, at + 1)) {
    const bool before = at > 0 && letter_at(value, at - 1);
    if (!before && !letter_at(value, at + parameter.size())) return true;
  }
  return false;
}

std::int64_t number_of(Comparison comparison, std::string_view text) {
  using Limits = std::numeric_limits<std::int64_t>;
  std::size_t at = 0;
  while (at < text.size() && is_space(static_cast<unsigned char>(text[at]))) ++at;
  const bool negative = at < text.size() && text[at] == '-';
  if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
  std::int64_t number = 0;  // kept negative, because that side has one number more
  for (; at < text.size() && is_digit(static_cast<unsigned char>(text[at])); ++at) {
    const int digit = text[at] - '0';
    if (number < (Limits::min() + digit) / 10) {
      number = Limits::min();
      break;
    }
    number = number * 10 - digit;
  }
  if (!negative) number = number == Limits::min() ? Limits::max() : -number;
  if (comparison == Comparison::kEq && number != static_cast<std::int32_t>(number)) return 0;
  return number;
}

bool compare(Comparison comparison, std::int64_t value, std::int64_t parameter) {
  switch (comparison) {
    case Comparison::kEq:
      return value == parameter;
    case Comparison::kGe:
      return value >= parameter;
    case Comparison::kGt:
      return value > parameter;
    case Comparison::kLe:
      return value <= parameter;
    case Comparison::kLt:
      return value < parameter;
  }
  return false;
}

Result<ByteRange> ByteRange::parse(std::string_view ranges) {
  ByteRange range;
  for (std::size_t at = 0; at <= ranges.size();) {
    const std::size_t end = std::min(ranges.find(',', at), ranges.size());
    const std::string_view entry = ranges.substr(at, end - at);
    const std::size_t dash = entry.find('-');
    const auto first = byte_of(entry.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : byte_of(entry.substr(dash + 1));
    if (!first || !last || *first > *last)
      return fail(
          Code::kInvalid,
          "@validateByteRange: '{}' at {} is no byte and no range; write bytes from 0 to 255 "
          "as 9,10,32-126",
          trimmed(entry).substr(0, 32), at + 1);
    for (unsigned byte = *first; byte <= *last; ++byte) range.inside_.set(byte);
    at = end + 1;
  }
  return range;
}

std::optional<std::size_t> ByteRange::first_outside(std::string_view value) const {
  for (std::size_t i = 0; i < value.size(); ++i)
    if (!inside_.test(static_cast<unsigned char>(value[i]))) return i;
  return std::nullopt;
}

std::optional<std::size_t> first_invalid_url_escape(std::string_view value) {
  for (std::size_t at = value.find('%'); at != std::string_view::npos; at = value.find('%', at + 1))
    if (at + 2 >= value.size() || !is_hex(static_cast<unsigned char>(value[at + 1])) ||
        !is_hex(static_cast<unsigned char>(value[at + 2])))
      return at;
  return std::nullopt;
}

std::optional<Utf8Fault> first_utf8_fault(std::string_view value) {
  std::size_t at = first_that(value, [](unsigned char c) { return c >= 0x80; });
  while (at < value.size()) {
    const auto lead = static_cast<unsigned char>(value[at]);
    if (lead < 0x80) {
      ++at;
      continue;
    }
    const std::size_t bytes = lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
    if (bytes == 0) return Utf8Fault::kInvalid;
    if (at + bytes > value.size()) return Utf8Fault::kIncomplete;
    unsigned code_point = lead & (0x7fu >> bytes);
    for (std::size_t k = 1; k < bytes; ++k) {
      const auto next = static_cast<unsigned char>(value[at + k]);
      if (next >> 6 != 2) return Utf8Fault::kInvalid;
      code_point = code_point << 6 | (next & 0x3fu);
    }
    constexpr unsigned kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code_point < kSmallest[bytes]) return Utf8Fault::kOverlong;
    if (lead >= 0xf5 || (code_point >= 0xd800 && code_point <= 0xdfff))
      return Utf8Fault::kRestricted;
    at += bytes;
  }
  return std::nullopt;
}

bool is_card_number(std::string_view text) {
  int sum = 0;
  bool any = false;
  bool doubled = false;  // every second digit from the right
  for (std::size_t i = text.size(); i-- > 0;) {
    if (!is_digit(static_cast<unsigned char>(text[i]))) continue;
    const int digit = text[i] - '0';
    sum += doubled ? digit * 2 - (digit > 4 ? 9 : 0) : digit;
    doubled = !doubled;
    any = true;
  }
  return any && sum % 10 == 0;
}

bool is_ssn(std::string_view text) {
  const Digits<9> ssn(text);
  if (ssn.count != 9 || ssn.climb() || ssn.all_are(ssn.digit[0])) return false;
  const int area = ssn.number(0, 3);
  return area != 0 && area != 666 && area < 740 && ssn.number(3, 5) != 0 && ssn.number(5, 9) != 0;
}

bool is_cpf(std::string_view text) {
  const Digits<11> cpf(text);
  if (cpf.count < 11) return false;  // digits after the eleventh do not count
  if (cpf.all_are(cpf.digit[0])) return false;
  constexpr std::array<int, 11> kClimbing = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0};
  if (cpf.digit == kClimbing) return false;
  return cpf.digit[9] == cpf_check_digit(cpf, 9) && cpf.digit[10] == cpf_check_digit(cpf, 10);
}

bool is_svnr(std::string_view text) {
  const Digits<10> svnr(text);
  if (svnr.count < 10 || svnr.all_are(svnr.digit[0])) return false;
  constexpr int kWeights[] = {3, 7, 9, 0, 5, 8, 4, 2, 1, 6};
  int sum = 0;
  for (std::size_t i = 0; i < 10; ++i) sum += svnr.digit[i] * kWeights[i];
  return sum % 11 % 10 == svnr.digit[3];
}

}  // namespace leeward::waf

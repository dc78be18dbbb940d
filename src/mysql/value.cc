// Values of row images as text. Storage formats: MariaDB source terms are given where they help;
// each is checked against a real server in binlog_test.cc.
#include "mysql/value.h"

#include <arpa/inet.h>
#include <libdeflate.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <ctime>
#include <memory>

#include "mysql/bytes.h"
#include "mysql/column_type.h"
#include "mysql/json.h"

namespace leeward::mysql {
namespace {

constexpr std::string_view kBase64Prefix = "base64:";
constexpr std::uint64_t kInflatedBytesMax = 256u << 20;
constexpr char kBase64Digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool is_ascii(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return (c & 0x80) == 0; });
}

// Well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size();) {
    auto at = [&](std::size_t k) { return static_cast<std::uint8_t>(bytes[k]); };
    std::uint8_t lead = at(i);
    std::size_t more = lead < 0x80       ? 0
                       : lead >> 5 == 6  ? 1
                       : lead >> 4 == 14 ? 2
                       : lead >> 3 == 30 ? 3
                                         : 4;
    if (more == 4 || i + more >= bytes.size()) return false;
    std::uint32_t point = more == 0 ? lead : lead & (0x3f >> more);
    for (std::size_t k = 1; k <= more; ++k) {
      if (at(i + k) >> 6 != 2) return false;
      point = point << 6 | (at(i + k) & 0x3f);
    }
    constexpr std::uint32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
    if (point < kSmallest[more] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
      return false;
    i += more + 1;
  }
  return true;
}

template <typename Real>
std::string shortest(std::uint64_t bits) {
  std::conditional_t<sizeof(Real) == 4, std::uint32_t, std::uint64_t> raw =
      static_cast<decltype(raw)>(bits);
  Real real;
  std::memcpy(&real, &raw, sizeof real);
  char buffer[64];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, real).ptr;
  return std::string(buffer, end);
}

std::string integer(std::uint64_t value, unsigned bits, bool is_unsigned) {
  if (is_unsigned || !(value >> (bits - 1) & 1)) return std::to_string(value);
  std::uint64_t sign_extended = bits == 64 ? value : value | ~std::uint64_t{0} << bits;
  return std::to_string(static_cast<std::int64_t>(sign_extended));
}

// decimal2bin(): groups of nine digits in four bytes, the rest in as few as fit; the first bit is
// the inverted sign, and a negative number has all its bits inverted.
bool decimal(Bytes& bytes, unsigned precision, unsigned scale, std::string& text) {
  constexpr std::array<unsigned, 10> kBytes{0, 1, 1, 2, 2, 3, 3, 4, 4, 4};
  if (scale > precision || precision > 65) return false;
  unsigned whole = precision - scale;
  std::size_t size = whole / 9 * 4 + kBytes[whole % 9] + scale / 9 * 4 + kBytes[scale % 9];
  std::string raw(bytes.take(size));
  if (!bytes.ok() || raw.empty()) return false;
  bool negative = !(raw[0] & 0x80);
  raw[0] = static_cast<char>(raw[0] ^ 0x80);
  if (negative)
    for (char& c : raw) c = static_cast<char>(~c);

  Bytes digits(raw);
  std::string integral = "0";
  auto group = [&](unsigned count) {
    return fmt::format("{:0{}}", digits.big(kBytes[count]), count);
  };
  if (whole % 9) integral += group(whole % 9);
  for (unsigned i = 0; i < whole / 9; ++i) integral += group(9);
  integral.erase(0, std::min(integral.find_first_not_of('0'), integral.size() - 1));
  std::string fraction;
  for (unsigned i = 0; i < scale / 9; ++i) fraction += group(9);
  if (scale % 9) fraction += group(scale % 9);
  text = (negative ? "-" : "") + integral + (fraction.empty() ? "" : "." + fraction);
  return true;
}

// Fraction digits are kept two a byte; `digits` of them are shown.
std::string fraction(std::uint64_t value, unsigned digits) {
  if (digits == 0) return {};
  unsigned stored = (digits + 1) / 2 * 2;
  return "." + fmt::format("{:0{}}", value, stored).substr(0, digits);
}

std::string calendar(std::uint64_t seconds) {
  std::time_t time = static_cast<std::time_t>(seconds);
  std::tm utc{};
  ::gmtime_r(&time, &utc);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", utc.tm_year + 1900, utc.tm_mon + 1,
                     utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

std::string timestamp2(Bytes& bytes, unsigned digits) {
  std::uint64_t whole = bytes.big(4);
  std::uint64_t part = bytes.big((digits + 1) / 2);
  std::string text = whole == 0 && part == 0 ? "0000-00-00 00:00:00" : calendar(whole);
  return text + fraction(part, digits);
}

std::string datetime2(Bytes& bytes, unsigned digits) {
  std::uint64_t packed = bytes.big(5) ^ 0x8000000000u;
  std::uint64_t month = packed >> 22 & 0x1ffff;
  std::string text =
      fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", month / 13, month % 13, packed >> 17 & 31,
                  packed >> 12 & 31, packed >> 6 & 63, packed & 63);
  return text + fraction(bytes.big((digits + 1) / 2), digits);
}

std::string time2(Bytes& bytes, unsigned digits) {
  unsigned part_bytes = (digits + 1) / 2;
  std::int64_t zero = std::int64_t{0x800000} << (8 * part_bytes);
  std::int64_t packed = static_cast<std::int64_t>(bytes.big(3 + part_bytes)) - zero;
  std::uint64_t size = static_cast<std::uint64_t>(std::abs(packed));
  std::uint64_t whole = size >> (8 * part_bytes);
  std::uint64_t part = size & ((std::uint64_t{1} << (8 * part_bytes)) - 1);
  return fmt::format("{}{:02}:{:02}:{:02}{}", packed < 0 ? "-" : "", whole >> 12 & 0x3ff,
                     whole >> 6 & 63, whole & 63, fraction(part, digits));
}

std::string date(Bytes& bytes) {
  std::uint64_t packed = bytes.little(3);
  return fmt::format("{:04}-{:02}-{:02}", packed >> 9, packed >> 5 & 15, packed & 31);
}

bool enumeration(Bytes& bytes, const Column& column, std::string& text) {
  std::uint64_t index = bytes.little(column.size);
  if (index > column.labels.size()) return false;
  text = index == 0 ? "" : column.labels[index - 1];
  return true;
}

bool label_set(Bytes& bytes, const Column& column, std::string& text) {
  std::uint64_t bits = bytes.little(column.size);
  text.clear();
  for (std::size_t i = 0; i < 64; ++i) {
    if (!(bits >> i & 1)) continue;
    if (i >= column.labels.size()) return false;
    text += (text.empty() ? "" : ",") + column.labels[i];
  }
  return true;
}

// The server keeps versions 1 to 5 with their five groups in reverse order, so that time-based ones
// sort by time; 6 and above as they are (MDEV-29959).
std::string uuid(std::string raw) {
  auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(raw[i]); };
  if (at(6) & 0x80 && at(8) > 0 && at(8) <= 0x5f)
    raw = raw.substr(12, 4) + raw.substr(10, 2) + raw.substr(8, 2) + raw.substr(6, 2) +
          raw.substr(0, 6);
  std::string text;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", at(i));
  }
  return text;
}

std::string disguised(std::string_view raw, const Column& column) {
  if (column.disguise == Disguise::kUuid && raw.size() == 16) return uuid(std::string(raw));
  bool six = column.disguise == Disguise::kInet6 && raw.size() == 16;
  bool four = column.disguise == Disguise::kInet4 && raw.size() == 4;
  char buffer[INET6_ADDRSTRLEN];
  if ((six || four) && ::inet_ntop(six ? AF_INET6 : AF_INET, raw.data(), buffer, sizeof buffer))
    return buffer;
  return readable(raw, column.text);
}

// CHAR and BINARY: the padding is not stored. Only for BINARY does it belong to the value.
std::string fixed_string(std::string_view stored, const Column& column) {
  std::string raw(stored);
  if (column.text == TextKind::kOpaque && raw.size() < column.size) raw.resize(column.size, '\0');
  return disguised(raw, column);
}

bool compressed_column(std::string_view raw, const Column& column, std::string& text) {
  if (raw.empty()) {
    text.clear();
    return true;
  }
  auto first = static_cast<std::uint8_t>(raw[0]);
  if (first >> 4 == 0) {  // stored as it is
    text = readable(raw.substr(1), column.text);
    return true;
  }
  Bytes head(raw.substr(1));
  std::uint64_t size = head.big(first & 7);
  auto inflated = head.ok() ? inflate(head.rest(), size, first & 8) : std::nullopt;
  if (!inflated) return false;
  text = readable(*inflated, column.text);
  return true;
}

}  // namespace

std::string readable(std::string_view bytes, TextKind kind) {
  bool plain = kind != TextKind::kOpaque && !bytes.starts_with(kBase64Prefix) &&
               (kind == TextKind::kUtf8 ? is_utf8(bytes) : is_ascii(bytes));
  return plain ? std::string(bytes) : std::string(kBase64Prefix) + base64(bytes);
}

std::string base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t word = 0;
    for (std::size_t k = 0; k < 3; ++k)
      word = word << 8 | (k < count ? static_cast<std::uint8_t>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k)
      text += k <= count ? kBase64Digits[word >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

std::optional<std::string> unbase64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); i += 4) {
    std::string_view quad = text.substr(i, 4);
    std::size_t count = i + 4 < text.size() || quad[3] != '=' ? 4 : quad[2] != '=' ? 3 : 2;
    std::uint32_t word = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const char* digit =
          k < count && quad[k] ? std::strchr(kBase64Digits, quad[k]) : kBase64Digits;
      if (!digit) return std::nullopt;
      if (k < count && !quad[k]) return std::nullopt;
      word = word << 6 | static_cast<std::uint32_t>(digit - kBase64Digits);
    }
    for (std::size_t k = 0; k + 1 < count; ++k) bytes += static_cast<char>(word >> (16 - 8 * k));
  }
  return bytes;
}

std::optional<std::string> inflate(std::string_view bytes, std::uint64_t size, bool raw) {
  // Deflate packs at most about 1032 to 1, so a small input cannot make us reserve much.
  if (size > kInflatedBytesMax || size > bytes.size() * 1100 + 64) return std::nullopt;
  std::unique_ptr<libdeflate_decompressor, decltype(&libdeflate_free_decompressor)> inflater(
      libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
  if (!inflater) return std::nullopt;
  std::string text(size, '\0');
  auto decompress = raw ? libdeflate_deflate_decompress : libdeflate_zlib_decompress;
  // Without a place for the actual size it fails unless that is exactly what was announced.
  if (decompress(inflater.get(), bytes.data(), bytes.size(), text.data(), text.size(), nullptr) !=
      LIBDEFLATE_SUCCESS)
    return std::nullopt;
  return text;
}

std::optional<std::string> unpack(std::string_view packed) {
  Bytes bytes(packed);
  std::uint64_t size = bytes.big(bytes.little(1) & 7);
  if (!bytes.ok()) return std::nullopt;
  return inflate(bytes.rest(), size, false);
}

bool decode_value(std::string_view stored, const Column& column, std::string& text) {
  Bytes bytes(stored);
  bool known = true;
  switch (static_cast<ColumnType>(column.type)) {
    case ColumnType::kTiny:
      text = integer(bytes.little(1), 8, column.is_unsigned);
      break;
    case ColumnType::kShort:
      text = integer(bytes.little(2), 16, column.is_unsigned);
      break;
    case ColumnType::kInt24:
      text = integer(bytes.little(3), 24, column.is_unsigned);
      break;
    case ColumnType::kLong:
      text = integer(bytes.little(4), 32, column.is_unsigned);
      break;
    case ColumnType::kLongLong:
      text = integer(bytes.little(8), 64, column.is_unsigned);
      break;
    case ColumnType::kFloat:
      text = shortest<float>(bytes.little(4));
      break;
    case ColumnType::kDouble:
      text = shortest<double>(bytes.little(8));
      break;
    case ColumnType::kDecimal:
      known = decimal(bytes, column.size >> 8, column.size & 255, text);
      break;
    case ColumnType::kBit:
      text = std::to_string(bytes.big(column.size));
      break;
    case ColumnType::kYear: {
      std::uint64_t year = bytes.little(1);
      text = year == 0 ? "0000" : std::to_string(1900 + year);
      break;
    }
    case ColumnType::kDate:
    case ColumnType::kNewDate:
      text = date(bytes);
      break;
    case ColumnType::kTime2:
      text = time2(bytes, column.size);
      break;
    case ColumnType::kDatetime2:
      text = datetime2(bytes, column.size);
      break;
    case ColumnType::kTimestamp2:
      text = timestamp2(bytes, column.size);
      break;
    case ColumnType::kEnum:
      known = enumeration(bytes, column, text);
      break;
    case ColumnType::kSet:
      known = label_set(bytes, column, text);
      break;
    case ColumnType::kString:
    case ColumnType::kVarString:
      text = fixed_string(stored, column);
      return true;
    case ColumnType::kVarchar:
      text = disguised(stored, column);
      return true;
    case ColumnType::kVarcharCompressed:
    case ColumnType::kBlobCompressed:
      return compressed_column(stored, column, text);
    case ColumnType::kBlob:
    case ColumnType::kGeometry:
      text = readable(stored, column.text);
      return true;
    case ColumnType::kVector:
      text = readable(stored, TextKind::kOpaque);
      return true;
    case ColumnType::kJson: {
      auto json = parse_mysql_json(stored);
      if (json) text = to_string(*json);
      return json.has_value();
    }
    default:
      known = false;
  }
  return known && bytes.ok() && bytes.left() == 0;
}

}  // namespace leeward::mysql

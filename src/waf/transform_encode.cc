// Base64, digests and the transformations whose result is longer than the value.
#include <openssl/evp.h>

#include <array>
#include <cstdint>

#include "base/check.h"
#include "waf/internal/bytes.h"
#include "waf/internal/transforms.h"

namespace leeward::waf::transforms {
namespace {

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kHexDigits = "0123456789abcdef";

constexpr std::array<std::int8_t, 256> kBase64Values = [] {
  std::array<std::int8_t, 256> values{};
  values.fill(-1);
  for (std::size_t i = 0; i < kBase64.size(); ++i)
    values[static_cast<unsigned char>(kBase64[i])] = static_cast<std::int8_t>(i);
  return values;
}();

// The reference reads values as C strings here: what follows a NUL is not there for it.
std::string_view up_to_nul(std::string_view value) { return value.substr(0, value.find('\0')); }

bool replace(std::string& value, std::string&& result) {
  if (result == value) return false;
  value = std::move(result);
  return true;
}

// What a strict decoder makes of the text: the digits, or that it refuses it.
struct Base64Digits {
  bool valid = true;
  std::size_t digits = 0;   // with padding
  std::size_t padding = 0;  // '=', at most two and nothing after them
};

// Line breaks and blanks before them are skipped; a blank inside a line is an error.
Base64Digits measure_base64(std::string_view text) {
  Base64Digits found;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t blanks = i;
    while (i < text.size() && text[i] == ' ') ++i;
    if (i == text.size()) break;
    if (text[i] == '\n') continue;
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    if (i != blanks) return {false, 0, 0};
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '=') {
      if (++found.padding > 2) return {false, 0, 0};
    } else if (kBase64Values[c] < 0 || found.padding > 0) {
      return {false, 0, 0};
    }
    ++found.digits;
  }
  return found;
}

std::string hex_of_code_point(unsigned code_point) {
  std::string digits;
  for (int shift = 20; shift >= 0; shift -= 4)
    if (const unsigned rest = code_point >> shift; rest != 0 || shift < 16)
      digits += kHexDigits[rest & 15];
  return digits;
}

bool digest(std::string& value, const EVP_MD* kind) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out;
  unsigned length = 0;
  LEEWARD_CHECK(EVP_Digest(value.data(), value.size(), out.data(), &length, kind, nullptr) == 1);
  return replace(value, std::string(reinterpret_cast<const char*>(out.data()), length));
}

}  // namespace

bool base64_decode(std::string& value) {
  const std::string_view text = up_to_nul(value);
  const Base64Digits found = measure_base64(text);
  std::string result;
  if (found.valid && found.digits > 0) {
    result.reserve(found.digits * 3 / 4);
    std::uint32_t bits = 0;
    std::size_t in_group = 0;
    std::size_t data = 0;  // digits of the group that are no padding
    for (const char c : text) {
      if (c == ' ' || c == '\r' || c == '\n') continue;
      const int digit = kBase64Values[static_cast<unsigned char>(c)];
      bits = bits << 6 | static_cast<std::uint32_t>(digit & 0x3f);
      if (c != '=') ++data;
      if (++in_group < 4) continue;
      for (std::size_t i = 0; i + 1 < data; ++i) result += static_cast<char>(bits >> (16 - 8 * i));
      in_group = data = 0;
      bits = 0;
    }
  }
  return replace(value, std::move(result));
}

// Bytes that are no digits are skipped, padding among them. The result is empty where the reference
// takes the text for no base64: after one digit of a group, at padding or at a final '9' (whose
// value is the code of '=', which it mistakes it for).
bool base64_decode_ext(std::string& value) {
  std::string result;
  std::uint32_t bits = 0;
  std::size_t digits = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const bool last = i + 1 == value.size();
    if (value[i] == '=') {
      if ((last || value[i + 1] != '=') && digits % 4 == 1) return replace(value, "");
      continue;
    }
    const int digit = kBase64Values[static_cast<unsigned char>(value[i])];
    if (digit < 0) continue;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    if (++digits % 4 != 1) result += static_cast<char>(bits >> (2 * (3 - (digits - 1) % 4)));
    if (last && value[i] == '9' && digits % 4 == 1) return replace(value, "");
  }
  return replace(value, std::move(result));
}

bool base64_encode(std::string& value) {
  if (value.empty()) return false;
  std::string result;
  result.reserve((value.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < value.size(); i += 3) {
    std::uint32_t bits = 0;
    const std::size_t bytes = std::min<std::size_t>(3, value.size() - i);
    for (std::size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (k < bytes ? static_cast<unsigned char>(value[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k)
      result += k <= bytes ? kBase64[bits >> (18 - 6 * k) & 63] : '=';
  }
  value = std::move(result);
  return true;
}

bool hex_encode(std::string& value) {
  if (value.empty()) return false;
  std::string result;
  result.reserve(value.size() * 2);
  for (const char c : value) {
    result += kHexDigits[static_cast<unsigned char>(c) >> 4];
    result += kHexDigits[static_cast<unsigned char>(c) & 15];
  }
  value = std::move(result);
  return true;
}

bool length(std::string& value) { return replace(value, std::to_string(value.size())); }

bool md5(std::string& value) { return digest(value, EVP_md5()); }
bool sha1(std::string& value) { return digest(value, EVP_sha1()); }

bool url_encode(std::string& value) {
  const auto encoded = [](unsigned char c) { return !is_alnum(c) && c != '*'; };
  const std::size_t first = first_that(value, encoded);
  if (first == value.size()) return false;
  std::string result(value, 0, first);
  for (std::size_t i = first; i < value.size(); ++i) {
    const auto c = static_cast<unsigned char>(value[i]);
    if (c == ' ') {
      result += '+';
    } else if (!encoded(c)) {
      result += value[i];
    } else {
      result += '%';
      result += kHexDigits[c >> 4];
      result += kHexDigits[c & 15];
    }
  }
  value = std::move(result);
  return true;
}

// Of what RFC 3629 forbids, an overlong form, a surrogate or a lead byte above 0xf4 keeps its lead
// byte beside the number, and an incomplete sequence loses it, as in the reference.
bool utf8_to_unicode(std::string& value) {
  const std::size_t first = first_that(value, [](unsigned char c) { return c >= 0x80 || c == 0; });
  if (first == value.size()) return false;
  std::string result(value, 0, first);
  for (std::size_t i = first; i < value.size();) {
    const auto lead = static_cast<unsigned char>(value[i]);
    const std::size_t bytes = lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 1;
    if (bytes == 1) {
      if (lead != 0) result += value[i];
      ++i;
      continue;
    }
    bool complete = i + bytes <= value.size();
    unsigned code_point = lead & (0x7fu >> bytes);
    for (std::size_t k = 1; complete && k < bytes; ++k) {
      const auto next = static_cast<unsigned char>(value[i + k]);
      complete = next >> 6 == 2;
      code_point = code_point << 6 | (next & 0x3fu);
    }
    if (lead >= 0xf5) result += value[i];
    if (!complete) {
      ++i;
      continue;
    }
    result += "%u";
    result += hex_of_code_point(code_point);
    constexpr unsigned kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const bool surrogate = code_point >= 0xd800 && code_point <= 0xdfff;
    if (surrogate || code_point < kSmallest[bytes]) result += value[i];
    i += bytes;
  }
  return replace(value, std::move(result));
}

}  // namespace leeward::waf::transforms

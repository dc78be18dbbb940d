#include "edge/ja4.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

#include "base/sha256.h"

namespace leeward::edge {
namespace {

constexpr std::uint8_t kClientHello = 1;
constexpr std::size_t kRandomBytes = 32;
// RFC 8446 §4.2 and IANA's registry.
constexpr std::uint16_t kServerName = 0x0000, kSignatureAlgorithms = 0x000d, kAlpn = 0x0010,
                        kSupportedVersions = 0x002b;
constexpr std::size_t kHashShown = 12;

// Bytes that are taken from the front; what is missing makes it bad for good.
class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : rest_(bytes) {}
  bool bad() const { return bad_; }
  bool empty() const { return rest_.empty(); }

  std::string_view take(std::size_t count) {
    if (count > rest_.size()) {
      bad_ = true;
      rest_ = {};
      return {};
    }
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  std::size_t number(std::size_t octets) {
    std::size_t n = 0;
    for (const char c : take(octets)) n = n << 8 | static_cast<unsigned char>(c);
    return n;
  }
  // A vector (RFC 8446 §3.4) behind its length.
  Bytes vector(std::size_t length_octets) { return Bytes(take(number(length_octets))); }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
  bool bad_ = false;
};

// RFC 8701: values that mean nothing and are there to keep servers tolerant.
bool is_grease(std::size_t value) {
  return (value & 0x0f0f) == 0x0a0a && (value >> 8) == (value & 0xff);
}

std::vector<std::uint16_t> numbers(Bytes bytes) {
  std::vector<std::uint16_t> all;
  while (!bytes.empty()) {
    const std::size_t n = bytes.number(2);
    if (!bytes.bad() && !is_grease(n)) all.push_back(static_cast<std::uint16_t>(n));
  }
  return all;
}

std::string_view version_text(std::size_t version) {
  switch (version) {
    case 0x0304:
      return "13";
    case 0x0303:
      return "12";
    case 0x0302:
      return "11";
    case 0x0301:
      return "10";
    case 0x0300:
      return "s3";
    case 0x0002:
      return "s2";
    default:
      return "00";
  }
}

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

// The first and the last character of the first protocol; of its hexadecimal digits when one is
// neither letter nor digit.
std::string protocol_text(std::string_view first) {
  if (first.empty()) return "00";
  if (is_alphanumeric(first.front()) && is_alphanumeric(first.back()))
    return {first.front(), first.back()};
  const std::string begin = fmt::format("{:02x}", static_cast<unsigned char>(first.front()));
  const std::string end = fmt::format("{:02x}", static_cast<unsigned char>(first.back()));
  return {begin.front(), end.back()};
}

std::string list_text(const std::vector<std::uint16_t>& list) {
  std::string out;
  for (const std::uint16_t n : list)
    fmt::format_to(std::back_inserter(out), "{}{:04x}", out.empty() ? "" : ",", n);
  return out;
}

std::string hash_text(const std::string& text) { return sha256_hex(text).substr(0, kHashShown); }

struct Hello {
  std::size_t version = 0;
  bool named = false;
  std::vector<std::uint16_t> ciphers, extensions, algorithms;
  std::string_view protocol;  // the first of ALPN
};

void read_extension(std::uint16_t type, Bytes body, Hello& hello) {
  switch (type) {
    case kServerName:
      hello.named = true;
      break;
    case kAlpn: {
      Bytes names = body.vector(2);
      hello.protocol = names.vector(1).rest();
      break;
    }
    case kSignatureAlgorithms:
      hello.algorithms = numbers(body.vector(2));
      break;
    case kSupportedVersions: {
      const auto versions = numbers(body.vector(1));
      if (!versions.empty()) hello.version = *std::max_element(versions.begin(), versions.end());
      break;
    }
    default:
      break;
  }
}

bool read_hello(std::string_view message, Hello& hello) {
  Bytes all(message);
  if (all.number(1) != kClientHello) return false;
  Bytes body = all.vector(3);
  hello.version = body.number(2);
  body.take(kRandomBytes);
  body.vector(1);  // session
  hello.ciphers = numbers(body.vector(2));
  body.vector(1);  // compression
  if (all.bad() || body.bad()) return false;
  if (body.empty()) return true;  // as TLS 1.2 allows
  Bytes extensions = body.vector(2);
  while (!extensions.empty()) {
    const std::size_t type = extensions.number(2);
    const Bytes extension = extensions.vector(2);
    if (extensions.bad()) return false;
    if (is_grease(type)) continue;
    hello.extensions.push_back(static_cast<std::uint16_t>(type));
    read_extension(static_cast<std::uint16_t>(type), extension, hello);
  }
  return !body.bad();
}

}  // namespace

std::string ja4_of(std::string_view client_hello) {
  Hello hello;
  if (!read_hello(client_hello, hello)) return "";
  std::string out = fmt::format(
      "t{}{}{:02}{:02}{}", version_text(hello.version), hello.named ? 'd' : 'i',
      std::min<std::size_t>(hello.ciphers.size(), 99),
      std::min<std::size_t>(hello.extensions.size(), 99), protocol_text(hello.protocol));
  const std::string none(kHashShown, '0');
  std::sort(hello.ciphers.begin(), hello.ciphers.end());
  out.append("_").append(hello.ciphers.empty() ? none : hash_text(list_text(hello.ciphers)));
  std::sort(hello.extensions.begin(), hello.extensions.end());
  std::erase_if(hello.extensions, [](auto type) { return type == kServerName || type == kAlpn; });
  std::string extensions = list_text(hello.extensions);
  if (!hello.algorithms.empty()) extensions.append("_").append(list_text(hello.algorithms));
  return out.append("_").append(hello.extensions.empty() ? none : hash_text(extensions));
}

}  // namespace leeward::edge

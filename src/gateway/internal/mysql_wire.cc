#include "gateway/internal/mysql_wire.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstring>

namespace leeward::gateway::wire {
namespace {

void append_u32(std::string& out, std::uint32_t v) {
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<char>(v >> 8 * i));
}

// Where the capability fields lie in a greeting, behind the version text and the thread id.
std::size_t greeting_capabilities_at(Bytes payload) {
  const auto* zero = std::find(payload.begin() + 1, payload.end(), std::uint8_t{0}).base();
  return static_cast<std::size_t>(zero - payload.data()) + 1 + 4 + 8 + 1;
}

constexpr std::size_t kLoginExtendedAt = 4 + 4 + 1 + 19;

}  // namespace

bool Reader::take(std::size_t size) {
  if (size > left()) {
    ok_ = false;
    at_ = bytes_.size();
    return false;
  }
  return true;
}

std::uint8_t Reader::byte() { return take(1) ? bytes_[at_++] : 0; }

std::uint32_t Reader::fixed16() {
  if (!take(2)) return 0;
  at_ += 2;
  return u16(&bytes_[at_ - 2]);
}

std::uint32_t Reader::fixed32() {
  if (!take(4)) return 0;
  at_ += 4;
  return u32(&bytes_[at_ - 4]);
}

std::uint64_t Reader::lenenc() {
  const std::uint8_t first = byte();
  if (first < 0xfb) return first;
  const std::size_t size = first == 0xfc ? 2 : first == 0xfd ? 3 : first == 0xfe ? 8 : 0;
  if (size == 0 || !take(size)) {
    ok_ = false;
    return 0;
  }
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) value |= std::uint64_t{bytes_[at_++]} << 8 * i;
  return value;
}

std::string_view Reader::text(std::size_t size) {
  if (!take(size)) return {};
  at_ += size;
  return {reinterpret_cast<const char*>(bytes_.data()) + at_ - size, size};
}

std::string_view Reader::zero_terminated() {
  const auto rest = bytes_.subspan(at_);
  const auto zero = std::find(rest.begin(), rest.end(), std::uint8_t{0});
  const auto size = static_cast<std::size_t>(zero - rest.begin());
  const std::string_view value = text(size);
  if (zero != rest.end()) ++at_;
  return value;
}

Result<Greeting> parse_greeting(Bytes payload) {
  Reader r(payload);
  Greeting g;
  if (r.byte() != 10) return fail(Code::kCorrupt, "server greeting is not of protocol version 10");
  r.zero_terminated();
  r.fixed32();  // connection id
  g.salt = r.text(8);
  r.byte();
  g.capabilities = r.fixed16();
  r.byte();     // character set
  r.fixed16();  // status
  g.capabilities |= r.fixed16() << 16;
  const std::uint8_t salt_length = r.byte();
  r.text(6);
  const std::uint32_t extended = r.fixed32();
  if ((g.capabilities & kLongPassword) == 0) g.extended = extended;
  // The second half is padded to at least 13 bytes, the last of which is zero.
  const std::string_view rest =
      r.text(std::max<std::size_t>(13, salt_length > 8 ? salt_length - 8 : 0));
  g.salt += rest.substr(0, 12);
  g.plugin = r.zero_terminated();
  if (!r.ok() || g.salt.size() != 20) return fail(Code::kCorrupt, "server greeting is cut short");
  if ((g.capabilities & kProtocol41) == 0)
    return fail(Code::kCorrupt, "server speaks the protocol from before MySQL 4.1");
  return g;
}

void strip_greeting(std::span<std::uint8_t> payload) {
  const std::size_t at = greeting_capabilities_at(payload);
  const bool extended = (payload[at] & kLongPassword) == 0;
  payload[at] &= static_cast<std::uint8_t>(~kStripped);
  payload[at + 1] &= static_cast<std::uint8_t>(~(kStripped >> 8));
  payload[at + 5] &= static_cast<std::uint8_t>(~(kStripped >> 16));
  payload[at + 6] &= static_cast<std::uint8_t>(~(kStripped >> 24));
  if (extended) payload[at + 14] &= static_cast<std::uint8_t>(~kStrippedExtended);
}

Result<Login> parse_login(Bytes payload) {
  Reader r(payload);
  Login l;
  l.capabilities = r.fixed32();
  if ((l.capabilities & kProtocol41) == 0)
    return fail(Code::kCorrupt, "client speaks the protocol from before MySQL 4.1");
  l.packet_max = r.fixed32();
  l.charset = r.byte();
  r.text(19);
  const std::uint32_t extended = r.fixed32();
  if ((l.capabilities & kLongPassword) == 0) l.extended = extended;
  if (l.capabilities & kSsl)
    return fail(Code::kCorrupt, "client asks for TLS, which is not offered");
  l.user = r.zero_terminated();
  if (l.capabilities & kPluginAuthLenenc)
    l.response = r.text(r.lenenc());
  else if (l.capabilities & kSecureConnection)
    l.response = r.text(r.byte());
  else
    l.response = r.zero_terminated();
  if (l.capabilities & kConnectWithDb) l.database = r.zero_terminated();
  if (l.capabilities & kPluginAuth) l.plugin = r.zero_terminated();
  if (!r.ok()) return fail(Code::kCorrupt, "client's handshake is cut short");
  return l;
}

void strip_login(std::span<std::uint8_t> payload) {
  const std::uint32_t capabilities = u32(payload.data());
  put_u32(payload.data(), capabilities & ~kStripped);
  if ((capabilities & kLongPassword) == 0) {
    std::uint8_t* extended = payload.data() + kLoginExtendedAt;
    put_u32(extended, u32(extended) & ~kStrippedExtended);
  }
}

std::string build_login(const Login& l) {
  std::uint32_t capabilities =
      (l.capabilities & ~(kStripped | kConnectAttrs | kConnectWithDb | kPluginAuthLenenc)) |
      kSecureConnection | kPluginAuth;
  if (!l.database.empty()) capabilities |= kConnectWithDb;
  std::string out;
  append_u32(out, capabilities);
  append_u32(out, l.packet_max);
  out.push_back(static_cast<char>(l.charset));
  out.append(19, '\0');
  append_u32(out, l.extended & ~kStrippedExtended);
  out.append(l.user).push_back('\0');
  out.push_back(static_cast<char>(l.response.size()));
  out.append(l.response);
  if (!l.database.empty()) out.append(l.database).push_back('\0');
  out.append(l.plugin).push_back('\0');
  return out;
}

std::optional<ErrorPacket> parse_error(Bytes payload) {
  if (payload.size() < 3 || payload[0] != 0xff) return std::nullopt;
  ErrorPacket e;
  e.code = static_cast<std::uint16_t>(u16(&payload[1]));
  std::string_view rest(reinterpret_cast<const char*>(payload.data()) + 3, payload.size() - 3);
  if (rest.size() >= 6 && rest[0] == '#') {
    e.state = rest.substr(1, 5);
    rest.remove_prefix(6);
  }
  e.message = rest;
  return e;
}

std::string packet(std::uint8_t sequence, std::string_view payload) {
  std::string out;
  append_u32(out, static_cast<std::uint32_t>(payload.size()) | std::uint32_t{sequence} << 24);
  return out.append(payload);
}

std::string error_packet(std::uint8_t sequence, std::uint16_t code, std::string_view state,
                         std::string_view message) {
  std::string payload{static_cast<char>(0xff), static_cast<char>(code),
                      static_cast<char>(code >> 8), '#'};
  return packet(sequence, payload.append(state).append(message.substr(0, 512)));
}

Digest sha1(std::string_view a, std::string_view b) {
  std::string joined(a);
  joined += b;
  Digest digest;
  SHA1(reinterpret_cast<const unsigned char*>(joined.data()), joined.size(), digest.data());
  OPENSSL_cleanse(joined.data(), joined.size());
  return digest;
}

namespace {
std::string_view view(const Digest& d) {
  return {reinterpret_cast<const char*>(d.data()), d.size()};
}
}  // namespace

Digest native_response(const Digest& password_sha1, std::string_view salt) {
  const Digest verifier = sha1(view(password_sha1));
  Digest out = sha1(salt, view(verifier));
  for (std::size_t i = 0; i < out.size(); ++i) out[i] ^= password_sha1[i];
  return out;
}

std::optional<Digest> recover_password_sha1(std::string_view response, std::string_view salt,
                                            const Digest& verifier) {
  Digest out = sha1(salt, view(verifier));
  if (response.size() != out.size()) return std::nullopt;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] ^= static_cast<std::uint8_t>(response[i]);
  if (sha1(view(out)) != verifier) {
    OPENSSL_cleanse(out.data(), out.size());
    return std::nullopt;
  }
  return out;
}

}  // namespace leeward::gateway::wire

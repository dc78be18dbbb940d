#include "edge/proxy_protocol.h"

#include <algorithm>
#include <cstring>

namespace leeward::edge {
namespace {

constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::size_t kFixed = 16;
constexpr std::size_t kLengthMax = 520;
constexpr std::size_t kV4 = 12, kV6 = 36;  // two addresses and two ports

std::uint16_t read_u16(std::string_view at) {
  return static_cast<std::uint16_t>(static_cast<std::uint8_t>(at[0]) << 8 |
                                    static_cast<std::uint8_t>(at[1]));
}
void append_u16(std::string& out, std::uint16_t v) {
  out += static_cast<char>(v >> 8);
  out += static_cast<char>(v & 0xff);
}

}  // namespace

ProxyHeader parse_proxy_header(std::string_view bytes) {
  ProxyHeader header;
  auto bad = [] { return ProxyHeader{.kind = ProxyHeader::Kind::kBad, .client = {}}; };
  const std::size_t known = std::min(bytes.size(), kSignature.size());
  if (bytes.substr(0, known) != kSignature.substr(0, known)) return bad();
  if (bytes.size() < kFixed) return header;
  const auto command = static_cast<std::uint8_t>(bytes[12]);
  const auto family = static_cast<std::uint8_t>(bytes[13]);
  const std::size_t length = read_u16(bytes.substr(14));
  if (command != 0x20 && command != 0x21) return bad();
  if (length > kLengthMax) return bad();
  if (bytes.size() < kFixed + length) return header;
  header.kind = ProxyHeader::Kind::kDone;
  header.consumed = kFixed + length;
  if (command == 0x20) return header;
  const std::string_view body = bytes.substr(kFixed, length);
  if (family == 0x11) {  // TCP over IPv4
    if (length < kV4) return bad();
    header.client.bytes[10] = header.client.bytes[11] = 0xff;
    std::memcpy(header.client.bytes + 12, body.data(), 4);
    header.client.port = read_u16(body.substr(8));
    header.has_client = true;
  } else if (family == 0x21) {  // TCP over IPv6
    if (length < kV6) return bad();
    std::memcpy(header.client.bytes, body.data(), 16);
    header.client.port = read_u16(body.substr(32));
    header.has_client = true;
  }
  return header;
}

std::string format_proxy_header(const ClientAddress& client, const ClientAddress& server) {
  const bool v4 = client.is_v4() && server.is_v4();
  std::string out(kSignature);
  out += static_cast<char>(0x21);
  out += static_cast<char>(v4 ? 0x11 : 0x21);
  append_u16(out, static_cast<std::uint16_t>(v4 ? kV4 : kV6));
  for (const ClientAddress* address : {&client, &server}) {
    const auto* octets = reinterpret_cast<const char*>(address->bytes);
    v4 ? out.append(octets + 12, 4) : out.append(octets, 16);
  }
  append_u16(out, client.port);
  append_u16(out, server.port);
  return out;
}

std::string format_local_proxy_header() {
  std::string out(kSignature);
  return out.append("\x20\0\0\0", 4);
}

}  // namespace leeward::edge

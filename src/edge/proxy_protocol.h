// The PROXY protocol, version 2: the address of a client, told by what is in front of us, and by us
// to origins (HAProxy's proxy-protocol.txt, section 2.2). Version 1 is refused. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "edge/exchange.h"

namespace leeward::edge {

struct ProxyHeader {
  enum class Kind : std::uint8_t { kMore, kDone, kBad };
  Kind kind = Kind::kMore;
  std::size_t consumed = 0;
  bool has_client = false;  // false: a LOCAL connection (a health check), or of another family
  ClientAddress client;
};

// `bytes`: what has come so far. More than 520 octets after the fixed part are bad.
ProxyHeader parse_proxy_header(std::string_view bytes);

// The header for a connection from `client` to `server`, both IPv4-mapped or both IPv6.
std::string format_proxy_header(const ClientAddress& client, const ClientAddress& server);
// The header of a connection that is for nobody but us: a health check (command LOCAL).
std::string format_local_proxy_header();

}  // namespace leeward::edge

#include "model/edge.h"

#include <charconv>

#include "base/socket_address.h"

namespace leeward {

Result<EdgeServer> parse_edge_server(std::string_view text) {
  constexpr std::string_view kWeight = "weight=";
  const std::size_t blank = text.find(' ');
  EdgeServer server{.address = std::string(text.substr(0, blank))};
  if (auto address = parse_socket_address(server.address); !address)
    return fail(std::move(address.error()));
  if (blank == std::string_view::npos) return server;
  const std::string_view rest = text.substr(blank + 1);
  const char* end = rest.data() + rest.size();
  if (!rest.starts_with(kWeight) ||
      std::from_chars(rest.data() + kWeight.size(), end, server.weight).ptr != end ||
      server.weight < 1 || server.weight > EdgeServer::kWeightMax)
    return fail(Code::kInvalid, "'{}' after the address: write weight=N, from 1 to {}", rest,
                EdgeServer::kWeightMax);
  return server;
}

std::optional<std::uint16_t> EdgeSpec::plain_port() const {
  for (const EdgeListener& l : listeners)
    if (!l.tls && !l.proxy_protocol && (l.address == "{address}" || l.address == "0.0.0.0"))
      return l.port;
  return std::nullopt;
}

}  // namespace leeward

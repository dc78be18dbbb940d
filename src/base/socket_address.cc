#include "base/socket_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <string>

namespace leeward {

Result<SocketAddress> parse_socket_address(std::string_view text) {
  SocketAddress address;
  if (text.starts_with("unix:")) {
    auto& un = reinterpret_cast<sockaddr_un&>(address.storage);
    const std::string_view path = text.substr(5);
    if (path.empty() || path.size() >= sizeof un.sun_path)
      return fail(Code::kInvalid, "'{}': write unix:/PATH, at most {} characters", text,
                  sizeof un.sun_path - 1);
    un.sun_family = AF_UNIX;
    std::memcpy(un.sun_path, path.data(), path.size());
    address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
    return address;
  }
  const std::size_t colon = text.rfind(':');
  std::uint16_t port = 0;
  const char* end = text.data() + text.size();
  std::string host(text.substr(0, std::min(colon, text.size())));
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  auto& v4 = reinterpret_cast<sockaddr_in&>(address.storage);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(address.storage);
  const bool has_port = colon != std::string_view::npos &&
                        std::from_chars(text.data() + colon + 1, end, port).ptr == end &&
                        colon + 1 < text.size();
  if (has_port && !bracketed && inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    address.size = sizeof v4;
    return address;
  }
  if (has_port && bracketed && inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    address.size = sizeof v6;
    return address;
  }
  return fail(Code::kInvalid, "'{}' is no address; write 10.0.0.1:8080, [::1]:8080 or unix:/PATH",
              text);
}

}  // namespace leeward

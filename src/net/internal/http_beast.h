// What the server and the client share; only their two files include it, because Boost.Beast is
// expensive to compile.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/ip/tcp.hpp>
#include <string>

#include "net/http.h"

namespace leeward::net {

inline constexpr std::size_t kReadBytes = 16u << 10;

inline void set_no_delay(int fd) {
  int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

inline Result<boost::asio::ip::tcp::endpoint> to_asio(const Endpoint& e) {
  boost::system::error_code error;
  auto address = boost::asio::ip::make_address_v4(e.host, error);
  if (error)
    return fail(Code::kInvalid, "'{}' is not an IPv4 address; write for example 10.0.0.1", e.host);
  return boost::asio::ip::tcp::endpoint(address, e.port);
}

template <typename Fields>
HttpHeaders copy_headers(const Fields& fields) {
  HttpHeaders headers;
  for (const auto& field : fields) {
    auto [it, inserted] =
        headers.try_emplace(std::string(field.name_string()), std::string(field.value()));
    if (!inserted) it->second.append(", ").append(std::string_view(field.value()));
  }
  return headers;
}

}  // namespace leeward::net

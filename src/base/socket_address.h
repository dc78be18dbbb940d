// Addresses that servers are reached at.
#pragma once

#include <sys/socket.h>

#include <cstring>
#include <string_view>

#include "base/error.h"

namespace leeward {

// TCP address or Unix socket, ready for bind() and connect().
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  bool is_unix() const { return storage.ss_family == AF_UNIX; }
  bool operator==(const SocketAddress& o) const {
    return size == o.size && std::memcmp(&storage, &o.storage, size) == 0;
  }
};
// "10.0.0.1:80", "[::1]:80" or "unix:/path"; kInvalid says what to write.
Result<SocketAddress> parse_socket_address(std::string_view text);

}  // namespace leeward

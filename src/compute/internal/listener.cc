#include "compute/internal/listener.h"

#include <sys/socket.h>

#include <cerrno>

#include "base/socket_address.h"

namespace leeward::compute {

Result<UniqueFd> listen_on(const Endpoint& endpoint) {
  auto address = parse_socket_address(to_string(endpoint));
  if (!address) return fail(std::move(address.error()));
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int on = 1;  // SO_REUSEADDR: connections of its last life may linger
  if (!fd.valid() || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address->storage), address->size) != 0 ||
      ::listen(fd.get(), SOMAXCONN) != 0)
    return fail(os_error(errno, "listen on " + to_string(endpoint)));
  return fd;
}

}  // namespace leeward::compute

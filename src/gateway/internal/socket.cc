#include "gateway/internal/socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

namespace leeward::gateway {
namespace {

Result<sockaddr_in> address_of(const Endpoint& endpoint) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(endpoint.port);
  if (inet_pton(AF_INET, endpoint.host.c_str(), &address.sin_addr) != 1)
    return fail(Code::kInvalid, "'{}' is not an IPv4 address", endpoint.host);
  return address;
}

void set(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof value);
}

UniqueFd tcp_socket() {
  return UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

}  // namespace

void tune(int fd) {
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 3);
  set(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

Result<UniqueFd> listen_on(const Endpoint& endpoint) {
  auto address = address_of(endpoint);
  if (!address) return fail(std::move(address).error());
  UniqueFd fd = tcp_socket();
  if (!fd.valid()) return fail(os_error(errno, "socket"));
  set(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&*address), sizeof *address) != 0 ||
      listen(fd.get(), 1024) != 0)
    return fail(os_error(errno, "listen on " + to_string(endpoint)));
  return fd;
}

Result<UniqueFd> start_connect(const Endpoint& endpoint) {
  auto address = address_of(endpoint);
  if (!address) return fail(std::move(address).error());
  UniqueFd fd = tcp_socket();
  if (!fd.valid()) return fail(os_error(errno, "socket"));
  tune(fd.get());
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&*address), sizeof *address) != 0 &&
      errno != EINPROGRESS)
    return fail(os_error(errno, "connect to " + to_string(endpoint)));
  return fd;
}

Status finished_connect(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) return fail(os_error(error, "connect"));
  return {};
}

UniqueFd accept_from(int listener, int& error) {
  UniqueFd fd(accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  error = fd.valid() ? 0 : errno;
  if (fd.valid()) tune(fd.get());
  return fd;
}

Endpoint local_endpoint(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  char text[INET_ADDRSTRLEN] = "";
  inet_ntop(AF_INET, &address.sin_addr, text, sizeof text);
  return {text, ntohs(address.sin_port)};
}

}  // namespace leeward::gateway

#include "dns/internal/sockets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>

namespace leeward::dns::internal {
namespace {

constexpr int kReceiveBufferBytes = 4 << 20;  // about 5000 queries waiting while a thread is busy
constexpr int kTcpBacklog = 256;
// A port that is free for UDP can be taken for TCP; when any port will do, another one is tried.
constexpr int kAnyPortAttempts = 16;

Status set_option(int fd, int level, int option, int value, std::string_view what) {
  if (::setsockopt(fd, level, option, &value, sizeof value) != 0)
    return fail(os_error(errno, what));
  return {};
}

Status bind_to(int fd, const sockaddr_in& address, const Endpoint& listen) {
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail(os_error(errno, "bind " + to_string(listen)));
  return {};
}

Result<UniqueFd> open_udp(const sockaddr_in& address, const Endpoint& listen) {
  UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail(os_error(errno, "socket"));
  Status ready = set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
  // Replies never need path MTU discovery, and forged "too big" messages could only do harm.
  if (ready) ready = set_option(fd.get(), IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT, "MTU");
  // Without it, replies on 0.0.0.0 could leave from another address than the one asked.
  if (ready && address.sin_addr.s_addr == INADDR_ANY)
    ready = set_option(fd.get(), IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO");
  if (ready) ready = bind_to(fd.get(), address, listen);
  if (!ready) return fail(ready.error());
  // The kernel caps this at net.core.rmem_max; a smaller buffer is no reason not to serve.
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBufferBytes, sizeof(int));
  auto wait = std::chrono::duration_cast<std::chrono::microseconds>(kReceiveTimeout);
  timeval timeout{0, static_cast<suseconds_t>(wait.count())};
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0)
    return fail(os_error(errno, "SO_RCVTIMEO"));
  return fd;
}

Result<UniqueFd> open_tcp(const sockaddr_in& address, const Endpoint& listen) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail(os_error(errno, "socket"));
  Status ready = set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
  if (ready) ready = bind_to(fd.get(), address, listen);
  if (!ready) return fail(ready.error());
  if (::listen(fd.get(), kTcpBacklog) != 0) return fail(os_error(errno, "listen"));
  return fd;
}

Result<std::uint16_t> bound_port(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return fail(os_error(errno, "getsockname"));
  return ntohs(address.sin_port);
}

Result<Sockets> open_once(sockaddr_in address, const Endpoint& listen, unsigned udp_count) {
  Sockets sockets;
  sockets.any_address = address.sin_addr.s_addr == INADDR_ANY;
  sockets.local = listen;
  for (unsigned i = 0; i < udp_count; ++i) {
    auto fd = open_udp(address, listen);
    if (!fd) return fail(std::move(fd.error()).wrap("DNS over UDP"));
    auto port = bound_port(fd->get());
    if (!port) return fail(port.error());
    sockets.local.port = *port;
    address.sin_port = htons(*port);
    sockets.udp.push_back(std::move(*fd));
  }
  auto tcp = open_tcp(address, listen);
  if (!tcp) return fail(std::move(tcp.error()).wrap("DNS over TCP"));
  sockets.tcp = std::move(*tcp);
  return sockets;
}

}  // namespace

Result<Sockets> open_sockets(const Endpoint& listen, unsigned udp_count) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(listen.port);
  if (::inet_pton(AF_INET, listen.host.c_str(), &address.sin_addr) != 1)
    return fail(Code::kInvalid, "'{}' is not an IPv4 address to listen on", listen.host);
  auto sockets = open_once(address, listen, udp_count);
  for (int i = 1; i < kAnyPortAttempts && !sockets && listen.port == 0; ++i)
    sockets = open_once(address, listen, udp_count);
  return sockets;
}

}  // namespace leeward::dns::internal

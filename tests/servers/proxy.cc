#include "servers/proxy.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"

namespace leeward::testing {
namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool send_all(int fd, const char* bytes, std::size_t size) {
  while (size > 0) {
    ssize_t count = ::send(fd, bytes, size, MSG_NOSIGNAL);
    if (count <= 0) return false;
    bytes += count;
    size -= static_cast<std::size_t>(count);
  }
  return true;
}

}  // namespace

Proxy::Proxy(Endpoint upstream)
    : upstream_(std::move(upstream)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  LEEWARD_CHECK(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  LEEWARD_CHECK(::listen(listener_.get(), 16) == 0);
  LEEWARD_CHECK(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { serve(); });
}

Proxy::~Proxy() {
  stop_ = true;
  thread_.join();
}

void Proxy::set(Fault fault, std::uint64_t at) {
  at_ = at;
  fault_ = fault;
}

// One connection at a time: tests have one client.
void Proxy::serve() {
  while (!stop_) {
    pollfd entry{listener_.get(), POLLIN, 0};
    if (::poll(&entry, 1, 20) <= 0) continue;
    UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (client.valid()) forward(client.get());
  }
}

void Proxy::forward(int client) {
  UniqueFd server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(upstream_.port);
  if (::connect(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return;
  Fault fault = fault_;
  std::uint64_t at = at_;
  std::uint64_t passed = 0;
  bool silent = false;
  std::vector<char> buffer(64 << 10);
  while (!stop_) {
    pollfd entries[] = {{client, POLLIN, 0}, {server.get(), POLLIN, 0}};
    if (silent) entries[1].events = 0;
    if (::poll(entries, 2, 20) <= 0) continue;
    if (entries[0].revents) {
      ssize_t count = ::recv(client, buffer.data(), buffer.size(), 0);
      if (count <= 0 || !send_all(server.get(), buffer.data(), static_cast<std::size_t>(count)))
        return;
    }
    if (!silent && entries[1].revents) {
      ssize_t received = ::recv(server.get(), buffer.data(), buffer.size(), 0);
      if (received <= 0) return;
      auto count = static_cast<std::size_t>(received);
      bool here = fault != Fault::kNone && at < passed + count;
      if (here && fault == Fault::kFlipBit) {
        buffer[at - passed] ^= 0x10;
        fault = Fault::kNone;
      } else if (here) {
        count = static_cast<std::size_t>(at - passed);
        silent = fault == Fault::kSilence;
      }
      if (!send_all(client, buffer.data(), count)) return;
      passed += count;
      passed_ = passed;
      if (here && fault == Fault::kEnd) return;
    }
  }
}

}  // namespace leeward::testing

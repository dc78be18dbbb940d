// The least that an HTTP/1.1 server can do: read until the blank line, write a ready response. One
// thread, epoll, keep-alive; of what it reads it understands the length of a POST's body only. It
// is what the edge's figures are held against.
//
//   leeward-bench-responder PORT    /100k.bin gives 100 KiB, all else 1 KiB;
//                                   what begins with /miss/ must not be kept
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct Connection {
  std::string in;
  std::string_view out;
  std::size_t body = 0;  // bytes of it that are still to come
  bool close = false;    // after `out`
};

std::string response(std::size_t size, const char* cache_control) {
  return "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
         "Cache-Control: " +
         std::string(cache_control) + "\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n" +
         std::string(size, 'x');
}

struct Responses {
  std::string small = response(1024, "max-age=36000");
  std::string large = response(100 << 10, "max-age=36000");
  std::string miss = response(1024, "no-store");
};

// Of a POST whose head is complete; what came of it is taken off.
std::size_t body_to_come(const std::string& in) {
  constexpr std::string_view kLength = "\r\nContent-Length: ", kEnd = "\r\n\r\n";
  const std::size_t end = in.find(kEnd), at = in.find(kLength);
  if (at == std::string::npos || at > end) return 0;
  const std::size_t length = std::strtoul(in.c_str() + at + kLength.size(), nullptr, 10);
  return length - std::min(length, in.size() - end - kEnd.size());
}

// False: the connection is over.
bool serve(int fd, Connection& c, const Responses& responses) {
  std::array<char, 4096> buffer;
  for (;;) {
    while (!c.out.empty()) {
      const ssize_t n = send(fd, c.out.data(), c.out.size(), MSG_NOSIGNAL);
      if (n < 0) return errno == EAGAIN;
      c.out.remove_prefix(static_cast<std::size_t>(n));
    }
    if (c.close) return false;
    const ssize_t n = recv(fd, buffer.data(), buffer.size(), 0);
    if (n == 0) return false;
    if (n < 0) return errno == EAGAIN;
    if (c.body > 0) {
      c.body -= std::min(c.body, static_cast<std::size_t>(n));
      if (c.body == 0) c.out = responses.miss;
      continue;
    }
    c.in.append(buffer.data(), static_cast<std::size_t>(n));
    if (c.in.starts_with("POST ")) {
      if (c.in.find("\r\n\r\n") == std::string::npos) continue;
      c.body = body_to_come(c.in);
      if (c.body == 0) c.out = responses.miss;
      c.in.clear();
      continue;
    }
    if (!c.in.ends_with("\r\n\r\n")) continue;
    c.out = c.in.starts_with("GET /100k.bin") ? responses.large
            : c.in.starts_with("GET /miss/")  ? responses.miss
                                              : responses.small;
    c.close = c.in.starts_with("GET /health");  // Varnish's probes wait for the end
    c.in.clear();
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: leeward-bench-responder PORT\n", stderr);
    return 2;
  }
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[1])));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener, 1024) != 0) {
    std::perror("leeward-bench-responder: listen");
    return 1;
  }
  const Responses responses;
  const int epoll = epoll_create1(0);
  auto watch = [epoll](int fd) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;
    event.data.fd = fd;
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  };
  watch(listener);
  std::vector<Connection> connections(65536);
  std::array<epoll_event, 256> events;
  for (;;) {
    const int n = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < n; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == listener) {
        for (int accepted; (accepted = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
          setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
          connections.at(static_cast<std::size_t>(accepted)) = {};
          watch(accepted);
        }
      } else if (!serve(fd, connections[static_cast<std::size_t>(fd)], responses)) {
        close(fd);
      }
    }
  }
}

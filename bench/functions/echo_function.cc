// A function that answers each invocation by what it got: a custom runtime as small as it can be.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace {

int connect_to_api() {
  const std::string api = std::getenv("AWS_LAMBDA_RUNTIME_API");
  const auto colon = api.rfind(':');
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(std::atoi(api.c_str() + colon + 1)));
  ::inet_pton(AF_INET, api.substr(0, colon).c_str(), &at.sin_addr);
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) std::exit(1);
  return fd;
}

void send_all(int fd, const std::string& text) {
  if (::send(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) std::exit(1);
}

std::string value_of(const std::string& head, const std::string& name) {
  const auto at = head.find(name + ": ");
  if (at == std::string::npos) std::exit(1);
  const auto begin = at + name.size() + 2;
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

// One answer of the API: its head and its body.
std::string receive(int fd, std::string& head) {
  std::string text;
  std::size_t end = 0;
  for (;;) {
    char buffer[4096];
    const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
    if (n <= 0) std::exit(1);
    text.append(buffer, static_cast<std::size_t>(n));
    end = text.find("\r\n\r\n");
    if (end == std::string::npos) continue;
    head = text.substr(0, end + 2);
    const auto length =
        static_cast<std::size_t>(std::atol(value_of(head, "Content-Length").c_str()));
    if (text.size() >= end + 4 + length) return text.substr(end + 4, length);
  }
}

}  // namespace

int main() {
  const int fd = connect_to_api();
  for (;;) {
    send_all(fd, "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: api\r\n\r\n");
    std::string head;
    const std::string payload = receive(fd, head);
    send_all(fd, "POST /2018-06-01/runtime/invocation/" +
                     value_of(head, "Lambda-Runtime-Aws-Request-Id") +
                     "/response HTTP/1.1\r\nHost: api\r\nContent-Length: " +
                     std::to_string(payload.size()) + "\r\n\r\n" + payload);
    static_cast<void>(receive(fd, head));
  }
}

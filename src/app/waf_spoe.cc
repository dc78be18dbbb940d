#include "app/waf_spoe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstring>

#include "waf/spop.h"

namespace leeward::app {
namespace {

namespace spop = waf::spop;

constexpr std::uint32_t kStatusInvalid = 4, kStatusTooBig = 3;  // doc/SPOE.txt, 3.3

bool read_fully(int fd, char* to, std::size_t size) {
  while (size > 0) {
    const ssize_t n = recv(fd, to, size, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    to += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

bool write_fully(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

std::string text_of(const spop::Address& address) {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(address.octets.size() == 4 ? AF_INET : AF_INET6, address.octets.data(), text,
            sizeof text);
  return text;
}

Result<OfferedRequest> request_of(const spop::Message& message) {
  OfferedRequest request;
  for (const spop::Argument& a : message.arguments) {
    const auto* text = std::get_if<std::string_view>(&a.value);
    const auto* address = std::get_if<spop::Address>(&a.value);
    const auto* number = std::get_if<std::uint64_t>(&a.value);
    if (a.name == "src" && address != nullptr) request.address = text_of(*address);
    if (a.name == "src_port" && number != nullptr)
      request.port = static_cast<std::uint16_t>(*number);
    if (text == nullptr) continue;
    if (a.name == "method") request.method = *text;
    if (a.name == "uri") request.target = *text;
    if (a.name == "version") request.protocol = *text;
    if (a.name == "body") request.body = *text;
    if (a.name == "headers") {
      auto fields = spop::read_fields(*text);
      if (!fields) return fail(std::move(fields.error()));
      for (const auto& [name, value] : *fields)
        request.fields.emplace_back(std::string(name), std::string(value));
    }
  }
  return request;
}

}  // namespace

Result<std::unique_ptr<SpoeAgent>> SpoeAgent::start(const Endpoint& listen, WafJudge& judge,
                                                    const Logger& logger) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(listen.port);
  if (inet_pton(AF_INET, listen.host.c_str(), &address.sin_addr) != 1)
    return fail(Code::kInvalid, "{} is not an IPv4 address and port", to_string(listen));
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (!fd.valid() || setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd.get(), 128) != 0)
    return fail(os_error(errno, "listen on " + to_string(listen)));
  socklen_t size = sizeof address;
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
  Endpoint local{listen.host, ntohs(address.sin_port)};
  return std::unique_ptr<SpoeAgent>(new SpoeAgent(std::move(fd), local, judge, logger));
}

SpoeAgent::SpoeAgent(UniqueFd listener, Endpoint local, WafJudge& judge, const Logger& logger)
    : listener_(std::move(listener)),
      local_(std::move(local)),
      judge_(judge),
      logger_(logger.with("spoe")),
      acceptor_([this] { accept_loop(); }) {}

SpoeAgent::~SpoeAgent() {
  stop_ = true;
  shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  {
    std::lock_guard lock(mutex_);
    for (Connection& c : connections_) shutdown(c.socket.get(), SHUT_RDWR);
  }
  for (Connection& c : connections_) c.thread.join();
}

void SpoeAgent::accept_loop() {
  while (!stop_) {
    UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket.valid()) {
      if (stop_ || (errno != EINTR && errno != ECONNABORTED && errno != EMFILE)) return;
      if (errno == EMFILE) std::this_thread::sleep_for(std::chrono::milliseconds(100));
      continue;
    }
    const int on = 1;
    setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    reap();
    std::lock_guard lock(mutex_);
    if (connections_.size() >= kConnectionsMax) {
      logger_.warn("a connection too many was closed", {{"max", kConnectionsMax}});
      continue;
    }
    Connection& c = connections_.emplace_back();
    c.socket = std::move(socket);
    c.thread = std::thread([this, &c] {
      serve(c);
      shutdown(c.socket.get(), SHUT_RDWR);
      c.over = true;
    });
  }
}

void SpoeAgent::reap() {
  std::lock_guard lock(mutex_);
  connections_.remove_if([](Connection& c) {
    if (!c.over) return false;
    c.thread.join();
    return true;
  });
}

void SpoeAgent::serve(Connection& connection) {
  const int fd = connection.socket.get();
  std::optional<waf::Workspace> workspace;
  std::string bytes;
  auto give_up = [&](std::uint32_t status, const std::string& why) {
    logger_.warn("a connection was ended", {{"why", why}});
    write_fully(fd, spop::write_disconnect(status, why));
  };
  for (;;) {
    unsigned char head[4];
    if (!read_fully(fd, reinterpret_cast<char*>(head), sizeof head)) return;
    const std::uint32_t size = std::uint32_t{head[0]} << 24 | std::uint32_t{head[1]} << 16 |
                               std::uint32_t{head[2]} << 8 | head[3];
    if (size > spop::kFrameBytesMax) return give_up(kStatusTooBig, "a frame is too large");
    bytes.resize(size);
    if (!read_fully(fd, bytes.data(), size)) return;
    auto frame = spop::read_frame(bytes);
    if (!frame) return give_up(kStatusInvalid, frame.error().message);
    switch (frame->type) {
      case spop::FrameType::kHaproxyHello: {
        auto arguments = spop::read_arguments(frame->payload);
        if (!arguments) return give_up(kStatusInvalid, arguments.error().message);
        std::uint64_t most = spop::kFrameBytesMax;
        bool check = false;
        for (const spop::Argument& a : *arguments) {
          if (const auto* n = std::get_if<std::uint64_t>(&a.value); n && a.name == "max-frame-size")
            most = std::min(most, *n);
          if (const auto* b = std::get_if<bool>(&a.value); b && a.name == "healthcheck") check = *b;
        }
        if (!write_fully(fd, spop::write_hello(static_cast<std::uint32_t>(most))) || check) return;
        break;
      }
      case spop::FrameType::kNotify: {
        auto messages = spop::read_messages(frame->payload);
        if (!messages) return give_up(kStatusInvalid, messages.error().message);
        std::vector<std::pair<std::string_view, std::string>> variables;
        for (const spop::Message& message : *messages) {
          auto request = request_of(message);
          if (!request) return give_up(kStatusInvalid, request.error().message);
          const Judgement j = judge_.judge(*request, workspace);
          variables = {{"verdict", j.enforced  ? "block"
                                   : j.refused ? "detect"
                                               : "pass"},
                       {"score", j.score}};
          if (j.refused) {
            variables.emplace_back("status", std::to_string(j.status));
            variables.emplace_back("rule", std::to_string(j.rule));
          }
        }
        if (!write_fully(fd, spop::write_ack(frame->stream, frame->frame, variables))) return;
        break;
      }
      case spop::FrameType::kHaproxyDisconnect:
        write_fully(fd, spop::write_disconnect(0, "normal"));
        return;
      default:
        return give_up(kStatusInvalid, "a frame of an unknown type");
    }
  }
}

}  // namespace leeward::app

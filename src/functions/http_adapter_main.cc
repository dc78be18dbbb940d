// leeward-http-adapter: runs any HTTP application as a function. Runs inside the sandbox.
//
//   leeward-http-adapter -- COMMAND [ARGUMENT…]
//
// Starts the application, waits until it listens, and then serves the Runtime API: each invocation,
// an HTTP request as an event of payload format 2.0 (app_request.h), is sent to the application at
// 127.0.0.1:PORT, and its answer is the function's result. The application knows nothing of this;
// it is told its port by PORT in its environment, 8080 when the function's does not say. When it
// ends, so does this, with its exit status.
//
// One thread, blocking, one invocation at a time: that is what an environment is. Bounds: an answer
// of kAnswerBytesMax, a start of as long as the host allows for init.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "functions/app_request.h"
#include "functions/internal/http_reader.h"

namespace leeward::functions {
namespace {

constexpr std::size_t kAnswerBytesMax = 8u << 20;
constexpr std::string_view kNext = "/2018-06-01/runtime/invocation/next";
constexpr timespec kStartPause{0, 2'000'000};

[[noreturn]] void die(std::string_view what) {
  std::fprintf(stderr, "leeward-http-adapter: %.*s\n", static_cast<int>(what.size()), what.data());
  std::exit(1);
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return at;
}

// A connection that is kept; made again when the other side has closed it.
class Connection {
 public:
  explicit Connection(std::uint16_t port) : port_(port) {}

  // Sends a request and reads the whole answer. Once more on a new connection if a kept one turns
  // out to be closed before anything came back and `repeatable`.
  Result<HttpAnswer> exchange(const std::string& head, std::string_view body, bool no_body,
                              bool repeatable) {
    for (int attempt = 0;; ++attempt) {
      const bool kept = fd_.valid();
      if (!kept)
        if (Status connected = connect(); !connected) return fail(connected.error());
      bool any = false;
      auto answer = once(head, body, no_body, any);
      if (answer && answer->keep) return answer;
      fd_.reset();
      if (answer || !kept || any || !repeatable || attempt > 0) return answer;
    }
  }
  bool reachable() {
    fd_.reset();
    return connect().has_value();
  }
  // Whether the other side has closed a kept connection: then it is made anew, not tried.
  void forget_if_closed() {
    char byte = 0;
    if (fd_.valid() && ::recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0) fd_.reset();
  }

 private:
  Status connect() {
    fd_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in at = loopback(port_);
    const int on = 1;
    ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0) return {};
    const Error error = os_error(errno, fmt::format("connect to port {}", port_));
    fd_.reset();
    return fail(error);
  }

  Result<HttpAnswer> once(const std::string& head, std::string_view body, bool no_body, bool& any) {
    for (std::string_view part : {std::string_view(head), body})
      while (!part.empty()) {
        const ssize_t n = ::send(fd_.get(), part.data(), part.size(), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return fail(os_error(errno, "send"));
        part.remove_prefix(static_cast<std::size_t>(n));
      }
    HttpAnswerReader reader(no_body, kAnswerBytesMax);
    std::vector<char> buffer(64u << 10);
    for (;;) {
      const ssize_t n = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail(os_error(errno, "receive"));
      any = any || n > 0;
      Status sound =
          n == 0 ? reader.end() : reader.take({buffer.data(), static_cast<std::size_t>(n)});
      if (!sound) return fail(sound.error());
      if (reader.done()) return reader.answer();
    }
  }

  std::uint16_t port_;
  UniqueFd fd_;
};

std::uint16_t port_of(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || port == 0)
    die(fmt::format("'{}' is not a port", text));
  return port;
}

pid_t start_application(std::vector<char*> command) {
  command.push_back(nullptr);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, command[0], nullptr, nullptr, command.data(), environ);
  if (error != 0) die(os_error(error, fmt::format("start {}", command[0])).message);
  return pid;
}

// Ends this process as the application ended.
void follow(pid_t application) {
  int status = 0;
  if (::waitpid(application, &status, WNOHANG) != application) return;
  if (WIFSIGNALED(status)) {
    ::signal(WTERMSIG(status), SIG_DFL);
    ::raise(WTERMSIG(status));
  }
  std::exit(WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 1);
}

void wait_until_it_listens(Connection& app, pid_t application) {
  while (!app.reachable()) {
    follow(application);
    ::nanosleep(&kStartPause, nullptr);
  }
}

std::string request_head(std::string_view method, std::string_view target, std::uint16_t port,
                         const std::vector<std::pair<std::string, std::string>>& fields,
                         std::size_t body_bytes) {
  std::string head = fmt::format("{} {} HTTP/1.1\r\n", method, target);
  bool host = false;
  for (const auto& [name, value] : fields) {
    head += fmt::format("{}: {}\r\n", name, value);
    host = host || name == "host";
  }
  if (!host) head += fmt::format("host: 127.0.0.1:{}\r\n", port);
  if (method != "GET" && method != "HEAD")
    head += fmt::format("content-length: {}\r\n", body_bytes);
  else if (body_bytes > 0)
    head += fmt::format("content-length: {}\r\n", body_bytes);
  return head + "\r\n";
}

struct Posted {
  std::string kind;  // "response" or "error"
  std::string body;
};

std::string error_text(std::string_view type, std::string_view message) {
  std::string safe;
  for (char c : message)
    if (c != '"' && c != '\\' && static_cast<unsigned char>(c) >= 32) safe += c;
  return fmt::format(R"({{"errorType":"{}","errorMessage":"{}"}})", type, safe);
}

Posted serve(Connection& app, std::uint16_t port, std::string_view event) {
  auto request = app_request_of(event);
  if (!request) return {"error", error_text("Adapter.BadEvent", request.error().message)};
  app.forget_if_closed();
  const std::string head =
      request_head(request->method, request->target, port, request->headers, request->body.size());
  // Only what can be repeated is: the application may have acted on anything else.
  const bool repeatable = request->method == "GET" || request->method == "HEAD";
  auto answer = app.exchange(head, request->body, request->method == "HEAD", repeatable);
  if (!answer) return {"error", error_text("Adapter.NoAnswer", answer.error().message)};
  AppResponse response;
  response.status = answer->status;
  response.headers = std::move(answer->fields);
  response.body = std::move(answer->body);
  return {"response", payload_of(response)};
}

int run(int argc, char** argv) {
  std::vector<char*> command;
  for (int i = 1; i < argc; ++i)
    if (i > 1 || std::string_view(argv[i]) != "--") command.push_back(argv[i]);
  if (command.empty()) die("name the command that starts the application");
  const char* api = std::getenv("AWS_LAMBDA_RUNTIME_API");
  if (api == nullptr) die("AWS_LAMBDA_RUNTIME_API is not set");
  const std::string_view api_text = api;
  const std::uint16_t api_port = port_of(api_text.substr(api_text.rfind(':') + 1));
  if (std::getenv("PORT") == nullptr) ::setenv("PORT", "8080", 1);
  const std::uint16_t port = port_of(std::getenv("PORT"));

  const pid_t application = start_application(std::move(command));
  Connection app(port), runtime(api_port);
  wait_until_it_listens(app, application);
  const std::string next = request_head("GET", kNext, api_port, {}, 0);
  for (;;) {
    auto invocation = runtime.exchange(next, "", false, true);
    if (!invocation || invocation->status != 200) die("the Runtime API is gone");
    const std::string id = invocation->field("lambda-runtime-aws-request-id");
    Posted posted = serve(app, port, invocation->body);
    follow(application);
    std::vector<std::pair<std::string, std::string>> fields{{"content-type", "application/json"}};
    if (posted.kind == "error")
      fields.emplace_back("lambda-runtime-function-error-type", "Adapter.Error");
    const std::string head =
        request_head("POST", fmt::format("/2018-06-01/runtime/invocation/{}/{}", id, posted.kind),
                     api_port, fields, posted.body.size());
    if (!runtime.exchange(head, posted.body, false, false)) die("the Runtime API is gone");
  }
}

}  // namespace
}  // namespace leeward::functions

int main(int argc, char** argv) { return leeward::functions::run(argc, argv); }

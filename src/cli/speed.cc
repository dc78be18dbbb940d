// speed: how long a page takes straight from its origin and through the edge, a new connection each
// time, in turn, so that what the network does meanwhile hits both alike.
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>
#include <optional>
#include <sstream>

#include "base/file.h"
#include "cli/internal/commands.h"
#include "cli/internal/edge_view.h"
#include "model/edge.h"

namespace leeward::cli {
namespace {

constexpr std::size_t kHeadMax = 64u << 10;
constexpr std::uint16_t kHttpPort = 80;

struct Url {
  std::string host;    // name or address
  std::string port;    // in the URL, or 80
  std::string target;  // path and query
  std::string authority;
};

Result<Url> parse_url(const std::string& text) {
  constexpr std::string_view kScheme = "http://";
  if (!text.starts_with(kScheme))
    return fail(Code::kInvalid, "'{}': write http://HOST[:PORT]/PATH; TLS is not measured", text);
  const std::string rest = text.substr(kScheme.size());
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  Url url;
  url.authority = rest.substr(0, slash);
  url.target = slash < rest.size() ? rest.substr(slash) : "/";
  const std::size_t colon = url.authority.rfind(':');
  url.host = url.authority.substr(0, colon);
  url.port =
      colon == std::string::npos ? fmt::format("{}", kHttpPort) : url.authority.substr(colon + 1);
  const bool clean = text.find_first_of("\r\n \t") == std::string::npos;
  if (url.host.empty() || url.port.empty() || !clean)
    return fail(Code::kInvalid, "'{}' is not a URL", text);
  return url;
}

Result<std::pair<std::string, std::string>> host_and_port(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == text.size())
    return fail(Code::kInvalid, "'{}': write HOST:PORT", text);
  return std::pair(text.substr(0, colon), text.substr(colon + 1));
}

Status wait_for(int fd, short events, BootTime until) {
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - BootClock::now()).count();
    if (left <= 0) return fail(Code::kTimeout, "no answer in time");
    pollfd p{.fd = fd, .events = events, .revents = 0};
    const int n = poll(&p, 1, static_cast<int>(left));
    if (n > 0) return {};
    if (n < 0 && errno != EINTR) return fail(os_error(errno, "poll"));
  }
}

Result<UniqueFd> connect_to(const std::string& host, const std::string& port, BootTime until) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0)
    return fail(Code::kUnavailable, "{}:{}: {}", host, port, gai_strerror(error));
  struct Free {
    void operator()(addrinfo* list) const { freeaddrinfo(list); }
  };
  std::unique_ptr<addrinfo, Free> addresses(found);
  UniqueFd fd(socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail(os_error(errno, "socket"));
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(fd.get(), found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS)
    return fail(os_error(errno, fmt::format("{}:{}", host, port)));
  if (auto ready = wait_for(fd.get(), POLLOUT, until); !ready) return fail(ready.error());
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return fail(os_error(error, fmt::format("{}:{}", host, port)));
  return fd;
}

// The Content-Length of a head, if it has one.
std::optional<std::uint64_t> length_in(const std::string& head) {
  constexpr std::string_view kName = "content-length:";
  std::istringstream lines(head);
  for (std::string line; std::getline(lines, line);) {
    const bool same = line.size() > kName.size() &&
                      std::equal(kName.begin(), kName.end(), line.begin(), [](char a, char b) {
                        return a == (b >= 'A' && b <= 'Z' ? b + ('a' - 'A') : b);
                      });
    if (!same) continue;
    const std::size_t from = std::min(line.find_first_not_of(' ', kName.size()), line.size());
    std::uint64_t length = 0;
    if (std::from_chars(line.data() + from, line.data() + line.size(), length).ec == std::errc())
      return length;
  }
  return {};
}

// A GET, read to the end of the body: after its length, or where the server closes. Adds to
// `sample`.
Status fetch(const std::string& host, const std::string& port, const Url& url, Duration timeout,
             SpeedSample& sample) {
  const BootTime began = BootClock::now();
  const BootTime until = began + timeout;
  auto fd = connect_to(host, port, until);
  if (!fd) return fail(std::move(fd.error()));
  const std::string request = fmt::format(
      "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: leeward-speed\r\nConnection: close\r\n\r\n",
      url.target, url.authority);
  std::size_t sent = 0;
  while (sent < request.size()) {
    if (auto ready = wait_for(fd->get(), POLLOUT, until); !ready) return ready;
    const ssize_t n = send(fd->get(), request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return fail(os_error(errno, "send"));
    if (n > 0) sent += static_cast<std::size_t>(n);
  }
  std::string head;
  std::size_t end = std::string::npos;  // of the head
  std::optional<std::uint64_t> length;
  std::uint64_t total = 0;
  std::vector<char> buffer(64u << 10);
  while (!length || total < end + 4 + *length) {
    if (auto ready = wait_for(fd->get(), POLLIN, until); !ready) return ready;
    const ssize_t n = read(fd->get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EAGAIN) continue;
    if (n < 0) return fail(os_error(errno, "read"));
    if (n == 0) break;
    total += static_cast<std::uint64_t>(n);
    if (end != std::string::npos || head.size() >= kHeadMax) continue;
    head.append(buffer.data(), static_cast<std::size_t>(n));
    end = head.find("\r\n\r\n");
    if (end != std::string::npos) length = length_in(head.substr(0, end));
  }
  sample.seconds.push_back(seconds(BootClock::now() - began));
  if (!head.starts_with("HTTP/1.") || end == std::string::npos || head.size() < 12)
    return fail(Code::kCorrupt, "{}:{}: the answer is not HTTP", host, port);
  std::from_chars(head.data() + 9, head.data() + 12, sample.status);
  sample.bytes = total - end - 4;
  std::istringstream lines(head.substr(0, end));
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("Cache-Status: "))
      sample.cache_status = printable(line.substr(sizeof "Cache-Status: " - 1));
  return {};
}

// Where requests of clients arrive at the edge of the site that is primary by configuration.
Result<std::string> configured_edge(const Globals& globals, Io& io) {
  auto platform = load_platform(globals, io);
  if (!platform) return fail(std::move(platform.error()));
  if (platform->edge)
    for (const EdgeListener& l : platform->edge->listeners)
      if (!l.tls && !l.proxy_protocol)
        return fmt::format("{}:{}",
                           l.address == "{address}" || l.address == "0.0.0.0"
                               ? platform->site(platform->configured_primary()).address
                               : l.address,
                           l.port);
  return fail(Code::kInvalid, "{} has no edge with a listener without TLS; name one with --edge",
              globals.config_path);
}

Json to_json(const std::string& url, const std::vector<SpeedSample>& samples) {
  Json json{{"url", url}};
  for (const SpeedSample& s : samples) {
    const SpeedSummary t = summary_of(s.seconds);
    json[s.way] = {{"requests", s.seconds.size()},
                   {"status", s.status},
                   {"bytes", s.bytes},
                   {"min", t.min},
                   {"mean", t.mean},
                   {"median", t.median},
                   {"p95", t.p95},
                   {"max", t.max},
                   {"cache_status", s.cache_status}};
  }
  json["mean_percent_lower"] =
      percent_lower(summary_of(samples[0].seconds).mean, summary_of(samples[1].seconds).mean);
  return json;
}

}  // namespace

int speed(const Globals& globals, const SpeedOptions& options, Io& io) {
  std::string edge_text = options.edge;
  if (edge_text.empty()) {
    auto configured = configured_edge(globals, io);
    if (!configured) return report(io, configured.error());
    edge_text = *configured;
  }
  auto edge = host_and_port(edge_text);
  if (!edge) return report(io, edge.error());
  Json all = Json::array();
  for (const std::string& text : options.urls) {
    auto url = parse_url(text);
    if (!url) return report(io, url.error());
    std::pair<std::string, std::string> direct(url->host, url->port);
    if (!options.direct.empty()) {
      auto named = host_and_port(options.direct);
      if (!named) return report(io, named.error());
      direct = *named;
    }
    std::vector<SpeedSample> samples{{"direct", {}, 0, 0, ""}, {"edge", {}, 0, 0, ""}};
    for (int i = 0; i < options.count; ++i) {
      if (auto done = fetch(direct.first, direct.second, *url, options.timeout, samples[0]); !done)
        return report(io, Error(done.error()).wrap(text + " direct"));
      if (auto done = fetch(edge->first, edge->second, *url, options.timeout, samples[1]); !done)
        return report(io, Error(done.error()).wrap(text + " through the edge at " + edge_text));
    }
    if (globals.json)
      all.push_back(to_json(text, samples));
    else
      io.out << render_speed(printable(text), samples) << "\n";
  }
  if (globals.json) io.out << to_text({{"edge", edge_text}, {"urls", all}});
  return 0;
}

}  // namespace leeward::cli

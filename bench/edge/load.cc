// An HTTP/1.1 load that costs little, so that the server is the limit: keep-alive connections in
// one thread, GET after GET; bodies are dropped in the kernel. Bench only: it trusts what it gets.
//
//   leeward-bench-load PORT PATH CONNECTIONS SECONDS [RATE [JSON-FILE]]
//   leeward-bench-load PORT PATH CONNECTIONS all COUNT
//
// A '#' in PATH becomes the number of the request; `all` asks for each number below COUNT once.
// Without RATE each connection asks again as soon as it has its answer. With RATE so many requests
// a second fall due, over all connections; a latency counts from then, so a server that stalls is
// not spared the requests that it kept waiting. With JSON-FILE requests are POSTs of what is in it.
// A second of warming up comes first. Prints JSON;
// exit status 1 when anything but a 200 came.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Nanoseconds = std::chrono::nanoseconds;

constexpr auto kWarmUp = std::chrono::seconds(1);
constexpr std::int64_t kAllMax = 1'200'000;  // milliseconds

struct Connection {
  int fd = -1;
  bool waiting = false;  // for an answer
  bool in_head = true;
  std::string head;  // as far as it has come
  std::size_t body_left = 0;
  Clock::time_point due;  // of the request that waits, or of the next one
};

struct Load {
  std::string before, after;  // the number of the request
  bool numbered = false;
  std::uint64_t asked = 0;
  std::uint64_t count = UINT64_MAX;
  Nanoseconds every{0};  // between two requests of a connection; 0: at once
  Clock::time_point from, until;
  std::vector<std::uint32_t> microseconds;  // of what was asked for after warming up
  std::uint64_t answered = 0;
};

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "leeward-bench-load: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

void ask(Load& load, Connection& c) {
  if (load.asked == load.count) return;
  const std::string request =
      load.numbered ? load.before + std::to_string(load.asked) + load.after : load.before;
  ++load.asked;
  if (send(c.fd, request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size()))
    die("send");
  c.waiting = c.in_head = true;
  c.head.clear();
}

void answered(Load& load, Connection& c) {
  const Clock::time_point now = Clock::now();
  c.waiting = false;
  if (now >= load.from && now < load.until) ++load.answered;
  if (c.due >= load.from && c.due < load.until)
    load.microseconds.push_back(static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(now - c.due).count()));
  if (load.every.count() > 0) {
    c.due += load.every;
    if (c.due > now) return;
  } else {
    c.due = now;
  }
  if (now < load.until) ask(load, c);
}

void take_head(Connection& c) {
  constexpr std::string_view kLength = "content-length:";
  const std::size_t end = c.head.find("\r\n\r\n");
  if (end == std::string::npos) return;
  if (c.head.compare(0, 12, "HTTP/1.1 200") != 0) {
    std::fprintf(stderr, "leeward-bench-load: %s\n", c.head.substr(0, end).c_str());
    std::exit(1);
  }
  std::string lower = c.head.substr(0, end);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char x) { return x >= 'A' && x <= 'Z' ? static_cast<char>(x + 32) : x; });
  std::size_t at = lower.find(kLength);
  std::size_t length = 0;
  if (at != std::string::npos) {
    at = lower.find_first_not_of(' ', at + kLength.size());
    std::from_chars(lower.data() + at, lower.data() + lower.size(), length);
  }
  c.body_left = length - (c.head.size() - end - 4);
  c.in_head = false;
}

void read_from(Load& load, Connection& c) {
  std::array<char, 4096> buffer;
  while (c.waiting) {
    const ssize_t n = c.in_head ? recv(c.fd, buffer.data(), buffer.size(), MSG_DONTWAIT)
                                : recv(c.fd, nullptr, c.body_left, MSG_TRUNC | MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) die("the server closed a connection");
    if (c.in_head) {
      c.head.append(buffer.data(), static_cast<std::size_t>(n));
      take_head(c);
    } else {
      c.body_left -= static_cast<std::size_t>(n);
    }
    if (!c.in_head && c.body_left == 0) answered(load, c);
  }
}

Connection connect_to(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  Connection c;
  c.fd = socket(AF_INET, SOCK_STREAM, 0);
  const int on = 1;
  setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(c.fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die("connect");
  return c;
}

void run(Load& load, std::vector<Connection>& connections) {
  const int epoll = epoll_create1(0);
  for (Connection& c : connections) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &c;
    epoll_ctl(epoll, EPOLL_CTL_ADD, c.fd, &event);
  }
  std::array<epoll_event, 256> events;
  for (Clock::time_point now = Clock::now(); now < load.until && load.answered < load.count;
       now = Clock::now()) {
    Clock::time_point next = load.until;
    for (Connection& c : connections) {
      if (c.waiting) continue;
      if (c.due <= now)
        ask(load, c);
      else
        next = std::min(next, c.due);
    }
    const auto left = std::max(Nanoseconds(0), Nanoseconds(next - now));
    const timespec wait{.tv_sec = left.count() / 1'000'000'000,
                        .tv_nsec = left.count() % 1'000'000'000};
    const int n =
        epoll_pwait2(epoll, events.data(), static_cast<int>(events.size()), &wait, nullptr);
    for (int i = 0; i < n; ++i)
      read_from(load, *static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr));
  }
}

double quantile(const std::vector<std::uint32_t>& sorted, double q) {
  if (sorted.empty()) return 0;
  const auto at = static_cast<std::size_t>(q * static_cast<double>(sorted.size()));
  return sorted[std::min(at, sorted.size() - 1)] / 1e6;
}

// The median of the p99s of successive windows: a machine that stands still now and then (a shared
// one does) spoils some of them, where it would spoil the p99 of the whole.
double windowed_p99(std::vector<std::uint32_t> in_order) {
  constexpr std::size_t kWindow = 10'000;
  std::vector<std::uint32_t> p99s;
  for (std::size_t at = 0; at + kWindow <= in_order.size(); at += kWindow) {
    const auto begin = in_order.begin() + static_cast<std::ptrdiff_t>(at);
    const auto nth = begin + kWindow * 99 / 100;
    std::nth_element(begin, nth, begin + kWindow);
    p99s.push_back(*nth);
  }
  std::sort(p99s.begin(), p99s.end());
  return quantile(p99s, 0.5);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fputs("usage: leeward-bench-load PORT PATH CONNECTIONS SECONDS [RATE [JSON-FILE]]\n",
               stderr);
    return 2;
  }
  const auto port = static_cast<std::uint16_t>(std::atoi(argv[1]));
  const auto count = static_cast<std::size_t>(std::max(1, std::atoi(argv[3])));
  const double rate = argc > 5 ? std::atof(argv[5]) : 0;
  Load load;
  std::string body;
  if (argc > 6) {
    std::ifstream file(argv[6]);
    body.assign(std::istreambuf_iterator<char>(file), {});
  }
  std::string request = std::string(body.empty() ? "GET " : "POST ") + argv[2] +
                        " HTTP/1.1\r\nHost: bench\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n";
  if (!body.empty())
    request +=
        "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  request += "\r\n" + body;
  const std::size_t number_at = request.find('#');
  load.numbered = number_at != std::string::npos;
  load.before = request.substr(0, number_at);
  if (load.numbered) load.after = request.substr(number_at + 1);
  const bool all = std::string_view(argv[4]) == "all";
  if (all) load.count = static_cast<std::uint64_t>(rate);
  if (!all && rate > 0)
    load.every = Nanoseconds(static_cast<std::int64_t>(1e9 * static_cast<double>(count) / rate));
  std::vector<Connection> connections;
  for (std::size_t i = 0; i < count; ++i) connections.push_back(connect_to(port));
  const Clock::time_point begun = Clock::now();
  load.from = begun + (all ? std::chrono::seconds(0) : kWarmUp);
  load.until =
      load.from + std::chrono::milliseconds(
                      all ? kAllMax : static_cast<std::int64_t>(1000 * std::atof(argv[4])));
  for (std::size_t i = 0; i < count; ++i)
    connections[i].due =
        begun + load.every * static_cast<std::int64_t>(i) / static_cast<std::int64_t>(count);
  run(load, connections);
  if (all && load.answered < load.count) {
    std::fputs("leeward-bench-load: not all were answered in time\n", stderr);
    return 1;
  }
  const double windowed = windowed_p99(load.microseconds);
  std::sort(load.microseconds.begin(), load.microseconds.end());
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  const double measured = std::chrono::duration<double>(load.until - load.from).count();
  std::printf(
      "{\"requests\": %llu, \"rate\": %.1f, \"p50\": %.6f, \"p99\": %.6f, "
      "\"windowed_p99\": %.6f, \"max\": %.6f, "
      "\"seconds\": %.3f, \"cpu_seconds\": %.3f}\n",
      static_cast<unsigned long long>(load.answered), static_cast<double>(load.answered) / measured,
      quantile(load.microseconds, 0.5), quantile(load.microseconds, 0.99), windowed,
      quantile(load.microseconds, 1), std::chrono::duration<double>(load.until - begun).count(),
      seconds(used.ru_utime) + seconds(used.ru_stime));
}

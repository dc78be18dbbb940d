#include "dns/internal/tcp_loop.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <list>
#include <memory>
#include <span>
#include <vector>

#include "dns/internal/query_metrics.h"
#include "dns/responder.h"

namespace leeward::dns::internal {
namespace {

constexpr std::size_t kLengthSize = 2;  // RFC 1035 §4.2.2
constexpr Duration kSweepInterval = 100ms;
constexpr int kEventsMax = 64;

struct Connection {
  UniqueFd fd;
  std::vector<std::uint8_t> in;   // the start of what is not answered yet
  std::vector<std::uint8_t> out;  // framed replies, from out_sent on not yet taken by the kernel
  std::size_t out_sent = 0;
  std::uint32_t events = 0;  // what epoll watches for
  bool read_ended = false;   // the client will send no more; it still reads (half-closed)
  BootTime since;            // start of the present state: idle, or in the middle of something
  bool busy = false;         // a query begun or a reply waiting: `since` counts its time

  std::size_t pending() const { return out.size() - out_sent; }
};

class TcpLoop {
 public:
  TcpLoop(int listener, int stop_event, const TcpLimits& limits, SharedZone& shared,
          Registry& registry)
      : listener_(listener),
        stop_event_(stop_event),
        limits_(limits),
        reader_(shared),
        tally_(registry, "tcp"),
        open_(registry.gauge("leeward_dns_tcp_connections", "Open TCP connections.")),
        closed_full_(closed_counter(registry, "too_many")),
        closed_idle_(closed_counter(registry, "idle")),
        closed_slow_(closed_counter(registry, "slow")),
        closed_long_(closed_counter(registry, "long_query")) {}

  Status run();

 private:
  using Iterator = std::list<Connection>::iterator;
  enum class Keep { kOpen, kClose };

  static Counter& closed_counter(Registry& registry, std::string_view reason) {
    return registry.counter("leeward_dns_tcp_closed_total",
                            "TCP connections closed at one of the server's bounds.",
                            {{"reason", std::string(reason)}});
  }

  bool watch(int operation, int fd, std::uint32_t events, void* tag);
  void accept_all();
  void listen_again(bool on);
  void make_room();
  void close(Iterator it);
  void serve(Iterator it, std::uint32_t events);
  Keep receive(Connection& c);
  Keep answer_queries(Connection& c);
  void answer_one(Connection& c, std::span<const std::uint8_t> query);
  Keep send(Connection& c);
  void update_interest(Connection& c);
  void note_progress(Connection& c, bool moved);
  void sweep();
  bool has_whole_query(const Connection& c) const;

  const int listener_;
  const int stop_event_;
  const TcpLimits limits_;
  ZoneReader reader_;
  QueryTally tally_;
  Gauge& open_;
  Counter& closed_full_;
  Counter& closed_idle_;
  Counter& closed_slow_;
  Counter& closed_long_;
  UniqueFd epoll_;
  bool accepting_ = true;
  std::list<Connection> connections_;
  BootTime now_;
  std::array<std::uint8_t, kMessageMax> scratch_;
};

bool TcpLoop::watch(int operation, int fd, std::uint32_t events, void* tag) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = tag;
  return ::epoll_ctl(epoll_.get(), operation, fd, &event) == 0;
}

Status TcpLoop::run() {
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.valid()) return fail(os_error(errno, "epoll_create"));
  // Tags: the loop itself for the listener, null for the stop event, else the connection.
  if (!watch(EPOLL_CTL_ADD, listener_, EPOLLIN, this) ||
      !watch(EPOLL_CTL_ADD, stop_event_, EPOLLIN, nullptr))
    return fail(os_error(errno, "epoll_ctl"));
  std::array<epoll_event, kEventsMax> events;
  BootTime next_sweep = BootClock::now() + kSweepInterval;
  constexpr int kWait = static_cast<int>(kSweepInterval / 1ms);
  for (;;) {
    // Idle and without connections there is nothing to sweep.
    bool quiet = connections_.empty() && accepting_;
    int n = ::epoll_wait(epoll_.get(), events.data(), kEventsMax, quiet ? -1 : kWait);
    now_ = BootClock::now();
    bool accept = false;
    for (int i = 0; i < n; ++i) {
      void* tag = events[static_cast<std::size_t>(i)].data.ptr;
      if (tag == nullptr) return {};
      if (tag == this) {
        accept = true;
        continue;
      }
      auto it = std::find_if(connections_.begin(), connections_.end(),
                             [tag](const Connection& c) { return &c == tag; });
      if (it != connections_.end()) serve(it, events[static_cast<std::size_t>(i)].events);
    }
    // After the events: accepting may close connections that the other events still name.
    if (accept) accept_all();
    if (now_ >= next_sweep) {
      sweep();
      next_sweep = now_ + kSweepInterval;
    }
  }
}

void TcpLoop::listen_again(bool on) {
  accepting_ = on;
  watch(EPOLL_CTL_MOD, listener_, on ? EPOLLIN : 0u, this);
}

void TcpLoop::accept_all() {
  for (;;) {
    UniqueFd fd(::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
      // Out of descriptors or memory: the listener would wake us at once again, so it rests until
      // the next sweep; waiting clients stay in its backlog.
      bool exhausted = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
      if (exhausted) listen_again(false);
      if (exhausted || errno == EAGAIN) return;
      continue;  // that client is gone already
    }
    if (connections_.size() >= limits_.connections_max) make_room();
    Connection& c = connections_.emplace_back();
    c.fd = std::move(fd);
    c.since = now_;
    c.events = EPOLLIN;
    if (!watch(EPOLL_CTL_ADD, c.fd.get(), c.events, &c)) connections_.pop_back();
    open_.set(static_cast<double>(connections_.size()));
  }
}

// Closes the connection that has been idle longest; if none is idle, the one that is slowest.
void TcpLoop::make_room() {
  auto older = [](const Connection& a, const Connection& b) {
    return a.busy != b.busy ? !a.busy : a.since < b.since;
  };
  auto victim = std::min_element(connections_.begin(), connections_.end(), older);
  if (victim == connections_.end()) return;
  closed_full_.add();
  close(victim);
}

void TcpLoop::close(Iterator it) {
  connections_.erase(it);  // closing the descriptor takes it out of epoll
  open_.set(static_cast<double>(connections_.size()));
}

void TcpLoop::serve(Iterator it, std::uint32_t events) {
  Connection& c = *it;
  const std::size_t pending_before = c.pending();
  Keep keep = (events & (EPOLLERR | EPOLLHUP)) != 0 ? Keep::kClose : Keep::kOpen;
  if (keep == Keep::kOpen && (events & EPOLLIN) != 0) keep = receive(c);
  if (keep == Keep::kOpen && c.pending() != 0) keep = send(c);
  bool answered = false;
  if (keep == Keep::kOpen && c.pending() <= limits_.pending_bytes_max) {
    answered = has_whole_query(c);
    keep = answer_queries(c);
  }
  tally_.flush();
  if (keep == Keep::kOpen && c.pending() != 0) keep = send(c);
  if (keep == Keep::kOpen && c.read_ended && c.pending() == 0 && !has_whole_query(c))
    keep = Keep::kClose;
  if (keep == Keep::kClose) {
    close(it);
    return;
  }
  note_progress(c, answered || c.pending() < pending_before);
  update_interest(c);
}

TcpLoop::Keep TcpLoop::receive(Connection& c) {
  std::array<std::uint8_t, 8192> buffer;
  ssize_t n = ::recv(c.fd.get(), buffer.data(), buffer.size(), 0);
  if (n == 0) c.read_ended = true;
  if (n < 0) return errno == EAGAIN || errno == EINTR ? Keep::kOpen : Keep::kClose;
  c.in.insert(c.in.end(), buffer.begin(), buffer.begin() + n);
  return Keep::kOpen;
}

bool TcpLoop::has_whole_query(const Connection& c) const {
  return c.in.size() >= kLengthSize && c.in.size() >= kLengthSize + load16(c.in.data());
}

// Answers at most pipeline_max queries and stops early at pending_bytes_max, so that `in` holds at
// most one receive buffer beyond a query, and `out` one reply beyond its bound.
TcpLoop::Keep TcpLoop::answer_queries(Connection& c) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < limits_.pipeline_max; ++i) {
    if (c.pending() > limits_.pending_bytes_max || c.in.size() - at < kLengthSize) break;
    std::size_t length = load16(&c.in[at]);
    if (length > limits_.query_bytes_max) {
      closed_long_.add();
      return Keep::kClose;
    }
    if (c.in.size() - at < kLengthSize + length) break;
    answer_one(c, std::span<const std::uint8_t>(c.in).subspan(at + kLengthSize, length));
    at += kLengthSize + length;
  }
  c.in.erase(c.in.begin(), c.in.begin() + static_cast<std::ptrdiff_t>(at));
  return Keep::kOpen;
}

void TcpLoop::answer_one(Connection& c, std::span<const std::uint8_t> query) {
  Reply reply = dns::answer(reader_.zone(), reader_.active(), query, true, scratch_);
  tally_.count(reply);
  if (reply.size == 0) return;
  std::array<std::uint8_t, kLengthSize> length;
  store16(length.data(), static_cast<std::uint16_t>(reply.size));
  c.out.insert(c.out.end(), length.begin(), length.end());
  c.out.insert(c.out.end(), scratch_.begin(),
               scratch_.begin() + static_cast<std::ptrdiff_t>(reply.size));
}

TcpLoop::Keep TcpLoop::send(Connection& c) {
  while (c.pending() != 0) {
    ssize_t n = ::send(c.fd.get(), c.out.data() + c.out_sent, c.pending(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) return Keep::kClose;
    c.out_sent += static_cast<std::size_t>(n);
  }
  c.out.erase(c.out.begin(), c.out.begin() + static_cast<std::ptrdiff_t>(c.out_sent));
  c.out_sent = 0;
  return Keep::kOpen;
}

// A whole query or octets taken by the client are progress; single octets of a query are not.
void TcpLoop::note_progress(Connection& c, bool moved) {
  bool busy = c.pending() != 0 || !c.in.empty();
  if (moved || busy != c.busy) c.since = now_;
  c.busy = busy;
}

// Readable only while there is room; writable while something waits or queries are left over, which
// is also what gives the other connections their turn.
void TcpLoop::update_interest(Connection& c) {
  std::uint32_t events = 0;
  bool room = c.pending() <= limits_.pending_bytes_max;
  bool left_over = has_whole_query(c);
  if (room && !left_over && !c.read_ended) events |= EPOLLIN;
  if (c.pending() != 0 || (room && left_over)) events |= EPOLLOUT;
  if (events == c.events) return;
  c.events = events;
  watch(EPOLL_CTL_MOD, c.fd.get(), events, &c);
}

void TcpLoop::sweep() {
  if (!accepting_) listen_again(true);
  for (auto it = connections_.begin(); it != connections_.end();) {
    auto next = std::next(it);
    if (now_ - it->since > (it->busy ? limits_.progress_timeout : limits_.idle_timeout)) {
      (it->busy ? closed_slow_ : closed_idle_).add();
      close(it);
    }
    it = next;
  }
}

}  // namespace

Status run_tcp_loop(int listener, int stop_event, const TcpLimits& limits, SharedZone& shared,
                    Registry& registry) {
  auto loop = std::make_unique<TcpLoop>(listener, stop_event, limits, shared, registry);
  return loop->run();
}

}  // namespace leeward::dns::internal

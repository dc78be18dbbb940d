// What happens to one session: bytes in, bytes out, its server connection comes and goes.
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "gateway/internal/loop.h"
#include "gateway/internal/metrics.h"
#include "gateway/internal/socket.h"

namespace leeward::gateway {
namespace {

constexpr Duration kFirstBackoff = 20ms;
constexpr Duration kBackoffMax = 250ms;
constexpr Duration kLastWordsTime = 1s;

// A server that answers the login with one of these may soon accept it: no writer there yet, too
// many connections, shutting down.
constexpr std::array<std::uint16_t, 4> kPassingErrors{1290, 1040, 1053, 1203};

enum class Read { kSome, kNothing, kEnd };

Read read_into(int fd, Buffer& buffer) {
  const auto room = buffer.writable();
  if (room.empty()) return Read::kNothing;
  const ssize_t n = recv(fd, room.data(), room.size(), 0);
  if (n > 0) {
    buffer.filled(static_cast<std::size_t>(n));
    return Read::kSome;
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return Read::kNothing;
  return Read::kEnd;
}

// Bytes sent; 0 when the socket takes none now; -1 when it is broken.
ssize_t send_some(int fd, const void* data, std::size_t size) {
  const ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
  if (n >= 0) return n;
  return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

}  // namespace

void Loop::on_client(Session& s, std::uint32_t events) {
  if (s.closing) return flush_closing(s);
  if (events & (EPOLLERR | EPOLLHUP)) return destroy(s);
  if (events & (EPOLLIN | EPOLLRDHUP)) {
    const Read read = read_into(s.client.get(), s.from_client);
    if (read == Read::kEnd || (read == Read::kNothing && (events & EPOLLRDHUP) && s.waiting_since))
      s.client_eof = true;
  }
  pump(s);
}

void Loop::on_backend(Session& s, std::uint32_t events) {
  if (s.closing || !s.backend.valid()) return;
  if (!s.connected) {
    if (!finished_connect(s.backend.get())) return retry_later(s, kFirstBackoff);
    if (events & EPOLLOUT) backend_connected(s);
    return pump(s);
  }
  if (events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP)) {
    if (read_into(s.backend.get(), s.from_backend) == Read::kEnd) s.backend_eof = true;
  }
  pump(s);
}

// Moves a session on as far as it goes now. Every path that changes something ends here.
void Loop::pump(Session& s) {
  if (s.dead) return;
  if (s.closing) return flush_closing(s);
  if (!examine_backend(s) || !examine_client(s) || !flush(s) || !after_eof(s)) return;
  update_interest(s);
}

bool Loop::examine_backend(Session& s) {
  if (!s.core) {
    s.from_backend.pass(s.from_backend.pending().size());
    return true;
  }
  if (!s.backend.valid()) return true;
  const bool was_fresh = s.core->fresh();
  switch (s.core->from_server(s.from_backend, s.to_backend)) {
    case SessionCore::FromServer::kMore:
      break;
    case SessionCore::FromServer::kReady:
      ++totals_.moved;
      metrics_->moved.add();
      break;
    case SessionCore::FromServer::kRefused:
      backend_refused(s);
      return false;
    case SessionCore::FromServer::kGone:
      s.backend_eof = true;
      break;
    case SessionCore::FromServer::kNotExecuted:
      not_executed(s);
      return false;
    case SessionCore::FromServer::kBroken:
      options_.logger.warn("session closed", {{"why", s.core->problem()}});
      if (s.core->phase() == SessionCore::Phase::kReplay ||
          s.core->phase() == SessionCore::Phase::kReAuth) {
        fail_session(s, 1105, "HY000", fmt::format("leeward: {}", s.core->problem()));
        return false;
      }
      destroy(s);
      return false;
  }
  if (was_fresh && !s.core->fresh()) end_wait(s);
  // It was allowed to finish at a server that is no target any more, and now it has.
  if (s.target != target_ && s.core->idle()) {
    leave(s);
    return !s.dead && !s.closing;
  }
  return true;
}

bool Loop::examine_client(Session& s) {
  if (!s.core) return examine_plain_client(s);
  switch (s.core->from_client(s.from_client, may_start(s), !s.local)) {
    case SessionCore::FromClient::kMore:
      if (s.connected && s.core->phase() == SessionCore::Phase::kCommand) end_wait(s);
      break;
    case SessionCore::FromClient::kParked:
      begin_wait(s);
      break;
    case SessionCore::FromClient::kQuit:
      if (s.connected && s.from_client.ready().empty() && s.to_backend.empty() && may_pass(s))
        send_some(s.backend.get(), "\1\0\0\0\1", 5);
      if (!s.dead) destroy(s);
      return false;
    case SessionCore::FromClient::kBroken:
      options_.logger.warn("session closed", {{"why", s.core->problem()}});
      if (s.core->in_flight() || s.core->phase() == SessionCore::Phase::kLogin)
        destroy(s);
      else
        fail_session(s, 1105, "HY000", fmt::format("leeward: {}", s.core->problem()));
      return false;
  }
  if (!s.waiting_since) return true;
  if (!s.backend.valid() && BootClock::now() >= s.next_attempt) connect(s);
  return !s.dead && !s.closing;
}

bool Loop::examine_plain_client(Session& s) {
  const bool open = mode_ == GatewayMode::kLocal || mode_ == GatewayMode::kRemote;
  if (open && s.connected && s.target == target_) {
    s.from_client.pass(s.from_client.pending().size());
    end_wait(s);
  } else if (!s.backend.valid() || !s.from_client.pending().empty()) {
    begin_wait(s);
    if (!s.backend.valid() && BootClock::now() >= s.next_attempt) connect(s);
  }
  return !s.dead && !s.closing;
}

// The question of all questions. A lease found to be over fences at once.
bool Loop::may_pass(const Session& s) {
  if (!s.local || gate_.holds()) return true;
  fence();
  return false;
}

bool Loop::may_start(const Session& s) const {
  if (!s.connected) return false;
  if (s.target != target_) return !s.local && s.core->in_transaction();
  switch (mode_) {
    case GatewayMode::kLocal:
    case GatewayMode::kRemote:
      return true;
    case GatewayMode::kHold:
      return s.core->in_transaction();
    case GatewayMode::kRefuse:
      break;
  }
  return false;
}

bool Loop::flush(Session& s) { return flush_client(s) && flush_backend(s); }

bool Loop::flush_backend(Session& s) {
  while (s.connected && !(s.to_backend.empty() && s.from_client.ready().empty())) {
    if (!may_pass(s)) return !s.dead && !s.closing;
    const bool own = !s.to_backend.empty();
    const ssize_t n = own ? send_some(s.backend.get(), s.to_backend.data(), s.to_backend.size())
                          : send_some(s.backend.get(), s.from_client.ready().data(),
                                      s.from_client.ready().size());
    if (n < 0) s.backend_eof = true;
    if (n <= 0) return true;
    s.last_byte = BootClock::now();
    totals_.bytes_to_database += static_cast<std::uint64_t>(n);
    metrics_->to_database.add(static_cast<std::uint64_t>(n));
    if (own)
      s.to_backend.erase(0, static_cast<std::size_t>(n));
    else
      s.from_client.sent(static_cast<std::size_t>(n));
  }
  return true;
}

bool Loop::flush_client(Session& s) {
  while (!s.from_backend.ready().empty()) {
    if (!may_pass(s)) return !s.dead && !s.closing;
    const ssize_t n =
        send_some(s.client.get(), s.from_backend.ready().data(), s.from_backend.ready().size());
    if (n < 0) {
      destroy(s);
      return false;
    }
    if (n == 0) return true;
    s.last_byte = BootClock::now();
    totals_.bytes_to_clients += static_cast<std::uint64_t>(n);
    metrics_->to_clients.add(static_cast<std::uint64_t>(n));
    s.from_backend.sent(static_cast<std::size_t>(n));
  }
  return true;
}

bool Loop::after_eof(Session& s) {
  if (s.backend_eof) {
    backend_lost(s);
    return !s.dead && !s.closing;
  }
  if (!s.client_eof) return true;
  const bool answer_to_come =
      s.connected && (!s.core || s.core->in_flight() || !s.from_backend.empty());
  if (!answer_to_come || s.waiting_since) {
    destroy(s);
    return false;
  }
  if (s.from_client.empty() && !s.backend_shut) {
    shutdown(s.backend.get(), SHUT_WR);
    s.backend_shut = true;
  }
  return true;
}

void Loop::connect(Session& s) {
  if (mode_ != GatewayMode::kLocal && mode_ != GatewayMode::kRemote) return;
  if (s.peer && !target_local_) return;
  // A slow client still reads an answer of the former server, under that server's rules.
  if (!s.from_backend.empty()) return;
  auto fd = start_connect(target_endpoint_);
  if (!fd) return retry_later(s, kFirstBackoff);
  s.backend = std::move(*fd);
  s.local = target_local_;
  s.target = target_;
  s.connect_deadline = BootClock::now() + options_.connect_timeout;
  timed_.insert(&s);
  watch(s.backend_watch, s.backend.get(), EPOLLOUT);
}

void Loop::backend_connected(Session& s) {
  s.connected = true;
  if (s.core) s.core->attach(local_endpoint(s.backend.get()).host);
}

// The server connection ended, from the other end or by an error.
void Loop::backend_lost(Session& s) {
  if (!s.connected) return retry_later(s, kFirstBackoff);
  if (s.core) {
    switch (s.core->phase()) {
      case SessionCore::Phase::kGreeting:
      case SessionCore::Phase::kReGreeting:
      case SessionCore::Phase::kReAuth:
      case SessionCore::Phase::kReplay:
        return retry_later(s, kFirstBackoff);
      case SessionCore::Phase::kCommand:
        if (s.core->idle() && s.core->cannot_move().empty()) {
          leave(s);
          if (!s.dead && !s.closing) pump(s);
          return;
        }
        break;
      default:
        break;
    }
  }
  close_softly(s);
}

void Loop::backend_refused(Session& s) {
  const wire::ErrorPacket& e = s.core->server_error();
  if (std::find(kPassingErrors.begin(), kPassingErrors.end(), e.code) != kPassingErrors.end())
    return retry_later(s, kFirstBackoff);
  ++totals_.refused;
  metrics_->refused.add();
  fail_session(s, e.code, e.state.empty() ? "HY000" : e.state, e.message);
}

void Loop::retry_later(Session& s, Duration at_least) {
  drop_backend(s);
  if (s.core) s.core->detach();
  begin_wait(s);
  s.backoff = std::clamp(s.backoff * 2, at_least, kBackoffMax);
  s.next_attempt = BootClock::now() + s.backoff;
  update_interest(s);
}

// The other site's gateway held the command back: it waits here now, for the next writer.
void Loop::not_executed(Session& s) {
  s.core->take_back(s.from_client);
  s.linger_until.reset();
  const bool moved_on = s.target != target_;
  if (!s.core->cannot_move().empty()) return close_moved(s, s.core->cannot_move());
  retry_later(s, kFirstBackoff);
  if (!moved_on) return;
  s.next_attempt = {};
  pump(s);
}

// An idle session gives its server up and goes on elsewhere with its next command.
void Loop::leave(Session& s) {
  const std::string_view why = s.core->cannot_move();
  if (!why.empty()) return close_moved(s, why);
  drop_backend(s);
  s.core->detach();
  s.linger_until.reset();
  s.backoff = {};
  s.next_attempt = {};
}

void Loop::drop_backend(Session& s) {
  if (s.backend.valid()) watch(s.backend_watch, s.backend.get(), 0);
  s.backend.reset();
  s.connected = s.backend_eof = s.backend_shut = false;
  s.to_backend.clear();
  s.from_client.drop_ready();
  s.from_backend.drop_pending(s.from_backend.pending().size());
  if (s.from_backend.empty()) s.local = false;
}

void Loop::begin_wait(Session& s) {
  if (!s.waiting_since) s.waiting_since = BootClock::now();
  timed_.insert(&s);
}

void Loop::end_wait(Session& s) {
  s.waiting_since.reset();
  s.backoff = {};
}

void Loop::fail_session(Session& s, std::uint16_t code, std::string_view state,
                        std::string_view text) {
  s.last_words =
      s.core ? s.core->error_packet(code, state, text) : fmt::format("-READONLY {}\r\n", text);
  close_softly(s);
}

// Sends what the client is still owed and the last words, then waits a moment for it to go, because
// closing at once with unread bytes would make the system throw the words away.
void Loop::close_softly(Session& s) {
  if (s.dead) return;
  s.closing = true;
  s.close_at = BootClock::now() + kLastWordsTime;
  drop_backend(s);
  s.from_client.clear();
  s.waiting_since.reset();
  timed_.insert(&s);
  flush_closing(s);
}

void Loop::flush_closing(Session& s) {
  if (!flush_client(s) || s.dead) return;
  while (s.from_backend.ready().empty() && !s.last_words.empty()) {
    const ssize_t n = send_some(s.client.get(), s.last_words.data(), s.last_words.size());
    if (n < 0) return destroy(s);
    if (n == 0) break;
    s.last_words.erase(0, static_cast<std::size_t>(n));
  }
  const bool said = s.from_backend.ready().empty() && s.last_words.empty();
  if (said && !s.client_shut) {
    shutdown(s.client.get(), SHUT_WR);
    s.client_shut = true;
  }
  std::array<char, 4096> unread;
  const ssize_t n = recv(s.client.get(), unread.data(), unread.size(), 0);
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return destroy(s);
  std::uint32_t events = EPOLLIN;
  if (!said) events |= EPOLLOUT;
  watch(s.client_watch, s.client.get(), events);
}

void Loop::close_moved(Session& s, std::string_view why) {
  ++totals_.closed_by_move;
  metrics_->closed_by_move.add();
  options_.logger.info("session closed, it cannot move", {{"why", why}});
  close_softly(s);
}

void Loop::destroy(Session& s) {
  if (s.dead) return;
  s.dead = true;
  drop_backend(s);
  watch(s.client_watch, s.client.get(), 0);
  s.client.reset();
  timed_.erase(&s);
  graves_.push_back(&s);
}

void Loop::watch(Watch& w, int fd, std::uint32_t events) {
  if (w.events == events) return;
  epoll_event event{};
  event.events = events;
  event.data.ptr = &w;
  const int operation = w.events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
  if (w.events == 0) w.born = round_;
  w.events = events;
  if (epoll_ctl(epoll_.get(), operation, fd, &event) != 0)
    options_.logger.error("epoll_ctl failed", {{"error", errno}});
}

void Loop::update_interest(Session& s) {
  if (s.dead || s.closing) return;
  std::uint32_t client = 0;
  if (!s.client_eof)
    client |= static_cast<std::uint32_t>(s.from_client.full() ? EPOLLRDHUP : EPOLLIN);
  if (!s.from_backend.ready().empty()) client |= EPOLLOUT;
  watch(s.client_watch, s.client.get(), client);
  if (s.backend.valid()) {
    std::uint32_t backend = 0;
    if (!s.connected) backend |= EPOLLOUT;
    if (s.connected && !s.from_backend.full()) backend |= EPOLLIN;
    if (s.connected && !(s.to_backend.empty() && s.from_client.ready().empty()))
      backend |= EPOLLOUT;
    watch(s.backend_watch, s.backend.get(), backend);
  }
  s.from_client.release();
  s.from_backend.release();
}

}  // namespace leeward::gateway

// The gateway's thread, its modes and its lease.
#include "gateway/internal/loop.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "gateway/internal/metrics.h"
#include "gateway/internal/socket.h"

namespace leeward::gateway {
namespace {

constexpr int kEventsMax = 256;
constexpr int kAcceptsPerRound = 64;
constexpr int kTickMilliseconds = 10;
constexpr Duration kPlainQuiet = 20ms;
// When the writer is another one, the lease of the former is over: what it acknowledged is under
// way to us, and all else is lost with it. So only the transit of an answer is waited for.
constexpr Duration kLastAnswer = 1s;
constexpr std::uint16_t kErrorTooMany = 1040, kErrorReadOnly = 1290;

// Two descriptors a session and some for the rest of the process.
std::size_t descriptors_for(std::size_t clients) { return clients * 2 + 256; }

// How many clients the limit on open files allows, after raising it as far as the system lets us.
std::size_t clients_allowed(std::size_t wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
  if (limit.rlim_cur < descriptors_for(wanted)) {
    rlimit raised = limit;
    raised.rlim_cur = std::min<rlim_t>(limit.rlim_max, descriptors_for(wanted));
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  if (limit.rlim_cur >= descriptors_for(wanted)) return wanted;
  return std::max<std::size_t>(16, (std::max<rlim_t>(limit.rlim_cur, 256) - 256) / 2);
}

// Makes an eventfd or timerfd quiet again; how often it fired does not matter.
void read_counter(int fd) {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t n = read(fd, &count, sizeof count);
}
void ring(int eventfd) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(eventfd, &one, sizeof one);
}

}  // namespace

Loop::Loop(Options options) : options_(std::move(options)) {}

Loop::~Loop() {
  stop_ = true;
  if (!thread_.joinable()) return;
  ring(wake_.get());
  thread_.join();
}

Status Loop::start() {
  clients_max_ = clients_allowed(options_.connections_max);
  if (clients_max_ < options_.connections_max)
    options_.logger.warn("the limit on open files lowers the gateway's connections_max",
                         {{"connections_max", clients_max_}});
  auto vault = SecretVault::create(clients_max_);
  if (!vault) return fail(std::move(vault).error());
  vault_ = std::move(*vault);
  if (!vault_->locked())
    options_.logger.warn("the gateway's secrets could not be locked in memory");

  epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  wake_ = UniqueFd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  timer_ = UniqueFd(timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!epoll_.valid() || !wake_.valid() || !timer_.valid())
    return fail(os_error(errno, "gateway: epoll, eventfd or timerfd"));
  auto listener = listen_on(options_.listen);
  if (!listener) return fail(std::move(listener).error());
  listener_ = std::move(*listener);
  listen_endpoint_ = local_endpoint(listener_.get());
  if (!options_.peer_listen.host.empty()) {
    auto peer = listen_on(options_.peer_listen);
    if (!peer) return fail(std::move(peer).error());
    peer_listener_ = std::move(*peer);
    peer_endpoint_ = local_endpoint(peer_listener_.get());
    watch(peer_watch_, peer_listener_.get(), EPOLLIN);
  }
  watch(listener_watch_, listener_.get(), EPOLLIN);
  watch(wake_watch_, wake_.get(), EPOLLIN);
  watch(timer_watch_, timer_.get(), EPOLLIN);
  spare_ = UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC));
  metrics_ = std::make_unique<Metrics>(*options_.registry, options_.name);
  thread_ = std::thread([this] { main(); });
  return {};
}

void Loop::run(const std::function<void()>& work) {
  std::unique_lock lock(posted_mutex_);
  posted_.push_back(&work);
  const std::uint64_t ticket = ++posted_count_;
  ring(wake_.get());
  posted_done_.wait(lock, [&] { return done_count_ >= ticket; });
}

void Loop::run_posted() {
  std::unique_lock lock(posted_mutex_);
  while (!posted_.empty()) {
    const std::function<void()>* work = posted_.front();
    posted_.pop_front();
    lock.unlock();
    (*work)();
    lock.lock();
    ++done_count_;
    posted_done_.notify_all();
  }
}

void Loop::main() {
  std::array<epoll_event, kEventsMax> events;
  while (!stop_) {
    const int n = epoll_wait(epoll_.get(), events.data(), kEventsMax,
                             timed_.empty() ? -1 : kTickMilliseconds);
    ++round_;
    check_lease();
    for (int i = 0; i < n; ++i)
      dispatch(*static_cast<Watch*>(events[static_cast<std::size_t>(i)].data.ptr),
               events[static_cast<std::size_t>(i)].events);
    if (!timed_.empty()) tick();
    bury();
  }
}

void Loop::dispatch(Watch& w, std::uint32_t events) {
  switch (w.kind) {
    case Watch::Kind::kWake:
      read_counter(wake_.get());
      return run_posted();
    case Watch::Kind::kLeaseTimer:
      read_counter(timer_.get());
      return arm_lease_timer();  // extend() may have moved the deadline
    case Watch::Kind::kListener:
      return accept_clients(listener_.get(), false);
    case Watch::Kind::kPeerListener:
      return accept_clients(peer_listener_.get(), true);
    case Watch::Kind::kClient:
    case Watch::Kind::kBackend:
      break;
  }
  // The event may be of a descriptor that an earlier event of this round has closed or replaced.
  if (w.session->dead || w.events == 0 || w.born == round_) return;
  w.kind == Watch::Kind::kClient ? on_client(*w.session, events) : on_backend(*w.session, events);
}

void Loop::bury() {
  for (Session* s : graves_) sessions_.erase(s);
  if (!graves_.empty()) metrics_->clients.set(static_cast<double>(sessions_.size()));
  graves_.clear();
}

// ---- new clients

void Loop::accept_clients(int listener, bool peer) {
  for (int i = 0; i < kAcceptsPerRound; ++i) {
    int error = 0;
    UniqueFd fd = accept_from(listener, error);
    if (fd.valid()) {
      admit(std::move(fd), peer);
      continue;
    }
    if (error == EMFILE || error == ENFILE) shed_client(listener);
    return;
  }
}

// No descriptor is left. Unanswered, the waiting client would wake the loop without end, so the one
// descriptor kept for this takes it and closes it.
void Loop::shed_client(int listener) {
  int error = 0;
  spare_.reset();
  accept_from(listener, error);
  spare_ = UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC));
  ++totals_.refused;
  metrics_->refused.add();
}

void Loop::admit(UniqueFd fd, bool peer) {
  ++totals_.accepted;
  metrics_->accepted.add();
  if (sessions_.size() - graves_.size() >= clients_max_) {
    const std::string words =
        options_.engine == Engine::kRedis
            ? "-ERR max number of clients reached\r\n"
            : wire::error_packet(0, kErrorTooMany, "08004", "leeward: too many connections");
    ++totals_.refused;
    metrics_->refused.add();
    send(fd.get(), words.data(), words.size(), MSG_NOSIGNAL);
    return;  // at the bound nobody is waited for
  }
  auto owned = std::make_unique<Session>();
  Session& s = *owned;
  sessions_.emplace(&s, std::move(owned));
  metrics_->clients.set(static_cast<double>(sessions_.size()));
  s.peer = peer;
  s.client = std::move(fd);
  s.client_watch.session = s.backend_watch.session = &s;
  if (options_.engine == Engine::kMariadb) s.core.emplace(options_.account_lookup, *vault_);
  if (mode_ == GatewayMode::kRefuse || (peer && mode_ == GatewayMode::kRemote)) {
    ++totals_.refused;
    metrics_->refused.add();
    return fail_session(s, kErrorReadOnly, "HY000", refusal());
  }
  begin_wait(s);
  pump(s);
}

std::string Loop::refusal() const {
  return fmt::format("leeward: site {} may not write: {}", options_.site_name,
                     mode_ == GatewayMode::kRemote ? "the writer is the other site" : reason_);
}

// ---- modes

void Loop::refuse(std::string reason) {
  gate_.close();
  reason_ = std::move(reason);
  mode_ = GatewayMode::kRefuse;
  ++target_;
  for (auto& [s, owned] : sessions_) {
    if (s->dead || s->closing) continue;
    if (s->waiting_since && (!s->core || !s->core->in_flight()) && !s->backend.valid()) {
      ++totals_.refused;
      metrics_->refused.add();
      fail_session(*s, kErrorReadOnly, s->peer && !s->core->fresh() ? kNotExecutedState : "HY000",
                   refusal());
    } else {
      destroy(*s);
    }
  }
  options_.logger.info("gateway refuses clients", {{"gateway", options_.name}, {"why", reason_}});
}

void Loop::hold() {
  if (mode_ == GatewayMode::kHold) return;
  mode_ = GatewayMode::kHold;
  options_.logger.info("gateway holds clients", {{"gateway", options_.name}});
}

// The lease is given up before it has run out: its end is now.
void Loop::give_up_lease() {
  if (gate_.is_open()) gate_.expire();
  fence();
}

void Loop::serve_local(Epoch epoch, BootTime deadline, const Endpoint& database) {
  const bool same = target_local_ && database == target_endpoint_ && gate_.extend(epoch, deadline);
  if (!same) {
    if (gate_.is_open()) gate_.close();
    gate_.open(epoch, deadline);
  }
  target_local_ = true;
  if (!same) ++target_;
  retarget(GatewayMode::kLocal, database);
  options_.logger.info(
      "gateway serves the local database",
      {{"gateway", options_.name}, {"epoch", epoch.value}, {"server", to_string(database)}});
  arm_lease_timer();
}

void Loop::serve_remote(const Endpoint& peer) {
  if (target_local_ || peer != target_endpoint_ || target_ == 0) ++target_;
  target_local_ = false;
  retarget(GatewayMode::kRemote, peer);
  gate_.close();
  options_.logger.info("gateway follows the writer",
                       {{"gateway", options_.name}, {"peer", to_string(peer)}});
}

void Loop::retarget(GatewayMode mode, const Endpoint& endpoint) {
  mode_ = mode;
  target_endpoint_ = endpoint;
  for (auto& [s, owned] : sessions_)
    if (!s->dead && !s->closing) retarget_session(*s);
}

void Loop::retarget_session(Session& s) {
  if (s.peer && !target_local_) return release_peer(s);
  s.next_attempt = {};
  s.backoff = {};
  if (!s.backend.valid() || s.target == target_) return pump(s);
  if (!s.connected) {
    drop_backend(s);
    return pump(s);
  }
  if (!s.core) return close_moved(s, "a Redis connection's state is not known");
  if (s.local && (!flush_client(s) || !s.from_backend.empty())) {
    if (!s.dead && !s.closing) close_moved(s, "its last answer was not read");
    return;
  }
  switch (s.core->phase()) {
    case SessionCore::Phase::kGreeting:
    case SessionCore::Phase::kReGreeting:
    case SessionCore::Phase::kReAuth:
    case SessionCore::Phase::kReplay:
    case SessionCore::Phase::kDetached:
      drop_backend(s);
      s.core->detach();
      break;
    case SessionCore::Phase::kLogin:
    case SessionCore::Phase::kAuth:
      return close_moved(s, "its login was not complete");
    case SessionCore::Phase::kCommand:
      if (s.core->idle()) {
        leave(s);
      } else if (s.local) {
        return close_moved(s, "it was in a transaction or ran a command");
      } else {
        s.linger_until = BootClock::now() + kLastAnswer;
        timed_.insert(&s);
      }
  }
  pump(s);
}

// This site does not write any more. A command that waited here was not executed, and the other
// gateway, told so, sends it to the new writer.
void Loop::release_peer(Session& s) {
  const bool waits = s.core && !s.core->in_flight() && !s.from_client.pending().empty();
  if (waits || (s.core && s.core->fresh()))
    return fail_session(s, kErrorReadOnly, s.core->fresh() ? "HY000" : kNotExecutedState,
                        refusal());
  if (busy(s)) return close_moved(s, "it was in a transaction or ran a command");
  close_softly(s);
}

bool Loop::busy(const Session& s) const {
  if (!s.backend.valid()) return false;
  if (s.core) return s.core->in_flight() || s.core->in_transaction();
  return s.connected && (!s.from_backend.empty() || !s.from_client.ready().empty() ||
                         BootClock::now() - s.last_byte < kPlainQuiet);
}

bool Loop::drained() const {
  if (mode_ != GatewayMode::kHold) return false;
  return std::none_of(sessions_.begin(), sessions_.end(), [&](const auto& entry) {
    const Session& s = *entry.first;  // at a former writer: nothing that this move must wait for
    return !s.dead && !s.closing && s.target == target_ && busy(s);
  });
}

void Loop::end_transactions(std::string_view reason) {
  for (auto& [s, owned] : sessions_)
    if (!s->dead && !s->closing && busy(*s)) {
      ++totals_.closed_by_move;
      metrics_->closed_by_move.add();
      const std::string_view state = !s->core               ? "bytes under way"
                                     : s->core->in_flight() ? "a command runs"
                                                            : "a transaction is open";
      options_.logger.info("session ended", {{"gateway", options_.name},
                                             {"why", reason},
                                             {"state", state},
                                             {"from", s->peer ? "the other site" : "here"}});
      destroy(*s);
    }
}

Stats Loop::stats() const {
  Stats out = totals_;
  out.mode = mode_;
  out.epoch = gate_.epoch();
  for (const auto& [s, owned] : sessions_) {
    if (s->dead) continue;
    ++out.clients;
    if (s->peer) ++out.peers;
    if (s->waiting_since) ++out.parked;
    if (!s->core) continue;
    if (s->core->in_flight()) ++out.in_flight;
    if (s->core->in_transaction()) ++out.in_transaction;
    if (!s->core->cannot_move().empty()) ++out.pinned;
  }
  return out;
}

// ---- lease and time

void Loop::check_lease() {
  if (gate_.is_open() && !gate_.holds()) fence();
}

// Whatever touches the local database ends here and now; nobody has to call for it.
void Loop::fence() {
  const bool expired = gate_.is_open();
  gate_.close();
  if (expired)
    options_.logger.error("the writer lease ended, the gateway fences itself",
                          {{"gateway", options_.name}});
  if (target_local_) ++target_;
  const bool holding = mode_ == GatewayMode::kHold;
  if (mode_ == GatewayMode::kLocal) {
    mode_ = GatewayMode::kRefuse;
    reason_ = "its writer lease ended";
  }
  for (auto& [s, owned] : sessions_) {
    if (s->dead || !s->local) continue;
    const bool can_wait = holding && !s->closing && s->from_backend.empty() && s->core &&
                          (s->core->idle() || s->core->fresh()) && s->core->cannot_move().empty();
    if (can_wait) {
      leave(*s);
      continue;
    }
    ++totals_.fenced;
    metrics_->fenced.add();
    destroy(*s);
  }
}

void Loop::arm_lease_timer() {
  if (!gate_.is_open()) return;
  const auto at = std::max<std::int64_t>(1, gate_.deadline().time_since_epoch().count());
  itimerspec spec{};
  spec.it_value.tv_sec = at / 1'000'000'000;
  spec.it_value.tv_nsec = at % 1'000'000'000;
  if (timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &spec, nullptr) != 0)
    options_.logger.error("cannot arm the lease timer", {{"error", errno}});
}

void Loop::tick() {
  const BootTime now = BootClock::now();
  const std::vector<Session*> timed(timed_.begin(), timed_.end());
  for (Session* s : timed)
    if (!s->dead) tick_session(*s, now);
}

void Loop::tick_session(Session& s, BootTime now) {
  if (s.closing) {
    if (now >= s.close_at) destroy(s);
    return;
  }
  if (s.linger_until && now >= *s.linger_until)
    return close_moved(s, "it did not finish at the former writer in time");
  if (s.waiting_since && now - *s.waiting_since >= options_.hold_timeout) {
    ++totals_.refused;
    metrics_->refused.add();
    const bool retry = s.peer && s.core && !s.core->fresh();
    return fail_session(s, kErrorReadOnly, retry ? kNotExecutedState : "HY000",
                        fmt::format("leeward: site {} found no writer within {}",
                                    options_.site_name, format_duration(options_.hold_timeout)));
  }
  if (s.backend.valid() && !s.connected && now >= s.connect_deadline)
    return retry_later(s, kPlainQuiet);
  if (s.waiting_since && !s.backend.valid() && now >= s.next_attempt) return pump(s);
  if (!s.waiting_since && !s.linger_until && (s.connected || !s.backend.valid())) timed_.erase(&s);
}

}  // namespace leeward::gateway

#include "edge/internal/loop.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>

#include "base/scheduling.h"
#include "edge/internal/cache_date.h"
#include "edge/internal/client_h1.h"
#include "edge/internal/client_h2.h"
#include "edge/internal/exchange_flow.h"
#include "edge/internal/origin_h2.h"
#include "edge/internal/origin_link.h"
#include "edge/internal/origin_probe.h"
#include "edge/internal/origin_stream_h2.h"
#include "edge/internal/stream_h2.h"
#include "edge/internal/tls.h"
#include "edge/internal/tls_client.h"
#include "edge/internal/warmer.h"

namespace leeward::edge {
namespace {

constexpr int kEventsMax = 256;
// A burst of new clients, or many with much to do, hold nobody up for longer than this.
constexpr Duration kAcceptsPerRound = 50us, kTurnsPerRound = 50us;
constexpr int kRoundMilliseconds = 4;   // the wheel's tick
constexpr int kIdleMilliseconds = 200;  // with nobody to be on time for
constexpr Duration kYoungRound = 100us;
// Less than any thread has that has not asked: one that inspects a large body, or a neighbour's, is
// interrupted for what is over in microseconds.
constexpr Duration kTimeSlice = 100us;
constexpr std::size_t kBuffersKept = 256;
constexpr std::size_t kBufferBytes = 4096;
constexpr std::size_t kBufferKeptMax = 128u << 10;

std::vector<std::uint32_t> weights_of(const GroupSpec& spec) {
  std::vector<std::uint32_t> weights;
  for (const OriginSpec& origin : spec.origins) weights.push_back(origin.weight);
  return weights;
}

void ring(int eventfd) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(eventfd, &one, sizeof one);
}

}  // namespace

struct Loop::Listener final : Target {
  Listener(Loop& l, const ListenerSpec& s) : loop(l), spec(s) {}
  void on_events(std::uint32_t) override { on_turn(); }
  void on_deferred() override {}
  void on_turn() override {
    // More may wait, and edge-triggered nobody tells again.
    if (loop.accept_from(*this)) loop.take_turns(*this);
  }
  Loop& loop;
  ListenerSpec spec;
  UniqueFd fd;
};

GroupState::GroupState(std::shared_ptr<const Snapshot> s, std::size_t index)
    : snapshot(std::move(s)),
      at(index),
      core(snapshot->groups[index].spec.policy, weights_of(snapshot->groups[index].spec)),
      origins(snapshot->groups[index].spec.origins.size()) {
  for (OriginState& origin : origins) origin.session = std::make_shared<TlsSession>();
  tls = snapshot->groups[index].tls;
}

void GroupState::close_idle() {
  for (OriginState& origin : origins) {
    while (!origin.idle.empty()) origin.idle.back()->close_idle();
    while (!origin.multiplexed.empty()) origin.multiplexed.back()->retire();
  }
}

void GroupState::use(const std::shared_ptr<const TlsClient>& loaded) {
  if (tls == nullptr || tls->same_as(*loaded)) return;
  tls = loaded;
  // What was verified by the old ones does not count any more.
  for (OriginState& origin : origins) origin.session = std::make_shared<TlsSession>();
  close_idle();
}

Loop::Loop(const Shared& shared, unsigned index, std::shared_ptr<const Snapshot> snapshot)
    : shared_(shared),
      index_(index),
      now_(BootClock::now()),
      wheel_(now_),
      random_(std::random_device{}()),
      scratch_(std::make_unique<char[]>(kScratchBytes)) {
  epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  wake_ = UniqueFd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  spare_ = UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC));
  adopt(std::move(snapshot));
  warmer_ = std::make_unique<Warmer>(*this);
}

Loop::~Loop() = default;

Status Loop::listen(std::vector<SocketAddress>& addresses,
                    std::vector<std::vector<UniqueFd>> inherited) {
  if (!epoll_.valid() || !wake_.valid()) return fail(os_error(errno, "edge: epoll or eventfd"));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event);
  const auto& specs = snapshot_->config.listeners;
  inherited.resize(specs.size());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    std::vector<UniqueFd>& sockets = inherited[i];
    if (sockets.empty()) {
      auto fd = listen_on(addresses[i], specs[i].address);
      if (!fd) return fail(std::move(fd.error()));
      sockets.push_back(std::move(*fd));
    }
    addresses[i] = address_of(sockets.front().get());
    for (UniqueFd& fd : sockets) {
      listeners_.push_back(std::make_unique<Listener>(*this, specs[i]));
      listeners_.back()->fd = std::move(fd);
      watch(listeners_.back()->fd.get(), *listeners_.back());
    }
  }
  return {};
}

void Loop::add_sockets(std::vector<int>& to) const {
  for (const auto& listener : listeners_)
    if (listener->fd.valid()) to.push_back(listener->fd.get());
}

void Loop::start() {
  thread_ = std::thread([this] { main(); });
}

void Loop::join() {
  stop_ = true;
  if (!thread_.joinable()) return;
  ring(wake_.get());
  thread_.join();
}

void Loop::run(const std::function<void()>& work) {
  std::unique_lock lock(mutex_);
  posted_.push_back(&work);
  const std::uint64_t ticket = ++posted_count_;
  ring(wake_.get());
  done_.wait(lock, [&] { return done_count_ >= ticket; });
}

void Loop::wake(std::uint64_t token) {
  std::lock_guard lock(mutex_);
  woken_.push_back(token);
  if (woken_.size() == 1) ring(wake_.get());
}

void Loop::run_posted() {
  std::unique_lock lock(mutex_);
  while (!posted_.empty()) {
    const std::function<void()>* work = posted_.front();
    posted_.pop_front();
    lock.unlock();
    (*work)();
    run_deferred();
    lock.lock();
    ++done_count_;
    done_.notify_all();
  }
}

void Loop::run_woken() {
  std::vector<std::uint64_t> tokens;
  {
    std::lock_guard lock(mutex_);
    tokens.swap(woken_);
  }
  for (std::uint64_t token : tokens) {
    if (Exchange* exchange = find(token)) exchange->on_wake();
    run_deferred();
  }
}

void Loop::main() {
  static_cast<void>(set_time_slice(kTimeSlice));  // where it may not, it is one thread among others
  std::array<epoll_event, kEventsMax> events;
  while (!stop_) {
    const bool busy = !clients_.empty() || !links_.empty() || !parked_.empty();
    const int patience = !turns_.empty() ? 0 : busy ? kRoundMilliseconds : kIdleMilliseconds;
    const int n = epoll_wait(epoll_.get(), events.data(), kEventsMax, patience);
    now_ = BootClock::now();
    for (int i = 0; i < n; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      if (auto* target = static_cast<Target*>(event.data.ptr)) {
        target->on_events(event.events);
        run_deferred();
        continue;
      }
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t got = read(wake_.get(), &count, sizeof count);
      run_posted();
      run_woken();
    }
    run_turns();
    wheel_.advance(now_);
    run_deferred();
    if (releasing_) release_parked();
    bury();
  }
  // Streams of HTTP/2 tell their exchanges that they end, so they end first. Fills end while the
  // loops that wait for them can still be woken; other connections close with their objects.
  clients_.clear();
  for (auto& exchange : exchanges_) exchange->reset();
}

void Loop::run_deferred() {
  // Work defers work; a target that goes on deferring itself has moved bytes each time.
  for (std::size_t i = 0; i < deferred_.size(); ++i) {
    Target* target = deferred_[i];
    target->deferred_ = false;
    target->on_deferred();
  }
  deferred_.clear();
}

void Loop::run_turns() {
  const BootTime last = BootClock::now() + kTurnsPerRound;
  // What is promised meanwhile is for the next round.
  for (std::size_t left = turns_.size(); left > 0 && !turns_.empty(); --left) {
    Target* target = turns_.front();
    turns_.pop_front();
    target->on_turn();
    run_deferred();
    if (BootClock::now() >= last) return;
  }
}

void Loop::bury() { graves_.clear(); }

bool Loop::round_is_young() const { return BootClock::now() - now_ < kYoungRound; }

Now Loop::both() const {
  return {.boot = now_,
          .wall = std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now())};
}

void Loop::watch(int fd, Target& target) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = &target;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

void Loop::watch_again(int fd, Target& target) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = &target;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Loop::defer(Target& target) {
  if (std::exchange(target.deferred_, true)) return;
  deferred_.push_back(&target);
}

// ---- clients

bool Loop::accept_from(Listener& listener) {
  if (!listener.fd.valid()) return false;
  const BootTime last = BootClock::now() + kAcceptsPerRound;
  do {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    UniqueFd fd(accept4(listener.fd.get(), reinterpret_cast<sockaddr*>(&storage), &size,
                        SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
      if ((errno == EMFILE || errno == ENFILE) && shed(listener)) continue;
      if (errno == ECONNABORTED || errno == EINTR) continue;
      return false;
    }
    stats_.accepted.add();
    if (clients_.size() >= snapshot_->config.limits.connections_max) {
      stats_.shed.add();
      continue;
    }
    const int one = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    auto client = std::make_unique<ClientH1>(*this);
    ClientH1& c = *client;
    clients_.emplace(&c, std::move(client));
    stats_.clients.set(clients_.size());
    c.open(std::move(fd), listener.spec, client_address(storage),
           listener.spec.tls ? snapshot_->tls : nullptr);
  } while (BootClock::now() < last);
  return true;
}

// No descriptor is left: the one that is kept for this takes the client and closes it.
bool Loop::shed(Listener& listener) {
  spare_.reset();
  UniqueFd fd(accept4(listener.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const bool waited = fd.valid();
  fd.reset();
  spare_ = UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (waited) stats_.shed.add();
  return waited;
}

void Loop::speak_h2(Client& from, Transport&& io, const ListenerSpec& listener,
                    const ClientAddress& address, std::string_view first_bytes) {
  auto client = std::make_unique<ClientH2>(*this);
  ClientH2& c = *client;
  clients_.emplace(&c, std::move(client));
  c.open(std::move(io), listener, address, first_bytes);
  client_gone(from);
}

void Loop::client_gone(Client& client) {
  std::erase(turns_, &client);
  auto found = clients_.find(&client);
  graves_.push_back(std::move(found->second));
  clients_.erase(found);
  stats_.clients.set(clients_.size());
}

OriginLink& Loop::new_link() {
  auto link = std::make_unique<OriginLink>(*this);
  OriginLink& l = *link;
  links_.emplace(&l, std::move(link));
  return l;
}

OriginH2& Loop::new_h2_link() {
  auto link = std::make_unique<OriginH2>(*this);
  OriginH2& l = *link;
  links_.emplace(&l, std::move(link));
  return l;
}

void Loop::probe(std::size_t group, std::size_t origin, ProbeQuestion question,
                 std::function<void(Result<ProbeReply>)> done) {
  if (group >= groups_.size() || origin >= groups_[group]->core.size())
    return done(fail(Code::kNotFound, "there is no such origin any more"));
  auto probe = std::make_unique<OriginProbe>(*this, std::move(question), std::move(done));
  OriginProbe& p = *probe;
  links_.emplace(&p, std::move(probe));
  p.begin(groups_[group], origin);
}

void Loop::link_gone(Target& link) {
  auto found = links_.find(&link);
  graves_.push_back(std::move(found->second));
  links_.erase(found);
}

void Loop::append_date(std::string& lines) {
  const std::int64_t second =
      std::chrono::duration_cast<std::chrono::seconds>(both().wall.time_since_epoch()).count();
  if (second != date_second_) {
    date_second_ = second;
    date_line_ = "Date: " + format_http_date(second) + "\r\n";
  }
  lines.append(date_line_);
}

// ---- what is used again

std::string Loop::take_buffer() {
  if (buffers_.empty()) {
    std::string fresh;
    fresh.reserve(kBufferBytes);
    return fresh;
  }
  std::string buffer = std::move(buffers_.back());
  buffers_.pop_back();
  return buffer;
}

void Loop::give_buffer(std::string& buffer) {
  buffer.clear();
  if (buffers_.size() < kBuffersKept && buffer.capacity() >= kBufferBytes &&
      buffer.capacity() <= kBufferKeptMax)
    buffers_.push_back(std::move(buffer));
  buffer = std::string();
}

Exchange& Loop::take_exchange() {
  if (free_exchanges_.empty()) {
    const auto slot = static_cast<std::uint32_t>(exchanges_.size());
    exchanges_.push_back(std::make_unique<Exchange>(*this, slot));
    return *exchanges_.back();
  }
  Exchange* exchange = free_exchanges_.back();
  free_exchanges_.pop_back();
  return *exchange;
}

void Loop::give_exchange(Exchange& exchange) {
  exchange.reset();
  free_exchanges_.push_back(&exchange);
}

Exchange* Loop::find(std::uint64_t token) const {
  const std::uint64_t slot = token >> 32;
  if (slot >= exchanges_.size() || exchanges_[slot]->token() != token) return nullptr;
  return exchanges_[slot].get();
}

// ---- what the edge is told

void Loop::apply_ranks(GroupState& group) const {
  const auto& origins = group.spec().origins;
  for (std::size_t i = 0; i < origins.size(); ++i) {
    const bool here = origins[i].site == kNoSite || origins[i].site == state_.active;
    const bool last = origins[i].edge != group.spec().shield;
    group.core.set_rank(i, static_cast<std::uint8_t>((here ? 0 : 2) + (last ? 1 : 0)));
  }
}

void Loop::adopt(std::shared_ptr<const Snapshot> snapshot) {
  std::map<std::string_view, std::shared_ptr<GroupState>> old;
  for (auto& group : groups_) old[group->spec().name] = group;
  std::vector<std::shared_ptr<GroupState>> groups;
  for (std::size_t i = 0; i < snapshot->groups.size(); ++i) {
    const GroupSpec& spec = snapshot->groups[i].spec;
    auto found = old.find(spec.name);
    if (found != old.end() && found->second->spec() == spec) {
      groups.push_back(found->second);
      found->second->use(snapshot->groups[i].tls);
      old.erase(found);
      continue;
    }
    auto group = std::make_shared<GroupState>(snapshot, i);
    group->stats = stats_.group(spec.name, spec.origins.size());
    apply_ranks(*group);
    groups.push_back(std::move(group));
  }
  for (auto& [name, group] : old) {
    group->retired = true;
    group->close_idle();
  }
  groups_ = std::move(groups);
  snapshot_ = std::move(snapshot);
}

void Loop::set_state(const WriterState& state) {
  state_ = state;
  for (auto& group : groups_) apply_ranks(*group);
  releasing_ = !state_.moving && !parked_.empty();
}

void Loop::check(std::size_t group, std::size_t origin, bool passed, bool up) {
  if (group < groups_.size() && origin < groups_[group]->core.size())
    groups_[group]->core.on_check(now_, origin, passed, up);
}

void Loop::begin_drain() {
  draining_ = true;
  // Who is in the queue already has been told by the kernel that he is connected.
  for (auto& listener : listeners_)
    while (accept_from(*listener)) {
    }
  for (auto& listener : listeners_) listener->fd.reset();
  std::vector<Client*> clients;
  for (auto& [client, owned] : clients_) clients.push_back(client);
  for (Client* client : clients) client->begin_drain();
}

// ---- parking

ParkingPlace::ParkingPlace(Loop& loop, std::size_t bytes) : loop_(loop), bytes_(bytes) {
  ++loop_.parked_count_;
  loop_.parked_bytes_ += bytes_;
  loop_.stats_.parked_now.set(loop_.parked_count_);
}

ParkingPlace::~ParkingPlace() {
  --loop_.parked_count_;
  loop_.parked_bytes_ -= bytes_;
  loop_.stats_.parked_now.set(loop_.parked_count_);
}

std::unique_ptr<ParkingPlace> Loop::park(Exchange& exchange, std::size_t bytes) {
  const EdgeParking& limits = snapshot_->config.parking;
  if (parked_count_ >= limits.requests_max || parked_bytes_ + bytes > limits.bytes_max)
    return nullptr;
  // Who has gone leaves his place, or the queue would grow for as long as the writer moves.
  while (!parked_.empty() && find(parked_.front()) == nullptr) parked_.pop_front();
  parked_.push_back(exchange.token());
  return std::make_unique<ParkingPlace>(*this, bytes);
}

// The longest waiting first; an eighth of them a round, so that the new writer is not met by all at
// once.
void Loop::release_parked() {
  std::size_t batch = std::max<std::size_t>(16, parked_.size() / 8);
  while (batch > 0 && !parked_.empty() && !state_.moving) {
    Exchange* exchange = find(parked_.front());
    parked_.pop_front();
    if (exchange == nullptr) continue;
    --batch;
    exchange->on_release();
    run_deferred();
  }
  if (parked_.empty() || state_.moving) releasing_ = false;
}

}  // namespace leeward::edge

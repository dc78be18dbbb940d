#include "edge/edge.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <mutex>
#include <thread>

#include "edge/internal/access_log.h"
#include "edge/internal/loop.h"
#include "edge/internal/report.h"
#include "edge/internal/warmer.h"

namespace leeward::edge {
namespace {

std::string text_of(const SocketAddress& address, const std::string& configured) {
  if (address.is_unix()) return configured;
  const ClientAddress client = client_address(address.storage);
  const std::string host = client.is_v4() ? to_string(client) : "[" + to_string(client) + "]";
  return fmt::format("{}:{}", host, client.port);
}

// Two descriptors a client, as far as the system lets us.
void raise_open_files(std::size_t clients) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur =
      std::min<rlim_t>(limit.rlim_max, std::max<rlim_t>(limit.rlim_cur, clients * 2 + 1024));
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Which loop listens on which inherited socket: [loop][listener].
std::vector<std::vector<std::vector<UniqueFd>>> share_out(
    std::vector<UniqueFd> sockets, const std::vector<SocketAddress>& addresses, unsigned loops) {
  std::vector<std::vector<std::vector<UniqueFd>>> shared(loops);
  for (auto& of_loop : shared) of_loop.resize(addresses.size());
  std::vector<std::size_t> next(addresses.size());
  for (UniqueFd& fd : sockets) {
    const auto found = std::find(addresses.begin(), addresses.end(), address_of(fd.get()));
    if (found == addresses.end()) continue;
    const auto i = static_cast<std::size_t>(found - addresses.begin());
    shared[next[i]++ % loops][i].push_back(std::move(fd));
  }
  return shared;
}

}  // namespace

struct Edge::Impl {
  Shared shared;
  std::unique_ptr<AccessLog> access_log;
  std::unique_ptr<AccessLog> audit_log;
  std::shared_ptr<const Snapshot> snapshot;
  std::vector<std::unique_ptr<Loop>> loops;
  std::vector<std::string> addresses;
  mutable std::mutex mutex;  // of what follows, and of changes of the above
  WriterState state;

  void each_loop(const std::function<void(Loop&)>& work) const {
    for (auto& loop : loops) loop->run([&] { work(*loop); });
  }
};

Edge::Edge(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Edge::~Edge() {
  for (auto& loop : impl_->loops) loop->join();
}

Result<std::unique_ptr<Edge>> Edge::start(EdgeOptions options, EdgeConfig config) {
  auto snapshot = compile(std::move(config));
  if (!snapshot) return fail(std::move(snapshot.error()));
  auto impl = std::make_unique<Impl>();
  impl->snapshot = std::move(*snapshot);
  impl->shared.options = std::move(options);
  EdgeOptions& o = impl->shared.options;
  if (o.threads == 0) o.threads = std::max(1u, std::thread::hardware_concurrency());
  std::signal(SIGPIPE, SIG_IGN);
  raise_open_files(impl->snapshot->config.limits.connections_max);
  if (o.access_log != AccessLogFormat::kNone) {
    auto log = AccessLog::open(o.access_log_path, o.threads);
    if (!log) return fail(std::move(log.error()));
    impl->access_log = std::move(*log);
    impl->shared.access_log = impl->access_log.get();
  }
  if (!o.audit_log_path.empty()) {
    impl->audit_log =
        AccessLog::rotating(o.audit_log_path, o.threads, o.audit_bytes_max, o.audit_files);
    impl->shared.audit_log = impl->audit_log.get();
  }
  std::vector<SocketAddress> addresses;
  for (const ListenerSpec& listener : impl->snapshot->config.listeners)
    addresses.push_back(*parse_socket_address(listener.address));
  auto inherited = share_out(std::move(o.sockets), addresses, o.threads);
  for (unsigned i = 0; i < o.threads; ++i) {
    impl->loops.push_back(std::make_unique<Loop>(impl->shared, i, impl->snapshot));
    if (auto listening = impl->loops.back()->listen(addresses, std::move(inherited[i])); !listening)
      return fail(std::move(listening.error()));
  }
  for (std::size_t i = 0; i < addresses.size(); ++i)
    impl->addresses.push_back(text_of(addresses[i], impl->snapshot->config.listeners[i].address));
  for (auto& loop : impl->loops) loop->start();
  return std::unique_ptr<Edge>(new Edge(std::move(impl)));
}

Status Edge::publish(const WriterState& state) {
  std::lock_guard lock(impl_->mutex);
  const WriterState& known = impl_->state;
  if (state.epoch < known.epoch || (state.epoch == known.epoch && state.version < known.version))
    return fail(Code::kRefused, "epoch {} version {} is older than what is known ({}, {})",
                state.epoch.value, state.version, known.epoch.value, known.version);
  if (state == known) return {};
  impl_->state = state;
  impl_->each_loop([&](Loop& loop) { loop.set_state(state); });
  return {};
}

WriterState Edge::state() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->state;
}

void Edge::check(std::size_t group, std::size_t origin, bool passed, bool up) {
  impl_->each_loop([=](Loop& loop) { loop.check(group, origin, passed, up); });
}

Status Edge::reload(EdgeConfig config) {
  std::lock_guard lock(impl_->mutex);
  if (config.listeners != impl_->snapshot->config.listeners)
    return fail(Code::kConflict, "the listeners changed; that needs a restart of the edge");
  auto snapshot = compile(std::move(config));
  if (!snapshot) return fail(std::move(snapshot.error()));
  if (impl_->access_log)
    if (auto opened = impl_->access_log->reopen(); !opened) return opened;
  impl_->snapshot = *snapshot;
  impl_->each_loop([&](Loop& loop) { loop.adopt(*snapshot); });
  return {};
}

bool Edge::drain(Duration patience) {
  const BootTime until = BootClock::now() + patience;
  impl_->each_loop([](Loop& loop) { loop.begin_drain(); });
  for (;;) {
    std::size_t clients = 0;
    impl_->each_loop([&](Loop& loop) { clients += loop.clients(); });
    if (clients == 0) return true;
    if (BootClock::now() >= until) return false;
    std::this_thread::sleep_for(10ms);
  }
}

void Edge::probe(std::size_t group, std::size_t origin, ProbeQuestion question,
                 std::function<void(Result<ProbeReply>)> done) {
  Loop& loop = *impl_->loops.front();
  loop.run([&] { loop.probe(group, origin, std::move(question), std::move(done)); });
}

std::size_t Edge::warm(const std::vector<std::string>& urls) {
  std::size_t taken = 0;
  Loop& loop = *impl_->loops.front();
  loop.run([&] { taken = loop.warmer().add(urls); });
  return taken;
}

WarmProgress Edge::warm_progress() const {
  WarmProgress progress;
  Loop& loop = *impl_->loops.front();
  loop.run([&] { progress = loop.warmer().progress(); });
  return progress;
}

std::vector<int> Edge::sockets() const {
  std::vector<int> all;
  impl_->each_loop([&](Loop& loop) { loop.add_sockets(all); });
  return all;
}

std::vector<std::string> Edge::listening() const { return impl_->addresses; }

std::string Edge::prometheus_text() const {
  Report report;
  for (auto& loop : impl_->loops) report.add(loop->stats());
  if (impl_->access_log) report.access_log_dropped = impl_->access_log->dropped();
  if (impl_->audit_log) report.audit_log_dropped = impl_->audit_log->dropped();
  return report.prometheus_text();
}

std::string Edge::top_json() const {
  Report report;
  for (auto& loop : impl_->loops) report.add(loop->stats());
  std::lock_guard lock(impl_->mutex);
  return report.json(*impl_->snapshot, impl_->state);
}

std::string Edge::explain(std::string_view url, const std::optional<ClientAddress>& client) const {
  std::string text;
  Loop& loop = *impl_->loops.front();
  std::shared_ptr<const Snapshot> snapshot;
  loop.run([&] {
    text = explain_request(loop, url, client);
    snapshot = loop.shared_snapshot();
  });
  if (snapshot->config.waf) text.append(explain_inspection(*snapshot->config.waf, url, client));
  return text;
}

}  // namespace leeward::edge

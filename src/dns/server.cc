#include "dns/server.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/check.h"
#include "base/file.h"
#include "dns/internal/shared_zone.h"
#include "dns/internal/sockets.h"
#include "dns/internal/tcp_loop.h"
#include "dns/internal/udp_loop.h"
#include "dns/state.h"

namespace leeward::dns {
namespace {

constexpr unsigned kThreadsMax = 64;

Status check_options(const ServerOptions& options) {
  if (options.threads < 1 || options.threads > kThreadsMax)
    return fail(Code::kInvalid, "dns: {} threads; write a number from 1 to {}", options.threads,
                kThreadsMax);
  if (options.sites.size() > kSitesMax || options.primary.value >= options.sites.size())
    return fail(Code::kInvalid, "dns: the primary is not one of at most {} sites", kSitesMax);
  if (options.tcp.connections_max == 0 || options.tcp.pipeline_max == 0)
    return fail(Code::kInvalid, "dns: a TCP limit of 0 would serve nobody");
  return {};
}

// The signals of the process belong to its main thread.
class BlockSignals {
 public:
  BlockSignals() {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockSignals(const BlockSignals&) = delete;
  BlockSignals& operator=(const BlockSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

struct Server::Impl {
  Impl(ServerOptions o, std::shared_ptr<const Zone> zone)
      : options(std::move(o)),
        log(options.logger.with("dns")),
        registry(options.registry != nullptr ? *options.registry : own_registry),
        shared(zone, {options.primary, zone->serial()}),
        epoch_gauge(registry.gauge("leeward_dns_epoch", "Highest epoch seen.")),
        serial_gauge(registry.gauge("leeward_dns_serial", "SOA serial now answered.")),
        refused(registry.counter("leeward_dns_publications_refused_total",
                                 "Publications that were older than what is answered.")),
        save_failures(registry.counter("leeward_dns_state_save_failures_total",
                                       "Changes answered but not kept on disk.")) {}
  ~Impl();

  Status load();
  Status save(const SavedState& next);
  void show(SiteId site);
  void apply(const SavedState& next, SiteId site);
  Status spawn();
  void start_threads();

  const ServerOptions options;
  const Logger log;
  Registry own_registry;  // when the caller has none
  Registry& registry;
  internal::SharedZone shared;
  Gauge& epoch_gauge;
  Gauge& serial_gauge;
  Counter& refused;
  Counter& save_failures;

  mutable std::mutex mutex;  // of what follows; never taken by an answering thread
  SavedState state;
  bool saved = true;  // `state` is on disk

  internal::Sockets sockets;
  UniqueFd stop_event;
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
};

Server::Impl::~Impl() {
  stop.store(true, std::memory_order_relaxed);
  if (stop_event.valid()) ::eventfd_write(stop_event.get(), 1);
  for (std::thread& thread : threads) thread.join();
}

// Sets the first state: the saved one if it can be used, else the configured primary.
Status Server::Impl::load() {
  const std::uint32_t compiled = shared.active.load().serial;
  SiteId site = options.primary;
  state = {options.sites[site.value], Epoch{}, 0, compiled};
  if (!options.state_path.empty()) {
    auto loaded = load_state(options.state_path);
    if (!loaded && loaded.error().code != Code::kCorrupt) return fail(loaded.error());
    if (!loaded) {
      std::string aside = options.state_path + ".corrupt";
      log.error(
          "the saved state is unusable; answering with the configured primary",
          {{"reason", loaded.error().message}, {"kept_as", aside}, {"site", state.active_site}});
      std::rename(options.state_path.c_str(), aside.c_str());
    } else if (*loaded) {
      std::string primary = state.active_site;
      state = **loaded;
      state.serial = next_serial(state.serial, compiled);
      auto known = std::find(options.sites.begin(), options.sites.end(), state.active_site);
      if (known == options.sites.end()) {
        log.warn("the saved site is no longer configured; answering with the primary",
                 {{"saved", state.active_site}, {"site", primary}});
        state.active_site = primary;
      } else {
        site = SiteId{static_cast<std::uint8_t>(known - options.sites.begin())};
      }
    }
  }
  apply(state, site);
  return save(state);
}

Status Server::Impl::save(const SavedState& next) {
  if (options.state_path.empty()) return {};
  auto written = save_state(options.state_path, next);
  saved = written.has_value();
  if (!written) {
    save_failures.add();
    log.error("the DNS state cannot be kept; a restart would answer an older one",
              {{"reason", written.error().message}});
  }
  return written;
}

void Server::Impl::show(SiteId site) {
  for (std::size_t i = 0; i < options.sites.size(); ++i)
    registry
        .gauge("leeward_dns_active_site", "1 for the site that failover records answer with.",
               {{"site", options.sites[i]}})
        .set(i == site.value ? 1 : 0);
  epoch_gauge.set(static_cast<double>(state.epoch.value));
  serial_gauge.set(state.serial);
}

void Server::Impl::apply(const SavedState& next, SiteId site) {
  state = next;
  shared.active.publish({site, next.serial});
  show(site);
}

void Server::Impl::start_threads() {
  BlockSignals for_the_new_threads;
  for (const UniqueFd& fd : sockets.udp) {
    threads.emplace_back([this, udp = fd.get()] {
      internal::run_udp_loop(udp, sockets.any_address, shared, registry, stop);
    });
    ::pthread_setname_np(threads.back().native_handle(), "dns-udp");
  }
  threads.emplace_back([this] {
    auto served =
        internal::run_tcp_loop(sockets.tcp.get(), stop_event.get(), options.tcp, shared, registry);
    if (!served) log.error("DNS over TCP is not served", {{"reason", served.error().message}});
  });
  ::pthread_setname_np(threads.back().native_handle(), "dns-tcp");
}

Status Server::Impl::spawn() {
  auto opened = internal::open_sockets(options.listen, options.threads);
  if (!opened) return fail(opened.error());
  sockets = std::move(*opened);
  stop_event = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  if (!stop_event.valid()) return fail(os_error(errno, "eventfd"));
  try {
    start_threads();
  } catch (const std::system_error& error) {
    return fail(os_error(error.code().value(), "start a thread"));
  }
  return {};
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::start(ServerOptions options,
                                              std::shared_ptr<const Zone> zone) {
  LEEWARD_CHECK(zone != nullptr);
  if (auto good = check_options(options); !good) return fail(good.error());
  auto impl = std::make_unique<Impl>(std::move(options), std::move(zone));
  if (auto loaded = impl->load(); !loaded) return fail(std::move(loaded.error()).wrap("dns state"));
  if (auto spawned = impl->spawn(); !spawned) return fail(spawned.error());
  impl->log.info("answering", {{"address", to_string(impl->sockets.local)},
                               {"site", impl->state.active_site},
                               {"epoch", impl->state.epoch.value},
                               {"serial", impl->state.serial}});
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Status Server::publish(SiteId active, Epoch epoch, std::uint64_t record_version) {
  Impl& my = *impl_;
  if (active.value >= my.options.sites.size())
    return fail(Code::kInvalid, "dns: site {} does not exist", active.value);
  std::lock_guard lock(my.mutex);
  const std::string& site = my.options.sites[active.value];
  const SavedState& seen = my.state;
  if (epoch < seen.epoch || (epoch == seen.epoch && record_version < seen.record_version)) {
    my.refused.add();
    my.log.warn("refused an older publication", {{"site", site},
                                                 {"epoch", epoch.value},
                                                 {"seen_epoch", seen.epoch.value},
                                                 {"record", record_version},
                                                 {"seen_record", seen.record_version}});
    return fail(Code::kRefused, "dns: epoch {} record {} is older than epoch {} record {}",
                epoch.value, record_version, seen.epoch.value, seen.record_version);
  }
  // Before the first grant nothing orders the publications but their arrival.
  bool same_record =
      epoch == seen.epoch && record_version == seen.record_version && epoch.value != 0;
  if (same_record && site != seen.active_site) {
    my.refused.add();
    my.log.error("one record named two sites", {{"site", site},
                                                {"answered", seen.active_site},
                                                {"epoch", epoch.value},
                                                {"record", record_version}});
    return fail(Code::kConflict, "dns: epoch {} record {} named {} before, now {}", epoch.value,
                record_version, seen.active_site, site);
  }
  SavedState next{site, epoch, record_version, seen.serial};
  bool moved = site != seen.active_site;
  if (moved) next.serial = next_serial(seen.serial, seen.serial);
  if (next == seen && my.saved) return {};
  Status kept = my.save(next);
  my.apply(next, active);
  if (moved)
    my.log.info("clients are sent to another site",
                {{"site", site}, {"epoch", epoch.value}, {"serial", next.serial}});
  return kept;
}

Status Server::replace(std::shared_ptr<const Zone> zone) {
  LEEWARD_CHECK(zone != nullptr);
  Impl& my = *impl_;
  std::lock_guard lock(my.mutex);
  SavedState next = my.state;
  next.serial = next_serial(next.serial, zone->serial());
  Status kept = my.save(next);
  my.shared.replace(std::move(zone));
  my.apply(next, my.shared.active.load().site);
  my.log.info("the zone was replaced", {{"serial", next.serial}});
  return kept;
}

Endpoint Server::local() const { return impl_->sockets.local; }
SiteId Server::active() const { return impl_->shared.active.load().site; }
std::uint32_t Server::serial() const { return impl_->shared.active.load().serial; }
Epoch Server::epoch() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->state.epoch;
}

}  // namespace leeward::dns

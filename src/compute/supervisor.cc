#include "compute/supervisor.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cstring>
#include <filesystem>
#include <set>

#include "base/check.h"
#include "base/socket_address.h"
#include "compute/autoscaler_core.h"
#include "compute/internal/instance_group.h"
#include "compute/internal/notify_socket.h"
#include "compute/internal/process_tree.h"
#include "compute/internal/spawn.h"
#include "net/http.h"

namespace leeward::compute {
namespace {

constexpr Duration kLeftoverPoll = 50ms;
constexpr Duration kKillLimit = 2s;  // for a SIGKILLed tree to be gone

std::string signal_text(int signal) {
  const char* description = ::sigdescr_np(signal);  // null for real-time signals
  return fmt::format("killed by signal {} ({})", signal,
                     description == nullptr ? "real-time" : description);
}

std::string describe_exit(int wait_status, Duration lived) {
  std::string how;
  if (WIFSIGNALED(wait_status))
    how = "keeper " + signal_text(WTERMSIG(wait_status));
  else if (int status = WEXITSTATUS(wait_status); status > 128 && status - 128 <= SIGRTMAX)
    how = signal_text(status - 128);
  else
    how = fmt::format("exit status {}", status);
  return fmt::format("{} after {:.1f}s", how, seconds(lived));
}

Status validate(const SupervisorOptions& options) {
  std::set<std::string> names;
  if (options.keeper.empty()) return fail(Code::kInvalid, "no keeper command");
  for (const TierSpec& tier : options.tiers) {
    if (tier.name.empty() || tier.name.find('/') != std::string::npos)
      return fail(Code::kInvalid, "'{}' cannot name a tier: it names a log file", tier.name);
    if (!names.insert(tier.name).second)
      return fail(Code::kInvalid, "two tiers are named '{}'", tier.name);
    for (const InstanceSpec& instance : tier.instances)
      if (instance.process.argv.empty())
        return fail(Code::kInvalid, "tier '{}' has an instance without a command", tier.name);
  }
  return {};
}

// A listening socket for an instance. SO_REUSEADDR: its last life's connections may linger.
Result<UniqueFd> listen_on(const Endpoint& endpoint) {
  auto address = parse_socket_address(to_string(endpoint));
  if (!address) return fail(std::move(address.error()));
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int on = 1;
  if (!fd.valid() || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address->storage), address->size) != 0 ||
      ::listen(fd.get(), SOMAXCONN) != 0)
    return fail(os_error(errno, "listen on " + to_string(endpoint)));
  return fd;
}

}  // namespace

Result<TierSpec> expand_tier(const Tier& tier, const PlaceholderValues& values,
                             const std::string& directory) {
  if (tier.process.command.empty())
    return fail(Code::kInvalid, "tier '{}' has no command", tier.name);
  TierSpec spec;
  spec.name = tier.name;
  spec.cold = tier.standby == StandbyMode::kCold;
  spec.stop_timeout = tier.stop_timeout;
  spec.notify = tier.notify;
  spec.limits = tier.limits;
  spec.drain = tier.drain;
  if (tier.scaling) spec.running = std::clamp(tier.instances, tier.scaling->min, tier.slots());
  PlaceholderValues own = values;
  if (tier.local) own["address"] = "127.0.0.1";
  for (int i = 0; i < tier.slots(); ++i) {
    auto port_of = [i](std::uint16_t first) { return static_cast<std::uint16_t>(first + i); };
    own["port"] = std::to_string(port_of(tier.port));
    auto process = expand(tier.process, own);
    if (!process) return fail(std::move(process.error()).wrap("tier " + tier.name));
    process->directory = (std::filesystem::path(directory) / process->directory).string();
    InstanceSpec instance{std::move(*process)};
    if (tier.pass_listener) instance.listen = Endpoint{own["address"], port_of(tier.port)};
    if (tier.ready) {
      std::uint16_t first = tier.ready->port != 0 ? tier.ready->port : tier.port;
      instance.ready = ReadyCheck{Endpoint{own["address"], port_of(first)}, tier.ready->path};
    }
    spec.instances.push_back(std::move(instance));
  }
  return spec;
}

class Supervisor::Impl {
 public:
  Impl(net::EventLoop& loop, SupervisorOptions options);
  ~Impl();

  void set_active(bool active);
  Status scale(const std::string& tier, int count, const std::map<int, std::uint64_t>& connections);
  Status protect(const std::string& tier, int number, bool on);
  int count(bool (InstanceCore::*property)() const) const;
  std::vector<std::pair<std::string, int>> ready_instances() const;
  std::vector<InstanceStatus> status() const;
  Result<std::vector<std::string>> last_output(const std::string& tier, int number,
                                               std::size_t lines_max) const;
  void stop_all(Duration limit, std::function<void(Status)> done);

 private:
  struct Instance {
    explicit Instance(const InstanceRule& rule) : core(rule) {}

    const TierSpec* tier = nullptr;
    const InstanceSpec* spec = nullptr;
    int number = 0;
    std::string label;  // "app-0"
    std::string mark;   // entry in the environment of all its processes
    std::string log;    // empty: not captured
    InstanceCore core;
    bool enabled = true;  // by scale()
    bool is_protected = false;

    InstanceGroup group;
    std::optional<NotifySocket> notify;
    net::WatchId notify_watch;
    UniqueFd listener;  // kept over restarts

    KeeperProcess keeper;  // pid −1: none
    net::WatchId exit_watch;
    BootTime started_at;
    std::uint64_t life = 0;  // counts starts, so that a late check result is recognised

    net::TimerId tick_timer;
    net::TimerId check_timer;
    net::TimerId leftover_timer;
    bool leftovers_possible = true;
    std::optional<BootTime> leftovers_killed_at;

    int restarts = 0;
    std::string last_exit;
    std::string last_check;
    std::string said;
    std::uint64_t memory_kills = 0;
    InstanceState published = InstanceState::kStopped;
    Counter* restart_counter = nullptr;
    Counter* memory_kill_counter = nullptr;
  };

  bool wanted(const Instance& i) const { return i.enabled && (active_ || !i.tier->cold); }

  void apply(Instance& i, Action action);
  void start(Instance& i);
  bool clear_leftovers(Instance& i);
  void spawn(Instance& i);
  Status open_sockets(Instance& i);
  void close_sockets(Instance& i);
  void on_notification(Instance& i);
  void stop(Instance& i);
  void on_exit(Instance& i);
  void arm_tick(Instance& i);
  void arm_check(Instance& i, Duration delay);
  void check(Instance& i);
  void cancel(net::TimerId& timer);
  void publish(Instance& i);
  void finish_stop(bool limit_passed);

  net::EventLoop& loop_;
  SupervisorOptions options_;
  net::HttpClient client_;
  std::vector<std::unique_ptr<Instance>> instances_;
  std::map<std::string, std::pair<Gauge*, Gauge*>> gauges_;  // by tier: ready, wanted
  bool active_ = false;
  bool begun_ = false;  // set_active() was called
  bool stopping_ = false;
  std::function<void(Status)> stop_done_;
  net::TimerId stop_timer_;
};

Supervisor::Impl::Impl(net::EventLoop& loop, SupervisorOptions options)
    : loop_(loop), options_(std::move(options)), client_(loop) {
  for (const TierSpec& tier : options_.tiers) {
    Labels labels{{"tier", tier.name}};
    Counter* restarts = nullptr;
    Counter* memory_kills = nullptr;
    if (Registry* r = options_.registry; r != nullptr) {
      gauges_[tier.name] = {
          &r->gauge("leeward_instances_ready", "Application instances that are ready", labels),
          &r->gauge("leeward_instances_wanted", "Application instances that should run", labels)};
      restarts = &r->counter("leeward_instance_restarts_total",
                             "Starts of an instance after its first one", labels);
      memory_kills = &r->counter("leeward_instance_memory_kills_total",
                                 "Processes killed at their instance's memory limit", labels);
    }
    for (std::size_t n = 0; n < tier.instances.size(); ++n) {
      bool has_check = tier.notify || tier.instances[n].ready.has_value();
      InstanceRule rule{has_check, tier.stop_timeout, tier.drain, options_.policy};
      auto i = std::make_unique<Instance>(rule);
      i->tier = &tier;
      i->spec = &tier.instances[n];
      i->number = static_cast<int>(n);
      i->label = fmt::format("{}-{}", tier.name, n);
      std::string path = options_.log_directory + "/" + i->label;
      i->mark = "LEEWARD_INSTANCE=" + path;
      if (tier.capture) i->log = path + ".log";
      i->restart_counter = restarts;
      i->memory_kill_counter = memory_kills;
      i->enabled = tier.running < 0 || static_cast<int>(n) < tier.running;
      instances_.push_back(std::move(i));
    }
  }
}

Supervisor::Impl::~Impl() {
  cancel(stop_timer_);
  for (auto& i : instances_) {
    cancel(i->tick_timer);
    cancel(i->check_timer);
    cancel(i->leftover_timer);
    if (i->keeper.pid > 0) loop_.unwatch(i->exit_watch);
    close_sockets(*i);
  }
}

void Supervisor::Impl::cancel(net::TimerId& timer) {
  if (timer.value != 0) loop_.cancel(timer);
  timer = {};
}

void Supervisor::Impl::set_active(bool active) {
  if (stopping_) return;
  active_ = active;
  begun_ = true;
  BootTime now = BootClock::now();
  // A site that may not write any more has nothing to finish: its gateways are closed.
  for (auto& i : instances_) apply(*i, i->core.want(now, wanted(*i), !active && i->tier->cold));
}

Status Supervisor::Impl::scale(const std::string& tier, int count,
                               const std::map<int, std::uint64_t>& connections) {
  std::vector<Instance*> slots;
  for (auto& i : instances_)
    if (i->tier->name == tier) slots.push_back(i.get());
  if (slots.empty()) return fail(Code::kNotFound, "there is no tier '{}' here", tier);
  if (count < 0 || count > static_cast<int>(slots.size()))
    return fail(Code::kInvalid, "tier '{}' has ports for {} instances, not for {}", tier,
                slots.size(), count);
  std::vector<Victim> enabled;
  for (const Instance* i : slots) {
    if (!i->enabled) continue;
    auto known = connections.find(i->number);
    enabled.push_back({i->number, i->core.ready(), false, i->is_protected,
                       known == connections.end() ? 0 : known->second, i->started_at});
  }
  int running = static_cast<int>(enabled.size());
  for (int number : choose_victims(enabled, running - count))
    slots[static_cast<std::size_t>(number)]->enabled = false;
  // One that is still draining is taken back before a new one is started.
  for (bool draining : {true, false})
    for (Instance* i : slots) {
      if (running >= count) break;
      bool is_draining = i->core.state() == InstanceState::kDraining;
      if (i->enabled || is_draining != draining) continue;
      i->enabled = true;
      ++running;
    }
  if (stopping_ || !begun_) return {};
  BootTime now = BootClock::now();
  for (Instance* i : slots) apply(*i, i->core.want(now, wanted(*i)));
  return {};
}

Status Supervisor::Impl::protect(const std::string& tier, int number, bool on) {
  for (auto& i : instances_)
    if (i->tier->name == tier && i->number == number) {
      i->is_protected = on;
      return {};
    }
  return fail(Code::kNotFound, "there is no instance {}-{} here", tier, number);
}

// The one place where the core's wish becomes an act, and where a changed state is followed up.
void Supervisor::Impl::apply(Instance& i, Action action) {
  switch (action) {
    case Action::kNone:
      break;
    case Action::kStart:
      return start(i);
    case Action::kStop:
      return stop(i);
    case Action::kKill:
      if (i.keeper.pid > 0) ::kill(i.keeper.pid, SIGUSR1);
      break;
  }
  arm_tick(i);
  publish(i);
}

void Supervisor::Impl::start(Instance& i) {
  if (i.leftovers_possible && !clear_leftovers(i)) {
    i.leftover_timer = loop_.call_after(kLeftoverPoll, [this, &i] { start(i); });
    arm_tick(i);
    return publish(i);
  }
  i.leftover_timer = {};
  spawn(i);
}

// True when no process of an earlier life is left.
bool Supervisor::Impl::clear_leftovers(Instance& i) {
  std::vector<pid_t> left = processes_with_environment(i.mark);
  BootTime now = BootClock::now();
  if (left.empty()) {
    i.leftovers_possible = false;
    i.leftovers_killed_at.reset();
    return true;
  }
  bool first = !i.leftovers_killed_at;
  if (first) {
    i.leftovers_killed_at = now + i.tier->stop_timeout;
    options_.logger.warn("processes of an earlier life are in the way; ending them",
                         {{"instance", i.label}, {"processes", left.size()}});
  }
  bool patience_over = now >= *i.leftovers_killed_at;
  if (first || patience_over)
    for (pid_t pid : left) ::kill(pid, patience_over ? SIGKILL : i.tier->stop_signal);
  return false;
}

void Supervisor::Impl::spawn(Instance& i) {
  auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(i.tier->stop_timeout).count();
  std::vector<std::string> arguments{"--stop-signal", std::to_string(i.tier->stop_signal),
                                     "--stop-timeout",
                                     std::to_string(std::max<std::int64_t>(milliseconds, 1))};
  if (!i.log.empty())
    arguments.insert(arguments.end(),
                     {"--log", i.log, "--log-bytes-max", std::to_string(options_.log_bytes_max)});
  i.started_at = BootClock::now();
  if (i.life++ > 0) {
    ++i.restarts;
    if (i.restart_counter != nullptr) i.restart_counter->add();
  }
  Status sockets = open_sockets(i);
  std::vector<std::string> marks{i.mark};
  if (i.notify) marks.push_back(i.notify->variable());
  std::vector<std::string> limits = i.group.keeper_options();
  arguments.insert(arguments.end(), limits.begin(), limits.end());
  auto keeper =
      sockets ? spawn_keeper(options_.keeper, arguments, i.spec->process, marks, i.listener.get())
              : fail(std::move(sockets.error()));
  if (!keeper) {
    i.last_exit = keeper.error().message;
    options_.logger.error("cannot start", {{"instance", i.label}, {"error", i.last_exit}});
    return apply(i, i.core.exited(BootClock::now()));
  }
  i.keeper = std::move(*keeper);
  auto watch = loop_.watch_readable(i.keeper.pidfd.get(), [this, &i] { on_exit(i); });
  LEEWARD_CHECK(watch.has_value());  // a pidfd can always be waited for
  i.exit_watch = *watch;
  i.core.started(i.started_at);
  options_.logger.info("started", {{"instance", i.label}, {"keeper", i.keeper.pid}});
  arm_tick(i);
  if (i.core.checkable()) arm_check(i, options_.check_interval_starting);
  publish(i);
}

// What an instance needs from us besides its process; some of it outlives a restart.
Status Supervisor::Impl::open_sockets(Instance& i) {
  if (!i.group.is_open()) i.group.open(options_.cgroups, i.label, i.tier->limits, options_.logger);
  if (i.spec->listen && !i.listener.valid()) {
    auto listener = listen_on(*i.spec->listen);
    if (!listener) return fail(std::move(listener.error()));
    i.listener = std::move(*listener);
  }
  if (!i.tier->notify || i.notify) return {};
  auto notify = NotifySocket::open();
  if (!notify) return fail(std::move(notify.error()));
  i.notify = std::move(*notify);
  auto watch = loop_.watch_readable(i.notify->fd(), [this, &i] { on_notification(i); });
  LEEWARD_CHECK(watch.has_value());  // a socket can always be waited for
  i.notify_watch = *watch;
  return {};
}

void Supervisor::Impl::close_sockets(Instance& i) {
  if (i.notify) loop_.unwatch(i.notify_watch);
  i.notify.reset();
  i.listener.reset();
}

void Supervisor::Impl::on_notification(Instance& i) {
  while (auto message = i.notify ? i.notify->receive() : std::nullopt) {
    if (message->status) i.said = *message->status;
    BootTime now = BootClock::now();
    if (message->ready) i.core.checked(now, true);
    if (message->stopping) i.core.leaving(now);
  }
  arm_tick(i);
  publish(i);
}

void Supervisor::Impl::stop(Instance& i) {
  cancel(i.check_timer);
  i.last_check.clear();
  if (i.keeper.pid > 0) {
    ::kill(i.keeper.pid, SIGTERM);
    arm_tick(i);
    return publish(i);
  }
  cancel(i.leftover_timer);  // it was still waiting to be started
  apply(i, i.core.exited(BootClock::now()));
}

void Supervisor::Impl::on_exit(Instance& i) {
  int status = 0;
  if (::waitpid(i.keeper.pid, &status, WNOHANG) == 0) return;
  loop_.unwatch(i.exit_watch);
  cancel(i.check_timer);
  i.keeper = KeeperProcess{};
  if (WIFSIGNALED(status)) i.leftovers_possible = true;
  BootTime now = BootClock::now();
  bool expected = i.core.state() == InstanceState::kStopping;
  i.last_exit = describe_exit(status, now - i.started_at);
  if (std::uint64_t kills = i.group.new_memory_kills(); kills > 0) {
    i.memory_kills += kills;
    if (i.memory_kill_counter != nullptr) i.memory_kill_counter->add(kills);
    i.last_exit +=
        fmt::format(", out of memory at its limit of {} MiB", i.tier->limits.memory_bytes >> 20);
  }
  i.group.kill_rest();
  Action next = i.core.exited(now);
  if (!i.core.wanted()) {
    close_sockets(i);
    i.group.close();
    i.said.clear();
  }
  if (expected) {
    options_.logger.info("stopped", {{"instance", i.label}, {"how", i.last_exit}});
  } else {
    auto output = last_output(i.tier->name, i.number, 1);
    options_.logger.warn("exited by itself",
                         {{"instance", i.label},
                          {"how", i.last_exit},
                          {"last_output", output && !output->empty() ? output->back() : ""}});
  }
  apply(i, next);
  finish_stop(false);
}

void Supervisor::Impl::arm_tick(Instance& i) {
  cancel(i.tick_timer);
  auto deadline = i.core.deadline();
  if (!deadline) return;
  i.tick_timer = loop_.call_after(*deadline - BootClock::now(), [this, &i] {
    i.tick_timer = {};
    apply(i, i.core.tick(BootClock::now()));
  });
}

void Supervisor::Impl::arm_check(Instance& i, Duration delay) {
  cancel(i.check_timer);
  i.check_timer = loop_.call_after(delay, [this, &i] {
    i.check_timer = {};
    check(i);
  });
}

void Supervisor::Impl::check(Instance& i) {
  if (!i.core.checkable() || !i.spec->ready) return;
  net::HttpRequest request;
  request.path = i.spec->ready->path;
  auto answered = [this, &i, life = i.life](Result<net::HttpResponse> answer) {
    if (life != i.life || !i.core.checkable()) return;
    bool ok = answer && answer->status == 200;
    if (ok)
      i.last_check.clear();
    else
      i.last_check = answer ? fmt::format("HTTP {}", answer->status) : answer.error().message;
    i.core.checked(BootClock::now(), ok);
    bool starting = i.core.state() == InstanceState::kStarting;
    arm_check(i, starting ? options_.check_interval_starting : options_.check_interval);
    arm_tick(i);
    publish(i);
  };
  client_.send(i.spec->ready->endpoint, std::move(request), options_.check_timeout, answered);
}

void Supervisor::Impl::publish(Instance& i) {
  if (i.core.state() != i.published) {
    options_.logger.debug("state", {{"instance", i.label}, {"state", name(i.core.state())}});
    i.published = i.core.state();
  }
  auto gauges = gauges_.find(i.tier->name);
  if (gauges != gauges_.end()) {
    int ready = 0;
    int wanted = 0;
    for (const auto& other : instances_) {
      if (other->tier != i.tier) continue;
      ready += other->core.ready();
      wanted += other->core.wanted();
    }
    gauges->second.first->set(ready);
    gauges->second.second->set(wanted);
  }
  if (options_.on_change) options_.on_change();
}

int Supervisor::Impl::count(bool (InstanceCore::*property)() const) const {
  int n = 0;
  for (const auto& i : instances_) n += (i->core.*property)();
  return n;
}

std::vector<std::pair<std::string, int>> Supervisor::Impl::ready_instances() const {
  std::vector<std::pair<std::string, int>> ready;
  for (const auto& i : instances_)
    if (i->core.ready()) ready.emplace_back(i->tier->name, i->number);
  return ready;
}

std::vector<InstanceStatus> Supervisor::Impl::status() const {
  std::vector<InstanceStatus> all;
  for (const auto& i : instances_) {
    InstanceStatus s;
    s.tier = i->tier->name;
    s.number = i->number;
    s.state = i->core.state();
    if (i->keeper.pid > 0) {
      std::vector<pid_t> children = children_of(i->keeper.pid);
      s.pid = children.empty() ? 0 : children.front();  // the oldest: the command itself
    }
    s.restarts = i->restarts;
    s.last_exit = i->last_exit;
    s.last_check = i->last_check;
    s.said = i->said;
    s.log = i->log;
    s.wanted = i->core.wanted();
    s.is_protected = i->is_protected;
    if (i->core.ready()) s.ready_since = i->core.ready_since();
    s.memory_kills = i->memory_kills;
    s.usage = i->group.usage(i->keeper.pid);
    all.push_back(std::move(s));
  }
  return all;
}

Result<std::vector<std::string>> Supervisor::Impl::last_output(const std::string& tier, int number,
                                                               std::size_t lines_max) const {
  for (const auto& i : instances_)
    if (i->tier->name == tier && i->number == number && !i->log.empty())
      return tail_of_log(i->log, lines_max);
  return fail(Code::kNotFound, "no log of instance {}-{}", tier, number);
}

void Supervisor::Impl::stop_all(Duration limit, std::function<void(Status)> done) {
  LEEWARD_CHECK(!stopping_);
  stopping_ = true;
  BootTime now = BootClock::now();
  for (auto& i : instances_) apply(*i, i->core.want(now, false, true));
  stop_done_ = std::move(done);
  stop_timer_ = loop_.call_after(limit, [this] {
    for (auto& i : instances_)
      if (i->keeper.pid > 0) ::kill(i->keeper.pid, SIGUSR1);
    stop_timer_ = loop_.call_after(kKillLimit, [this] { finish_stop(true); });
  });
  finish_stop(false);
}

// Tells who called stop_all(), once nothing is left or the patience is over.
void Supervisor::Impl::finish_stop(bool limit_passed) {
  if (!stop_done_) return;
  std::string left;
  for (const auto& i : instances_)
    if (i->keeper.pid > 0) left += (left.empty() ? "" : ", ") + i->label;
  if (!left.empty() && !limit_passed) return;
  cancel(stop_timer_);
  Status status;
  if (!left.empty()) status = fail(Code::kTimeout, "still running after SIGKILL: {}", left);
  loop_.post([done = std::exchange(stop_done_, nullptr), status] { done(status); });
}

Supervisor::Supervisor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Supervisor::~Supervisor() = default;

Result<std::unique_ptr<Supervisor>> Supervisor::create(net::EventLoop& loop,
                                                       SupervisorOptions options) {
  if (auto valid = validate(options); !valid) return fail(valid.error());
  std::error_code error;
  auto directory = std::filesystem::absolute(options.log_directory, error);
  if (error) return fail(os_error(error.value(), "log directory " + options.log_directory));
  options.log_directory = directory.lexically_normal().string();
  if (auto made = make_directories(options.log_directory); !made) return fail(made.error());
  auto impl = std::make_unique<Impl>(loop, std::move(options));
  return std::unique_ptr<Supervisor>(new Supervisor(std::move(impl)));
}

void Supervisor::set_active(bool active) { impl_->set_active(active); }
Status Supervisor::scale(const std::string& tier, int count,
                         const std::map<int, std::uint64_t>& connections) {
  return impl_->scale(tier, count, connections);
}
Status Supervisor::protect(const std::string& tier, int number, bool on) {
  return impl_->protect(tier, number, on);
}
std::vector<std::pair<std::string, int>> Supervisor::ready_instances() const {
  return impl_->ready_instances();
}
int Supervisor::ready_count() const { return impl_->count(&InstanceCore::ready); }
int Supervisor::wanted_count() const { return impl_->count(&InstanceCore::wanted); }
std::vector<InstanceStatus> Supervisor::status() const { return impl_->status(); }
Result<std::vector<std::string>> Supervisor::last_output(const std::string& tier, int number,
                                                         std::size_t lines_max) const {
  return impl_->last_output(tier, number, lines_max);
}
void Supervisor::stop_all(Duration limit, std::function<void(Status)> done) {
  impl_->stop_all(limit, std::move(done));
}

}  // namespace leeward::compute

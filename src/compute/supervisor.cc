#include "compute/supervisor.h"

#include <signal.h>
#include <sys/wait.h>

#include <filesystem>
#include <set>

#include "base/check.h"
#include "compute/internal/instance_group.h"
#include "compute/internal/listener.h"
#include "compute/internal/notify_socket.h"
#include "compute/internal/process_tree.h"
#include "compute/internal/spawn.h"
#include "net/http.h"

namespace leeward::compute {
namespace {

constexpr Duration kLeftoverPoll = 50ms;
constexpr Duration kKillLimit = 2s;          // for a SIGKILLed tree to be gone
constexpr RevisionNumber kFirstRevision{1};  // of TierSpec::instances

Status validate(const std::string& tier, const RevisionSpecs& specs) {
  for (const InstanceSpec& instance : specs)
    if (instance.process.argv.empty())
      return fail(Code::kInvalid, "tier '{}' has an instance without a command", tier);
  return {};
}

Status validate(const SupervisorOptions& options) {
  std::set<std::string> names;
  if (options.keeper.empty()) return fail(Code::kInvalid, "no keeper command");
  for (const TierSpec& tier : options.tiers) {
    if (tier.name.empty() || tier.name.find('/') != std::string::npos)
      return fail(Code::kInvalid, "'{}' cannot name a tier: it names a log file", tier.name);
    if (!names.insert(tier.name).second)
      return fail(Code::kInvalid, "two tiers are named '{}'", tier.name);
    if (auto valid = validate(tier.name, tier.instances); !valid) return valid;
  }
  return {};
}

}  // namespace

class Supervisor::Impl {
 public:
  Impl(net::EventLoop& loop, SupervisorOptions options);
  ~Impl();

  void set_active(bool active);
  Status scale(const std::string& tier, int count, const std::map<int, std::uint64_t>& connections);
  Status deploy(const std::string& tier, RevisionNumber revision, RevisionSpecs specs);
  Status roll_back(const std::string& tier, const std::string& reason);
  Status restore(const TierRollout& rollout, const std::map<RevisionNumber, RevisionSpecs>& specs);
  std::vector<TierRollout> rollouts() const;
  Status protect(const std::string& tier, int number, bool on);
  int count(bool (InstanceCore::*property)() const) const;
  std::vector<std::pair<std::string, int>> ready_instances() const;
  std::vector<InstanceStatus> status() const;
  Result<std::vector<std::string>> last_output(const std::string& tier, int number,
                                               std::size_t lines_max) const;
  void stop_all(Duration limit, std::function<void(Status)> done);

 private:
  struct TierState;
  struct Instance {
    explicit Instance(const InstanceRule& rule) : core(rule) {}

    const TierSpec* tier = nullptr;
    TierState* state = nullptr;
    const InstanceSpec* spec = nullptr;
    int number = 0;
    std::string label;  // "app-0"
    std::string mark;   // entry in the environment of all its processes
    std::string log;    // empty: not captured
    InstanceCore core;
    SlotPlace place;
    int crashes = 0;         // since it has this place
    BootTime unready_since;  // while it is wanted and not ready
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
  };
  struct TierState {
    TierState(const TierSpec& tier, int count)
        : spec(&tier), rollout(tier.deploy, kFirstRevision), wanted(count) {}

    const TierSpec* spec;
    RolloutCore rollout;
    std::map<RevisionNumber, RevisionSpecs> revisions;
    std::vector<Instance*> slots;
    int wanted;                                // by scale()
    std::map<int, std::uint64_t> connections;  // by number, as scale() was told
    net::TimerId timer;
    bool posted = false;

    Gauge* ready_gauge = nullptr;
    Gauge* wanted_gauge = nullptr;
    Gauge* revision_gauge = nullptr;
    Counter* restart_counter = nullptr;
    Counter* memory_kill_counter = nullptr;
  };

  bool runs(const TierSpec& tier) const { return active_ || !tier.cold; }
  bool wanted(const Instance& i) const { return i.place.run && runs(*i.tier); }
  TierState* find(std::string_view tier) const;
  void add_metrics(TierState& t);
  void want(Instance& i, bool at_once = false);
  void roll(TierState& t);
  void roll_soon(TierState& t);
  void roll_now(TierState& t);
  void take(Instance& i, const SlotPlace& place);
  void report(TierState& t, RolloutEvent event);
  void forget_revisions(TierState& t);

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
  std::vector<std::unique_ptr<TierState>> tiers_;
  std::vector<std::unique_ptr<Instance>> instances_;
  bool active_ = false;
  bool begun_ = false;  // set_active() was called
  bool stopping_ = false;
  std::function<void(Status)> stop_done_;
  net::TimerId stop_timer_;
};

Supervisor::Impl::Impl(net::EventLoop& loop, SupervisorOptions options)
    : loop_(loop), options_(std::move(options)), client_(loop) {
  for (const TierSpec& tier : options_.tiers) {
    int own = static_cast<int>(tier.instances.size()) - tier.spare;
    auto state = std::make_unique<TierState>(tier, tier.running < 0 ? own : tier.running);
    add_metrics(*state);
    const RevisionSpecs& specs = state->revisions[kFirstRevision] = tier.instances;
    for (std::size_t n = 0; n < specs.size(); ++n) {
      bool has_check = tier.notify || specs[n].ready.has_value();
      InstanceRule rule{has_check, tier.stop_timeout, tier.drain, options_.policy};
      auto i = std::make_unique<Instance>(rule);
      i->tier = &tier;
      i->state = state.get();
      i->spec = &specs[n];
      i->number = static_cast<int>(n);
      i->label = fmt::format("{}-{}", tier.name, n);
      std::string path = options_.log_directory + "/" + i->label;
      i->mark = "LEEWARD_INSTANCE=" + path;
      if (tier.capture) i->log = path + ".log";
      i->place = {kFirstRevision, i->number < state->wanted};
      state->slots.push_back(i.get());
      instances_.push_back(std::move(i));
    }
    tiers_.push_back(std::move(state));
  }
}

void Supervisor::Impl::add_metrics(TierState& t) {
  Registry* r = options_.registry;
  if (r == nullptr) return;
  Labels labels{{"tier", t.spec->name}};
  t.ready_gauge =
      &r->gauge("leeward_instances_ready", "Application instances that are ready", labels);
  t.wanted_gauge =
      &r->gauge("leeward_instances_wanted", "Application instances that should run", labels);
  t.revision_gauge =
      &r->gauge("leeward_tier_revision", "Number of the revision that last proved itself", labels);
  t.restart_counter = &r->counter("leeward_instance_restarts_total",
                                  "Starts of an instance after its first one", labels);
  t.memory_kill_counter = &r->counter("leeward_instance_memory_kills_total",
                                      "Processes killed at their instance's memory limit", labels);
}

Supervisor::Impl::~Impl() {
  cancel(stop_timer_);
  for (auto& t : tiers_) cancel(t->timer);
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
  if (stopping_ || (begun_ && active == active_)) return;
  active_ = active;
  begun_ = true;
  // A site that may not write any more has nothing to finish: its gateways are closed.
  for (auto& i : instances_) want(*i, !active && i->tier->cold);
  for (auto& t : tiers_) roll(*t);
}

Supervisor::Impl::TierState* Supervisor::Impl::find(std::string_view tier) const {
  for (const auto& t : tiers_)
    if (t->spec->name == tier) return t.get();
  return nullptr;
}

Status Supervisor::Impl::scale(const std::string& tier, int count,
                               const std::map<int, std::uint64_t>& connections) {
  TierState* t = find(tier);
  if (t == nullptr) return fail(Code::kNotFound, "there is no tier '{}' here", tier);
  int most = static_cast<int>(t->slots.size()) - t->spec->spare;
  if (count < 0 || count > most)
    return fail(Code::kInvalid, "tier '{}' has ports for {} instances, not for {}", tier, most,
                count);
  t->wanted = count;
  t->connections = connections;
  roll(*t);
  return {};
}

// ---------------------------------------------------------------------------------- revisions

Status Supervisor::Impl::deploy(const std::string& tier, RevisionNumber revision,
                                RevisionSpecs specs) {
  TierState* t = find(tier);
  if (t == nullptr) return fail(Code::kNotFound, "there is no tier '{}' here", tier);
  if (auto valid = validate(tier, specs); !valid) return valid;
  if (specs.size() != t->slots.size() || t->revisions.contains(revision))
    return fail(Code::kInvalid, "revision {} of tier '{}' does not fit", revision.value, tier);
  if (auto begun = t->rollout.begin(revision, !begun_ || runs(*t->spec)); !begun) return begun;
  t->revisions[revision] = std::move(specs);
  options_.logger.info("deploys", {{"tier", tier}, {"revision", revision.value}});
  report(*t, RolloutEvent::kNone);
  roll(*t);
  return {};
}

Status Supervisor::Impl::roll_back(const std::string& tier, const std::string& reason) {
  TierState* t = find(tier);
  if (t == nullptr) return fail(Code::kNotFound, "there is no tier '{}' here", tier);
  if (auto undone = t->rollout.undo(reason, !begun_ || runs(*t->spec)); !undone) return undone;
  options_.logger.info("rolls back", {{"tier", tier}, {"why", reason}});
  report(*t, RolloutEvent::kNone);
  roll(*t);
  return {};
}

Status Supervisor::Impl::restore(const TierRollout& rollout,
                                 const std::map<RevisionNumber, RevisionSpecs>& specs) {
  LEEWARD_CHECK(!begun_);
  TierState* t = find(rollout.tier);
  if (t == nullptr) return fail(Code::kNotFound, "there is no tier '{}' here", rollout.tier);
  auto known = [&](RevisionNumber revision) {
    auto own = specs.find(revision);
    return own != specs.end() && own->second.size() == t->slots.size();
  };
  bool sound = known(rollout.memory.current) && known(rollout.memory.goal);
  for (std::size_t n = 0; n < rollout.places.size() && n < t->slots.size(); ++n)
    sound = sound && known(rollout.places[n].revision);
  if (!sound) return fail(Code::kInvalid, "a revision of tier '{}' is not known", rollout.tier);
  t->revisions = specs;
  t->rollout.restore(rollout.memory);
  for (std::size_t n = 0; n < t->slots.size(); ++n)
    take(*t->slots[n],
         n < rollout.places.size() ? rollout.places[n] : SlotPlace{rollout.memory.current, false});
  return {};
}

std::vector<TierRollout> Supervisor::Impl::rollouts() const {
  std::vector<TierRollout> all;
  for (const auto& t : tiers_) {
    TierRollout& own = all.emplace_back();
    own.tier = t->spec->name;
    own.memory = t->rollout.memory();
    own.active = begun_ && runs(*t->spec);
    for (const Instance* i : t->slots) own.places.push_back(i->place);
  }
  return all;
}

// Lets the rollout's core look at the tier, and does what it says.
void Supervisor::Impl::roll(TierState& t) {
  if (stopping_) return;
  BootTime now = BootClock::now();
  std::vector<SlotView> views;
  for (const Instance* i : t.slots) {
    auto known = t.connections.find(i->number);
    views.push_back({.place = i->place,
                     .alive = i->core.alive(),
                     .draining = i->core.state() == InstanceState::kDraining,
                     .ready = i->core.ready(),
                     .crashes = i->crashes,
                     .unready_since = i->unready_since,
                     .is_protected = i->is_protected,
                     .connections = known == t.connections.end() ? 0 : known->second,
                     .started = i->started_at});
  }
  RolloutStep step = t.rollout.step(now, begun_ && runs(*t.spec), t.wanted, views);
  bool changed = step.event != RolloutEvent::kNone;
  for (std::size_t n = 0; n < t.slots.size(); ++n) {
    if (t.slots[n]->place == step.places[n]) continue;
    changed = true;
    take(*t.slots[n], step.places[n]);
  }
  if (!t.posted) {
    cancel(t.timer);
    if (step.again) t.timer = loop_.call_after(*step.again - now, [this, &t] { roll_now(t); });
  }
  if (changed) {
    report(t, step.event);
    forget_revisions(t);
    roll_soon(t);
  }
  if (!begun_) return;
  for (Instance* i : t.slots)
    if (wanted(*i) != i->core.wanted()) want(*i);
}

// Once, however often it is asked for, and not from inside what asks.
void Supervisor::Impl::roll_soon(TierState& t) {
  if (std::exchange(t.posted, true)) return;
  cancel(t.timer);
  t.timer = loop_.call_after(0ms, [this, &t] { roll_now(t); });
}

void Supervisor::Impl::roll_now(TierState& t) {
  t.timer = {};
  t.posted = false;
  roll(t);
}

void Supervisor::Impl::take(Instance& i, const SlotPlace& place) {
  if (place.revision != i.place.revision || (place.run && !i.place.run)) {
    i.crashes = 0;
    i.unready_since = BootClock::now();
  }
  i.place = place;
  i.spec = &i.state->revisions.at(place.revision)[static_cast<std::size_t>(i.number)];
}

void Supervisor::Impl::report(TierState& t, RolloutEvent event) {
  const RolloutMemory& m = t.rollout.memory();
  const std::string& tier = t.spec->name;
  std::string_view outcome;
  switch (event) {
    case RolloutEvent::kNone:
      break;
    case RolloutEvent::kSwitched:
      options_.logger.info("offers the new revision", {{"tier", tier}, {"revision", m.goal.value}});
      break;
    case RolloutEvent::kSucceeded:
      options_.logger.info("deployed", {{"tier", tier}, {"revision", m.current.value}});
      outcome = "succeeded";
      break;
    case RolloutEvent::kUndoing:
      options_.logger.error("a revision has failed; rolling back",
                            {{"tier", tier}, {"revision", m.failed.value}, {"why", m.reason}});
      break;
    case RolloutEvent::kUndone:
      options_.logger.warn("rolled back", {{"tier", tier}, {"revision", m.failed.value}});
      outcome = "rolled_back";
      break;
  }
  if (t.revision_gauge != nullptr) t.revision_gauge->set(m.current.value);
  if (Registry* r = options_.registry; r != nullptr && !outcome.empty())
    r->counter("leeward_deployments_total", "Deployments of a revision that have ended",
               {{"tier", tier}, {"outcome", std::string(outcome)}})
        .add();
  if (options_.on_rollout) options_.on_rollout(tier, event);
}

void Supervisor::Impl::forget_revisions(TierState& t) {
  const RolloutMemory& m = t.rollout.memory();
  std::set<RevisionNumber> used{m.current, m.goal, m.previous};
  for (const Instance* i : t.slots) used.insert(i->place.revision);
  std::erase_if(t.revisions, [&](const auto& own) { return !used.contains(own.first); });
}

Status Supervisor::Impl::protect(const std::string& tier, int number, bool on) {
  for (auto& i : instances_)
    if (i->tier->name == tier && i->number == number) {
      i->is_protected = on;
      return {};
    }
  return fail(Code::kNotFound, "there is no instance {}-{} here", tier, number);
}

void Supervisor::Impl::want(Instance& i, bool at_once) {
  BootTime now = BootClock::now();
  bool wish = wanted(i);
  if (wish && !i.core.wanted()) i.unready_since = now;
  apply(i, i.core.want(now, wish, at_once));
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
  int signal = i.spec->process.stop_signal != 0 ? i.spec->process.stop_signal : i.tier->stop_signal;
  std::vector<std::string> arguments{"--stop-signal", std::to_string(signal), "--stop-timeout",
                                     std::to_string(std::max<std::int64_t>(milliseconds, 1))};
  if (!i.log.empty())
    arguments.insert(arguments.end(),
                     {"--log", i.log, "--log-bytes-max", std::to_string(options_.log_bytes_max)});
  i.started_at = BootClock::now();
  if (i.life++ > 0) {
    ++i.restarts;
    if (Counter* restarts = i.state->restart_counter; restarts != nullptr) restarts->add();
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
    ++i.crashes;
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
  std::uint32_t user = i.spec->process.root ? i.spec->process.root->uid : 0;
  i.notify->receive(user, [&i](const Notification& message) {
    if (message.status) i.said = *message.status;
    BootTime now = BootClock::now();
    if (message.ready) i.core.checked(now, true);
    if (message.stopping) i.core.leaving(now);
  });
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
    if (Counter* all = i.state->memory_kill_counter; all != nullptr) all->add(kills);
    i.last_exit +=
        fmt::format(", out of memory at its limit of {} MiB", i.tier->limits.memory_bytes >> 20);
  }
  i.group.kill_rest();
  i.crashes += !expected;
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
    if (i.published == InstanceState::kReady) i.unready_since = BootClock::now();
    i.published = i.core.state();
    roll_soon(*i.state);
  }
  if (i.state->ready_gauge != nullptr) {
    int ready = 0;
    int wanted = 0;
    for (const Instance* other : i.state->slots) {
      ready += other->core.ready();
      wanted += other->core.wanted();
    }
    i.state->ready_gauge->set(ready);
    i.state->wanted_gauge->set(wanted);
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
    if (i->core.ready() && i->place.offered) ready.emplace_back(i->tier->name, i->number);
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
    s.revision = i->place.revision;
    s.offered = i->place.offered;
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
Status Supervisor::deploy(const std::string& tier, RevisionNumber revision, RevisionSpecs specs) {
  return impl_->deploy(tier, revision, std::move(specs));
}
Status Supervisor::roll_back(const std::string& tier, const std::string& reason) {
  return impl_->roll_back(tier, reason);
}
Status Supervisor::restore(const TierRollout& rollout,
                           const std::map<RevisionNumber, RevisionSpecs>& specs) {
  return impl_->restore(rollout, specs);
}
std::vector<TierRollout> Supervisor::rollouts() const { return impl_->rollouts(); }
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

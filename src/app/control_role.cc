// leeward control: the control core over its store, its API, and the probes of its own site.
#include <algorithm>
#include <deque>
#include <map>

#include "app/context.h"
#include "app/roles.h"
#include "base/file.h"
#include "console/api.h"
#include "control/control_core.h"
#include "health/prober.h"
#include "model/json.h"
#include "net/http.h"
#include "store/sqlite_store.h"

namespace leeward::app {
namespace {

constexpr Duration kTick = 200ms;
constexpr Duration kVantageEvery = 250ms;
constexpr std::size_t kWaitersMax = 256;  // long polls at once; one more is answered at once

class ControlNode final : public console::ControlService {
 public:
  ControlNode(Context& context, net::EventLoop& loop, store::Store& store, Registry& registry)
      : context_(context),
        loop_(loop),
        store_(store),
        logger_(context.logger),
        registry_(registry),
        core_(control::control_config(context.platform)),
        record_key_("service/" + context.platform.name + "/record"),
        lease_key_("service/" + context.platform.name + "/lease"),
        journal_key_("service/" + context.platform.name + "/journal") {}

  Status start();

  const control::ControlCore& core() const override { return core_; }
  Now now() const override { return clock_.now(); }
  const console::LagHistory& lag() const override { return lag_; }
  void lease(SiteId site, control::LeaseOp op, Epoch epoch,
             std::function<void(control::LeaseOutcome)> done) override;
  void agent_report(const AgentReport& report) override {
    step([&](control::ControlEffects& out) { core_.on_agent(now(), report, out); });
  }
  void vantage_report(const VantageReport& report) override {
    step([&](control::ControlEffects& out) { core_.on_vantage(now(), report, out); });
  }
  void dns_answers(SiteId site, Epoch epoch) override {
    step([&](control::ControlEffects& out) { core_.on_dns(now(), site, epoch, out); });
  }
  void operate(control::OperatorRequest request,
               std::function<void(Result<std::string>)> done) override;
  void wait_for_record(std::uint64_t after, Duration wait, std::function<void()> done) override;
  void wait_for_events(std::uint64_t after, std::size_t limit, Duration wait,
                       std::function<void(Result<std::vector<EventRecord>>)> done) override;

 private:
  struct EventWaiter {
    std::uint64_t after;
    std::size_t limit;
    std::function<void(Result<std::vector<EventRecord>>)> done;
  };

  template <typename Input>
  void step(Input&& input) {
    control::ControlEffects effects;
    input(effects);
    carry_out(std::move(effects));
  }
  void carry_out(control::ControlEffects effects);
  void save_record(const control::SaveRecord& save, control::ControlEffects& more);
  void save_lease(const control::SaveLease& save, control::ControlEffects& more);
  void write_notes(const std::vector<control::Note>& notes);
  std::vector<EventRecord> events_of(const std::vector<control::Note>& notes);
  Status load(control::ControlEffects& out);
  void tick();
  void report_own_probes();
  void wake_record_waiters();
  void wake_event_waiters();
  void update_metrics();
  void update_database_metrics(const AgentReport& report, const Labels& site);

  Context& context_;
  net::EventLoop& loop_;
  store::Store& store_;
  Logger logger_;
  Registry& registry_;
  SystemClock clock_;
  control::ControlCore core_;
  std::string record_key_, lease_key_, journal_key_;
  std::unique_ptr<health::Prober> prober_;
  std::uint64_t next_request_ = 1;
  std::map<std::uint64_t, std::function<void(control::LeaseOutcome)>> lease_waiters_;
  std::map<std::uint64_t, std::function<void(Result<std::string>)>> operator_waiters_;
  std::uint64_t next_waiter_ = 1;
  std::map<std::uint64_t, std::pair<std::uint64_t, std::function<void()>>> record_waiters_;
  std::map<std::uint64_t, EventWaiter> event_waiters_;
  bool store_failed_ = false;
  console::LagHistory lag_;
};

Status ControlNode::start() {
  control::ControlEffects effects;
  if (auto loaded = load(effects); !loaded) return loaded;
  carry_out(std::move(effects));
  health::ProberOptions options;
  options.vantage = context_.self;
  options.policy = context_.platform.probes;
  options.targets = health::probe_targets(context_.platform);
  options.logger = logger_.with(context_.site().name + "/prober");
  options.registry = &registry_;
  // A site with a workload has an agent, which probes for it.
  if (context_.site().role == SiteRole::kWitness) {
    auto prober = health::Prober::start(loop_, std::move(options));
    if (!prober) return fail(prober.error());
    prober_ = std::move(*prober);
    report_own_probes();
  }
  tick();
  return {};
}

Status ControlNode::load(control::ControlEffects& out) {
  auto record_entry = store_.get(record_key_);
  if (!record_entry) return fail(record_entry.error());
  auto lease_entry = store_.get(lease_key_);
  if (!lease_entry) return fail(lease_entry.error());
  ServiceRecord record;
  if (*record_entry) {
    auto parsed = record_from_json(context_.platform, (*record_entry)->value);
    if (!parsed) return fail(std::move(parsed.error()).wrap("the service record in the store"));
    record = std::move(*parsed);
    record.version = (*record_entry)->version;
  }
  LeaseValue lease;
  std::uint64_t lease_version = 0;
  if (*lease_entry) {
    auto parsed = lease_from_json(context_.platform, (*lease_entry)->value);
    if (!parsed) return fail(std::move(parsed.error()).wrap("the lease in the store"));
    lease = *parsed;
    lease_version = (*lease_entry)->version;
  }
  core_.load(now(), record, lease, lease_version, out);
  return {};
}

std::vector<EventRecord> ControlNode::events_of(const std::vector<control::Note>& notes) {
  std::vector<EventRecord> events;
  for (const control::Note& note : notes) {
    events.push_back(control::describe(note, context_.platform, now().wall));
    const EventRecord& e = events.back();
    logger_.info(e.message, {{"event", e.kind}, {"site", e.site}, {"epoch", e.epoch.value}});
    registry_.counter("leeward_events_total", "Events by kind", {{"kind", e.kind}}).add();
  }
  if (events.size() > store::kEventsPerChangeMax) events.resize(store::kEventsPerChangeMax);
  return events;
}

void ControlNode::carry_out(control::ControlEffects effects) {
  // Each effect may bring more; they are carried out in order, one at a time.
  std::deque<control::ControlEffect> queue(std::make_move_iterator(effects.begin()),
                                           std::make_move_iterator(effects.end()));
  while (!queue.empty()) {
    control::ControlEffect effect = std::move(queue.front());
    queue.pop_front();
    control::ControlEffects more;
    if (auto* record = std::get_if<control::SaveRecord>(&effect)) {
      save_record(*record, more);
    } else if (auto* lease = std::get_if<control::SaveLease>(&effect)) {
      save_lease(*lease, more);
    } else if (auto* reply = std::get_if<control::LeaseReply>(&effect)) {
      if (auto waiter = lease_waiters_.extract(reply->request.value))
        waiter.mapped()(reply->outcome);
    } else if (auto* answer = std::get_if<control::OperatorReply>(&effect)) {
      if (auto waiter = operator_waiters_.extract(answer->request)) {
        if (answer->ok)
          waiter.mapped()(answer->message);
        else
          waiter.mapped()(fail(Error{answer->code, answer->message}));
      }
    } else if (auto* notes = std::get_if<control::Notes>(&effect)) {
      write_notes(notes->notes);
    }
    for (auto& m : more) queue.push_back(std::move(m));
  }
  update_metrics();
}

// After a conflict or an unknown outcome the store says what is true.
void ControlNode::save_record(const control::SaveRecord& save, control::ControlEffects& more) {
  auto saved =
      store_.compare_and_swap(record_key_, save.expected,
                              to_json_text(context_.platform, save.record), events_of(save.notes));
  core_.on_record_saved(now(), saved.has_value(), saved.value_or(0), more);
  if (!saved) {
    logger_.error("the record could not be saved", {{"why", saved.error().message}});
    if (auto loaded = load(more); !loaded) store_failed_ = true;
    return;
  }
  wake_record_waiters();
  wake_event_waiters();
}

void ControlNode::save_lease(const control::SaveLease& save, control::ControlEffects& more) {
  auto saved =
      store_.compare_and_swap(lease_key_, save.expected,
                              to_json_text(context_.platform, save.value), events_of(save.notes));
  core_.on_lease_saved(now(), saved.has_value(), saved.value_or(0), more);
  if (!saved) {
    logger_.error("the lease could not be saved", {{"why", saved.error().message}});
    if (auto loaded = load(more); !loaded) store_failed_ = true;
    return;
  }
  if (!save.notes.empty()) wake_event_waiters();
}

void ControlNode::write_notes(const std::vector<control::Note>& notes) {
  auto events = events_of(notes);
  auto entry = store_.get(journal_key_);
  if (!entry) return logger_.error("events could not be saved", {{"why", entry.error().message}});
  auto saved = store_.compare_and_swap(journal_key_, *entry ? (*entry)->version : 0, "{}", events);
  if (!saved) return logger_.error("events could not be saved", {{"why", saved.error().message}});
  wake_event_waiters();
}

void ControlNode::tick() {
  if (store_failed_) {  // an earlier reload failed: nothing is decided until one succeeds
    control::ControlEffects effects;
    if (auto loaded = load(effects); loaded) {
      store_failed_ = false;
      carry_out(std::move(effects));
    }
  } else {
    step([&](control::ControlEffects& out) { core_.tick(now(), out); });
  }
  lag_.look(now(), core_);
  loop_.call_after(kTick, [this] { tick(); });
}

void ControlNode::report_own_probes() {
  vantage_report(prober_->report());
  loop_.call_after(kVantageEvery, [this] { report_own_probes(); });
}

void ControlNode::lease(SiteId site, control::LeaseOp op, Epoch epoch,
                        std::function<void(control::LeaseOutcome)> done) {
  std::uint64_t id = next_request_++;
  lease_waiters_[id] = std::move(done);
  step([&](control::ControlEffects& out) {
    core_.on_lease_request(now(), site, op, epoch, control::RequestId{id}, out);
  });
}

void ControlNode::operate(control::OperatorRequest request,
                          std::function<void(Result<std::string>)> done) {
  request.request = next_request_++;
  operator_waiters_[request.request] = std::move(done);
  step([&](control::ControlEffects& out) { core_.on_operator(now(), request, out); });
}

void ControlNode::wait_for_record(std::uint64_t after, Duration wait, std::function<void()> done) {
  // A version from another store (it was lost and made anew) is none of ours to wait for.
  std::uint64_t version = core_.record().version;
  if (version != after || wait == 0ms || record_waiters_.size() >= kWaitersMax) return done();
  std::uint64_t id = next_waiter_++;
  record_waiters_[id] = {after, std::move(done)};
  loop_.call_after(wait, [this, id] {
    if (auto waiter = record_waiters_.extract(id)) waiter.mapped().second();
  });
}

void ControlNode::wake_record_waiters() {
  auto waiters = std::exchange(record_waiters_, {});
  for (auto& [id, waiter] : waiters) waiter.second();
}

void ControlNode::wait_for_events(std::uint64_t after, std::size_t limit, Duration wait,
                                  std::function<void(Result<std::vector<EventRecord>>)> done) {
  auto events = store_.events(after, limit);
  if (!events || !events->empty() || wait == 0ms || event_waiters_.size() >= kWaitersMax)
    return done(std::move(events));
  std::uint64_t id = next_waiter_++;
  event_waiters_[id] = {after, limit, std::move(done)};
  loop_.call_after(wait, [this, id] {
    if (auto waiter = event_waiters_.extract(id)) waiter.mapped().done(std::vector<EventRecord>{});
  });
}

void ControlNode::wake_event_waiters() {
  auto waiters = std::exchange(event_waiters_, {});
  for (auto& [id, waiter] : waiters) waiter.done(store_.events(waiter.after, waiter.limit));
}

void ControlNode::update_metrics() {
  const ServiceRecord& record = core_.record();
  registry_.gauge("leeward_epoch", "Epoch of the writer's grant")
      .set(static_cast<double>(record.intent.epoch.value));
  registry_.gauge("leeward_paused", "1 while maintenance is on").set(record.paused);
  registry_.gauge("leeward_failover_blocked", "1 within the block window").set(record.blocked);
  registry_.gauge("leeward_plan_running", "1 while a plan runs")
      .set(record.plan && !record.plan->ended());
  for (SiteId site : context_.platform.workload_sites()) {
    Labels labels{{"site", context_.platform.site(site).name}};
    registry_.gauge("leeward_writer", "1 at the site that is to write", labels)
        .set(record.intent.writer == site);
    registry_.gauge("leeward_site_up", "1 up, 0 down, -1 unknown", labels)
        .set(core_.verdict(now(), site) == Health::kUp     ? 1
             : core_.verdict(now(), site) == Health::kDown ? 0
                                                           : -1);
    if (const AgentReport* report = core_.agent(site); report && report->database.lag != kNever)
      registry_
          .gauge("leeward_replication_lag_seconds", "Age of the newest applied heartbeat", labels)
          .set(seconds(report->database.lag));
    if (const AgentReport* report = core_.agent(site)) update_database_metrics(*report, labels);
  }
}

void ControlNode::update_database_metrics(const AgentReport& report, const Labels& site) {
  const DatabaseStatus& db = report.database;
  auto position = [&](const char* kind, Position at) {
    Labels labels = site;
    labels.emplace_back("position", kind);
    registry_
        .gauge("leeward_database_position", "Transactions (sequence of GTID domain 0) at a site",
               labels)
        .set(static_cast<double>(at.value));
  };
  position("written", db.written);
  position("received", db.received);
  position("durable", db.durable);
  position("applied", db.applied);
  bool writer = core_.record().intent.writer == report.site;
  const AgentReport* ahead = core_.agent(core_.record().intent.writer);
  if (!writer && ahead != nullptr)
    registry_
        .gauge("leeward_replication_transactions_behind",
               "Transactions written and not yet applied", site)
        .set(static_cast<double>(console::transactions_behind(
            std::max(ahead->database.written, db.received), db.applied)));
  registry_
      .gauge("leeward_semi_sync",
             "1 commits wait for a copy, 0 they do not, -1 the writer gave up waiting", site)
      .set(db.semi_sync == SemiSync::kOn       ? 1
           : db.semi_sync == SemiSync::kFallen ? -1
                                               : 0);
  registry_
      .gauge("leeward_semi_sync_fallbacks",
             "RPO events: times that the server gave up waiting, since its start", site)
      .set(static_cast<double>(db.fallbacks));
  registry_
      .gauge("leeward_commits_alone", "Commits acknowledged although a copy was to be waited for",
             site)
      .set(static_cast<double>(db.alone));
}

}  // namespace

int run_control(const cli::RoleOptions& options) {
  auto context = make_context(options, "control", true);
  if (!context) return report_failure(context.error());
  if (context->platform.control.site != context->self)
    return report_failure(
        {Code::kInvalid, fmt::format("control runs at {}, not at {}",
                                     context->platform.site(context->platform.control.site).name,
                                     context->site().name)});
  auto store = store::SqliteStore::open(context->state + "/store.db");
  if (!store) return report_failure(store.error());
  net::EventLoop loop;
  Registry registry;
  ControlNode node(*context, loop, **store, registry);
  console::Api api(context->platform, context->tokens, node, registry);
  if (auto signals = stop_on_signals(loop); !signals) return report_failure(signals.error());
  if (auto started = node.start(); !started) return report_failure(started.error());
  auto server = net::HttpServer::start(loop, context->platform.control.listen,
                                       [&](net::HttpRequest request, net::Responder respond) {
                                         api.handle(request, std::move(respond));
                                       });
  if (!server) return report_failure(server.error());
  context->logger.info("control is ready", {{"listen", to_string((*server)->local())}});
  loop.run();
  context->logger.info("control stops");
  return 0;
}

}  // namespace leeward::app

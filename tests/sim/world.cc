#include "sim/world.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

namespace leeward::sim {
namespace {

using control::AgentCore;
using control::AgentEffects;
using control::AgentMemory;
using control::ControlCore;
using control::ControlEffects;
using control::DatabaseOp;
using control::LeaseOp;
using control::LeaseOutcome;
using control::RequestId;

constexpr TrueTime kMs = 1'000'000;
constexpr TrueTime kSecond = 1'000 * kMs;

enum class Kind : std::uint8_t {
  kAgentTick, kControlTick, kAgentReport, kVantage, kProbe, kRecordPoll, kRecord, kLeaseRequest,
  kLeaseReply, kPromiseRequest, kPromiseReply, kDatabaseStatus, kDatabaseOp, kDatabaseDone,
  kReplicate, kHeartbeat, kClientWrite, kPeerWrite, kCommit, kAck, kAckWritten, kDnsPoll, kDnsRecord, kDnsSeen,
  kRestartAgent, kRestartControl, kRestartDatabase, kThawDatabase, kFault, kHeal, kOperator,
  kReportArrives, kVantageArrives,
};

struct Event {
  TrueTime at;
  std::uint32_t order;
  Kind kind;
  std::uint8_t node;   // whom it concerns
  std::uint8_t from;
  std::uint32_t life;  // of the process it belongs to; 0: any
  std::uint64_t a = 0, b = 0, c = 0;
  std::shared_ptr<const void> body;
  bool operator>(const Event& other) const {
    return at != other.at ? at > other.at : order > other.order;
  }
};

struct Commit {
  std::uint64_t id;  // 0: an epoch row
  Epoch epoch;
};

struct Database {
  bool up = true;
  bool frozen = false;
  bool read_only = true;
  std::vector<Commit> log;
  Epoch epoch;
  int source = -1;
  ReplicationState replication = ReplicationState::kNone;
  std::uint64_t heartbeat = 0;  // newest heartbeat row
  TrueTime stalled_until = 0;   // replication is slow
  bool answers() const { return up && !frozen; }
};

struct Gateway {
  GatewayMode mode = GatewayMode::kRefuse;
  Epoch epoch;
  BootTime deadline{};
  int remote = -1;
  std::uint32_t generation = 0;  // grows whenever clients are dropped
  int in_flight = 0;
};

struct Agent {
  std::optional<AgentCore> core;  // none: the process is dead
  std::uint32_t life = 1;
  TrueTime paused_until = 0;
  AgentMemory durable;
  Gateway gateway;
  std::uint64_t heartbeat_seen = 0;
  BootTime heartbeat_seen_at{};
  BootTime heartbeat_look{};
  bool heartbeat_known = false;
  bool heartbeat_looked = false;
  TrueTime next_tick = -1;
};

struct Vantage {
  std::array<int, kSitesMax> failures{};
  std::array<int, kSitesMax> successes{};
  std::array<Health, kSitesMax> health{};
  std::array<TrueTime, kSitesMax> last_down{};
};

struct ControlNode {
  std::optional<ControlCore> core;
  std::uint32_t life = 1;
  TrueTime paused_until = 0;
  std::uint64_t operator_requests = 0;
};

struct Store {  // durable; each change is atomic
  ServiceRecord record;
  LeaseValue lease;
  std::uint64_t lease_version = 0;
};

struct NodeClock {
  double rate = 1;
  std::int64_t offset = 0;
  std::int64_t wall_jump = 0;
};

struct Acked {
  TrueTime at;
  Epoch epoch;
  int site;
};

class World {
 public:
  explicit World(const Options& options) : options_(options), random_(options.seed) {}
  Outcome run();

 private:
  // world.cc is read from here on in this order: set-up, the loop, each process, faults, checks.
  void set_up();
  void schedule(TrueTime at, Kind kind, int node, std::uint32_t life = 0, std::uint64_t a = 0,
                std::uint64_t b = 0, std::uint64_t c = 0, std::shared_ptr<const void> body = {},
                int from = 0);
  void send(int from, int to, Kind kind, std::uint32_t life, std::uint64_t a, std::uint64_t b,
            std::uint64_t c = 0, std::shared_ptr<const void> body = {});
  bool linked(int from, int to) const { return !blocked_[from][to]; }
  void handle(Event& e);
  bool defer(Event& e);

  Now now(int node) const;
  TrueTime local_delay(int node, Duration d) const {
    return static_cast<TrueTime>(static_cast<double>(d.count()) / clocks_[node].rate) + 1;
  }

  void agent_effects(int site, AgentEffects& effects);
  void crash_agent(int site);
  void restart_agent(int site);
  void wake_agent(int site);
  void control_effects(ControlEffects& effects);
  void crash_control();
  void restart_control();
  void set_gateway(int site, const control::SetGateway& g);
  bool gateway_passes(int site) const;
  void maybe_drained(int site);
  DatabaseStatus database_status(int site);
  void execute(int site, DatabaseOp op, Epoch epoch, int source, std::uint64_t request,
               std::uint32_t life);
  void done(int site, std::uint64_t request, std::uint32_t life, bool ok, Position position);
  bool follow(int site, int source, Epoch epoch);
  void replicate(int site);
  bool service_answers(int site) const;
  void probe(int vantage);
  void client_write(Event& e);
  void commit(Event& e);
  void acknowledge(Event& e);
  void acknowledged(const Event& e);
  void fault();
  void heal();
  void operate();

  void on_writer_open(int site, Epoch epoch);
  void on_record_saved(const ServiceRecord& before, const ServiceRecord& after);
  void check_end();
  void violate(std::string what);
  bool holds(const Database& db, std::uint64_t id) const;
  void say(const std::string& line);
  void mix(std::uint64_t value) { hash_ = (hash_ ^ value) * 0x100000001b3u; }

  Options options_;
  Random random_;
  Outcome outcome_;
  std::uint64_t hash_ = 0xcbf29ce484222325u;
  TrueTime time_ = 0;
  TrueTime faults_end_ = 0;
  TrueTime end_ = 0;
  std::uint32_t order_ = 0;
  std::vector<Event> queue_;
  int sites_ = 2;      // workload sites, nodes 0 … sites_-1
  int witness_ = 2;    // node of control and witness
  int nodes_ = 3;
  Platform platform_;
  control::ControlConfig control_config_;
  std::array<std::array<bool, 4>, 4> blocked_{};
  std::array<NodeClock, 4> clocks_{};
  double loss_ = 0, duplicate_ = 0, slow_ = 0, crash_ = 0;
  bool quiet_ = false;  // faults are over

  Store store_;
  ControlNode control_;
  std::array<Agent, 3> agents_;
  std::array<Database, 3> databases_;
  std::array<Vantage, 4> vantages_;
  std::array<Epoch, 3> dns_epoch_{};
  std::array<SiteId, 3> dns_active_{};

  std::uint64_t next_transaction_ = 1;
  std::map<std::uint64_t, Acked> acked_;
  std::set<std::uint64_t> ledger_;
  std::set<std::uint64_t> known_lost_;
  Epoch newest_acked_;
  Epoch newest_open_;
  std::vector<TrueTime> automatic_failovers_;
  std::map<int, TrueTime> last_writer_report_;
};

// ------------------------------------------------------------------------------------- set-up

void World::set_up() {
  sites_ = random_.chance(0.15) ? 3 : 2;
  witness_ = sites_;
  nodes_ = sites_ + 1;
  platform_.name = "sim";
  const char* names[] = {"gcp", "aws", "third"};
  for (int i = 0; i < sites_; ++i)
    platform_.sites.push_back({names[i], i == 0 ? SiteRole::kPrimary : SiteRole::kStandby, ""});
  platform_.sites.push_back({"witness", SiteRole::kWitness, ""});
  LeaseTimings& lease = platform_.lease;
  lease.duration = Duration(random_.between(1500, 3000) * kMs);
  lease.grace = Duration(random_.between(200, 1000) * kMs);
  lease.takeover = lease.takeover_min();  // exactly the inequality, no reserve
  platform_.failover.rpo = Duration(random_.between(1, 5) * kSecond);
  platform_.failover.block_window = Duration(random_.between(8, 30) * kSecond);
  control_config_ = control::control_config(platform_);
  for (int i = 0; i < nodes_; ++i) {
    double drift = lease.clock_drift;
    clocks_[i].rate = random_.chance(0.5) ? (random_.chance(0.5) ? 1 - drift : 1 + drift)
                                          : 1 + drift * (static_cast<double>(random_.between(-100, 100)) / 100);
    clocks_[i].offset = random_.between(1, 1000) * kSecond;
    clocks_[i].wall_jump = random_.between(-5, 5) * kSecond;
  }
  loss_ = random_.chance(0.5) ? 0 : static_cast<double>(random_.between(1, 10)) / 100;
  duplicate_ = random_.chance(0.5) ? 0 : 0.05;
  slow_ = random_.chance(0.5) ? 0 : 0.05;
  crash_ = random_.chance(0.7) ? 0 : 0.0005;
  faults_end_ = random_.between(8, 22) * kSecond;
  end_ = faults_end_ + 45 * kSecond;
  for (int s = 0; s < sites_; ++s) {
    restart_agent(s);
    schedule(random_.between(0, 200) * kMs, Kind::kDatabaseStatus, s);
    schedule(random_.between(0, 200) * kMs, Kind::kReplicate, s);
    schedule(random_.between(0, 250) * kMs, Kind::kHeartbeat, s);
    schedule(random_.between(0, 250) * kMs, Kind::kAgentReport, s);
    schedule(random_.between(0, 500) * kMs, Kind::kRecordPoll, s);
    schedule(random_.between(0, 500) * kMs, Kind::kDnsPoll, s);
    schedule(random_.between(0, 200) * kMs, Kind::kClientWrite, s);
  }
  for (int n = 0; n < nodes_; ++n) schedule(random_.between(0, 1000) * kMs, Kind::kProbe, n);
  restart_control();
  int faults = static_cast<int>(random_.between(0, 6));
  for (int i = 0; i < faults; ++i) schedule(random_.between(3 * kSecond, faults_end_), Kind::kFault, 0);
  int operations = random_.chance(0.5) ? static_cast<int>(random_.between(1, 4)) : 0;
  for (int i = 0; i < operations; ++i)
    schedule(random_.between(3 * kSecond, faults_end_), Kind::kOperator, 0);
  schedule(faults_end_, Kind::kHeal, 0);
}

// ------------------------------------------------------------------------------------ the loop

void World::schedule(TrueTime at, Kind kind, int node, std::uint32_t life, std::uint64_t a,
                     std::uint64_t b, std::uint64_t c, std::shared_ptr<const void> body, int from) {
  queue_.push_back(Event{at, order_++, kind, static_cast<std::uint8_t>(node),
                         static_cast<std::uint8_t>(from), life, a, b, c, std::move(body)});
  std::push_heap(queue_.begin(), queue_.end(), std::greater<>());
}

void World::send(int from, int to, Kind kind, std::uint32_t life, std::uint64_t a, std::uint64_t b,
                 std::uint64_t c, std::shared_ptr<const void> body) {
  if (!linked(from, to) || (from != to && random_.chance(loss_))) return;
  int copies = from != to && random_.chance(duplicate_) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    TrueTime delay = from == to ? random_.between(10, 300) * 1000 : random_.between(1, 30) * kMs;
    if (from != to && random_.chance(slow_)) delay = random_.between(50, 2500) * kMs;
    schedule(time_ + delay, kind, to, life, a, b, c, body, from);
  }
}

Now World::now(int node) const {
  const NodeClock& c = clocks_[node];
  auto local = static_cast<std::int64_t>(static_cast<double>(time_) * c.rate) + c.offset;
  return Now{BootTime(Duration(local)), WallTime(Duration(local + c.wall_jump))};
}

// Events of a paused process wait until it goes on.
bool World::defer(Event& e) {
  bool of_control = e.kind == Kind::kControlTick || e.kind == Kind::kLeaseRequest ||
                    e.kind == Kind::kReportArrives || e.kind == Kind::kVantageArrives ||
                    e.kind == Kind::kDnsSeen || (e.kind == Kind::kRecordPoll && e.node == witness_);
  bool of_agent = e.node < sites_ &&
                  (e.kind == Kind::kAgentTick || e.kind == Kind::kLeaseReply ||
                   e.kind == Kind::kPromiseRequest || e.kind == Kind::kPromiseReply ||
                   e.kind == Kind::kRecord || e.kind == Kind::kDatabaseStatus ||
                   e.kind == Kind::kDatabaseDone || e.kind == Kind::kAgentReport ||
                   e.kind == Kind::kHeartbeat || e.kind == Kind::kPeerWrite || e.kind == Kind::kAck ||
                   e.kind == Kind::kClientWrite);
  TrueTime until = of_control ? control_.paused_until : of_agent ? agents_[e.node].paused_until : 0;
  if (until <= time_) return false;
  if (e.life == 0 && e.kind != Kind::kAgentReport && e.kind != Kind::kDatabaseStatus &&
      e.kind != Kind::kHeartbeat && e.kind != Kind::kClientWrite)
    e.life = of_control ? control_.life : agents_[e.node].life;  // what waits dies with the process
  e.at = until + 1;
  e.order = order_++;
  queue_.push_back(std::move(e));
  std::push_heap(queue_.begin(), queue_.end(), std::greater<>());
  return true;
}

Outcome World::run() {
  outcome_.seed = options_.seed;
  set_up();
  while (!queue_.empty() && outcome_.violation.empty()) {
    std::pop_heap(queue_.begin(), queue_.end(), std::greater<>());
    Event e = std::move(queue_.back());
    queue_.pop_back();
    if (e.at > end_) break;
    time_ = e.at;
    if (defer(e)) continue;
    ++outcome_.events;
    mix(static_cast<std::uint64_t>(time_));
    mix(static_cast<std::uint64_t>(e.kind) * 16 + e.node);
    handle(e);
  }
  if (outcome_.violation.empty()) check_end();
  outcome_.hash = hash_;
  outcome_.acknowledged = acked_.size();
  outcome_.in_ledger = ledger_.size();
  return outcome_;
}

void World::handle(Event& e) {
  int n = e.node;
  Agent* agent = n < sites_ ? &agents_[n] : nullptr;
  AgentEffects effects;
  ControlEffects control;
  bool alive = agent && agent->core && (e.life == 0 || e.life == agent->life);
  bool control_alive = control_.core && (e.life == 0 || e.life == control_.life);
  switch (e.kind) {
    case Kind::kAgentTick:
      if (!alive) return;
      agent->core->tick(now(n), effects);
      agent_effects(n, effects);
      wake_agent(n);
      return;
    case Kind::kControlTick:
      if (!control_alive) return;
      control_.core->tick(now(witness_), control);
      control_effects(control);
      schedule(time_ + 200 * kMs, Kind::kControlTick, witness_, control_.life);
      return;
    case Kind::kAgentReport:
      schedule(time_ + 400 * kMs, Kind::kAgentReport, n);
      if (!alive) return;
      send(n, witness_, Kind::kReportArrives, 0, 0, 0, 0,
           std::make_shared<AgentReport>(agent->core->report(now(n))));
      return;
    case Kind::kReportArrives: {
      if (!control_alive) return;
      const auto& report = *static_cast<const AgentReport*>(e.body.get());
      if (report.writing_epoch.value != 0) last_writer_report_[e.from] = time_;
      control_.core->on_agent(now(witness_), report, control);
      control_effects(control);
      return;
    }
    case Kind::kProbe:
      probe(n);
      schedule(time_ + 1000 * kMs, Kind::kProbe, n);
      return;
    case Kind::kVantage:
      return;
    case Kind::kVantageArrives:
      if (!control_alive) return;
      control_.core->on_vantage(now(witness_), *static_cast<const VantageReport*>(e.body.get()), control);
      control_effects(control);
      return;
    case Kind::kRecordPoll:  // at node n: ask; at the witness: answer
      if (n != witness_) {
        schedule(time_ + 500 * kMs, Kind::kRecordPoll, n);
        if (alive) send(n, witness_, Kind::kRecordPoll, 0, 1, 0);
        return;
      }
      if (control_alive && store_.record.version != 0)
        send(witness_, e.from, Kind::kRecord, 0, 0, 0, 0, std::make_shared<ServiceRecord>(store_.record));
      return;
    case Kind::kRecord:
      if (!alive) return;
      agent->core->on_record(now(n), *static_cast<const ServiceRecord*>(e.body.get()), effects);
      agent_effects(n, effects);
      wake_agent(n);
      return;
    case Kind::kLeaseRequest:
      if (!control_alive) return;
      control_.core->on_lease_request(now(witness_), SiteId{e.from}, static_cast<LeaseOp>(e.a), Epoch{e.b},
                                      RequestId{e.c}, control);
      control_effects(control);
      return;
    case Kind::kLeaseReply:
      if (!alive) return;
      agent->core->on_lease_reply(now(n), RequestId{e.a}, static_cast<LeaseOutcome>(e.b), effects);
      agent_effects(n, effects);
      wake_agent(n);
      return;
    case Kind::kPromiseRequest:
      if (!alive) return;
      agent->core->on_promise_request(now(n), SiteId{e.from}, Epoch{e.a}, RequestId{e.b}, effects);
      agent_effects(n, effects);
      wake_agent(n);
      return;
    case Kind::kPromiseReply:
      if (!alive) return;
      agent->core->on_promise_reply(now(n), SiteId{e.from}, RequestId{e.a}, e.b != 0, effects);
      agent_effects(n, effects);
      wake_agent(n);
      return;
    case Kind::kDatabaseStatus:
      if (e.a == 0) schedule(time_ + 300 * kMs, Kind::kDatabaseStatus, n);
      if (!alive) return;
      agent->core->on_database(now(n), database_status(n), effects);
      agent_effects(n, effects);
      if (agent->core) maybe_drained(n);
      wake_agent(n);
      return;
    case Kind::kDatabaseOp:
      execute(n, static_cast<DatabaseOp>(e.a & 0xff), Epoch{e.b}, static_cast<int>(e.a >> 8) - 1, e.c, e.life);
      return;
    case Kind::kDatabaseDone:
      if (!alive) return;
      agent->core->on_database_done(now(n), RequestId{e.a}, e.b != 0, Position{e.c}, effects);
      agent_effects(n, effects);
      if (agent->core) schedule(time_ + kMs, Kind::kDatabaseStatus, n, agent->life, 1);
      wake_agent(n);
      return;
    case Kind::kReplicate:
      replicate(n);
      schedule(time_ + random_.between(20, 120) * kMs, Kind::kReplicate, n);
      return;
    case Kind::kHeartbeat:
      schedule(time_ + 250 * kMs, Kind::kHeartbeat, n);
      if (alive && agent->gateway.mode == GatewayMode::kLocal && gateway_passes(n) && databases_[n].answers() &&
          !databases_[n].read_only)
        ++databases_[n].heartbeat;
      return;
    case Kind::kClientWrite:
    case Kind::kPeerWrite:
      return client_write(e);
    case Kind::kCommit: return commit(e);
    case Kind::kAck: return acknowledge(e);
    case Kind::kAckWritten: return acknowledged(e);
    case Kind::kDnsPoll:
      schedule(time_ + 500 * kMs, Kind::kDnsPoll, n);
      if (control_.core && store_.record.version != 0 && linked(n, witness_))
        send(witness_, n, Kind::kDnsRecord, 0, store_.record.active_epoch.value, store_.record.active.value);
      return;
    case Kind::kDnsRecord:
      if (e.a >= dns_epoch_[n].value && SiteId{static_cast<std::uint8_t>(e.b)} != kNoSite) {
        dns_epoch_[n] = Epoch{e.a};
        dns_active_[n] = SiteId{static_cast<std::uint8_t>(e.b)};
      }
      send(n, witness_, Kind::kDnsSeen, 0, dns_epoch_[n].value, 0);
      return;
    case Kind::kDnsSeen:
      if (!control_alive) return;
      control_.core->on_dns(now(witness_), SiteId{e.from}, Epoch{e.a}, control);
      control_effects(control);
      return;
    case Kind::kRestartAgent:
      if (e.life == agent->life) restart_agent(n);
      return;
    case Kind::kRestartControl:
      if (e.life == control_.life) restart_control();
      return;
    case Kind::kRestartDatabase:
      databases_[n].up = true;
      databases_[n].read_only = true;  // as configured: a database always starts fenced
      if (databases_[n].source >= 0) databases_[n].replication = ReplicationState::kBroken;
      return;
    case Kind::kThawDatabase:
      databases_[n].frozen = false;
      say(fmt::format("database {} thaws", n));
      return;
    case Kind::kFault: return fault();
    case Kind::kHeal: return heal();
    case Kind::kOperator: return operate();
  }
}

// ------------------------------------------------------------------------------------- agents

void World::restart_agent(int site) {
  Agent& a = agents_[site];
  control::AgentConfig config;
  config.self = SiteId{static_cast<std::uint8_t>(site)};
  for (int s = 0; s < sites_; ++s)
    if (s != site) config.peers.push_back(SiteId{static_cast<std::uint8_t>(s)});
  config.lease = platform_.lease;
  a.core.emplace(std::move(config));
  std::uint32_t generation = a.gateway.generation + 1;
  a.gateway = Gateway{};
  a.gateway.generation = generation;
  a.heartbeat_known = a.heartbeat_looked = false;
  AgentEffects effects;
  a.core->start(now(site), a.durable, effects);
  agent_effects(site, effects);
  wake_agent(site);
}

void World::crash_agent(int site) {
  Agent& a = agents_[site];
  if (!a.core) return;
  say(fmt::format("agent {} dies", site));
  a.core.reset();
  ++a.life;
  a.paused_until = 0;
  ++a.gateway.generation;
  a.gateway.mode = GatewayMode::kRefuse;
  a.gateway.in_flight = 0;
  schedule(time_ + random_.between(200, quiet_ ? 500 : 6000) * kMs, Kind::kRestartAgent, site, a.life);
}

void World::wake_agent(int site) {
  Agent& a = agents_[site];
  if (!a.core) return;
  Now n = now(site);
  TrueTime at = time_ + local_delay(site, a.core->next_tick(n) - n.boot);
  if (a.next_tick > time_ && a.next_tick <= at) return;
  a.next_tick = at;
  schedule(at, Kind::kAgentTick, site, a.life);
}

void World::agent_effects(int site, AgentEffects& effects) {
  Agent& a = agents_[site];
  for (control::AgentEffect& effect : effects) {
    if (!quiet_ && random_.chance(crash_)) return crash_agent(site);
    if (auto* lease = std::get_if<control::SendLease>(&effect)) {
      say(fmt::format("agent {} asks {} epoch {}", site, static_cast<int>(lease->op), lease->epoch.value));
      send(site, witness_, Kind::kLeaseRequest, 0, static_cast<std::uint64_t>(lease->op), lease->epoch.value,
           lease->request.value);
    } else if (auto* ask = std::get_if<control::SendPromiseRequest>(&effect)) {
      send(site, ask->to.value, Kind::kPromiseRequest, 0, ask->epoch.value, ask->request.value);
    } else if (auto* reply = std::get_if<control::SendPromiseReply>(&effect)) {
      say(fmt::format("agent {} {} a promise to {}", site, reply->granted ? "gives" : "refuses", reply->to.value));
      send(site, reply->to.value, Kind::kPromiseReply, 0, reply->request.value, reply->granted);
    } else if (auto* persist = std::get_if<control::Persist>(&effect)) {
      a.durable = persist->memory;
    } else if (auto* gateway = std::get_if<control::SetGateway>(&effect)) {
      set_gateway(site, *gateway);
    } else if (auto* extend = std::get_if<control::ExtendLease>(&effect)) {
      if (a.gateway.epoch == extend->epoch)
        a.gateway.deadline = extend->deadline;
    } else if (auto* start = std::get_if<control::StartDatabase>(&effect)) {
      TrueTime takes = start->op == DatabaseOp::kFollow ? random_.between(100, 900) * kMs
                                                        : random_.between(1, 150) * kMs;
      std::uint64_t source = start->site == kNoSite ? 0 : start->site.value + 1u;
      schedule(time_ + takes, Kind::kDatabaseOp, site, a.life,
               static_cast<std::uint64_t>(start->op) | (source << 8), start->epoch.value,
               start->request.value);
    } else if (std::get_if<control::EndTransactions>(&effect)) {
      ++a.gateway.generation;
      a.gateway.in_flight = 0;
    }
  }
  if (a.core && a.core->report(now(site)).by_promise) ++outcome_.promised;
}

void World::set_gateway(int site, const control::SetGateway& g) {
  Gateway& gateway = agents_[site].gateway;
  say(fmt::format("gateway {} {} epoch {}", site, name(g.mode), g.epoch.value));
  bool keeps_clients = g.mode == GatewayMode::kHold && gateway.mode == GatewayMode::kLocal &&
                       g.epoch == gateway.epoch;
  if (!keeps_clients && g.mode != GatewayMode::kLocal) {
    ++gateway.generation;
    gateway.in_flight = 0;
  }
  gateway.mode = g.mode;
  gateway.epoch = g.epoch;
  gateway.deadline = g.deadline;
  if (g.mode == GatewayMode::kLocal) on_writer_open(site, g.epoch);
  gateway.remote = g.mode == GatewayMode::kRemote ? g.site.value : -1;
  schedule(time_ + 5 * kMs, Kind::kDatabaseStatus, site, agents_[site].life, 1);
}

// A hold while draining keeps epoch and deadline for what is still in flight.
bool World::gateway_passes(int site) const {
  const Agent& a = agents_[site];
  return a.core && a.gateway.epoch.value != 0 && now(site).boot < a.gateway.deadline;
}

void World::maybe_drained(int site) {
  Agent& a = agents_[site];
  if (a.gateway.mode != GatewayMode::kHold || a.gateway.in_flight > 0) return;
  AgentEffects effects;
  a.core->on_gateway(now(site), true, effects);
  agent_effects(site, effects);
}

// ------------------------------------------------------------------------------------ control

void World::restart_control() {
  control_.core.emplace(control_config_);
  ControlEffects effects;
  control_.core->load(now(witness_), store_.record, store_.lease, store_.lease_version, effects);
  control_effects(effects);
  schedule(time_ + 200 * kMs, Kind::kControlTick, witness_, control_.life);
}

void World::crash_control() {
  if (!control_.core) return;
  say("control dies");
  control_.core.reset();
  ++control_.life;
  control_.paused_until = 0;
  schedule(time_ + random_.between(200, quiet_ ? 500 : 8000) * kMs, Kind::kRestartControl, witness_,
           control_.life);
}

void World::control_effects(ControlEffects& effects) {
  for (std::size_t i = 0; i < effects.size(); ++i) {
    if (!control_.core) return;
    if (!quiet_ && random_.chance(crash_)) return crash_control();
    if (auto* save = std::get_if<control::SaveRecord>(&effects[i])) {
      bool ok = save->expected == store_.record.version;
      if (ok) {
        on_record_saved(store_.record, save->record);
        std::uint64_t version = store_.record.version + 1;
        store_.record = save->record;
        store_.record.version = version;
        say(fmt::format("record {}: writer {} epoch {} drain {} active {}/{}", version,
                        store_.record.intent.writer.value, store_.record.intent.epoch.value,
                        store_.record.intent.drain.value, store_.record.active.value,
                        store_.record.active_epoch.value));
        if (!quiet_ && random_.chance(crash_)) return crash_control();
        for (int s = 0; s < sites_; ++s)
          send(witness_, s, Kind::kRecord, 0, 0, 0, 0, std::make_shared<ServiceRecord>(store_.record));
      }
      ControlEffects more;
      control_.core->on_record_saved(now(witness_), ok, store_.record.version, more);
      for (auto& m : more) effects.push_back(std::move(m));
    } else if (auto* lease = std::get_if<control::SaveLease>(&effects[i])) {
      bool ok = lease->expected == store_.lease_version;
      if (ok) {
        if (lease->value.epoch < store_.lease.epoch) violate("I2: the lease's epoch went back");
        store_.lease = lease->value;
        ++store_.lease_version;
      }
      ControlEffects more;
      control_.core->on_lease_saved(now(witness_), ok, store_.lease_version, more);
      for (auto& m : more) effects.push_back(std::move(m));
    } else if (auto* reply = std::get_if<control::LeaseReply>(&effects[i])) {
      send(witness_, reply->to.value, Kind::kLeaseReply, 0, reply->request.value,
           static_cast<std::uint64_t>(reply->outcome));
    } else if (auto* notes = std::get_if<control::Notes>(&effects[i])) {
      if (options_.trace)
        for (const control::Note& n : notes->notes) say(std::string("note ") + std::string(identifier(n.kind)));
    }
  }
}

// ---------------------------------------------------------------------------------- databases

DatabaseStatus World::database_status(int site) {
  Agent& a = agents_[site];
  const Database& db = databases_[site];
  DatabaseStatus s;
  s.reachable = db.answers();
  if (!s.reachable) return s;
  s.read_only = db.read_only;
  s.epoch = db.epoch;
  s.source = db.source < 0 ? kNoSite : SiteId{static_cast<std::uint8_t>(db.source)};
  s.replication = db.replication;
  s.written = s.received = s.applied = Position{db.log.size()};
  s.diverged = false;
  BootTime local = now(site).boot;
  // A row that is new may have arrived right after the last look, and at the first look it may be of
  // any age: only a change tells, and it is dated back to the look before.
  if (a.heartbeat_looked && db.heartbeat != a.heartbeat_seen) {
    a.heartbeat_seen_at = a.heartbeat_look;
    a.heartbeat_known = true;
  }
  a.heartbeat_seen = db.heartbeat;
  a.heartbeat_look = local;
  a.heartbeat_looked = true;
  if (a.heartbeat_known) s.heartbeat_age = local - a.heartbeat_seen_at;
  return s;
}

void World::done(int site, std::uint64_t request, std::uint32_t life, bool ok, Position position) {
  schedule(time_ + random_.between(10, 300) * 1000, Kind::kDatabaseDone, site, life, request, ok,
           position.value);
}

void World::execute(int site, DatabaseOp op, Epoch epoch, int source, std::uint64_t request,
                    std::uint32_t life) {
  Database& db = databases_[site];
  // An operation of a dead agent may still reach the database, or not.
  bool orphan = agents_[site].life != life;
  if (orphan && random_.chance(0.5)) return;
  bool ok = db.answers();
  if (ok && op == DatabaseOp::kFence) {
    db.read_only = true;
  } else if (ok && op == DatabaseOp::kPromote) {
    if (db.epoch > epoch) {
      ok = false;
    } else {
      db.source = -1;
      db.replication = ReplicationState::kNone;
      if (db.epoch < epoch) db.log.push_back({0, epoch});
      db.epoch = epoch;
      db.read_only = false;
    }
  } else if (ok && op == DatabaseOp::kFollow) {
    ok = follow(site, source, epoch);
  }
  say(fmt::format("database {} op {} epoch {}: {}", site, static_cast<int>(op), epoch.value, ok ? "done" : "failed"));
  done(site, request, life, ok, Position{db.log.size()});
}

bool World::follow(int site, int source, Epoch epoch) {
  Database& db = databases_[site];
  const Database& up = databases_[source];
  if (!up.answers() || !linked(site, source) || !linked(source, site) || up.epoch != epoch) return false;
  db.read_only = true;
  std::size_t common = 0;
  while (common < db.log.size() && common < up.log.size() && db.log[common].id == up.log[common].id &&
         db.log[common].epoch == up.log[common].epoch)
    ++common;
  for (std::size_t i = common; i < db.log.size(); ++i)
    if (db.log[i].id != 0) ledger_.insert(db.log[i].id);
  db.log.resize(common);
  db.epoch = Epoch{};
  for (const Commit& c : db.log)
    if (c.id == 0) db.epoch = std::max(db.epoch, c.epoch);
  db.source = source;
  db.replication = ReplicationState::kStreaming;
  return true;
}

void World::replicate(int site) {
  Database& db = databases_[site];
  if (db.source < 0 || db.replication == ReplicationState::kBroken || !db.answers()) return;
  const Database& up = databases_[db.source];
  bool reachable = up.answers() && linked(site, db.source) && linked(db.source, site);
  db.replication = reachable ? ReplicationState::kStreaming : ReplicationState::kConnecting;
  if (!reachable || time_ < db.stalled_until) return;
  if (db.log.size() > up.log.size() ||
      (!db.log.empty() && (db.log.back().id != up.log[db.log.size() - 1].id ||
                           db.log.back().epoch != up.log[db.log.size() - 1].epoch))) {
    db.replication = ReplicationState::kBroken;  // as gtid_strict_mode would
    return;
  }
  for (std::size_t i = db.log.size(); i < up.log.size(); ++i) {
    db.log.push_back(up.log[i]);
    if (up.log[i].id == 0) db.epoch = std::max(db.epoch, up.log[i].epoch);
  }
  db.heartbeat = up.heartbeat;
}

// ------------------------------------------------------------------------------ probes, clients

bool World::service_answers(int site) const {
  const Agent& a = agents_[site];
  if (!a.core || a.paused_until > time_) return false;
  int at = site;
  if (a.gateway.mode == GatewayMode::kRemote) {
    at = a.gateway.remote;
    if (!linked(site, at) || !linked(at, site)) return false;
    if (!agents_[at].core || agents_[at].paused_until > time_) return false;
  }
  return agents_[at].gateway.mode == GatewayMode::kLocal && gateway_passes(at) && databases_[at].answers();
}

void World::probe(int vantage) {
  bool process = vantage == witness_ ? control_.core.has_value()
                                     : agents_[vantage].core && agents_[vantage].paused_until <= time_;
  if (!process) {
    Vantage fresh;  // the prober died with its process; what it saw before stays true
    fresh.last_down = vantages_[vantage].last_down;
    vantages_[vantage] = fresh;
    return;
  }
  Vantage& v = vantages_[vantage];
  auto report = std::make_shared<VantageReport>();
  report->vantage = SiteId{static_cast<std::uint8_t>(vantage)};
  for (int s = 0; s < sites_; ++s) {
    bool ok = linked(vantage, s) && linked(s, vantage) && service_answers(s) && (quiet_ || !random_.chance(0.01));
    if (ok) {
      v.failures[s] = 0;
      if (++v.successes[s] >= platform_.probes.rise) v.health[s] = Health::kUp;
    } else {
      v.successes[s] = 0;
      if (++v.failures[s] >= platform_.probes.fall) v.health[s] = Health::kDown;
    }
    if (v.health[s] == Health::kDown) v.last_down[s] = time_;
    report->health[s] = v.health[s];
    report->failures[s] = static_cast<std::uint8_t>(std::min(v.failures[s], 255));
  }
  send(vantage, witness_, Kind::kVantageArrives, 0, 0, 0, 0, report);
}

// A client writes through its site's gateway about five times a second. a: transaction, 0 = new.
void World::client_write(Event& e) {
  int site = e.node;
  bool peer = e.kind == Kind::kPeerWrite;
  if (!peer) schedule(time_ + random_.between(100, 300) * kMs, Kind::kClientWrite, site);
  Agent& a = agents_[site];
  if (!a.core) return;
  if (a.gateway.mode == GatewayMode::kRemote && !peer) {
    send(site, a.gateway.remote, Kind::kPeerWrite, 0, 0, 0);
    return;
  }
  if (a.gateway.mode != GatewayMode::kLocal || !gateway_passes(site)) return;
  ++a.gateway.in_flight;
  schedule(time_ + random_.between(1, random_.chance(0.1) ? 1500 : 20) * kMs, Kind::kCommit, site, a.life,
           next_transaction_++, a.gateway.generation);
}

void World::commit(Event& e) {
  int site = e.node;
  Agent& a = agents_[site];
  Database& db = databases_[site];
  bool client_there = a.life == e.life && a.gateway.generation == e.b;
  // Without its client the database rolls back; a commit already under way may still happen.
  if (db.answers() && !db.read_only && (client_there || random_.chance(0.3))) {
    db.log.push_back({e.a, db.epoch});
    if (client_there)
      schedule(time_ + random_.between(10, 500) * 1000, Kind::kAck, site, e.life, e.a, e.b, db.epoch.value);
  } else if (client_there && a.gateway.in_flight > 0) {
    --a.gateway.in_flight;
  }
}

void World::acknowledge(Event& e) {
  int site = e.node;
  Agent& a = agents_[site];
  if (a.life != e.life || a.gateway.generation != e.b) return;
  if (!gateway_passes(site)) {
    if (a.gateway.in_flight > 0) --a.gateway.in_flight;
    return;
  }
  // Between the check and the write to the client's socket the thread may lose the processor, for as
  // long as the grace of the lease at most. A gateway that is closed on purpose waits for it.
  TrueTime preempted = random_.chance(0.05) ? random_.between(0, local_delay(site, platform_.lease.grace) - 2) : 0;
  schedule(time_ + preempted, Kind::kAckWritten, site, e.life, e.a, e.b, a.gateway.epoch.value);
}

void World::acknowledged(const Event& e) {
  Agent& a = agents_[e.node];
  if (a.life != e.life || a.gateway.generation != e.b) return;
  if (a.gateway.in_flight > 0) --a.gateway.in_flight;
  Epoch epoch{e.c};
  acked_[e.a] = Acked{time_, epoch, e.node};
  mix(e.a);
  if (newest_acked_ > epoch)
    violate(fmt::format("I1: epoch {} acknowledged a write after epoch {} did", epoch.value, newest_acked_.value));
  newest_acked_ = std::max(newest_acked_, epoch);
}

// -------------------------------------------------------------------------------------- faults

void World::fault() {
  static constexpr const char* kFaults[] = {"one-way cut", "cut", "site cut off", "site cut off", "control cut off", "links heal", "agent crash", "database crash", "database freeze", "control crash", "pause", "slow replication"};
  int a = static_cast<int>(random_.between(0, nodes_ - 1));
  int b = static_cast<int>(random_.between(0, nodes_ - 1));
  int site = static_cast<int>(random_.between(0, sites_ - 1));
  if (random_.chance(0.6) && store_.record.intent.writer != kNoSite) site = store_.record.intent.writer.value;
  int what = static_cast<int>(random_.between(0, 11));
  say(fmt::format("fault: {} (nodes {} {}, site {})", kFaults[what], a, b, site));
  switch (what) {
    case 0: if (a != b) blocked_[a][b] = true; break;                          // one way
    case 1: if (a != b) blocked_[a][b] = blocked_[b][a] = true; break;
    case 2:  // a site is cut off from all others
    case 3:
      for (int n = 0; n < nodes_; ++n)
        if (n != site) blocked_[site][n] = blocked_[n][site] = true;
      break;
    case 4:  // the control node is cut off
      for (int n = 0; n < sites_; ++n) blocked_[witness_][n] = blocked_[n][witness_] = true;
      break;
    case 5:
      for (auto& row : blocked_) row.fill(false);
      break;
    case 6: crash_agent(site); break;
    case 7:
      databases_[site].up = false;
      schedule(time_ + random_.between(500, 8000) * kMs, Kind::kRestartDatabase, site);
      break;
    case 8:
      databases_[site].frozen = true;
      schedule(time_ + random_.between(500, 15000) * kMs, Kind::kThawDatabase, site);
      break;
    case 9: crash_control(); break;
    case 10:
      if (random_.chance(0.3))
        control_.paused_until = time_ + random_.between(100, 8000) * kMs;
      else
        agents_[site].paused_until = time_ + random_.between(100, 8000) * kMs;
      break;
    case 11:
      databases_[static_cast<int>(random_.between(0, sites_ - 1))].stalled_until =
          time_ + random_.between(500, 9000) * kMs;
      clocks_[a].wall_jump += random_.between(-100, 100) * kSecond;
      break;
  }
  if (random_.chance(0.15)) {  // the loss of a whole site
    say(fmt::format("fault: site {} dies", site));
    crash_agent(site);
    databases_[site].up = false;
    schedule(time_ + random_.between(4000, 20000) * kMs, Kind::kRestartDatabase, site);
  }
}

void World::heal() {
  say("faults end");
  quiet_ = true;
  for (auto& row : blocked_) row.fill(false);
  loss_ = duplicate_ = slow_ = 0;
  for (int s = 0; s < sites_; ++s) {
    databases_[s].stalled_until = 0;
    databases_[s].frozen = false;
    if (!databases_[s].up) schedule(time_ + kMs, Kind::kRestartDatabase, s);
  }
}

void World::operate() {
  if (!control_.core || control_.paused_until > time_) return;
  control::OperatorRequest q;
  q.request = ++control_.operator_requests;
  switch (random_.between(0, 3)) {
    case 0: q.kind = control::OperatorRequest::Kind::kFailback; break;
    case 1: q.kind = control::OperatorRequest::Kind::kFailover; break;
    default: q.kind = control::OperatorRequest::Kind::kSwitchover; break;
  }
  q.override_block = random_.chance(0.5);
  ControlEffects effects;
  control_.core->on_operator(now(witness_), q, effects);
  control_effects(effects);
}

// -------------------------------------------------------------------------------------- checks

void World::say(const std::string& line) {
  for (char c : line) mix(static_cast<unsigned char>(c));
  if (options_.trace) options_.trace(fmt::format("{:10.4f} {}", static_cast<double>(time_) / 1e9, line));
}

void World::violate(std::string what) {
  if (!outcome_.violation.empty()) return;
  say("VIOLATION " + what);
  outcome_.violation = std::move(what);
}

bool World::holds(const Database& db, std::uint64_t id) const {
  return std::any_of(db.log.begin(), db.log.end(), [&](const Commit& c) { return c.id == id; });
}

// I2, and I3's promise for planned moves: nothing acknowledged is missing where the writer opens.
void World::on_writer_open(int site, Epoch epoch) {
  if (epoch < newest_open_) violate(fmt::format("I2: a gateway opened at epoch {} after {}", epoch.value, newest_open_.value));
  if (epoch == newest_open_) return;
  newest_open_ = epoch;
  if (databases_[site].epoch != epoch)
    violate(fmt::format("I2: a gateway opened at epoch {} to a database of epoch {}", epoch.value, databases_[site].epoch.value));
  const auto& plan = store_.record.plan;
  bool planned = plan && !plan->ended() && (plan->kind == PlanKind::kSwitchover || plan->kind == PlanKind::kFailback);
  std::set<std::uint64_t> there;
  for (const Commit& c : databases_[site].log) there.insert(c.id);
  for (const auto& [id, acked] : acked_) {
    if (there.count(id) || known_lost_.count(id)) continue;
    if (planned) violate(fmt::format("I3: a planned move lost acknowledged write {}", id));
    known_lost_.insert(id);
  }
}

void World::on_record_saved(const ServiceRecord& before, const ServiceRecord& after) {
  if (after.intent.epoch < before.intent.epoch) violate("I2: the intent's epoch went back");
  if (after.intent.writer != before.intent.writer && after.intent.epoch <= before.intent.epoch)
    violate("I2: the writer changed without a new epoch");
  bool new_plan = after.plan && (!before.plan || before.plan->id != after.plan->id);
  if (!new_plan) return;
  const Plan& plan = *after.plan;
  if (plan.kind == PlanKind::kSwitchover || plan.kind == PlanKind::kFailback) {
    ++outcome_.planned_moves;
    if (plan.automatic) violate("I7: a failback began without being asked for");
  }
  if (plan.kind != PlanKind::kFailover) return;
  ++outcome_.failovers;
  if (!plan.automatic) return;
  int from = plan.from.value;
  int to = plan.to.value;
  TrueTime window = platform_.failover.block_window.count();
  if (!automatic_failovers_.empty() && static_cast<double>(time_ - automatic_failovers_.back()) < static_cast<double>(window) * 0.98)
    violate("I7: two automatic failovers within the block window");
  automatic_failovers_.push_back(time_);
  int down = 0;
  for (int v = 0; v < nodes_; ++v)
    down += vantages_[v].last_down[from] != 0 && time_ - vantages_[v].last_down[from] < 6 * kSecond;
  if (down < platform_.probes.quorum) violate("I9: a failover without a quorum of vantage points that saw the site down");
  // I4: of what control could know (up to the writer's last report), not more than the RPO is missing.
  if (last_writer_report_.count(from)) {
    TrueTime horizon = last_writer_report_[from] - 3 * kSecond;
    for (const auto& [id, acked] : acked_) {
      if (acked.at >= horizon - platform_.failover.rpo.count() || known_lost_.count(id)) continue;
      if (acked.epoch == before.intent.epoch && acked.site == from && !holds(databases_[to], id)) {
        violate(fmt::format("I4: an automatic failover would lose write {}, {:.1f} s older than the RPO allows",
                            id, static_cast<double>(horizon - acked.at) / 1e9));
        break;
      }
    }
  }
}

void World::check_end() {
  const ServiceRecord& r = store_.record;
  int writing = 0;
  int writer = -1;
  for (int s = 0; s < sites_; ++s)
    if (agents_[s].core && agents_[s].gateway.mode == GatewayMode::kLocal && gateway_passes(s)) {
      ++writing;
      writer = s;
    }
  if (writing > 1) return violate("I1: two sites are open for writes");
  if (writing == 0 || !databases_[writer].answers()) {
    std::string reason;
    if (r.proposal) reason = r.proposal->why_not_automatic;
    if (reason.empty()) return violate("I10: no writer, and no reason stated");
    outcome_.ended_waiting = true;
  }
  // I3: on the survivor, in the ledger, or still untouched on a site that has not rejoined.
  for (const auto& [id, acked] : acked_) {
    bool kept = ledger_.count(id) > 0;
    for (int s = 0; s < sites_ && !kept; ++s) {
      bool survivor = s == writer;
      bool untouched = databases_[s].replication != ReplicationState::kStreaming;
      if (survivor || untouched) kept = holds(databases_[s], id);
    }
    if (!kept) return violate(fmt::format("I3: acknowledged write {} is neither on the survivor nor in the ledger", id));
  }
  if (writing == 0) return;
  for (int s = 0; s < sites_; ++s) {
    if (dns_active_[s].value != static_cast<std::uint8_t>(writer) || dns_epoch_[s] != r.active_epoch)
      return violate("I5: a DNS server does not name the writer after the faults ended");
    if (s == writer) continue;
    if (!databases_[s].read_only) return violate("I5: a database without the lease accepts writes");
    if (databases_[s].replication != ReplicationState::kStreaming || databases_[s].source != writer)
      return violate(fmt::format("I10: site {} did not become a standby again", s));
  }
  if (r.plan && !r.plan->ended()) violate("I6: a plan never ended");
}

}  // namespace

Outcome run_world(const Options& options) { return World(options).run(); }

}  // namespace leeward::sim

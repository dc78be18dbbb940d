#include <fmt/format.h>

#include <algorithm>

#include "sim/running_world.h"

namespace leeward::sim {

using control::AgentEffects;
using control::ControlEffects;
using control::LeaseOp;
using control::LeaseOutcome;
using control::RequestId;

// ------------------------------------------------------------------------------------- set-up

void World::set_up() {
  auto story = random_.chance(0.4)
                   ? Story::kNone
                   : static_cast<Story>(random_.between(1, static_cast<int>(Story::kCount) - 1));
  bool needs_third =
      story == Story::kOnePeerLeft || story == Story::kStaleOpinion || story == Story::kYoungEpoch;
  state_.sites = needs_third || random_.chance(0.15) ? 3 : 2;
  state_.witness = state_.sites;
  state_.nodes = state_.sites + 1;
  state_.platform.name = "sim";
  const char* names[] = {"gcp", "aws", "third"};
  for (int i = 0; i < state_.sites; ++i)
    state_.platform.sites.push_back(
        {names[i], i == 0 ? SiteRole::kPrimary : SiteRole::kStandby, ""});
  state_.platform.sites.push_back({"witness", SiteRole::kWitness, ""});
  LeaseTimings& lease = state_.platform.lease;
  lease.duration = Duration(random_.between(1500, random_.chance(0.5) ? 3000 : 6000) * kMs);
  lease.grace = Duration(random_.between(200, 1000) * kMs);
  lease.takeover = lease.takeover_min();  // exactly the inequality, no reserve
  state_.platform.failover.rpo = Duration(random_.between(1, 5) * kSecond);
  state_.platform.failover.block_window = Duration(random_.between(8, 30) * kSecond);
  if (random_.chance(0.5)) {
    state_.platform.probes.interval = Duration(random_.between(300, 1000) * kMs);
    state_.platform.probes.fall = 2;
  }
  control_config_ = control::control_config(state_.platform);
  // Drawn apart, so that the other worlds stay what they are.
  Random apart(options_.seed ^ 0x2105512u);
  state_.lossless = state_.sites == 2 && apart.chance(0.35);
  control_config_.lossless = state_.lossless;
  control_config_.failover.startup_timeout = Duration(apart.between(4, 10) * kSecond);
  if (apart.chance(0.7)) control_config_.degrade_after = Duration(apart.between(1500, 6000) * kMs);
  for (int i = 0; i < state_.nodes; ++i) {
    double drift = lease.clock_drift;
    state_.clocks[i].rate =
        random_.chance(0.5) ? (random_.chance(0.5) ? 1 - drift : 1 + drift)
                            : 1 + drift * (static_cast<double>(random_.between(-100, 100)) / 100);
    state_.clocks[i].offset = random_.between(1, 1000) * kSecond;
    state_.clocks[i].wall_jump = random_.between(-5, 5) * kSecond;
  }
  loss_ = random_.chance(0.5) ? 0 : static_cast<double>(random_.between(1, 10)) / 100;
  duplicate_ = random_.chance(0.5) ? 0 : 0.05;
  slow_ = random_.chance(0.5) ? 0 : 0.05;
  late_ = random_.chance(0.5) ? 0 : 0.1;
  crash_ = random_.chance(0.7) ? 0 : 0.0005;
  crash_after_promise_ = random_.chance(0.5) ? 0 : 0.2;
  faults_end_ = random_.between(story == Story::kNone ? 8 : 18, 24) * kSecond;
  end_ = faults_end_ + 45 * kSecond;
  plan_pairs();
  for (int s = 0; s < state_.sites; ++s) {
    restart_agent(s);
    schedule(random_.between(0, 200) * kMs, Kind::kDatabaseStatus, s);
    schedule(random_.between(0, 200) * kMs, Kind::kReplicate, s);
    schedule(random_.between(0, 250) * kMs, Kind::kHeartbeat, s);
    schedule(random_.between(0, 250) * kMs, Kind::kAgentReport, s);
    schedule(random_.between(0, 500) * kMs, Kind::kRecordPoll, s);
    schedule(random_.between(0, 500) * kMs, Kind::kDnsPoll, s);
    schedule(random_.between(0, 200) * kMs, Kind::kClientWrite, s);
  }
  for (int n = 0; n < state_.nodes; ++n) schedule(random_.between(0, 1000) * kMs, Kind::kProbe, n);
  restart_control();
  tell(story);
  int faults = static_cast<int>(random_.between(0, story == Story::kNone ? 7 : 2));
  for (int i = 0; i < faults; ++i)
    schedule(random_.between(3 * kSecond, faults_end_), Kind::kFault, 0);
  int operations =
      story == Story::kNone && random_.chance(0.5) ? static_cast<int>(random_.between(1, 4)) : 0;
  for (int i = 0; i < operations; ++i)
    schedule(random_.between(3 * kSecond, faults_end_), Kind::kOperator, 0);
  schedule(faults_end_, Kind::kHeal, 0);
  schedule(250 * kMs, Kind::kWatch, 0);
}

// ------------------------------------------------------------------------------------ the loop

void EventQueue::push(TrueTime at, Event event) {
  std::uint32_t slot;
  if (free_.empty()) {
    slot = static_cast<std::uint32_t>(slots_.size());
    slots_.push_back(std::move(event));
  } else {
    slot = free_.back();
    free_.pop_back();
    slots_[slot] = std::move(event);
  }
  heap_.push_back(Key{at, order_++, slot});
  std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
}

Event EventQueue::pop() {
  std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
  std::uint32_t slot = heap_.back().slot;
  heap_.pop_back();
  free_.push_back(slot);
  return std::move(slots_[slot]);
}

void World::schedule(TrueTime at, Kind kind, int node, std::uint32_t life, std::uint64_t a,
                     std::uint64_t b, std::uint64_t c, std::shared_ptr<const void> body, int from) {
  queue_.push(at, Event{kind, static_cast<std::uint8_t>(node), static_cast<std::uint8_t>(from),
                        life, a, b, c, std::move(body)});
}

void World::send(int from, int to, Kind kind, std::uint32_t life, std::uint64_t a, std::uint64_t b,
                 std::uint64_t c, std::shared_ptr<const void> body) {
  if (!state_.linked(from, to) || (from != to && random_.chance(loss_))) return;
  int copies = from != to && random_.chance(duplicate_) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    TrueTime delay = from == to ? random_.between(10, 300) * 1000 : random_.between(1, 30) * kMs;
    if (from != to && random_.chance(slow_)) delay = random_.between(50, 2500) * kMs;
    // Around the time-out of a lease or promise request.
    bool answer = kind == Kind::kLeaseReply || kind == Kind::kPromiseReply;
    if (answer && random_.chance(late_)) delay = random_.between(300, 900) * kMs;
    schedule(state_.time + delay, kind, to, life, a, b, c, body, from);
  }
}

// Events of a paused process wait until it goes on.
bool World::defer(Event& e) {
  bool of_control = e.kind == Kind::kControlTick || e.kind == Kind::kLeaseRequest ||
                    e.kind == Kind::kReportArrives || e.kind == Kind::kVantageArrives ||
                    e.kind == Kind::kDnsSeen ||
                    (e.kind == Kind::kRecordPoll && e.node == state_.witness);
  bool of_agent =
      e.node < state_.sites && (e.kind == Kind::kAgentTick || e.kind == Kind::kLeaseReply ||
                                e.kind == Kind::kPromiseRequest || e.kind == Kind::kPromiseReply ||
                                e.kind == Kind::kRecord || e.kind == Kind::kDatabaseStatus ||
                                e.kind == Kind::kDatabaseDone || e.kind == Kind::kAgentReport ||
                                e.kind == Kind::kHeartbeat || e.kind == Kind::kPeerWrite ||
                                e.kind == Kind::kAck || e.kind == Kind::kClientWrite);
  TrueTime until = of_control ? state_.control.paused_until
                   : of_agent ? state_.agents[e.node].paused_until
                              : 0;
  if (until <= state_.time) return false;
  // The rounds of a process (its looks, reports, heartbeats) belong to whatever life it has, so
  // they must not wait for the end of a pause that the process may not live to see. All else that
  // waits dies with the process.
  bool round = e.life == 0 && (e.kind == Kind::kAgentReport || e.kind == Kind::kDatabaseStatus ||
                               e.kind == Kind::kHeartbeat || e.kind == Kind::kClientWrite);
  if (!round && e.life == 0) e.life = of_control ? state_.control.life : state_.agents[e.node].life;
  constexpr TrueTime kRound = 200 * kMs;
  queue_.push(round ? std::min(until + 1, state_.time + kRound) : until + 1, std::move(e));
  return true;
}

// Once the faults are over, a world that has been healthy for five seconds on end has nothing more
// to show, and need not run until the bound of I10.
void World::look_whether_settled() {
  bool asleep = state_.control.paused_until > state_.time;  // it may find something to do yet
  if (asleep || !checker_.unsettled().empty()) {
    settled_since_ = -1;
  } else if (settled_since_ < 0) {
    settled_since_ = state_.time;
  } else if (state_.time - settled_since_ >= 5 * kSecond) {
    end_ = state_.time;
    return;
  }
  schedule(state_.time + 500 * kMs, Kind::kSettled, 0);
}

Outcome World::run() {
  outcome_.seed = options_.seed;
  set_up();
  while (!queue_.empty() && !checker_.violated() && queue_.next_at() <= end_) {
    state_.time = queue_.next_at();
    Event e = queue_.pop();
    if (defer(e)) continue;
    ++outcome_.events;
    mix(static_cast<std::uint64_t>(state_.time));
    mix(static_cast<std::uint64_t>(e.kind) * 16 + e.node);
    handle(e);
  }
  if (!checker_.violated()) checker_.at_end();
  outcome_.hash = hash_;
  outcome_.acknowledged = checker_.acknowledged();
  outcome_.in_ledger = state_.ledger.size();
  return outcome_;
}

void World::handle(Event& e) {
  int n = e.node;
  Agent* agent = n < state_.sites ? &state_.agents[n] : nullptr;
  AgentEffects effects;
  ControlEffects control;
  bool alive = agent && agent->core && (e.life == 0 || e.life == agent->life);
  bool control_alive = state_.control.core && (e.life == 0 || e.life == state_.control.life);
  switch (e.kind) {
    case Kind::kAgentTick:
      if (!alive) return;
      agent->core->tick(state_.now(n), effects);
      agent_effects(n, effects);
      wake_agent(n);
      return;
    case Kind::kControlTick:
      if (!control_alive) return;
      state_.control.core->tick(state_.now(state_.witness), control);
      control_effects(control);
      schedule(state_.time + 200 * kMs, Kind::kControlTick, state_.witness, state_.control.life);
      return;
    case Kind::kAgentReport: {
      schedule(state_.time + 400 * kMs, Kind::kAgentReport, n);
      if (!alive) return;
      auto report = std::make_shared<AgentReport>(agent->core->report(state_.now(n)));
      if (report->by_promise) ++outcome_.promised;
      send(n, state_.witness, Kind::kReportArrives, 0, 0, 0, 0, std::move(report));
      return;
    }
    case Kind::kReportArrives: {
      if (!control_alive) return;
      const auto& report = *static_cast<const AgentReport*>(e.body.get());
      checker_.on_report_arrived(e.from, report);
      state_.control.core->on_agent(state_.now(state_.witness), report, control);
      control_effects(control);
      return;
    }
    case Kind::kProbe:
      probe(n);
      schedule(state_.time + state_.platform.probes.interval.count(), Kind::kProbe, n);
      return;
    case Kind::kVantage:
      return;
    case Kind::kVantageArrives:
      if (!control_alive) return;
      state_.control.core->on_vantage(state_.now(state_.witness),
                                      *static_cast<const VantageReport*>(e.body.get()), control);
      control_effects(control);
      return;
    case Kind::kRecordPoll:  // at node n: ask; at the witness: answer
      if (n != state_.witness) {
        schedule(state_.time + 500 * kMs, Kind::kRecordPoll, n);
        if (alive) send(n, state_.witness, Kind::kRecordPoll, 0, 1, 0);
        return;
      }
      if (control_alive && state_.store.record.version != 0)
        send(state_.witness, e.from, Kind::kRecord, 0, 0, 0, 0,
             std::make_shared<ServiceRecord>(state_.store.record));
      return;
    case Kind::kRecord:
      if (!alive) return;
      agent->core->on_record(state_.now(n), *static_cast<const ServiceRecord*>(e.body.get()),
                             effects);
      agent_effects(n, effects);
      wake_agent(n);
      return;
    case Kind::kLeaseRequest:
      if (!control_alive) return;
      state_.control.core->on_lease_request(state_.now(state_.witness), SiteId{e.from},
                                            static_cast<LeaseOp>(e.a), Epoch{e.b}, RequestId{e.c},
                                            control);
      control_effects(control);
      return;
    case Kind::kLeaseReply:
      if (!alive) return;
      agent->core->on_lease_reply(state_.now(n), RequestId{e.a}, static_cast<LeaseOutcome>(e.b),
                                  effects);
      agent_effects(n, effects);
      wake_agent(n);
      return;
    case Kind::kPromiseRequest:
      if (!alive) return;
      agent->core->on_promise_request(state_.now(n), SiteId{e.from}, Epoch{e.a}, RequestId{e.b},
                                      effects);
      agent_effects(n, effects);
      wake_agent(n);
      return;
    case Kind::kPromiseReply:
      if (!alive) return;
      agent->core->on_promise_reply(state_.now(n), SiteId{e.from}, RequestId{e.a}, e.b != 0,
                                    effects);
      agent_effects(n, effects);
      wake_agent(n);
      return;
    case Kind::kDatabaseStatus:
      if (e.a == 0) schedule(state_.time + 300 * kMs, Kind::kDatabaseStatus, n);
      if (!alive) return;
      look_at_databases(n);
      if (agent->core) maybe_drained(n);
      wake_agent(n);
      return;
    case Kind::kRemoteLook:
      schedule(state_.time + 400 * kMs, Kind::kRemoteLook, n);
      if (alive && agent->paused_until <= state_.time) look_at_remote(n);
      return;
    case Kind::kSwitchNode:
      if (!alive || agent->paused_until > state_.time) return;
      (void)agent->core->switch_node(state_.now(n), other_node(agent->core->nodes().primary()),
                                     effects);
      agent_effects(n, effects);
      wake_agent(n);
      return;
    case Kind::kPairHeals:
      state_.pair_cut[n] = false;
      return;
    case Kind::kDatabaseOp:
      execute(n, *static_cast<const control::StartDatabase*>(e.body.get()), e.life,
              static_cast<TrueTime>(e.a));
      return;
    case Kind::kDatabaseDone:
      if (!alive) return;
      agent->core->on_database_done(state_.now(n), RequestId{e.a}, e.b != 0, Position{e.c},
                                    effects);
      agent_effects(n, effects);
      if (agent->core) schedule(state_.time + kMs, Kind::kDatabaseStatus, n, agent->life, 1);
      wake_agent(n);
      return;
    case Kind::kReplicate:
      replicate(n, static_cast<int>(e.a));
      schedule(state_.time + random_.between(20, 120) * kMs, Kind::kReplicate, n, 0, e.a);
      return;
    case Kind::kHeartbeat:
      schedule(state_.time + 250 * kMs, Kind::kHeartbeat, n);
      if (alive && agent->gateway.mode == GatewayMode::kLocal && state_.gateway_passes(n) &&
          state_.served(n).answers() && !state_.served(n).read_only) {
        Database& db = state_.served(n);
        db.heartbeat = std::max(db.heartbeat + 1,  // the row carries the time
                                static_cast<std::uint64_t>(state_.time / (250 * kMs)));
        db.beats.push_back({db.log.size(), db.heartbeat});
      }
      return;
    case Kind::kClientWrite:
    case Kind::kPeerWrite:
      return client_write(e);
    case Kind::kCommit:
      return commit(e);
    case Kind::kAwaitCopy:
      return await_copy(e);
    case Kind::kAck:
      return acknowledge(e);
    case Kind::kAckWritten:
      return acknowledged(e);
    case Kind::kDnsPoll:
      schedule(state_.time + 500 * kMs, Kind::kDnsPoll, n);
      if (state_.control.core && state_.store.record.version != 0 &&
          state_.linked(n, state_.witness))
        send(state_.witness, n, Kind::kDnsRecord, 0, state_.store.record.active_epoch.value,
             state_.store.record.active.value);
      return;
    case Kind::kDnsRecord:
      if (e.a >= state_.dns_epoch[n].value && SiteId{static_cast<std::uint8_t>(e.b)} != kNoSite) {
        state_.dns_epoch[n] = Epoch{e.a};
        state_.dns_active[n] = SiteId{static_cast<std::uint8_t>(e.b)};
      }
      send(n, state_.witness, Kind::kDnsSeen, 0, state_.dns_epoch[n].value, 0);
      return;
    case Kind::kDnsSeen:
      if (!control_alive) return;
      state_.control.core->on_dns(state_.now(state_.witness), SiteId{e.from}, Epoch{e.a}, control);
      control_effects(control);
      return;
    case Kind::kRestartAgent:
      if (e.life == agent->life && !state_.lost[n]) restart_agent(n);
      return;
    case Kind::kRestartControl:
      if (e.life == state_.control.life) restart_control();
      return;
    case Kind::kRestartDatabase:
      if (!state_.lost[n]) restart_database(n, static_cast<int>(e.a));
      return;
    case Kind::kThawDatabase:
      state_.databases[n][e.a].frozen = false;
      say(fmt::format("database {} thaws", n));
      return;
    case Kind::kFault:
      return fault(e);
    case Kind::kHeal:
      return heal();
    case Kind::kOperator:
      return operate(e.a != 0);
    case Kind::kLinkHeals:
      state_.blocked[e.from][n] = false;
      return;
    case Kind::kWatch:
      schedule(state_.time + 250 * kMs, Kind::kWatch, 0);
      return checker_.watch();
    case Kind::kCopied:
      return copied(e);
    case Kind::kSettled:
      return look_whether_settled();
  }
}

void World::say(const std::string& line) {
  for (char c : line) mix(static_cast<unsigned char>(c));
  if (options_.trace)
    options_.trace(fmt::format("{:10.4f} {}", static_cast<double>(state_.time) / 1e9, line));
}

Outcome run_world(const Options& options) { return World(options).run(); }

}  // namespace leeward::sim

// Faults, one at a time and as stories. Faults at random find what nobody thought of; a story lines
// up what would meet by chance once in a million worlds only.
#include <fmt/format.h>

#include <algorithm>

#include "sim/running_world.h"

namespace leeward::sim {
namespace {

constexpr const char* kFaultNames[] = {
    "one-way cut",   "cut",          "site cut off",     "control cut off", "links heal",
    "agent crash",   "agent blinks", "database crash",   "database freeze", "control crash",
    "control pause", "agent pause",  "slow replication", "wall clock jump", "overload",
    "site dies",     "site is lost", "other node crash", "nodes cut apart"};
static_assert(std::size(kFaultNames) == static_cast<std::size_t>(Fault::kCount));

}  // namespace

// --------------------------------------------------------------------------------- one at a time

int World::who(Role role) {
  SiteId named = state_.store.record.intent.writer;
  int writer = named == kNoSite ? 0 : named.value;
  int standby = writer == 0 ? 1 : 0;
  switch (role) {
    case Role::kWriter:
      return writer;
    case Role::kStandby:
      return standby;
    case Role::kThird:  // of two workload sites: the standby
      return state_.sites == 3 ? 3 - writer - standby : standby;
    case Role::kWitness:
      return state_.witness;
    case Role::kAnySite:
      return random_.chance(0.6) ? writer : static_cast<int>(random_.between(0, state_.sites - 1));
    case Role::kAnyNode:
      break;
  }
  return static_cast<int>(random_.between(0, state_.nodes - 1));
}

void World::random_fault() {
  auto fault = static_cast<Fault>(random_.between(0, static_cast<int>(Fault::kSiteDies)));
  bool link = fault == Fault::kOneWayCut || fault == Fault::kCut;
  inflict(fault, who(link ? Role::kAnyNode : Role::kAnySite), who(Role::kAnyNode), 0);
}

void World::cut(int from, int to, TrueTime lasts) {
  if (from == to) return;
  state_.blocked[from][to] = true;
  if (lasts > 0) schedule(state_.time + lasts, Kind::kLinkHeals, to, 0, 0, 0, 0, {}, from);
}

// `lasts` 0: a length by chance, and a cut link until the links heal.
void World::inflict(Fault fault, int a, int b, TrueTime lasts) {
  if (quiet_) return;
  bool of_pair = fault == Fault::kOtherNodeCrash || fault == Fault::kPairCut;
  if (of_pair && state_.site_nodes[a] < 2) return;
  say(fmt::format("fault: {} (nodes {} {})", kFaultNames[static_cast<int>(fault)], a, b));
  auto length = [&](std::int64_t low, std::int64_t high) {
    return state_.time + (lasts > 0 ? lasts : random_.between(low, high) * kMs);
  };
  switch (fault) {
    case Fault::kOneWayCut:
      return cut(a, b, lasts);
    case Fault::kCut:
      cut(a, b, lasts);
      return cut(b, a, lasts);
    case Fault::kControlCutOff:
      a = state_.witness;
      [[fallthrough]];
    case Fault::kSiteCutOff:
      for (int n = 0; n < state_.nodes; ++n) {
        cut(a, n, lasts);
        cut(n, a, lasts);
      }
      return;
    case Fault::kLinksHeal:
      for (auto& row : state_.blocked) row.fill(false);
      return;
    case Fault::kAgentCrash:
      return crash_agent(a);
    case Fault::kAgentBlinks:
      return crash_agent(a, random_.between(20, 300) * kMs);
    case Fault::kDatabaseCrash:
      stop_database(a, state_.primary(a));
      return schedule(length(500, 8000), Kind::kRestartDatabase, a, 0, state_.primary(a));
    case Fault::kDatabaseFreeze:
      state_.database(a).frozen = true;
      return schedule(length(500, 15000), Kind::kThawDatabase, a, 0, state_.primary(a));
    case Fault::kOtherNodeCrash:
      stop_database(a, 1 - state_.primary(a));
      return schedule(length(500, 8000), Kind::kRestartDatabase, a, 0, 1 - state_.primary(a));
    case Fault::kPairCut:
      state_.pair_cut[a] = true;
      return schedule(length(500, 8000), Kind::kPairHeals, a);
    case Fault::kControlCrash:
      return crash_control();
    case Fault::kControlPause: {  // a process that is dead has no queue that could wait for it
      TrueTime until = length(100, 8000);
      if (state_.control.core) state_.control.paused_until = until;
      return;
    }
    case Fault::kAgentPause: {
      TrueTime until = length(100, 8000);
      if (state_.agents[a].core) state_.agents[a].paused_until = until;
      return;
    }
    case Fault::kSlowReplication:
      state_.database(a).stalled_until = length(500, 9000);
      if (random_.chance(0.4))
        state_.database(a).thin_until =
            state_.database(a).stalled_until + random_.between(1000, 9000) * kMs;
      return;
    case Fault::kWallJump:
      state_.clocks[a].wall_jump += random_.between(-100, 100) * kSecond;
      return;
    case Fault::kOverload:
      state_.database(a).overloaded_until = length(1000, 12000);
      return;
    case Fault::kSiteDies:
      crash_agent(a);
      for (int n = 0; n < state_.site_nodes[a]; ++n) {
        stop_database(a, n);
        schedule(length(4000, 20000), Kind::kRestartDatabase, a, 0, n);
      }
      return;
    case Fault::kSiteIsLost:
      state_.lost[a] = true;
      crash_agent(a);
      for (int n = 0; n < state_.site_nodes[a]; ++n) stop_database(a, n);
      return;
    case Fault::kCount:
      return;
  }
}

// --------------------------------------------------------------------------------------- stories

void World::fault_at(TrueTime at, Fault fault, Role a, Role b, TrueTime lasts) {
  schedule(at, Kind::kFault, 0, 0,
           1 + static_cast<std::uint64_t>(fault) + (static_cast<std::uint64_t>(a) << 8) +
               (static_cast<std::uint64_t>(b) << 16),
           static_cast<std::uint64_t>(lasts));
}

void World::fault(const Event& e) {
  if (e.a == 0) return random_fault();
  auto what = static_cast<Fault>((e.a & 0xff) - 1);
  int a = who(static_cast<Role>((e.a >> 8) & 0xff));
  int b = who(static_cast<Role>((e.a >> 16) & 0xff));
  inflict(what, a, b, static_cast<TrueTime>(e.b));
}

void World::operator_at(TrueTime at, bool forced) {
  schedule(at, Kind::kOperator, 0, 0, forced ? 1 : 0);
}

void World::tell(Story story) {
  TrueTime t = random_.between(4000, 7000) * kMs;
  auto after = [&](std::int64_t low, std::int64_t high) {
    return t += random_.between(low, high) * kMs;
  };
  auto length = [&](std::int64_t low, std::int64_t high) {
    return random_.between(low, high) * kMs;
  };
  switch (story) {
    case Story::kNone:
      return;
    case Story::kStoreLost:  // the writer goes on by promise, and the peers that promised restart
      fault_at(t, random_.chance(0.7) ? Fault::kCut : Fault::kOneWayCut, Role::kWriter,
               Role::kWitness, length(5000, 14000));
      for (int i = 0; i < 3; ++i)
        fault_at(after(300, 2000), Fault::kAgentBlinks, Role::kStandby, Role::kAnyNode, 0);
      operator_at(t - length(0, 2500), true);
      if (random_.chance(0.5))
        fault_at(after(100, 1500), Fault::kCut, Role::kWriter, Role::kStandby, length(2000, 8000));
      return;
    case Story::kOnePeerLeft:  // of two peers one promises, the other is out of reach
      fault_at(t, Fault::kCut, Role::kWriter, Role::kWitness, length(5000, 14000));
      fault_at(after(0, 1500), Fault::kCut, Role::kWriter, Role::kStandby, length(5000, 14000));
      if (random_.chance(0.5)) operator_at(after(500, 3000), true);
      return;
    case Story::kSwitchovers:
      loss_ = std::max(loss_, 0.05);
      for (int i = 0; i < 6; ++i) operator_at(after(200, 3000), false);
      fault_at(after(0, 1000), Fault::kCut, Role::kWriter, Role::kStandby, length(1000, 4000));
      return;
    case Story::kOverload:
      fault_at(t, Fault::kOverload, Role::kWriter, Role::kAnyNode, length(6000, 14000));
      return;
    case Story::kBothDie:
      fault_at(t, Fault::kSiteDies, Role::kWriter, Role::kAnyNode, length(3000, 6000));
      fault_at(after(7000, 12000), Fault::kDatabaseFreeze, Role::kWriter, Role::kAnyNode,
               length(6000, 12000));
      return;
    case Story::kStallThenDie:
      fault_at(t, Fault::kSlowReplication, Role::kStandby, Role::kAnyNode, length(8000, 14000));
      fault_at(after(2500, 7000), random_.chance(0.5) ? Fault::kSiteDies : Fault::kSiteCutOff,
               Role::kWriter, Role::kAnyNode, length(6000, 12000));
      return;
    case Story::kLateRows:  // the writer dies while the standby still receives what is long past
      fault_at(t, Fault::kSlowReplication, Role::kStandby, Role::kAnyNode, length(4000, 8000));
      fault_at(after(6000, 11000), Fault::kDatabaseCrash, Role::kWriter, Role::kAnyNode,
               length(6000, 12000));
      return;
    case Story::kControlStops:  // it wakes to a queue of reports, after whatever happened meanwhile
      fault_at(t, Fault::kDatabaseFreeze, Role::kWriter, Role::kAnyNode, length(2500, 5000));
      fault_at(after(500, 3500), Fault::kControlPause, Role::kAnySite, Role::kAnyNode,
               length(2000, 8000));
      fault_at(after(0, 3000), Fault::kCut, Role::kWriter, Role::kStandby, length(1000, 6000));
      return;
    case Story::kStaleOpinion:  // the third site saw the writer down, and then was heard no more
      fault_at(t, Fault::kCut, Role::kWriter, Role::kThird, length(3500, 5000));
      fault_at(after(3300, 5000), Fault::kCut, Role::kThird, Role::kWitness, length(8000, 14000));
      fault_at(after(6000, 8000), Fault::kCut, Role::kWriter, Role::kStandby, length(4000, 6000));
      return;
    case Story::kYoungEpoch:  // a new writer dies before a standby has followed it
      fault_at(t, Fault::kCut, Role::kStandby, Role::kThird, length(6000, 14000));
      operator_at(after(500, 1500), random_.chance(0.5));
      fault_at(after(400, 3500), random_.chance(0.5) ? Fault::kSiteDies : Fault::kSiteCutOff,
               Role::kWriter, Role::kAnyNode, length(6000, 12000));
      return;
    case Story::kLateAnswer:  // the last renewal was granted, its answer late; the move is asked
                              // for
      late_ = 0.7;
      for (int i = 0; i < 2; ++i) {
        fault_at(t, Fault::kSiteCutOff, Role::kWriter, Role::kAnyNode, length(4000, 8000));
        operator_at(t + length(100, 1200), true);
        after(7000, 9000);
      }
      return;
    case Story::kStaysDead:  // and the standby may lag too far to take over by itself
      if (random_.chance(0.5))
        fault_at(t, Fault::kSlowReplication, Role::kStandby, Role::kAnyNode, length(8000, 14000));
      fault_at(after(1000, 9000), Fault::kSiteIsLost, Role::kWriter, Role::kAnyNode, 0);
      return;
    case Story::kCount:
      return;
  }
}

// Sites with two database nodes, and what befalls them. All chance is drawn from pair_random_.
void World::plan_pairs() {
  Random& r = pair_random_;
  if (!r.chance(0.35) || state_.lossless) return;  // a configuration with both is refused
  int with_pairs = r.chance(0.5) ? state_.sites : 1;
  for (int s = 0; s < with_pairs; ++s) {
    state_.site_nodes[s] = kNodesMax;
    schedule(r.between(0, 200) * kMs, Kind::kReplicate, s, 0, 1);
  }
  for (int s = 0; s < state_.sites; ++s) schedule(r.between(0, 400) * kMs, Kind::kRemoteLook, s);
  auto at = [&] { return r.between(4 * kSecond, faults_end_); };
  constexpr Fault kOfNodes[] = {Fault::kDatabaseCrash, Fault::kDatabaseFreeze,
                                Fault::kOtherNodeCrash, Fault::kPairCut, Fault::kAgentBlinks};
  auto faults = static_cast<int>(r.between(1, 6));
  for (int i = 0; i < faults; ++i)
    fault_at(at(), kOfNodes[r.between(0, 4)], r.chance(0.8) ? Role::kWriter : Role::kStandby,
             Role::kAnyNode, r.chance(0.3) ? 0 : r.between(300, 9000) * kMs);
  if (r.chance(
          0.4)) {  // both nodes in turn, the second in the middle of the move away from the first
    TrueTime t = at();
    fault_at(t, Fault::kDatabaseCrash, Role::kWriter, Role::kAnyNode, r.between(300, 6000) * kMs);
    fault_at(t + r.between(0, 2500) * kMs,
             r.chance(0.5) ? Fault::kOtherNodeCrash : Fault::kSiteDies, Role::kWriter,
             Role::kAnyNode, r.between(300, 6000) * kMs);
  }
  if (r.chance(0.3))
    for (int i = 0; i < 4; ++i) schedule(at(), Kind::kSwitchNode, r.chance(0.8) ? 0 : 1);
}

// ---------------------------------------------------------------------------- the end, the
// operator

void World::heal() {
  say("faults end");
  quiet_ = true;
  schedule(state_.time + 500 * kMs, Kind::kSettled, 0);
  for (auto& row : state_.blocked) row.fill(false);
  loss_ = duplicate_ = slow_ = late_ = 0;
  for (int s = 0; s < state_.sites; ++s) {
    state_.pair_cut[s] = false;
    for (int n = 0; n < state_.site_nodes[s]; ++n) {
      Database& db = state_.databases[s][n];
      db.stalled_until = db.thin_until = db.overloaded_until = 0;
      db.frozen = false;
      if (!db.up && !state_.lost[s]) schedule(state_.time + kMs, Kind::kRestartDatabase, s, 0, n);
    }
  }
}

void World::operate(bool forced) {
  if (!forced && random_.chance(0.15)) return ask_for_rejoin();
  if (!state_.control.core || state_.control.paused_until > state_.time) return;
  control::OperatorRequest q;
  q.request = ++state_.control.operator_requests;
  switch (forced ? 1 : random_.between(0, state_.lossless ? 4 : 3)) {
    case 0:
      q.kind = control::OperatorRequest::Kind::kFailback;
      break;
    case 1:
      q.kind = control::OperatorRequest::Kind::kFailover;
      break;
    case 4:
      q.kind = control::OperatorRequest::Kind::kDegrade;
      break;
    default:
      q.kind = control::OperatorRequest::Kind::kSwitchover;
      break;
  }
  q.override_block = forced || random_.chance(0.5);
  q.accept_loss = forced || random_.chance(0.1);
  control::ControlEffects effects;
  state_.control.core->on_operator(state_.now(state_.witness), q, effects);
  control_effects(effects);
}

// Of any site: a writer is to refuse it.
void World::ask_for_rejoin() {
  int site = static_cast<int>(random_.between(0, state_.sites - 1));
  Agent& a = state_.agents[site];
  auto how = random_.chance(0.7) ? control::Rejoin::kReseed : control::Rejoin::kRewind;
  if (!a.core || a.paused_until > state_.time) return;
  control::AgentEffects effects;
  auto asked = a.core->on_rejoin_request(state_.now(site), how, effects);
  say(fmt::format("operator asks site {} for a rejoin: {}", site,
                  asked ? "begun" : asked.error().message));
  agent_effects(site, effects);
  wake_agent(site);
}

}  // namespace leeward::sim

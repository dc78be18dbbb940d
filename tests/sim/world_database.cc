#include <fmt/format.h>

#include <algorithm>

#include "sim/running_world.h"

namespace leeward::sim {

using control::DatabaseOp;
using control::StartDatabase;

namespace {

Promotion promotion_of(const Database& db) { return {db.epoch, db.term}; }

void note_promotion(Database& db, const Commit& c) {
  if (c.id != 0 || Promotion{c.epoch, c.term} < promotion_of(db)) return;
  db.epoch = c.epoch;
  db.term = c.term;
}

}  // namespace

// ---------------------------------------------------------------------------------- looks

DatabaseStatus World::database_status(int site, int node) {
  Agent::Heartbeats& h = state_.agents[site].heartbeats[node];
  const Database& db = state_.databases[site][node];
  DatabaseStatus s;
  s.reachable = db.answers();
  s.refused = !db.up;
  if (!s.reachable) return s;
  s.read_only = db.read_only;
  s.epoch = db.epoch;
  s.term = db.term;
  s.source = db.source < 0 ? kNoSite : SiteId{static_cast<std::uint8_t>(db.source)};
  s.source_node = NodeId{static_cast<std::uint8_t>(db.source_node)};
  s.replication = db.replication;
  s.written = s.applied = Position{db.log.size()};
  s.received = s.durable = Position{db.log.size() + db.relay.size()};
  s.strict = db.strict;
  s.link = db.link;
  s.acknowledges = db.source >= 0 && db.replication == ReplicationState::kStreaming;
  s.diverged = s.incomplete = db.incomplete;
  s.keeps_received = db.keeps_received;
  BootTime local = state_.now(site).boot;
  // A row that is new may have arrived right after the last look, and at the first look it may be
  // of any age: only a change tells, and it is dated back to the look before.
  if (h.looked && db.heartbeat != h.seen) {
    h.seen_at = h.look;
    h.known = true;
  }
  h.seen = db.heartbeat;
  h.look = local;
  h.looked = true;
  if (h.known) s.heartbeat_age = local - h.seen_at;
  s.heartbeat_written = WallTime(Duration(static_cast<std::int64_t>(db.heartbeat) * 250 * kMs));
  return s;
}

void World::look_at_databases(int site) {
  Agent& a = state_.agents[site];
  std::uint32_t life = a.life;
  for (int n = 0; n < state_.site_nodes[site]; ++n) {
    if (!a.core || a.life != life) return;
    control::AgentEffects effects;
    a.core->on_database(state_.now(site), NodeId{static_cast<std::uint8_t>(n)},
                        database_status(site, n), effects);
    agent_effects(site, effects);
  }
}

// At the nodes of the writer's site.
void World::look_at_remote(int site) {
  Agent& a = state_.agents[site];
  std::uint32_t life = a.life;
  SiteId writer = a.core->memory().intent.writer;
  if (writer == kNoSite || writer.value == site || state_.site_nodes[writer.value] < 2) return;
  bool linked = state_.linked(site, writer.value) && state_.linked(writer.value, site);
  for (int n = 0; n < state_.site_nodes[writer.value]; ++n) {
    if (!a.core || a.life != life) return;
    const Database& db = state_.databases[writer.value][n];
    control::NodeCore::RemoteLook look{linked && db.answers(), db.read_only, promotion_of(db)};
    control::AgentEffects effects;
    a.core->on_remote_node(state_.now(site), writer, NodeId{static_cast<std::uint8_t>(n)}, look,
                           effects);
    agent_effects(site, effects);
  }
  wake_agent(site);
}

// ----------------------------------------------------------------------------- operations

void World::done(int site, std::uint64_t request, std::uint32_t life, bool ok, Position position) {
  schedule(state_.time + random_.between(10, 300) * 1000, Kind::kDatabaseDone, site, life, request,
           ok, position.value);
}

void World::execute(int site, const StartDatabase& op, std::uint32_t life, TrueTime until) {
  Database& db = state_.databases[site][op.node.value];
  // An operation of a dead agent may still reach the database, or not.
  bool orphan = state_.agents[site].life != life;
  if (orphan && random_.chance(0.5)) return;
  bool ok = db.answers();
  if (ok && op.op == DatabaseOp::kFence) {
    db.read_only = true;
    end_waiting(site, db, false);
  } else if (ok && op.op == DatabaseOp::kPromote) {
    ok = promote(db, op);
    if (ok && !db.strict) end_waiting(site, db, true);
  } else if (ok && op.op == DatabaseOp::kFollow) {
    ok = follow(site, op);
    if (ok && (op.reseed || db.incomplete)) return begin_copy(site, op, life);
  } else if (ok && op.op == DatabaseOp::kProtect) {
    ok = state_.time <= until;  // the statement carries a deadline
    if (ok) db.strict = !op.alone;
    if (ok && op.alone) end_waiting(site, db, true);
  }
  say(fmt::format("database {} op {} epoch {}: {}", site, static_cast<int>(op.op), op.epoch.value,
                  ok ? "done" : "failed"));
  done(site, op.request.value, life, ok, Position{db.log.size()});
}

// What was lost is in the ledger (follow() saw to that); from here on there is no data until all of
// the source's is copied. Whatever interrupts that, the next follow begins it again.
void World::begin_copy(int site, const StartDatabase& op, std::uint32_t life) {
  Database& db = state_.databases[site][op.node.value];
  db.incomplete = true;
  db.log.clear();
  db.epoch = Epoch{};
  db.term = Term{};
  db.source = -1;
  db.replication = ReplicationState::kNone;
  say(fmt::format("database {} is copied from {}", site, op.site.value));
  schedule(state_.time + random_.between(300, 4000) * kMs, Kind::kCopied, site, life,
           op.request.value, db.life, 0, std::make_shared<StartDatabase>(op));
}

void World::copied(const Event& e) {
  const auto& op = *static_cast<const StartDatabase*>(e.body.get());
  int site = e.node;
  Database& db = state_.databases[site][op.node.value];
  // The agent that copied died, or the server did.
  bool interrupted = state_.agents[site].life != e.life || db.life != e.b || !db.answers();
  bool ok = !interrupted && follow(site, op);
  if (ok) {
    db.incomplete = false;
    db.log = state_.databases[op.site.value][op.source_node.value].log;
    for (const Commit& c : db.log) note_promotion(db, c);
  }
  say(fmt::format("database {} copy {}", site, ok ? "done" : "failed"));
  done(site, e.a, e.life, ok, Position{db.log.size()});
}

bool World::promote(Database& db, const StartDatabase& op) {
  Promotion wanted{op.epoch, op.term};
  if (promotion_of(db) > wanted || db.incomplete) return false;
  if (op.whole && db.source >= 0 && !db.keeps_received) return false;
  if (op.link != 0 && promotion_of(db) < wanted && db.link != op.link) return false;
  db.log.insert(db.log.end(), db.relay.begin(), db.relay.end());
  for (const Commit& c : db.relay) note_promotion(db, c);
  db.relay.clear();
  db.source = -1;
  db.source_node = 0;
  db.replication = ReplicationState::kNone;
  if (promotion_of(db) < wanted) db.log.push_back({0, op.epoch, op.term, op.link != 0});
  db.epoch = op.epoch;
  db.term = op.term;
  db.strict = !op.alone;
  db.read_only = false;
  return true;
}

bool World::follow(int site, const StartDatabase& op) {
  Database& db = state_.databases[site][op.node.value];
  int source = op.site.value;
  const Database& up = state_.databases[source][op.source_node.value];
  bool linked = source == site ? !state_.pair_cut[site]
                               : state_.linked(site, source) && state_.linked(source, site);
  if (!up.answers() || !linked || up.epoch != op.epoch || promotion_of(db) > promotion_of(up))
    return false;
  db.read_only = true;
  end_waiting(site, db, false);
  std::size_t common = 0;
  while (common < db.log.size() && common < up.log.size() && db.log[common] == up.log[common])
    ++common;
  // Only of the writer that the source replaced, not of one whose own promotion it never saw.
  bool own_promotion = std::any_of(db.log.begin() + static_cast<std::ptrdiff_t>(common),
                                   db.log.end(), [](const Commit& c) { return c.id == 0; });
  bool complete =
      common < up.log.size() && up.log[common].id == 0 && up.log[common].complete && !own_promotion;
  for (std::size_t i = common; i < db.log.size(); ++i)
    if (db.log[i].id != 0) (complete ? state_.unacknowledged : state_.ledger).insert(db.log[i].id);
  db.log.resize(common);
  db.relay.clear();
  ++db.link;
  db.strict = false;
  db.epoch = Epoch{};
  db.term = Term{};
  for (const Commit& c : db.log) note_promotion(db, c);
  db.source = source;
  db.source_node = op.source_node.value;
  db.replication = ReplicationState::kStreaming;
  db.keeps_received = source == site;
  return true;
}

// Clients whose commits wait for the replica: answered when it is waited for no more, else gone.
void World::end_waiting(int site, Database& db, bool answered) {
  Agent& a = state_.agents[site];
  for (const Waiting& w : db.waiting) {
    if (answered)
      schedule(state_.time + random_.between(10, 500) * 1000, Kind::kAck, site, w.life, w.id,
               w.generation);
    else if (a.life == w.life && a.gateway.generation == w.generation && a.gateway.in_flight > 0)
      --a.gateway.in_flight;
  }
  db.waiting.clear();
}

void World::stop_database(int site, int node) {
  state_.databases[site][node].up = false;
  end_waiting(site, state_.databases[site][node], false);
}

void World::restart_database(int site, int node) {
  Database& db = state_.databases[site][node];
  if (db.up) return;  // heal() started it before the end of its fault
  db.up = true;
  db.read_only = true;  // as configured: a database always starts fenced
  db.strict = db.keeps_received = false;
  ++db.life;
  ++db.link;
  db.relay.clear();  // a server drops its relay log when it starts to replicate by GTID
  if (db.source >= 0) db.replication = ReplicationState::kBroken;
}

// ------------------------------------------------------------------------------ replication

void World::apply_relay(Database& db) {
  if (db.relay.empty() || pair_random_.chance(0.3)) return;
  db.log.insert(db.log.end(), db.relay.begin(), db.relay.end());
  for (const Commit& c : db.relay) note_promotion(db, c);
  db.relay.clear();
}

void World::replicate(int site, int node) {
  Database& db = state_.databases[site][node];
  if (db.source < 0 || db.replication == ReplicationState::kBroken || !db.answers()) return;
  Database& up = state_.databases[db.source][db.source_node];
  bool linked = db.source == site
                    ? !state_.pair_cut[site]
                    : state_.linked(site, db.source) && state_.linked(db.source, site);
  bool reachable = up.answers() && linked;
  db.replication = reachable ? ReplicationState::kStreaming : ReplicationState::kConnecting;
  if (state_.time >= db.stalled_until) apply_relay(db);
  // In lossless worlds a replica that is slow is one that applies late.
  if (!reachable || (state_.time < db.stalled_until && !state_.lossless)) return;
  std::size_t have = db.log.size() + db.relay.size();
  const Commit* last = !db.relay.empty() ? &db.relay.back() : have > 0 ? &db.log.back() : nullptr;
  if (have > up.log.size() || (last && !(*last == up.log[have - 1]))) {
    db.replication = ReplicationState::kBroken;  // as gtid_strict_mode would
    return;
  }
  receive(site, db, up);
  bool behind = state_.lossless && !db.relay.empty();  // the row is among what waits
  std::uint64_t row = up.heartbeat;
  if (state_.time < db.thin_until) {
    row = db.heartbeat;
    for (const Beat& b : up.beats)
      if (b.after <= db.log.size() + db.relay.size()) row = std::max(row, b.row);
  }
  if (behind || db.heartbeat == row) return;
  db.heartbeat = row;
  if (state_.time - db.heartbeat_came > kSecond / 2) db.steady_since = state_.time;
  db.heartbeat_came = state_.time;
}

// Between the nodes of a site, and in lossless worlds, what is received is acknowledged and applied
// later.
void World::receive(int site, Database& db, Database& up) {
  bool near = db.source == site;
  bool later = near || state_.lossless;
  std::size_t have = db.log.size() + db.relay.size();
  std::size_t end = state_.time < db.thin_until ? std::min(have + 1, up.log.size()) : up.log.size();
  for (std::size_t i = have; i < end; ++i) {
    (later ? db.relay : db.log).push_back(up.log[i]);
    if (!later) note_promotion(db, up.log[i]);
  }
  if (!near || !db.keeps_received || !up.strict || end != up.log.size()) return;
  end_waiting(site, up, true);
}

// In lossless worlds a commit waits here until the standby has it, or waiting is switched off,
// which lets all pass.
void World::await_copy(Event& e) {
  int site = e.node;
  Database& db = state_.databases[site][0];
  Agent& a = state_.agents[site];
  if (a.life != e.life || a.gateway.generation != e.b || db.life != e.c) return;
  bool copied = !db.strict;
  for (int s = 0; s < state_.sites && !copied; ++s) {
    const Database& standby = state_.databases[s][0];
    if (s == site || standby.source != site || !standby.answers() || !state_.linked(s, site))
      continue;
    auto has = [&](const std::vector<Commit>& commits) {
      return std::any_of(commits.rbegin(), commits.rend(),
                         [&](const Commit& c) { return c.id == e.a; });
    };
    copied = has(standby.relay) || has(standby.log);
  }
  if (!db.answers() || !copied) {
    schedule(state_.time + 10 * kMs, Kind::kAwaitCopy, site, e.life, e.a, e.b, e.c);
    return;
  }
  schedule(state_.time + random_.between(10, 500) * 1000, Kind::kAck, site, e.life, e.a, e.b);
}

}  // namespace leeward::sim

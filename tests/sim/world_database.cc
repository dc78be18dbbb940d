#include <fmt/format.h>

#include <algorithm>

#include "sim/running_world.h"

namespace leeward::sim {

using control::DatabaseOp;

// ---------------------------------------------------------------------------------- databases

DatabaseStatus World::database_status(int site) {
  Agent& a = state_.agents[site];
  const Database& db = state_.databases[site];
  DatabaseStatus s;
  s.reachable = db.answers();
  if (!s.reachable) return s;
  s.read_only = db.read_only;
  s.epoch = db.epoch;
  s.source = db.source < 0 ? kNoSite : SiteId{static_cast<std::uint8_t>(db.source)};
  s.replication = db.replication;
  s.written = s.applied = Position{db.log.size()};
  s.received = s.durable = Position{db.log.size() + db.relay.size()};
  s.strict = db.strict;
  s.link = db.link;
  s.acknowledges = db.source >= 0 && db.replication == ReplicationState::kStreaming;
  s.diverged = s.incomplete = db.incomplete;
  BootTime local = state_.now(site).boot;
  // A row that is new may have arrived right after the last look, and at the first look it may be
  // of any age: only a change tells, and it is dated back to the look before.
  if (a.heartbeat_looked && db.heartbeat != a.heartbeat_seen) {
    a.heartbeat_seen_at = a.heartbeat_look;
    a.heartbeat_known = true;
  }
  a.heartbeat_seen = db.heartbeat;
  a.heartbeat_look = local;
  a.heartbeat_looked = true;
  if (a.heartbeat_known) s.heartbeat_age = local - a.heartbeat_seen_at;
  s.heartbeat_written = WallTime(Duration(static_cast<std::int64_t>(db.heartbeat) * 250 * kMs));
  return s;
}

void World::done(int site, std::uint64_t request, std::uint32_t life, bool ok, Position position) {
  schedule(state_.time + random_.between(10, 300) * 1000, Kind::kDatabaseDone, site, life, request,
           ok, position.value);
}

void World::execute(int site, DatabaseOp op, const Operation& how, std::uint64_t request,
                    std::uint32_t life) {
  Epoch epoch = how.epoch;
  Database& db = state_.databases[site];
  // An operation of a dead agent may still reach the database, or not.
  bool orphan = state_.agents[site].life != life;
  if (orphan && random_.chance(0.5)) return;
  bool ok = db.answers();
  if (ok && op == DatabaseOp::kFence) {
    db.read_only = true;
  } else if (ok && op == DatabaseOp::kPromote) {
    bool dropped = how.link != 0 && db.epoch < epoch && db.link != how.link;
    if (db.epoch > epoch || dropped || db.incomplete) {
      ok = false;
    } else {
      db.log.insert(db.log.end(), db.relay.begin(), db.relay.end());
      for (const Commit& c : db.relay)
        if (c.id == 0) db.epoch = std::max(db.epoch, c.epoch);
      db.relay.clear();
      db.strict = state_.lossless && !how.alone;
      db.source = -1;
      db.replication = ReplicationState::kNone;
      if (db.epoch < epoch) db.log.push_back({0, epoch, how.link != 0});
      db.epoch = epoch;
      db.read_only = false;
    }
  } else if (ok && op == DatabaseOp::kFollow) {
    ok = follow(site, how.source, epoch);
    if (ok && (how.reseed || db.incomplete)) return begin_copy(site, how, request, life);
  } else if (ok && op == DatabaseOp::kProtect) {
    ok = state_.time <= how.until;  // the statement carries a deadline
    if (ok) db.strict = !how.alone;
  }
  say(fmt::format("database {} op {} epoch {}: {}", site, static_cast<int>(op), epoch.value,
                  ok ? "done" : "failed"));
  done(site, request, life, ok, Position{db.log.size()});
}

// What was lost is in the ledger (follow() saw to that); from here on there is no data until all of
// the source's is copied. Whatever interrupts that, the next follow begins it again.
void World::begin_copy(int site, const Operation& how, std::uint64_t request, std::uint32_t life) {
  Database& db = state_.databases[site];
  db.incomplete = true;
  db.log.clear();
  db.epoch = Epoch{};
  db.source = -1;
  db.replication = ReplicationState::kNone;
  say(fmt::format("database {} is copied from {}", site, how.source));
  auto what = std::make_shared<Operation>(how);
  schedule(state_.time + random_.between(300, 4000) * kMs, Kind::kCopied, site, life, request,
           db.life, 0, std::move(what));
}

void World::copied(const Event& e) {
  const auto& how = *static_cast<const Operation*>(e.body.get());
  int site = e.node;
  Database& db = state_.databases[site];
  // The agent that copied died, or the server did.
  bool interrupted = state_.agents[site].life != e.life || db.life != e.b || !db.answers();
  bool ok = !interrupted && follow(site, how.source, how.epoch);
  if (ok) {
    db.incomplete = false;
    db.log = state_.databases[how.source].log;
    for (const Commit& c : db.log)
      if (c.id == 0) db.epoch = std::max(db.epoch, c.epoch);
  }
  say(fmt::format("database {} copy {}", site, ok ? "done" : "failed"));
  done(site, e.a, e.life, ok, Position{db.log.size()});
}

bool World::follow(int site, int source, Epoch epoch) {
  Database& db = state_.databases[site];
  const Database& up = state_.databases[source];
  if (!up.answers() || !state_.linked(site, source) || !state_.linked(source, site) ||
      up.epoch != epoch)
    return false;
  db.read_only = true;
  std::size_t common = 0;
  while (common < db.log.size() && common < up.log.size() &&
         db.log[common].id == up.log[common].id && db.log[common].epoch == up.log[common].epoch)
    ++common;
  bool complete = common < up.log.size() && up.log[common].id == 0 && up.log[common].complete;
  for (std::size_t i = common; i < db.log.size(); ++i)
    if (db.log[i].id != 0) (complete ? state_.unacknowledged : state_.ledger).insert(db.log[i].id);
  db.log.resize(common);
  db.relay.clear();
  ++db.link;
  db.strict = false;
  db.epoch = Epoch{};
  for (const Commit& c : db.log)
    if (c.id == 0) db.epoch = std::max(db.epoch, c.epoch);
  db.source = source;
  db.replication = ReplicationState::kStreaming;
  return true;
}

void World::replicate(int site) {
  Database& db = state_.databases[site];
  if (db.source < 0 || db.replication == ReplicationState::kBroken || !db.answers()) return;
  const Database& up = state_.databases[db.source];
  bool reachable = up.answers() && state_.linked(site, db.source) && state_.linked(db.source, site);
  db.replication = reachable ? ReplicationState::kStreaming : ReplicationState::kConnecting;
  if (state_.lossless) return receive_and_apply(site, reachable);
  if (!reachable || state_.time < db.stalled_until) return;
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
  if (db.heartbeat == up.heartbeat) return;
  db.heartbeat = up.heartbeat;
  if (state_.time - db.heartbeat_came > kSecond / 2) db.steady_since = state_.time;
  db.heartbeat_came = state_.time;
}

// In lossless worlds what was received may wait for a while to be applied.
void World::receive_and_apply(int site, bool reachable) {
  Database& db = state_.databases[site];
  const Database& up = state_.databases[db.source];
  if (state_.time >= db.stalled_until && !random_.chance(0.2)) {
    for (const Commit& c : db.relay)
      if (c.id == 0) db.epoch = std::max(db.epoch, c.epoch);
    db.log.insert(db.log.end(), db.relay.begin(), db.relay.end());
    db.relay.clear();
  }
  if (!reachable) return;
  std::size_t received = db.log.size() + db.relay.size();
  const Commit* last = !db.relay.empty() ? &db.relay.back()
                       : !db.log.empty() ? &db.log.back()
                                         : nullptr;
  if (received > up.log.size() || (last && !(*last == up.log[received - 1]))) {
    db.replication = ReplicationState::kBroken;
    return;
  }
  db.relay.insert(db.relay.end(), up.log.begin() + static_cast<std::ptrdiff_t>(received),
                  up.log.end());
  bool applied = db.relay.empty();
  if (!applied || db.heartbeat == up.heartbeat) return;
  db.heartbeat = up.heartbeat;
  if (state_.time - db.heartbeat_came > kSecond / 2) db.steady_since = state_.time;
  db.heartbeat_came = state_.time;
}

// A commit waits here until the standby has it, or waiting is switched off, which lets all pass.
void World::await_copy(Event& e) {
  int site = e.node;
  Database& db = state_.databases[site];
  Agent& a = state_.agents[site];
  if (a.life != e.life || a.gateway.generation != e.b || db.life != e.c) return;
  bool copied = !db.strict;
  for (int s = 0; s < state_.sites && !copied; ++s) {
    const Database& standby = state_.databases[s];
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

#include <fmt/format.h>

#include <algorithm>

#include "sim/running_world.h"

namespace leeward::sim {

// ------------------------------------------------------------------------------ probes, clients

bool World::service_answers(int site) const {
  const Agent& a = state_.agents[site];
  if (!a.core || a.paused_until > state_.time) return false;
  int at = site;
  if (a.gateway.mode == GatewayMode::kRemote) {
    at = a.gateway.remote;
    if (!state_.linked(site, at) || !state_.linked(at, site)) return false;
    if (!state_.agents[at].core || state_.agents[at].paused_until > state_.time) return false;
  }
  return state_.agents[at].gateway.mode == GatewayMode::kLocal && state_.gateway_passes(at) &&
         state_.served(at).answers() && state_.served(at).overloaded_until <= state_.time;
}

void World::probe(int vantage) {
  bool process = vantage == state_.witness ? state_.control.core.has_value()
                                           : state_.agents[vantage].core &&
                                                 state_.agents[vantage].paused_until <= state_.time;
  if (!process) {
    Vantage fresh;  // the prober died with its process; what it saw before stays true
    fresh.last_down = state_.vantages[vantage].last_down;
    fresh.down_since = state_.vantages[vantage].down_since;
    state_.vantages[vantage] = fresh;
    return;
  }
  Vantage& v = state_.vantages[vantage];
  auto report = std::make_shared<VantageReport>();
  report->vantage = SiteId{static_cast<std::uint8_t>(vantage)};
  report->sequence = static_cast<std::uint64_t>(state_.time);
  for (int s = 0; s < state_.sites; ++s) {
    bool ok = state_.linked(vantage, s) && state_.linked(s, vantage) && service_answers(s) &&
              (quiet_ || !random_.chance(0.01));
    if (ok) {
      v.failures[s] = 0;
      if (++v.successes[s] >= state_.platform.probes.rise) v.health[s] = Health::kUp;
    } else {
      v.successes[s] = 0;
      bool falls = ++v.failures[s] >= state_.platform.probes.fall && v.health[s] != Health::kDown;
      if (falls) {
        v.health[s] = Health::kDown;
        v.down_since[s] = state_.time;
      }
    }
    if (v.health[s] == Health::kDown) v.last_down[s] = state_.time;
    report->health[s] = v.health[s];
    report->failures[s] = static_cast<std::uint8_t>(std::min(v.failures[s], 255));
  }
  send(vantage, state_.witness, Kind::kVantageArrives, 0, 0, 0, 0, report);
}

// A client writes through its site's gateway about five times a second. a: transaction, 0 = new.
void World::client_write(Event& e) {
  int site = e.node;
  bool peer = e.kind == Kind::kPeerWrite;
  if (!peer) schedule(state_.time + random_.between(100, 300) * kMs, Kind::kClientWrite, site);
  Agent& a = state_.agents[site];
  if (!a.core) return;
  if (a.gateway.mode == GatewayMode::kRemote && !peer) {
    send(site, a.gateway.remote, Kind::kPeerWrite, 0, 0, 0);
    return;
  }
  if (a.gateway.mode != GatewayMode::kLocal || !state_.gateway_passes(site)) return;
  ++a.gateway.in_flight;
  schedule(state_.time + random_.between(1, random_.chance(0.1) ? 1500 : 20) * kMs, Kind::kCommit,
           site, a.life, next_transaction_++, a.gateway.generation,
           static_cast<std::uint64_t>(a.gateway.node));
}

void World::commit(Event& e) {
  int site = e.node;
  Agent& a = state_.agents[site];
  Database& db = state_.databases[site][e.c];
  bool client_there = a.life == e.life && a.gateway.generation == e.b;
  // Without its client the database rolls back; a commit already under way may still happen.
  if (db.answers() && !db.read_only && (client_there || random_.chance(0.3))) {
    db.log.push_back({e.a, db.epoch, db.term});
    if (client_there && db.strict && state_.lossless)
      schedule(state_.time + kMs, Kind::kAwaitCopy, site, e.life, e.a, e.b, db.life);
    else if (client_there && db.strict)
      db.waiting.push_back({e.a, e.life, e.b});
    else if (client_there)
      schedule(state_.time + random_.between(10, 500) * 1000, Kind::kAck, site, e.life, e.a, e.b);
  } else if (client_there && a.gateway.in_flight > 0) {
    --a.gateway.in_flight;
  }
}

void World::acknowledge(Event& e) {
  int site = e.node;
  Agent& a = state_.agents[site];
  if (a.life != e.life || a.gateway.generation != e.b) return;
  if (!state_.gateway_passes(site)) {
    if (a.gateway.in_flight > 0) --a.gateway.in_flight;
    return;
  }
  // Between the check and the write to the client's socket the thread may lose the processor, for
  // as long as the grace of the lease at most. A gateway that is closed on purpose waits for it.
  TrueTime preempted =
      random_.chance(0.05)
          ? random_.between(0, state_.local_delay(site, state_.platform.lease.grace) - 2)
          : 0;
  schedule(state_.time + preempted, Kind::kAckWritten, site, e.life, e.a, e.b,
           a.gateway.epoch.value | a.gateway.term.value << 32);
}

void World::acknowledged(const Event& e) {
  Agent& a = state_.agents[e.node];
  if (a.life != e.life || a.gateway.generation != e.b) return;
  if (a.gateway.in_flight > 0) --a.gateway.in_flight;
  mix(e.a);
  checker_.on_acknowledged(e.a, {Epoch{e.c & 0xffffffff}, Term{e.c >> 32}}, e.node);
}

}  // namespace leeward::sim

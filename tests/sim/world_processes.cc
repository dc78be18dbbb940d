#include <fmt/format.h>

#include <algorithm>

#include "sim/running_world.h"

namespace leeward::sim {

using control::AgentEffects;
using control::ControlEffects;
using control::DatabaseOp;
// ------------------------------------------------------------------------------------- agents

void World::restart_agent(int site) {
  Agent& a = state_.agents[site];
  control::AgentConfig config;
  config.self = SiteId{static_cast<std::uint8_t>(site)};
  for (int s = 0; s < state_.sites; ++s)
    if (s != site) config.peers.push_back(SiteId{static_cast<std::uint8_t>(s)});
  config.lease = state_.platform.lease;
  config.lossless = state_.lossless;
  config.nodes.nodes = static_cast<std::uint8_t>(state_.site_nodes[site]);
  for (int s = 0; s < state_.sites; ++s)
    config.nodes.site_nodes[SiteId{static_cast<std::uint8_t>(s)}] =
        static_cast<std::uint8_t>(state_.site_nodes[s]);
  a.core.emplace(std::move(config));
  std::uint32_t generation = a.gateway.generation + 1;
  a.gateway = Gateway{};
  a.gateway.generation = generation;
  for (Agent::Heartbeats& h : a.heartbeats) h.known = h.looked = false;
  AgentEffects effects;
  a.core->start(state_.now(site), a.durable, effects);
  agent_effects(site, effects);
  wake_agent(site);
}

void World::crash_agent(int site, TrueTime down) {
  Agent& a = state_.agents[site];
  if (!a.core) return;
  say(fmt::format("agent {} dies", site));
  a.core.reset();
  ++a.life;
  a.paused_until = 0;
  ++a.gateway.generation;
  a.gateway.mode = GatewayMode::kRefuse;
  a.gateway.in_flight = 0;
  if (down == 0) down = random_.between(200, quiet_ ? 500 : 6000) * kMs;
  schedule(state_.time + down, Kind::kRestartAgent, site, a.life);
}

void World::wake_agent(int site) {
  Agent& a = state_.agents[site];
  if (!a.core) return;
  Now n = state_.now(site);
  TrueTime at = state_.time + state_.local_delay(site, a.core->next_tick(n) - n.boot);
  if (a.next_tick > state_.time && a.next_tick <= at) return;
  a.next_tick = at;
  schedule(at, Kind::kAgentTick, site, a.life);
}

void World::agent_effects(int site, AgentEffects& effects) {
  Agent& a = state_.agents[site];
  for (control::AgentEffect& effect : effects) {
    if (!quiet_ && random_.chance(crash_)) return crash_agent(site);
    if (auto* lease = std::get_if<control::SendLease>(&effect)) {
      say(fmt::format("agent {} asks {} epoch {}", site, static_cast<int>(lease->op),
                      lease->epoch.value));
      send(site, state_.witness, Kind::kLeaseRequest, 0, static_cast<std::uint64_t>(lease->op),
           lease->epoch.value, lease->request.value);
    } else if (auto* ask = std::get_if<control::SendPromiseRequest>(&effect)) {
      send(site, ask->to.value, Kind::kPromiseRequest, 0, ask->epoch.value, ask->request.value);
    } else if (auto* reply = std::get_if<control::SendPromiseReply>(&effect)) {
      say(fmt::format("agent {} {} a promise to {}", site, reply->granted ? "gives" : "refuses",
                      reply->to.value));
      send(site, reply->to.value, Kind::kPromiseReply, 0, reply->request.value, reply->granted);
      if (reply->granted && !quiet_ && random_.chance(crash_after_promise_))
        return crash_agent(site, random_.between(20, 400) * kMs);
    } else if (auto* persist = std::get_if<control::Persist>(&effect)) {
      a.durable = persist->memory;
    } else if (auto* gateway = std::get_if<control::SetGateway>(&effect)) {
      set_gateway(site, *gateway);
    } else if (auto* extend = std::get_if<control::ExtendLease>(&effect)) {
      if (a.gateway.epoch == extend->epoch) a.gateway.deadline = extend->deadline;
    } else if (auto* start = std::get_if<control::StartDatabase>(&effect)) {
      TrueTime takes = start->op == DatabaseOp::kFollow ? random_.between(100, 900) * kMs
                                                        : random_.between(1, 150) * kMs;
      if (!quiet_ && random_.chance(0.03)) takes += random_.between(100, 1500) * kMs;
      schedule(state_.time + takes, Kind::kDatabaseOp, site, a.life,
               static_cast<std::uint64_t>(state_.time + kSecond / 2), 0, 0,
               std::make_shared<control::StartDatabase>(*start));
    } else if (std::get_if<control::EndTransactions>(&effect)) {
      ++a.gateway.generation;
      a.gateway.in_flight = 0;
    }
  }
  checker_.on_agent_step(site);
}

void World::set_gateway(int site, const control::SetGateway& g) {
  Gateway& gateway = state_.agents[site].gateway;
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
  if (g.mode == GatewayMode::kLocal) {
    gateway.node = g.node.value;
    gateway.term = state_.databases[site][g.node.value].term;
  }
  if (g.mode == GatewayMode::kLocal) checker_.on_writer_open(site, g.epoch);
  gateway.remote = g.mode == GatewayMode::kRemote ? g.site.value : -1;
  schedule(state_.time + 5 * kMs, Kind::kDatabaseStatus, site, state_.agents[site].life, 1);
}

void World::maybe_drained(int site) {
  Agent& a = state_.agents[site];
  if (a.gateway.mode != GatewayMode::kHold || a.gateway.in_flight > 0) return;
  AgentEffects effects;
  a.core->on_gateway(state_.now(site), true, effects);
  agent_effects(site, effects);
}

// ------------------------------------------------------------------------------------ control

void World::restart_control() {
  state_.control.core.emplace(control_config_);
  ControlEffects effects;
  state_.control.core->load(state_.now(state_.witness), state_.store.record, state_.store.lease,
                            state_.store.lease_version, effects);
  control_effects(effects);
  schedule(state_.time + 200 * kMs, Kind::kControlTick, state_.witness, state_.control.life);
}

void World::crash_control() {
  if (!state_.control.core) return;
  say("control dies");
  state_.control.core.reset();
  ++state_.control.life;
  state_.control.paused_until = 0;
  schedule(state_.time + random_.between(200, quiet_ ? 500 : 8000) * kMs, Kind::kRestartControl,
           state_.witness, state_.control.life);
}

void World::control_effects(ControlEffects& effects) {
  for (std::size_t i = 0; i < effects.size(); ++i) {
    if (!state_.control.core) return;
    if (!quiet_ && random_.chance(crash_)) return crash_control();
    if (auto* save = std::get_if<control::SaveRecord>(&effects[i])) {
      bool ok = save->expected == state_.store.record.version;
      if (ok) {
        checker_.on_record_saved(state_.store.record, save->record);
        std::uint64_t version = state_.store.record.version + 1;
        state_.store.record = save->record;
        state_.store.record.version = version;
        say(fmt::format("record {}: writer {} epoch {} drain {} active {}/{}", version,
                        state_.store.record.intent.writer.value,
                        state_.store.record.intent.epoch.value,
                        state_.store.record.intent.drain.value, state_.store.record.active.value,
                        state_.store.record.active_epoch.value));
        if (!quiet_ && random_.chance(crash_)) return crash_control();
        for (int s = 0; s < state_.sites; ++s)
          send(state_.witness, s, Kind::kRecord, 0, 0, 0, 0,
               std::make_shared<ServiceRecord>(state_.store.record));
      }
      ControlEffects more;
      state_.control.core->on_record_saved(state_.now(state_.witness), ok,
                                           state_.store.record.version, more);
      for (auto& m : more) effects.push_back(std::move(m));
    } else if (auto* lease = std::get_if<control::SaveLease>(&effects[i])) {
      bool ok = lease->expected == state_.store.lease_version;
      if (ok) {
        checker_.on_lease_saved(lease->value);
        state_.store.lease = lease->value;
        ++state_.store.lease_version;
      }
      ControlEffects more;
      state_.control.core->on_lease_saved(state_.now(state_.witness), ok,
                                          state_.store.lease_version, more);
      for (auto& m : more) effects.push_back(std::move(m));
    } else if (auto* reply = std::get_if<control::LeaseReply>(&effects[i])) {
      send(state_.witness, reply->to.value, Kind::kLeaseReply, 0, reply->request.value,
           static_cast<std::uint64_t>(reply->outcome));
    } else if (auto* notes = std::get_if<control::Notes>(&effects[i])) {
      for (const control::Note& n : notes->notes) say(fmt::format("note {}", identifier(n.kind)));
    }
  }
}

}  // namespace leeward::sim

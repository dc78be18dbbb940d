// All that exists in a simulated world, as plain data: processes with the real cores inside, model
// databases and gateways, the store, the links and the clocks. World moves it; Checker reads it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "control/agent_core.h"
#include "control/control_core.h"
#include "sim/world.h"

namespace leeward::sim {

inline constexpr TrueTime kMs = 1'000'000;
inline constexpr TrueTime kSecond = 1'000 * kMs;

struct Commit {
  std::uint64_t id;  // 0: an epoch row
  Epoch epoch;
  Term term{};
  bool complete = false;  // an epoch row: everything acknowledged before is before it
  bool operator==(const Commit&) const = default;
};

// A commit whose client waits until the replica has acknowledged it.
struct Waiting {
  std::uint64_t id;
  std::uint32_t life;
  std::uint64_t generation;
};

// A heartbeat row of the writer's, which came after so many commits of its log.
struct Beat {
  std::size_t after;
  std::uint64_t row;
};

struct Database {
  bool up = true;
  bool frozen = false;
  bool read_only = true;
  std::vector<Commit> log;
  bool incomplete = false;  // its data was dropped, and is copied from another site
  Epoch epoch;
  Term term;
  int source = -1;
  int source_node = 0;
  std::vector<Commit> relay;    // received and not applied yet; gone with the server
  std::uint32_t link = 1;       // grows when `relay` may have been dropped
  std::uint32_t life = 1;       // of the server
  bool keeps_received = false;  // as a replica: acknowledges, and has not restarted since
  bool strict = false;          // as a primary: a commit waits for a copy elsewhere
  std::vector<Waiting> waiting;
  ReplicationState replication = ReplicationState::kNone;
  std::uint64_t heartbeat = 0;    // newest heartbeat row
  std::vector<Beat> beats;        // those that it wrote itself
  TrueTime heartbeat_came = 0;    // when that row arrived here
  TrueTime steady_since = 0;      // since then heartbeats came without a gap of half a second
  TrueTime stalled_until = 0;     // replication is slow
  TrueTime thin_until = 0;        // its link delivers one commit at a time: what comes is old
  TrueTime overloaded_until = 0;  // commits, but answers no probe in time
  bool answers() const { return up && !frozen; }
};

struct Gateway {
  GatewayMode mode = GatewayMode::kRefuse;
  Epoch epoch;
  BootTime deadline{};
  int node = 0;  // in local mode, and in a hold while draining
  Term term;     // of that node when it was opened to
  int remote = -1;
  std::uint32_t generation = 0;  // grows whenever clients are dropped
  int in_flight = 0;
};

struct Agent {
  std::optional<control::AgentCore> core;  // none: the process is dead
  std::uint32_t life = 1;
  TrueTime paused_until = 0;
  control::AgentMemory durable;
  Gateway gateway;
  struct Heartbeats {  // as looked at on one node
    std::uint64_t seen = 0;
    BootTime seen_at{};
    BootTime look{};
    bool known = false;
    bool looked = false;
  };
  std::array<Heartbeats, kNodesMax> heartbeats;
  TrueTime next_tick = -1;
};

struct Vantage {
  std::array<int, kSitesMax> failures{};
  std::array<int, kSitesMax> successes{};
  std::array<Health, kSitesMax> health{};
  std::array<TrueTime, kSitesMax> last_down{};
  std::array<TrueTime, kSitesMax> down_since{};  // when `health` last became kDown
};

struct ControlNode {
  std::optional<control::ControlCore> core;
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

struct State {
  TrueTime time = 0;
  int sites = 2;    // workload sites, nodes 0 … sites-1
  int witness = 2;  // node of control and witness
  int nodes = 3;
  Platform platform;
  std::array<std::array<bool, 4>, 4> blocked{};  // [from][to]
  std::array<NodeClock, 4> clocks{};
  Store store;
  ControlNode control;
  std::array<Agent, 3> agents;
  std::array<int, 3> site_nodes{1, 1, 1};  // database nodes of each site
  std::array<std::array<Database, kNodesMax>, 3> databases;
  std::array<bool, 3> pair_cut{};  // the two nodes of the site do not reach each other
  std::array<bool, 3> lost{};      // sites that do not come back
  std::array<Vantage, 4> vantages;
  std::array<Epoch, 3> dns_epoch{};
  std::array<SiteId, 3> dns_active{};
  bool lossless = false;
  std::set<std::uint64_t> unacknowledged;  // undone as never acknowledged to anyone
  std::set<std::uint64_t> ledger;  // transactions that a rejoining site wrote down before dropping

  bool linked(int from, int to) const { return !blocked[from][to]; }

  // The node that the site's agent has chosen; while the agent is dead, the one that it will find.
  int primary(int site) const {
    const Agent& a = agents[site];
    return a.core ? a.core->nodes().primary().value : a.durable.nodes.primary.value;
  }
  Database& database(int site) { return databases[site][primary(site)]; }
  const Database& database(int site) const { return databases[site][primary(site)]; }
  Database& served(int site) { return databases[site][agents[site].gateway.node]; }
  const Database& served(int site) const { return databases[site][agents[site].gateway.node]; }

  Now now(int node) const {
    const NodeClock& c = clocks[node];
    auto local = static_cast<std::int64_t>(static_cast<double>(time) * c.rate) + c.offset;
    return Now{BootTime(Duration(local)), WallTime(Duration(local + c.wall_jump))};
  }

  // How long `d` of this node's clock lasts in true time.
  TrueTime local_delay(int node, Duration d) const {
    return static_cast<TrueTime>(static_cast<double>(d.count()) / clocks[node].rate) + 1;
  }

  // A hold while draining keeps epoch and deadline for what is still in flight.
  bool gateway_passes(int site) const {
    const Agent& a = agents[site];
    return a.core && a.gateway.epoch.value != 0 && now(site).boot < a.gateway.deadline;
  }

  bool writes(int site) const {
    return agents[site].core && agents[site].gateway.mode == GatewayMode::kLocal &&
           gateway_passes(site);
  }
};

}  // namespace leeward::sim

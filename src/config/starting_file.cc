#include "config/config.h"
#include "config/reader.h"

namespace leeward::config {
namespace {

// @NAME@ is replaced by the platform's name.
constexpr std::string_view kStartingFile =
    R"(# The platform, described once: the same file goes to every site.
# `leeward validate` checks it, `leeward schema --markdown` explains every setting.
version: 1
name: @NAME@
state_dir: state

# Two sites that can run the service, and a third place that only votes and probes.
sites:
  gcp:     { role: primary, address: 10.77.1.1 }
  aws:     { role: standby, address: 10.77.2.1 }
  witness: { role: witness, address: 10.77.3.1 }

# Secrets never stand in this file: "file:PATH" (mode 0600) or "env:NAME".
access:
  agent_token: "file:secrets/agent.token"
  operator_token: "file:secrets/operator.token"

# The control node decides. It lives on the witness, so that the site that fails
# cannot take the decision with it.
control:
  store: sqlite
  site: witness
  listen: "10.77.3.1:7400"

agent: { port: 7401 }

# The right to write. Safe when takeover >= (duration + grace) * (1 + drift) / (1 - drift).
lease:
  duration: 3s
  grace: 1s
  takeover: 4.5s
  clock_drift: 1%
  renew_every: 500ms

databases:
  orders:
    engine: mariadb
    admin: { user: leeward, password: "file:secrets/db-admin" }
    replication: { user: replica, password: "file:secrets/db-replication" }
    heartbeat: 250ms
    # Applications connect here instead of to the database.
    gateway: { listen: "127.0.0.1:3307", peer_port: 3308 }
    sites:
      gcp: { address: "10.77.1.1:3306" }
      aws: { address: "10.77.2.1:3306" }
  sessions:
    engine: redis
    loss_allowed: true
    gateway: { listen: "127.0.0.1:6380", peer_port: 6381 }
    sites:
      gcp: { address: "10.77.1.1:6379" }
      aws: { address: "10.77.2.1:6379" }

# Application processes, started by the agents in this order.
tiers:
  app:
    command: [./app, --listen, "{address}:{port}"]
    directory: .
    port: 5000
    local: true
    ready: { path: /healthz }
    env:
      DATABASE: "{gateway.orders}"
      SESSIONS: "{gateway.sessions}"
  web:
    command: [./web, --listen, "{address}:{port}", --app, "127.0.0.1:5000"]
    directory: .
    port: 8080
    ready: { path: /healthz }

# The zone of the service; delegate it to the three name servers.
dns:
  zone: @NAME@.test
  port: 53
  ttl: 30s
  negative_ttl: 5s
  contact: hostmaster@@NAME@.test
  nameservers: [ns1.@NAME@.test, ns2.@NAME@.test, ns3.@NAME@.test]
  records:
    # The one name that moves: short, because a resolver may keep the old answer this long.
    - { name: www, type: A, ttl: 2s, failover: { gcp: 10.77.1.1, aws: 10.77.2.1 } }
    - { name: ns1, type: A, values: [10.77.1.1] }
    - { name: ns2, type: A, values: [10.77.2.1] }
    - { name: ns3, type: A, values: [10.77.3.1] }

# Every site probes the service on both; two of the three must agree that it is down.
probes:
  interval: 1s
  timeout: 800ms
  fall: 3
  rise: 2
  quorum: 2
  port: 8080
  path: /healthz

failover:
  mode: automatic      # or approve, or manual
  rpo: 1s              # a larger estimated loss asks a person first
  block_window: 30m
  drain_timeout: 5s
  catch_up_timeout: 10s
  hold_timeout: 8s
  preferred: gcp
)";

}  // namespace

bool valid_platform_name(std::string_view name) { return kNameRule.valid(name); }

std::string starting_file(std::string_view name) {
  constexpr std::string_view kMark = "@NAME@";
  std::string text;
  std::string_view rest = kStartingFile;
  for (auto at = rest.find(kMark); at != std::string_view::npos; at = rest.find(kMark)) {
    text += rest.substr(0, at);
    text += name;
    rest.remove_prefix(at + kMark.size());
  }
  text += rest;
  return text;
}

}  // namespace leeward::config

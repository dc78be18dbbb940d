// The platform as its owner describes it in leeward.yaml: sites, tiers, databases, DNS, probes and
// failover policy. Plain data, immutable after loading; config/ parses and validates it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/cgroup.h"
#include "base/time.h"
#include "model/deploy.h"
#include "model/ids.h"
#include "model/lease.h"
#include "model/scaling.h"

namespace leeward {

// Host and port. `host` is an IPv4 address in this version ("10.0.0.1").
struct Endpoint {
  std::string host;
  std::uint16_t port = 0;
  auto operator<=>(const Endpoint&) const = default;
};
std::string to_string(const Endpoint& e);                // "10.0.0.1:3306"
Result<Endpoint> parse_endpoint(std::string_view text);  // kInvalid says what to write

// Where a secret is kept; the value itself never lives in the model. "file:PATH" (relative to the
// configuration file's directory) or "env:NAME".
struct SecretRef {
  enum class Kind { kNone, kFile, kEnv } kind = Kind::kNone;
  std::string where;
};

enum class SiteRole { kPrimary, kStandby, kWitness };

struct Site {
  std::string name;
  SiteRole role = SiteRole::kStandby;  // configured role; who is primary *now* is in ServiceRecord
  std::string address;                 // reached by the other sites
};

// A process that Leeward starts and keeps running. Placeholders in command and env values:
// {site} {address} {port} {state} and {gateway.NAME} (host:port of that database's gateway).
struct ProcessSpec {
  std::vector<std::string> command;  // argv; empty: the image's
  std::map<std::string, std::string> env;
  // Working directory; empty: the configuration file's, with an image that one's.
  std::string directory;
  std::string image{};  // tiers: "PATH" or "PATH:NAME" (compute/image.h); empty: none
  // SHA-256 of the image's configuration, once it is known which image that is.
  std::string image_digest{};

  bool started() const { return !command.empty() || !image.empty(); }  // by Leeward
  bool operator==(const ProcessSpec&) const = default;
};

struct HttpCheck {
  std::string path = "/healthz";
  std::uint16_t port = 0;
};

// How a tier stands on a site that does not serve. warm: it runs. cold: no process. functions and
// functions_first: where the site's role is standby, functions answer at the tier's port, so that
// nothing runs until a request comes; with functions_first instances start when the site begins to
// serve, and take over from the functions as soon as one is ready. On a primary both are warm.
enum class StandbyMode { kWarm, kCold, kFunctions, kFunctionsFirst };

// What functions of a tier may use. Servers and files as in its command, with placeholders.
struct FunctionsSpec {
  std::vector<std::string> connect;  // HOST:PORT, the only servers that they reach
  std::vector<std::string> files;    // that they may read beside the tier's directory
  int memory_megabytes = 512;        // of an environment
  int concurrency = 8;               // environments at once
  int prepared = 1;                  // environments kept ready, once the functions are in use
  Duration timeout = 30s;            // of a request
  std::uint16_t instance_port = 0;   // functions_first: of the first instance on such a site
};

struct Tier {
  std::string name;
  ProcessSpec process;
  std::uint16_t port = 0;          // port of the first instance; instance i listens on port + i.
                                   // Where the tier has functions, theirs (first_port_at)
  bool local = false;              // listens on loopback only ({address} is 127.0.0.1)
  std::optional<HttpCheck> ready;  // none, and no notify: ready as soon as it runs
  bool notify = false;             // ready when it says so, sd_notify(3)
  bool pass_listener = false;      // gets its listening socket handed over, sd_listen_fds(3)
  int instances = 1;               // at the start, where the tier scales
  std::optional<ScalingSpec> scaling;
  CgroupLimits limits;  // of each instance
  Duration drain = 2s;  // scaling in: from leaving the ready set to SIGTERM
  StandbyMode standby = StandbyMode::kWarm;
  FunctionsSpec functions;
  Duration stop_timeout = 5s;  // SIGTERM to SIGKILL

  std::optional<DeploySpec> deploy;  // none: the defaults, and edges find out by their own checks

  // The most instances that may be wanted on a site.
  int instances_max() const { return scaling ? scaling->max : instances; }
  // Ports that only a deployment uses.
  int spare_slots() const {
    if (!deploy) return 0;
    return deploy->strategy == DeployStrategy::kBlueGreen ? instances_max() : deploy->surge;
  }
  // How many ports it has: the most instances that may ever run on a site.
  int slots() const { return instances_max() + spare_slots(); }
  bool uses_functions() const {
    return standby == StandbyMode::kFunctions || standby == StandbyMode::kFunctionsFirst;
  }
  // Whether functions answer at its port on `site`; its instances, if it may have any there, have
  // ports of their own.
  bool functions_at(const Site& site) const {
    return site.role == SiteRole::kStandby && uses_functions();
  }
  int slots_at(const Site& site) const {
    return functions_at(site) && standby == StandbyMode::kFunctions ? 0 : slots();
  }
  std::uint16_t first_port_at(const Site& site) const {
    return functions_at(site) ? functions.instance_port : port;
  }
  // Edges ask the agent of `site` what of it is ready there.
  bool followed_at(const Site& site) const { return scaling || deploy || functions_at(site); }
};

enum class Engine { kMariadb, kRedis };

// What a commit waits for. async: nothing. semi_sync: a copy at the standby site, but only for so
// long. lossless: a copy on the standby site's disk; who may go on without one is decided in the
// service record (model/record.h, Protection).
enum class ReplicationMode { kAsync, kSemiSync, kLossless };

enum class StandbyLoss { kWait, kDegrade };

struct TlsFiles {  // paths as the database servers and the agents see them; empty ca: no TLS
  std::string ca;
  std::string certificate;
  std::string key;
  bool verify = true;  // the server's certificate must name its host
};

struct ReplicationPolicy {
  ReplicationMode mode = ReplicationMode::kAsync;
  int workers = 0;                  // applying threads; 0: chosen by the standby's cores
  Duration semi_sync_timeout = 1s;  // semi_sync: then commits go on without a copy
  StandbyLoss on_standby_loss = StandbyLoss::kWait;  // lossless
  Duration degrade_after = 10s;                      // lossless, degrade: standby lost this long
  int verify_rows_a_second = 1000;  // of the standby's continuous comparison; 0: none
  TlsFiles tls;
};

struct DatabaseNode {
  Endpoint address;     // as the other site's replication and this site's agent reach it
  ProcessSpec process;  // started by `leeward up` when it has a command
};

struct SiteDatabase {
  std::vector<DatabaseNode> nodes;  // one, or two that replace each other (control/node_core.h)
  const Endpoint& address(NodeId node = kFirstNode) const { return nodes[node.value].address; }
};

struct Database {
  std::string name;
  Engine engine = Engine::kMariadb;
  std::map<SiteId, SiteDatabase> sites;
  std::string admin_user;  // MariaDB: used by the agent
  SecretRef admin_password;
  std::string replication_user;
  SecretRef replication_password;
  ReplicationPolicy replication;  // MariaDB
  Endpoint gateway;               // where the applications of each site connect ("127.0.0.1:3307")
  std::uint16_t peer_port =
      0;                      // port on the site's address where the other site's gateway connects
  bool loss_allowed = false;  // Redis: excluded from the RPO gate
  std::string redis_user;     // Redis: ACL user of the agent and of replication; empty: "default"
  SecretRef redis_password;   // Redis: none: the servers ask for no password
};

enum class RecordType { kA, kAaaa, kNs, kCname, kTxt, kMx, kSrv, kCaa };

enum class FailoverAnswer : std::uint8_t {
  kActive,  // the active site's value
  kAll,     // that first, then those of the other sites: somewhere to go on to, for who keeps an
            // answer after its site died
};

struct DnsRecord {
  std::string name;  // relative to the zone, "@" for its apex
  RecordType type = RecordType::kA;
  Duration ttl{};
  bool failover = false;                      // value is the address of the active site
  std::map<SiteId, std::string> site_values;  // failover: the value for each site
  FailoverAnswer answer = FailoverAnswer::kActive;
  std::vector<std::string> values;  // static: rdata in presentation format
};

struct DnsZone {
  std::string name;  // "shop.test", without the final dot
  std::uint16_t port = 53;
  Duration ttl = 30s;
  Duration negative_ttl = 5s;            // SOA minimum, RFC 2308
  std::vector<std::string> nameservers;  // full names, NS records of the apex
  std::string contact;                   // SOA RNAME as an e-mail address
  std::vector<DnsRecord> records;
};

struct ProbePolicy {
  Duration interval = 1s;
  Duration timeout = 800ms;
  int fall = 3;
  int rise = 2;
  int quorum = 2;          // vantage points that must agree
  std::uint16_t port = 0;  // of the service, on each site's address
  std::string path = "/healthz";
};

enum class FailoverMode { kAutomatic, kApprove, kManual };

struct FailoverPolicy {
  FailoverMode mode = FailoverMode::kAutomatic;
  Duration rpo = 1s;               // an estimated loss above it stops an automatic promotion (I4)
  Duration block_window = 30min;   // at most one automatic failover in it (I7)
  Duration startup_timeout = 30s;  // a new writer is not left for being down before it was seen up,
                                   // for this long
  Duration drain_timeout =
      5s;  // planned: for transactions in flight, then the switchover is undone
  Duration catch_up_timeout = 10s;
  Duration hold_timeout = 8s;  // how long the gateway may hold a request while the writer moves
  std::optional<SiteId> preferred;  // where failback goes; default: the configured primary
};

struct ControlSpec {
  SiteId site;  // sqlite: where the one control node runs
  Endpoint listen{"127.0.0.1", 7400};
};

struct EdgeSpec;  // model/edge.h

struct Platform {
  std::string name;
  std::string directory;  // of the configuration file; relative paths start here
  std::string state_dir;  // each role keeps its state in state_dir/<site>/<role>
  std::vector<Site> sites;
  ControlSpec control;
  std::uint16_t agent_port = 7401;  // on each site's address
  RevisionSource deploy_from = RevisionSource::kFile;
  SecretRef agent_token;
  SecretRef operator_token;
  LeaseTimings lease;
  Duration heartbeat = 250ms;
  std::vector<Tier> tiers;
  std::vector<Database> databases;
  DnsZone dns;
  ProbePolicy probes;
  FailoverPolicy failover;
  std::shared_ptr<EdgeSpec> edge;  // null: no edge; not changed once the file is read

  const Site& site(SiteId id) const { return sites[id.value]; }
  std::optional<SiteId> find_site(std::string_view name) const;
  std::vector<SiteId> workload_sites() const;  // primary and standby, in file order
  SiteId configured_primary() const;
  SiteId preferred_site() const { return failover.preferred.value_or(configured_primary()); }
  const Database* find_database(Engine engine) const;  // first of that engine, or null
};

}  // namespace leeward

// What is observed: of a database, by a vantage point, by a site's agent. Observations carry ages
// measured on the observer's own clock, never another machine's timestamps, so that skew between
// sites cannot mislead a decision.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "model/ids.h"

namespace leeward {

// Sequence number of a transaction in the one replication stream of the service (MariaDB: seq_no of
// GTID domain 0, which gtid_strict_mode keeps growing). Comparable between sites only as long as
// their histories have not diverged; divergence is found by epoch, see DatabaseStatus::diverged.
using Position = Strong<struct PositionTag, std::uint64_t>;

enum class ReplicationState : std::uint8_t { kNone, kConnecting, kStreaming, kBroken };
std::string_view name(ReplicationState s);

// What a commit waits for, as the server that commits says.
enum class SemiSync : std::uint8_t {
  kOff,     // nothing: not configured, or switched off
  kOn,      // a durable copy at a replica
  kFallen,  // configured, but the server gave up waiting: commits are acknowledged alone now
};
std::string_view name(SemiSync s);

inline constexpr Duration kNever = Duration::max();

struct DatabaseStatus {
  bool reachable = false;  // answered a query in time; all else is stale or default when false
  bool read_only = true;
  bool refused = false;     // not reachable because nothing listens there: the process is gone
  Epoch epoch;              // highest epoch that a promotion wrote into the data itself
  Term term;                // of the last promotion in that epoch
  SiteId source = kNoSite;  // site it replicates from, running or not
  NodeId source_node;       // of that site's nodes
  ReplicationState replication = ReplicationState::kNone;
  Position written;   // last transaction in its own history, replicated ones included
  Position received;  // last one received from the source, applied or not
  Position durable;   // last one received that is on disk here, whatever happens to this machine
  Position applied;   // last one applied from the source
  bool diverged = false;    // has transactions that the writer's history lacks
  bool incomplete = false;  // a copy or an undo was begun and not finished: no history at all
  bool keeps_received =
      false;  // as a replica: acknowledges, and has not restarted since it began to. What
              // it received and had not applied yet would be gone after a restart
  Duration heartbeat_age = kNever;  // since a *new* heartbeat row was last seen here (own clock)
  WallTime heartbeat_written{};  // time in the newest heartbeat row, by the writer's clock; 0: none
  Duration lag = kNever;         // wall time now − time in the last applied heartbeat row
  bool strict = false;           // writer: acknowledges no commit before a replica has it on disk
  bool acknowledges = false;     // standby: tells its source of each transaction once it is on disk
  std::uint64_t link = 0;  // standby: number of the present life of what was received and not yet
                           // applied; another one after whatever may have dropped that. 0: none
  SemiSync semi_sync = SemiSync::kOff;  // writer
  std::uint64_t fallbacks = 0;  // writer: times that it gave up waiting, since the server started
  std::uint64_t alone = 0;      // writer: commits acknowledged although a copy was to be waited for
};

// One vantage point's opinion of the service at one site, after rise and fall thresholds.
enum class Health : std::uint8_t { kUnknown, kUp, kDown };
std::string_view name(Health h);

struct VantageReport {
  SiteId vantage;
  std::uint64_t life = 0;  // as in AgentReport
  std::uint64_t sequence = 0;
  std::array<Health, kSitesMax> health{};          // by site; kUnknown until enough probes
  std::array<std::uint8_t, kSitesMax> failures{};  // consecutive failed probes, saturating
  std::string detail;                              // last probe error, for people
};

enum class GatewayMode : std::uint8_t {
  kRefuse,  // clients get a clear refusal
  kHold,    // clients wait (bounded) while the writer moves
  kLocal,   // forwards to this site's database under the lease
  kRemote,  // forwards to the writer site's gateway
};
std::string_view name(GatewayMode m);

// One database server of a site with two.
struct NodeReport {
  bool reachable = false;
  bool primary = false;  // the one that the site's agent has chosen
  Epoch epoch;
  Term term;
  ReplicationState replication = ReplicationState::kNone;
  Position applied;
};

// The Redis servers of a site.
struct RedisNodeReport {
  bool reachable = false;
  bool primary = false;  // accepts writes
  bool link_up = false;  // it replicates, and the first copy is complete
  std::uint64_t offset = 0;
};
struct RedisReport {
  std::vector<RedisNodeReport> nodes;
  std::uint64_t primary = 1;  // number of the node that the site's agent has chosen
  bool open = false;          // it is promoted, and clients are led to it
  std::optional<std::uint64_t>
      lag_bytes;             // of the writer's stream, not received here; none: not known
  std::uint64_t losses = 0;  // times that acknowledged writes were lost, since the agent started
  std::uint64_t lost_bytes = 0;  // of the replication stream, in all
  bool lost_exactly = false;     // of the last loss; else it was at least so much
};

// A standby's continuous comparison of its rows with the writer's, since its agent started.
struct ComparisonReport {
  std::uint64_t passes = 0;     // over all tables, completed
  std::uint64_t rows = 0;       // compared, all passes
  std::uint64_t different = 0;  // rows that differed in the last completed pass
  std::string first;            // one of them: "shop.orders id=42 missing"; empty: none
  WallTime completed{};         // end of the last pass
};

// What a site's agent tells control, every report interval and at every change.
struct AgentReport {
  SiteId site;
  std::uint64_t life = 0;  // of the process, greater with each start
  std::uint64_t sequence =
      0;                // of this report in it; a kernel may deliver one long after its sender died
  Epoch highest_epoch;  // highest epoch this agent ever acted on or was told of
  Epoch lease_epoch;    // 0: holds no lease
  bool by_promise = false;  // the lease is kept alive by promises, not by the store
  GatewayMode gateway = GatewayMode::kRefuse;
  Epoch writing_epoch;        // gateway open to the local database at this epoch; 0: not
  PlanId drained_plan;        // plan for which the gateway holds, no transaction is in flight and
                              // the database is read_only; 0: not drained
  Position drained_position;  // last transaction then
  bool rejoining = false;     // working on becoming a standby (flashback or reseed)
  DatabaseStatus database;    // of the site's primary node
  Duration heartbeat_late{};  // how much later the newest heartbeat row came, after it was written,
                              // than the promptest row of late: a backlog that arrives now is old.
                              // kNever: not known
  std::vector<NodeReport> nodes;               // by NodeId; empty with one node
  bool node_in_sync = false;                   // the other node has every acknowledged write
  std::optional<ComparisonReport> comparison;  // none: not a standby that compares
  std::optional<RedisReport> redis;            // none: the platform has no Redis
  bool node_moving =
      false;  // the primary node is dead or being replaced, and the other one can take over
  std::uint16_t tiers_ready = 0;  // application instances ready
  std::uint16_t tiers_wanted = 0;
  std::uint32_t deployments = 0;  // of revisions of its tiers that succeeded, in this life
  std::uint32_t rollbacks = 0;    // that were rolled back
  std::string deployment;         // the last of either: "app, revision 3", and why it failed
  std::uint64_t protection = 0;   // number of the newest Protection that this agent keeps to
  std::uint32_t ledger_open = 0;  // lost writes kept on this site, not yet replayed or discarded
  std::string problem;  // short reason why this site's data could not take over; empty: it could
};

}  // namespace leeward

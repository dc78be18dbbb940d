// What one site's agent decides: when it holds the writer lease, what its gateway lets through, and
// what its database is to become. Pure: no clock, no I/O, no randomness; the same code runs in the
// daemon (app/agent_role) and in the simulator.
//
// The intuition. The intent in the service record says who should write and at which epoch. Being
// named there gives no right: the right is the lease, asked for from the store and counted from
// *before* the request was sent. Everything else follows from the pair (intent, lease):
//
//   lease valid, not draining   → database promoted at the epoch → gateway local until the
//   deadline;
//                                 lossless mode: commits wait for copies, unless the record lets
//                                 them be acknowledged alone at this very epoch
//   lease valid, draining       → gateway holds; once no transaction runs, database read-only
//   no lease, another site open → database read-only, follows that site; gateway remote
//   no lease, otherwise         → database read-only; gateway holds (a move is on) or refuses
//
// "Database" is the site's primary node, which NodeCore chooses (node_core.h). When it chooses
// another one, the gateway closes first, then the choice is made durable, and the new node is
// promoted like any database that is not open yet.
//
// It is level-triggered: each input recomputes the wanted state and emits what is missing, so a
// lost effect or a restart only costs time. At most one lease request and one database operation
// are in flight.
//
// Safety rests on (design §5): the deadline counts from before sending; a grant counts only as
// answer to the request outstanding; a promise is durable before it is given, is refused while this
// site holds or asks for the lease or knows a higher epoch, and while it runs this site asks for
// nothing.
//
// Not thread-safe; owned and called by one loop.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "control/heartbeat_delay.h"
#include "control/node_core.h"
#include "model/lease.h"
#include "model/record.h"
#include "model/status.h"

namespace leeward::control {

enum class LeaseOp : std::uint8_t { kAcquire, kRenew, kRelease };
enum class LeaseOutcome : std::uint8_t {
  kGranted,
  kSuperseded,  // the record names another writer or a higher epoch: stop now
  kNotYet,  // not refused for good: another holder's lease has not run out, or the store is busy
  kUnreachable,  // no answer: the outcome is unknown
};

// What an agent must remember across a crash. BootTime: the shell replaces promise_until by
// "a whole takeover time from now" when the machine was rebooted in between.
struct AgentMemory {
  std::uint64_t life = 0;   // number of this start; later starts have greater ones
  Epoch highest;            // highest epoch ever acted on or told of
  Epoch held;               // last epoch at which this site held the lease
  Intent intent;            // last known
  SiteId active = kNoSite;  // last known site that is open for writes, at active_epoch
  Epoch active_epoch;
  Protection protection;  // last known
  BootTime promise_until{};
  NodeMemory nodes;
  HeartbeatMemory heartbeats;
  bool operator==(const AgentMemory&) const = default;
};

struct AgentConfig {
  SiteId self;
  std::vector<SiteId> peers;  // every other site that could be granted the lease
  NodeConfig nodes;           // of `self`; its own field self is overwritten
  LeaseTimings lease;
  bool lossless = false;
  Duration request_timeout = 700ms;  // a lease or promise request unanswered this long is given up
  Duration promise_after = 1s;       // the store silent this long: ask the peers as well
  Duration contact_fresh = 3s;       // the record heard of within this: "control is there"
  Duration database_stale = 2s;      // no operation is begun on a status older than this
  Duration look_fresh = 800ms;       // an older status is reported as "not reachable"
  Duration looks_settle = 1s;        // after an interruption, before this data could take over
  Duration retry_after = 200ms;      // after a failed database operation or lease request
  Duration acquire_every = 50ms;     // named as writer, waiting for the lease: part of every RTO
  Duration drain_patience = 3s;      // transactions running longer are ended in a planned move
};

struct SendLease {
  LeaseOp op;
  Epoch epoch;
  RequestId request;
};
struct SendPromiseRequest {
  SiteId to;
  Epoch epoch;
  RequestId request;
};
struct SendPromiseReply {
  SiteId to;
  RequestId request;
  bool granted;
};
struct Persist {  // must be durable before any later effect of the same step is carried out
  AgentMemory memory;
};
struct SetGateway {
  GatewayMode mode;
  Epoch epoch;  // kLocal, and kHold while draining: the lease's; otherwise 0. A hold without an
                // epoch drops what is in flight, because nothing may be acknowledged any more
  BootTime deadline;    // of that epoch: nothing passes after it
  SiteId site;          // kRemote
  NodeId node{};        // kLocal
  bool finish = false;  // kHold: work that runs at the other site may end there; it answers for it
};
struct ExtendLease {  // the gateway's epoch goes on until a later deadline
  Epoch epoch;
  BootTime deadline;
};
struct EndTransactions {};  // close sessions still inside a transaction (a drain took too long)

using AgentEffect = std::variant<SendLease, SendPromiseRequest, SendPromiseReply, Persist,
                                 SetGateway, ExtendLease, StartDatabase, EndTransactions>;
using AgentEffects = std::vector<AgentEffect>;

// What an operator may ask of a standby: to undo what the writer lacks, or to copy everything
// afresh.
enum class Rejoin : std::uint8_t { kRewind, kReseed };

class AgentCore {
 public:
  explicit AgentCore(AgentConfig config);

  // First call, and again after a crash, with what was last persisted (default: nothing).
  void start(Now now, const AgentMemory& memory, AgentEffects& out);

  void on_record(Now now, const ServiceRecord& record, AgentEffects& out);
  void on_lease_reply(Now now, RequestId request, LeaseOutcome outcome, AgentEffects& out);
  void on_promise_request(Now now, SiteId from, Epoch epoch, RequestId request, AgentEffects& out);
  void on_promise_reply(Now now, SiteId from, RequestId request, bool granted, AgentEffects& out);
  void on_database(Now now, NodeId node, const DatabaseStatus& status, AgentEffects& out);
  // A node of another site that has two, and is the writer.
  void on_remote_node(Now now, SiteId site, NodeId node, const NodeCore::RemoteLook& look,
                      AgentEffects& out);
  // An operator asks for another primary node of this site. Empty when it has begun, else why not.
  std::string switch_node(Now now, NodeId node, AgentEffects& out);
  // `position`: last transaction after a successful kFence.
  void on_database_done(Now now, RequestId request, bool ok, Position position, AgentEffects& out);
  // `drained`: in kHold, no command in flight and no transaction open.
  void on_gateway(Now now, bool drained, AgentEffects& out);
  // Starts a kFollow in this step, or says why not: kRefused at the writer, without an open writer
  // that control named lately, during a planned move, and to a rewind with nothing to undo;
  // kConflict while another database operation runs; kUnavailable when the database does not
  // answer.
  Status on_rejoin_request(Now now, Rejoin how, AgentEffects& out);
  void tick(Now now, AgentEffects& out);

  // When tick() should come next at the latest.
  BootTime next_tick(Now now) const;

  bool holds_lease(Now now) const { return held_.value != 0 && now.boot < deadline_; }
  BootTime deadline() const { return deadline_; }
  const AgentMemory& memory() const { return memory_; }
  const NodeCore& nodes() const { return nodes_; }
  // True when this site's application tiers should run even if configured cold.
  bool should_serve() const { return memory_.intent.writer == config_.self; }

  // What this site's primary node follows while nothing else is done to it or expected of it: with
  // that it may compare itself. nullopt: not now.
  struct Followed {
    NodeId node;  // of this site
    SiteId source;
    NodeId source_node;
  };
  std::optional<Followed> only_follows(Now now) const;

  // The decision-relevant part of the report; the shell adds tiers and ledger.
  AgentReport report(Now now);

 private:
  void converge(Now now, AgentEffects& out);
  void expire(Now now);
  void drop_lease();
  void give_up(Epoch epoch);
  void ask_for_lease(Now now, AgentEffects& out);
  void ask_for_promises(Now now, AgentEffects& out);
  void take_lease(Now now, Epoch epoch, AgentEffects& out);
  void steer_nodes(Now now, AgentEffects& out);
  void change_primary(Now now, AgentEffects& out);
  NodeCore::Site node_site(Now now) const;
  void steer_gateway(Now now, AgentEffects& out);
  void steer_database(Now now, AgentEffects& out);
  bool database_usable(Now now) const;
  bool caught_up() const;
  bool may_acquire(Now now) const;
  bool may_hold_by_promise() const;
  bool may_acknowledge_alone() const;
  bool open_elsewhere() const;
  bool following() const;
  void start_database_op(StartDatabase op, AgentEffects& out);
  std::optional<StartDatabase> wanted_database_op(Now now) const;
  SetGateway wanted_gateway(Now now) const;
  void persist(AgentEffects& out);

  AgentConfig config_;
  AgentMemory memory_;
  AgentMemory persisted_;
  BootTime last_contact_{};  // of the record
  bool contacted_ = false;
  std::uint64_t record_version_ = 0;

  // Lease.
  Epoch held_;           // 0: not held
  BootTime deadline_{};  // the later of the two below
  BootTime store_until_{};
  BootTime promise_held_until_{};  // by every peer's promise
  struct Outstanding {
    RequestId request;
    LeaseOp op{};
    Epoch epoch;
    BootTime sent{};
  };
  std::optional<Outstanding> lease_request_;
  BootTime next_lease_request_{};
  Epoch release_due_;            // given up, but the store may not know yet
  BootTime last_store_grant_{};  // send time of the last request that the store granted
  struct PeerPromise {
    SiteId peer;
    RequestId request;
    BootTime sent{};
    bool outstanding = false;
    BootTime granted_sent{};  // send time of the last granted request; 0: none
  };
  std::vector<PeerPromise> promises_;
  BootTime next_promise_request_{};

  // Database: the primary node's.
  NodeCore nodes_;
  DatabaseStatus database_;
  HeartbeatDelay heartbeat_delay_;
  BootTime database_seen_{};
  BootTime looks_since_{};       // looks went on without interruption since then
  int protection_looks_ = 0;     // completed since the protection was learned
  bool database_fresh_ = false;  // seen since the last operation ended
  std::optional<StartDatabase> database_op_;
  BootTime next_database_op_{};
  PlanId drained_plan_;
  Position drained_position_;

  // Gateway.
  std::optional<SetGateway> gateway_;  // last emitted
  bool gateway_drained_ = false;
  BootTime drain_started_{};
  bool transactions_ended_ = false;

  std::uint64_t next_request_ = 1;
  std::uint64_t reports_ = 0;
};

}  // namespace leeward::control

// Which of a site's two database nodes is its primary. Pure, like agent_core.h, of which it is a
// part: AgentCore owns one, hands it what was seen of each node, and carries out what step() asks
// for. With one node it never asks for anything.
//
// The intuition. The lease says which *site* may write; a site with two nodes must say which node,
// and nobody but this site's agent has to agree, because the gateway in the agent's process is the
// only way to either of them. So a local failover is: the gateway drops every connection to the old
// primary, the choice of the other node goes to disk under a higher term, and only a node that was
// promoted at exactly (epoch, term) is opened to. A node that was stopped and wakes up has no
// client; what it still holds that nobody was told of is undone when it rejoins
// (database/internal/rejoin_core.h).
//
// Nothing acknowledged may be lost by it, so the other node must have every acknowledged write:
//   - the primary answers no commit before the replica has it (semi-sync, AFTER_SYNC) and never
//     falls back by itself: its time-out is endless. Only this core lets it go on alone;
//   - `in_sync` is on disk. It becomes true after semi-sync was seen on and the replica was seen
//     to have received everything up to that moment, and false *before* semi-sync is switched off
//     ("sync-loss-durable"). A failover without it is refused ("replica-in-sync");
//   - a replica that was restarted has lost what it had received and not applied: its mark
//     (`keeps_received`) is gone, and with it the right to take over; Mariadb::promote asks once
//     more.
//
// The replica may die, or be restarted, between the choice and its promotion. Then the choice goes
// back to the former primary, if that answers again: until clients were let in to the new one
// (`unopened`, on disk, "return-before-open") nothing was acknowledged that the former one lacks.
//
// Without the lease the same choice is only a matter of who follows: the primary node of a standby
// site follows the writer site's primary, the other one follows it, and takes its place when it
// dies.
//
// Bounds: two nodes, one operation in flight a node, `moves_max` local failovers within
// `moves_window`; after that a dead primary is a dead site, and control decides.
//
// Not thread-safe; owned and called by AgentCore.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "base/time.h"
#include "model/ids.h"
#include "model/status.h"

namespace leeward::control {

using RequestId = Strong<struct RequestTag, std::uint64_t>;

enum class DatabaseOp : std::uint8_t {
  kFence,
  kPromote,
  kFollow,
  kProtect,  // commits wait for a copy elsewhere from now on, or no longer (`alone`)
};
struct StartDatabase {
  DatabaseOp op;
  Epoch epoch;  // kPromote: to write; kFollow: the source's
  SiteId site;  // kFollow: the source's; may be this site
  RequestId request;
  bool alone = true;  // kPromote and kProtect: commits are acknowledged without a copy elsewhere:
                      // at the standby in lossless mode, on the other node with two nodes
  std::uint64_t link =
      0;                 // kPromote: only with what was received on this link; 0: whatever there is
  bool reseed = false;   // kFollow: copy everything afresh, whatever the data looks like
  NodeId node{};         // on which it is carried out
  NodeId source_node{};  // kFollow
  Term term{};           // kPromote
  bool whole = false;    // kPromote: only if the replica has kept all that it received
};

// What must survive a crash; part of AgentMemory.
struct NodeMemory {
  Epoch epoch;  // in which this site was last told to write; of which `term` counts
  Term term;
  NodeId primary = kFirstNode;
  bool in_sync = false;
  bool unopened = false;  // chosen at `term`, and no client was let in to it yet
  bool operator==(const NodeMemory&) const = default;
};

struct NodeConfig {
  SiteId self;
  std::uint8_t nodes = 1;
  std::map<SiteId, std::uint8_t> site_nodes;  // of every workload site; missing: one
  Duration refused_after = 400ms;             // nothing listens there for this long, and
  int refused_looks = 3;                      // in so many looks in a row: dead
  Duration silent_after = 1800ms;             // no answer since the last one for this long, and
  int silent_looks = 2;                       // in so many looks in a row: dead
  Duration unsynced_after =
      1s;  // the replica not streaming for this long: the primary goes on alone
  Duration look_stale = 2s;
  Duration retry_after = 500ms;
  Duration switch_timeout = 6s;  // of a planned change of node, then the old primary opens again
  Duration settle = 6s;  // after a start: a statement of the former life may still be carried out
  Duration moving_limit = 5s;  // so long is a local failover worth waiting for
  int moves_max = 3;
  Duration moves_window = 10min;
};

class NodeCore {
 public:
  explicit NodeCore(NodeConfig config) : config_(std::move(config)) {}

  // What AgentCore knows that matters here.
  struct Site {
    bool lease = false;         // held at `epoch`, which the intent names
    Epoch epoch;                // of the intent
    bool writer = false;        // the intent names this site
    bool draining = false;      // a planned move to another site
    bool primary_busy = false;  // an operation runs on the primary node
    bool drained = false;       // the gateway holds, and nothing is in flight
  };
  struct Step {
    bool moved = false;  // primary() is another node than before: close the gateway first
    std::vector<StartDatabase> ops;  // after memory() is durable
  };

  void start(Now now, const NodeMemory& memory);
  const NodeMemory& memory() const { return memory_; }
  bool pair() const { return config_.nodes == kNodesMax; }
  NodeId primary() const { return memory_.primary; }
  const DatabaseStatus& status(NodeId node) const { return nodes_[node.value].status; }
  BootTime seen(NodeId node) const { return nodes_[node.value].seen; }

  void on_look(Now now, NodeId node, const DatabaseStatus& status);
  // A node of the writer site that has two, as seen from here.
  struct RemoteLook {
    bool reachable = false;
    bool read_only = true;
    Promotion promotion;
  };
  void on_remote_look(SiteId site, NodeId node, const RemoteLook& look);
  // Which node of a site writes at `epoch` and is to be followed; nullopt: not known yet.
  std::optional<NodeId> source_at(SiteId site, Epoch epoch) const;

  Step step(Now now, const Site& site);
  // Numbers the operations of a Step; the caller chooses the ids.
  void started(const StartDatabase& op);
  // True when it was an operation of a Step.
  bool on_done(Now now, RequestId request, bool ok);

  // Before the first promotion at `epoch`: takes over the epoch with term 0. False while it must
  // not be promoted: the term in force may have been forgotten with this agent's disk.
  bool begin(Epoch epoch);
  // Clients are about to be let in to primary(); memory() must be durable before they are.
  void opened() { memory_.unopened = false; }
  bool open_to(const DatabaseStatus& status, Epoch epoch) const {
    return !pair() || (memory_.epoch == epoch && status.term == memory_.term);
  }

  // Planned change of node, nothing lost and no client refused: the gateway holds, the primary is
  // fenced, the other node applies everything and takes over. Empty, or why it cannot be begun.
  std::string switch_to(Now now, NodeId node, const Site& site);
  bool switching() const { return switch_.has_value(); }
  bool switch_fenced() const { return switch_ && switch_->fenced; }
  void fenced(Position position);

  bool moving(Now now) const {
    return moving_since_ && now.boot - *moving_since_ < config_.moving_limit;
  }

 private:
  struct Node {
    DatabaseStatus status;
    BootTime seen{};
    bool looked = false;
    BootTime answered{};       // last look that was answered
    BootTime failing_since{};  // first of the failed looks in a row
    int failed_looks = 0;
    BootTime unwell_since{};  // as a replica of the primary
    bool unwell = false;
    std::optional<StartDatabase> op;
    BootTime next_op{};
  };
  struct Switch {
    NodeId to;
    BootTime since{};
    bool fenced = false;
    Position position;
  };

  Node& at(NodeId node) { return nodes_[node.value]; }
  const Node& at(NodeId node) const { return nodes_[node.value]; }
  bool fresh(Now now, const Node& node) const;
  bool dead(Now now, const Node& node) const;
  bool streams_from_primary(const DatabaseStatus& status) const;
  bool may_take_over(Now now, const Node& other) const;
  bool may_return(Now now, const Site& site) const;
  void watch_switch(Now now, const Site& site, Step& out);
  void maybe_move(Now now, const Site& site, Step& out);
  void move(Now now, bool new_term, Step& out);
  void keep_sync(Now now, const Site& site, Step& out);
  void protect(Now now, bool alone, Step& out);
  void steer_other(Now now, const Site& site, Step& out);
  void note_moving(Now now, const Site& site);

  NodeConfig config_;
  NodeMemory memory_;
  std::array<Node, kNodesMax> nodes_{};
  std::optional<Position> sync_mark_;  // the replica must have received this much to be in sync
  BootTime sync_mark_at_{};
  BootTime settled_at_{};
  std::optional<Switch> switch_;
  std::deque<BootTime> moves_;
  std::optional<BootTime> moving_since_;
  struct Remote {
    bool known = false;
    NodeId node;
    Promotion promotion;
  };
  std::array<Remote, kSitesMax> remotes_{};
};

}  // namespace leeward::control

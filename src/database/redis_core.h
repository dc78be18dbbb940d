// Which Redis server of a site is its primary, whom the others follow, and what was lost. Pure:
// `now` and looks in, operations out; app/agent_redis carries them out. One object for each Redis
// database.
//
// The intuition. The right to write is the site's lease, as for MariaDB, and the gateway is the
// only way in. Redis itself acknowledges a write before any replica has it, so a failover may lose
// the last ones; all that can be done is to take the replica that has most, and to say what is
// missing:
//   - a promotion writes (epoch, term) under the key `leeward:promotion`, which replicates like any
//     other. A server that was restarted without its data has none, and is neither promoted nor
//     followed while another one has it: an empty primary never wipes its replicas by our hand;
//   - among servers of the same promotion the replication offset says which has more ("best by
//     offset");
//   - the loss is the old primary's offset less the one at which the new one was promoted: at once
//     from the last look at the old one (at least so much), exactly when the old one comes back
//     with its history.
//
// With a lease (mode local) the primary is chosen, promoted at (epoch, term), and only then led to.
// When it is dead, or has come back without its data, the other node takes its place under the next
// term. A site that is not the writer follows the writer's primary with its own first choice, and
// that one with its other node; a server whose promotion is newer than the source's waits.
//
// Bounds: two servers a site; one operation in flight a server; at most `moves_max` local failovers
// within `moves_window`, after that the gateway holds until the primary is back.
//
// Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "database/redis.h"
#include "model/ids.h"
#include "model/status.h"

namespace leeward::database {

struct RedisLook {
  bool reachable = false;
  bool refused = false;  // not reachable because nothing listens there
  RedisStatus status;
};

struct RedisConfig {
  SiteId self;
  std::map<SiteId, std::vector<Endpoint>> servers;  // every site's, by node
  // Nothing listens there in so many looks in a row: dead. Two, because the first may only have
  // found its connection closed. No longer: a server that is started again without its data is an
  // empty primary, to which its replica would connect within a second.
  int refused_looks = 2;
  Duration silent_after = 1800ms;  // no answer for this long, and
  int silent_looks = 2;            // in so many looks in a row: dead
  Duration look_stale = 2s;
  Duration choose_within = 1500ms;  // so long the choice waits for a server that does not answer
  Duration retry_after = 500ms;     // after a failed operation
  Duration fence_after = 1s;        // without a lease and without a writer to follow
  int moves_max = 3;
  Duration moves_window = 10min;
};

// Writes that Redis acknowledged and the present primary does not have.
struct RedisLoss {
  std::uint64_t bytes = 0;  // of the replication stream, beyond what was said of this loss before
  bool exact = false;  // with it the loss is known in full; else the old primary may have taken
                       // more since the last look
  SiteId site;         // whose primary was lost
  NodeId node;
};

class RedisCore {
 public:
  explicit RedisCore(RedisConfig config) : config_(std::move(config)) {}

  // What the site is to be, as the agent's gateway says.
  struct Wanted {
    GatewayMode mode = GatewayMode::kRefuse;
    Epoch epoch;              // kLocal: of the lease; kHold: of the lease while draining, else 0
    SiteId writer = kNoSite;  // kRemote
    bool drained = false;     // kHold: no client's command is in flight
  };
  enum class Kind : std::uint8_t { kPromote, kFollow, kFence };
  struct Op {
    NodeId node;
    Kind kind = Kind::kFence;
    Promotion promotion;   // kPromote
    Endpoint source;       // kFollow
    bool confirm = false;  // kFence: see Redis::fence()
    bool operator==(const Op&) const = default;
  };
  struct Step {
    std::vector<Op> ops;          // each ends with on_done()
    std::vector<RedisLoss> lost;  // found in this step
  };

  void on_look(Now now, SiteId site, NodeId node, const RedisLook& look);
  void on_done(Now now, NodeId node, bool ok);
  Step step(Now now, const Wanted& wanted);

  NodeId primary() const { return primary_; }
  // The primary is promoted for the wanted epoch: clients may be led to it.
  bool open() const { return open_; }
  // A drained site may give its lease away: its replicas have everything, or have had their time
  // for it.
  bool settled() const { return settled_; }
  const RedisLook& look(SiteId site, NodeId node) const;
  // Bytes that the site's primary has not received of the writer's stream, at the last looks;
  // nullopt: not known, e.g. because it follows nobody.
  std::optional<std::uint64_t> lag() const;

 private:
  struct Server {
    RedisLook look;
    bool looked = false;  // since the last operation
    BootTime seen{};
    BootTime answered{};
    int failed_looks = 0;
    bool busy = false;
    BootTime next_op{};
  };
  struct Former {  // a primary that was replaced, until it follows
    SiteId site;
    NodeId node;
    std::string history;
    std::uint64_t parted_at = 0;  // offset at which its replacement was promoted
    std::uint64_t reported = 0;   // bytes said to be lost already
  };

  std::vector<Server>& own() { return servers_[config_.self]; }
  Server& at(SiteId site, NodeId node);
  const Endpoint& address(SiteId site, NodeId node) const;
  bool fresh(Now now, const Server& s) const;
  bool dead(Now now, const Server& s) const;
  bool lost_its_data(const Server& s) const;
  bool choose(Now now, Epoch epoch);
  void be_writer(Now now, const Wanted& wanted, Step& out);
  void move(Now now, NodeId to, Step& out);
  void be_standby(Now now, SiteId writer, Step& out);
  void hold(Now now, const Wanted& wanted, Step& out);
  std::optional<NodeId> source_at(Now now, SiteId site);
  void follow(Now now, NodeId node, const Endpoint& source, Step& out);
  void promote(Now now, Step& out);
  void fence(Now now, bool confirm, Step& out);
  bool may_begin(Now now, NodeId node);
  void remember(SiteId site, NodeId node, const RedisStatus& from, const RedisStatus& to,
                Step& out);
  void find_exact_loss(SiteId site, NodeId node, const RedisStatus& status, Step& out);

  RedisConfig config_;
  std::map<SiteId, std::vector<Server>> servers_;
  NodeId primary_ = kFirstNode;
  Promotion promotion_;  // of primary_; epoch 0: not the writer
  std::string history_;  // of primary_, when it was last open
  bool open_ = false;
  bool settled_ = false;
  BootTime draining_since_{};
  bool draining_ = false;
  std::optional<BootTime> leaseless_since_;
  std::optional<BootTime> choosing_since_;
  SiteId source_site_ = kNoSite;
  NodeId source_node_;
  std::optional<Former> former_;
  std::deque<BootTime> moves_;
};

}  // namespace leeward::database

#include "control/node_core.h"

#include <algorithm>

#include "control/guard.h"

namespace leeward::control {
namespace {

Promotion promotion_of(const DatabaseStatus& status) { return {status.epoch, status.term}; }

}  // namespace

void NodeCore::start(Now now, const NodeMemory& memory) {
  memory_ = memory;
  settled_at_ = now.boot + config_.settle;
}

// --------------------------------------------------------------------------------------- looks

void NodeCore::on_look(Now now, NodeId id, const DatabaseStatus& status) {
  Node& node = at(id);
  node.status = status;
  node.seen = now.boot;
  node.looked = true;
  if (status.reachable) {
    node.failed_looks = 0;
    node.answered = now.boot;
  } else {
    if (node.failed_looks == 0) node.failing_since = now.boot;
    ++node.failed_looks;
  }
}

bool NodeCore::fresh(Now now, const Node& node) const {
  return node.looked && node.status.reachable && now.boot - node.seen < config_.look_stale;
}

bool NodeCore::dead(Now now, const Node& node) const {
  // A pause of this process is none of the node's: looks must have gone on until now.
  if (node.failed_looks == 0 || now.boot - node.seen >= config_.look_stale) return false;
  if (node.status.refused)
    return node.failed_looks >= config_.refused_looks &&
           node.seen - node.failing_since >= config_.refused_after;
  // A look that is not answered takes a second, so silence is counted from the last answer; two
  // looks, because one of them may have been held up by a pause of this process.
  return node.failed_looks >= config_.silent_looks &&
         node.seen - node.answered >= config_.silent_after;
}

void NodeCore::on_remote_look(SiteId site, NodeId node, const RemoteLook& look) {
  Remote& remote = remotes_[site.value];
  // The primary is the one that is writable: its replica has the same rows. A former primary that
  // wakes up may be writable as well, but not at the newest promotion.
  if (!look.reachable || look.read_only) return;
  if (remote.known && look.promotion < remote.promotion) return;
  remote = {true, node, look.promotion};
}

std::optional<NodeId> NodeCore::source_at(SiteId site, Epoch epoch) const {
  auto nodes = config_.site_nodes.find(site);
  if (nodes == config_.site_nodes.end() || nodes->second < kNodesMax) return kFirstNode;
  const Remote& remote = remotes_[site.value];
  if (!remote.known || remote.promotion.epoch != epoch) return std::nullopt;
  return remote.node;
}

// ---------------------------------------------------------------------------------- operations

void NodeCore::started(const StartDatabase& op) { at(op.node).op = op; }

bool NodeCore::on_done(Now now, RequestId request, bool ok) {
  for (Node& node : nodes_) {
    if (!node.op || node.op->request != request) continue;
    node.op.reset();
    node.next_op = now.boot + (ok ? 0ms : config_.retry_after);
    node.status.reachable = false;  // what was seen before says nothing about now
    node.looked = false;
    return true;
  }
  return false;
}

NodeCore::Step NodeCore::step(Now now, const Site& site) {
  Step out;
  if (!pair()) return out;
  watch_switch(now, site, out);
  maybe_move(now, site, out);
  keep_sync(now, site, out);
  steer_other(now, site, out);
  note_moving(now, site);
  return out;
}

bool NodeCore::begin(Epoch epoch) {
  if (!pair() || memory_.epoch == epoch) return true;
  // The data tells of a promotion at this epoch that this agent does not remember: the other node
  // may have been promoted after this one, and have what this one lacks. So both must be seen.
  const DatabaseStatus& primary = at(memory_.primary).status;
  const DatabaseStatus& other = at(other_node(memory_.primary)).status;
  bool forgotten = primary.epoch == epoch || other.epoch == epoch;
  if (forgotten && !(primary.reachable && other.reachable)) return false;
  if (forgotten && promotion_of(other) > promotion_of(primary))
    return false;  // maybe_move() is next
  memory_.epoch = epoch;
  memory_.term = forgotten ? Term{primary.term.value + 1} : Term{};
  memory_.in_sync = false;
  memory_.unopened = false;
  sync_mark_.reset();
  return true;
}

// ------------------------------------------------------------------------------------ the move

bool NodeCore::streams_from_primary(const DatabaseStatus& s) const {
  return s.source == config_.self && s.source_node == memory_.primary && !s.diverged &&
         (s.replication == ReplicationState::kStreaming ||
          s.replication == ReplicationState::kConnecting);
}

bool NodeCore::may_take_over(Now now, const Node& other) const {
  return fresh(now, other) && !other.op && streams_from_primary(other.status) &&
         LEEWARD_GUARD("replica-in-sync", memory_.in_sync) && other.status.keeps_received;
}

// The node that was chosen cannot be promoted: it is dead, or it was restarted and has lost what it
// had received. The former primary still is what it was: it follows nobody, and has all that was
// acknowledged.
bool NodeCore::may_return(Now now, const Site& site) const {
  const Node& primary = at(memory_.primary);
  const Node& other = at(other_node(memory_.primary));
  if (!LEEWARD_GUARD("return-before-open", memory_.unopened) || site.primary_busy) return false;
  bool former = fresh(now, other) && !other.op && other.status.source == kNoSite &&
                other.status.epoch == memory_.epoch;
  bool forgot =
      fresh(now, primary) && primary.status.source != kNoSite && !primary.status.keeps_received;
  return former && (forgot || dead(now, primary));
}

void NodeCore::move(Now now, bool new_term, Step& out) {
  memory_.primary = other_node(memory_.primary);
  if (new_term) {
    ++memory_.term.value;
    memory_.in_sync = false;
    memory_.unopened = true;
    moves_.push_back(now.boot);
  }
  sync_mark_.reset();
  switch_.reset();
  for (Node& node : nodes_) node.unwell = false;
  out.moved = true;
}

void NodeCore::maybe_move(Now now, const Site& site, Step& out) {
  if (out.moved) return;
  const Node& primary = at(memory_.primary);
  const Node& other = at(other_node(memory_.primary));
  bool begun = memory_.epoch == site.epoch && site.epoch.value != 0;
  bool forgotten = site.lease && !begun && fresh(now, primary) && fresh(now, other) &&
                   other.status.epoch == site.epoch &&
                   promotion_of(other.status) > promotion_of(primary.status);
  if (forgotten && !other.op) return move(now, false, out);  // see begin()
  if (site.lease && begun && !site.draining && may_return(now, site)) {
    move(now, true, out);
    moves_.pop_back();  // it ends a failover, and is none
    return;
  }
  if (!dead(now, primary)) return;
  if (site.lease && begun) {
    while (!moves_.empty() && now.boot - moves_.front() >= config_.moves_window) moves_.pop_front();
    bool budget = moves_.size() < static_cast<std::size_t>(config_.moves_max);
    if (budget && !site.draining && may_take_over(now, other)) move(now, true, out);
  } else if (!site.writer || (site.lease && !begun)) {
    // Nothing was acknowledged here in this epoch: only who follows, or who is promoted first.
    if (fresh(now, other) && !other.op) move(now, false, out);
  }
}

void NodeCore::note_moving(Now now, const Site& site) {
  const Node& primary = at(memory_.primary);
  bool begun = site.lease && memory_.epoch == site.epoch;
  bool troubled =
      primary.failed_looks > 0 || primary.status.read_only || primary.status.term != memory_.term;
  bool coming = primary.failed_looks == 0 || may_take_over(now, at(other_node(memory_.primary))) ||
                may_return(now, site);
  if (!begun || !troubled || !coming) return moving_since_.reset();
  if (!moving_since_) moving_since_ = now.boot;
}

// ------------------------------------------------------------------------------ planned change

std::string NodeCore::switch_to(Now now, NodeId node, const Site& site) {
  if (!pair()) return "this site has one database node";
  if (!site.lease || memory_.epoch != site.epoch) return "this site is not the writer";
  if (node == memory_.primary) return "that node is the primary already";
  if (site.draining) return "the writer is moving to another site";
  if (switch_) return "a change of node is under way";
  if (!fresh(now, at(memory_.primary))) return "the primary does not answer";
  if (!may_take_over(now, at(node))) return "the other node is not in sync with the primary";
  switch_ = Switch{node, now.boot, false, {}};
  return {};
}

void NodeCore::fenced(Position position) {
  if (!switch_) return;
  switch_->fenced = true;
  switch_->position = position;
}

void NodeCore::watch_switch(Now now, const Site& site, Step& out) {
  if (!switch_) return;
  if (!site.lease || site.draining || now.boot - switch_->since >= config_.switch_timeout)
    return switch_.reset();
  // Being in sync, it has received that position. A replica that is slow to apply it makes clients
  // wait longer than they need to; then the change is undone by the time-out above.
  const Node& to = at(switch_->to);
  bool there = fresh(now, to) && to.status.applied >= switch_->position;
  if (!switch_->fenced || !there || !may_take_over(now, to)) return;
  move(now, true, out);
  moves_.pop_back();  // asked for by a person: not counted
}

// ----------------------------------------------------------------------------------- semi-sync

void NodeCore::protect(Now now, bool alone, Step& out) {
  Node& primary = at(memory_.primary);
  if (primary.op || now.boot < primary.next_op) return;
  StartDatabase op{DatabaseOp::kProtect, memory_.epoch, kNoSite, {}, alone};
  op.node = memory_.primary;
  primary.next_op = now.boot + config_.retry_after;
  out.ops.push_back(op);
}

void NodeCore::keep_sync(Now now, const Site& site, Step& out) {
  const Node& primary = at(memory_.primary);
  Node& other = at(other_node(memory_.primary));
  bool ours = site.lease && memory_.epoch == site.epoch && !out.moved && !switch_ &&
              fresh(now, primary) && !primary.op && !site.primary_busy &&
              !primary.status.read_only && primary.status.epoch == memory_.epoch &&
              primary.status.term == memory_.term;
  if (!site.writer) memory_.in_sync = false;
  if (!ours) return sync_mark_.reset();
  bool well = fresh(now, other) && streams_from_primary(other.status) &&
              other.status.replication == ReplicationState::kStreaming &&
              other.status.keeps_received;
  if (well) {
    other.unwell = false;
  } else if (!other.unwell) {
    other.unwell = true;
    other.unwell_since = now.boot;
  }
  bool gone = other.unwell && now.boot - other.unwell_since >= config_.unsynced_after;
  // A restarted replica has forgotten: at once, and before it is told to follow again.
  bool forgot = other.looked && other.status.reachable && !other.status.keeps_received;
  if (memory_.in_sync && (gone || forgot)) memory_.in_sync = false;
  if (memory_.in_sync) return;
  if (!primary.status.strict) {
    sync_mark_.reset();
    if (well && other.status.received >= primary.status.written) protect(now, false, out);
  } else if (gone) {
    sync_mark_.reset();
    protect(now, true, out);
  } else if (now.boot < settled_at_) {
    return;
  } else if (!sync_mark_) {
    sync_mark_ = primary.status.written;
    sync_mark_at_ = now.boot;
  } else if (well && other.seen > sync_mark_at_ && primary.seen > sync_mark_at_ &&
             other.status.received >= *sync_mark_) {
    memory_.in_sync = true;
  }
}

// ---------------------------------------------------------------------------------- the other one

void NodeCore::steer_other(Now now, const Site& site, Step& out) {
  NodeId id = other_node(memory_.primary);
  Node& other = at(id);
  const Node& primary = at(memory_.primary);
  if (other.op || now.boot < other.next_op || !fresh(now, other)) return;
  StartDatabase op{DatabaseOp::kFence, {}, kNoSite, {}};
  op.node = id;
  if (!other.status.read_only) {
    out.ops.push_back(op);
    return;
  }
  bool settled = fresh(now, primary) && !site.primary_busy && !out.moved && !switch_ &&
                 !primary.status.diverged && primary.status.epoch.value != 0;
  bool writes = site.lease && !primary.status.read_only && primary.status.term == memory_.term &&
                primary.status.epoch == memory_.epoch;
  bool follows = !site.lease && primary.status.source != kNoSite &&
                 primary.status.source != config_.self &&
                 primary.status.replication == ReplicationState::kStreaming;
  bool right = streams_from_primary(other.status) && other.status.keeps_received;
  if (right || !settled || !(writes || follows) || memory_.in_sync) return;
  op.op = DatabaseOp::kFollow;
  op.epoch = primary.status.epoch;
  op.site = config_.self;
  op.source_node = memory_.primary;
  out.ops.push_back(op);
}

}  // namespace leeward::control

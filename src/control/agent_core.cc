#include "control/agent_core.h"

#include <algorithm>

#include "control/guard.h"

namespace leeward::control {

namespace {

NodeConfig with_self(NodeConfig config, SiteId self) {
  config.self = self;
  return config;
}

}  // namespace

AgentCore::AgentCore(AgentConfig config)
    : config_(std::move(config)), nodes_(with_self(config_.nodes, config_.self)) {
  for (SiteId peer : config_.peers) promises_.push_back({.peer = peer, .request = {}});
}

void AgentCore::start(Now now, const AgentMemory& memory, AgentEffects& out) {
  memory_ = persisted_ = memory;
  nodes_.start(now, memory.nodes);
  heartbeat_delay_.start(now, memory.heartbeats);
  // Greater than before even where the memory was lost: wall clocks differ by less than a
  // reinstallation.
  auto wall = static_cast<std::uint64_t>(now.wall.time_since_epoch().count());
  memory_.life = std::max(memory.life + 1, wall);
  last_store_grant_ = now.boot;  // gives the store its time before peers are asked
  // A request of an earlier life must not be taken for one of this life.
  next_request_ = static_cast<std::uint64_t>(now.boot.time_since_epoch().count());
  converge(now, out);
}

void AgentCore::on_record(Now now, const ServiceRecord& record, AgentEffects& out) {
  // An older record (a late or duplicated answer) must not turn anything back.
  bool older =
      record.intent.epoch < memory_.intent.epoch ||
      (record.intent.epoch == memory_.intent.epoch &&
       (record.version < record_version_ || record.protection.number < memory_.protection.number));
  if (!LEEWARD_GUARD("no-older-record", !older)) return;
  record_version_ = record.version;
  contacted_ = true;
  last_contact_ = now.boot;
  memory_.intent = record.intent;
  if (!(memory_.protection == record.protection)) protection_looks_ = 0;
  memory_.protection = record.protection;
  memory_.active = record.active;
  memory_.active_epoch = record.active_epoch;
  memory_.highest = std::max(memory_.highest, record.intent.epoch);
  converge(now, out);
}

void AgentCore::on_lease_reply(Now now, RequestId request, LeaseOutcome outcome,
                               AgentEffects& out) {
  // Only the answer to the outstanding request counts: a request given up may have been overtaken
  // by a promise to the other side.
  if (!lease_request_ || !LEEWARD_GUARD("answer-outstanding", lease_request_->request == request))
    return;
  if (held_.value != 0 && now.boot >= deadline_) drop_lease();
  Outstanding asked = *lease_request_;
  lease_request_.reset();
  switch (outcome) {
    case LeaseOutcome::kGranted:
      if (asked.op == LeaseOp::kRelease) {
        release_due_ = Epoch{};
        break;
      }
      last_store_grant_ = asked.sent;
      store_until_ = (LEEWARD_GUARD("count-from-sending", false) ? now.boot : asked.sent) +
                     config_.lease.duration;
      take_lease(now, asked.epoch, out);
      break;
    case LeaseOutcome::kSuperseded:
      if (asked.op == LeaseOp::kRelease) {
        release_due_ = Epoch{};
      } else if (asked.epoch >= held_) {
        give_up(asked.epoch);
      }
      next_lease_request_ = now.boot + (release_due_.value != 0 ? 0ms : config_.retry_after);
      break;
    case LeaseOutcome::kNotYet:
      next_lease_request_ =
          now.boot + (asked.op == LeaseOp::kAcquire ? config_.acquire_every : config_.retry_after);
      break;
    case LeaseOutcome::kUnreachable:
      next_lease_request_ = std::max(next_lease_request_, now.boot + config_.retry_after);
      break;
  }
  converge(now, out);
}

void AgentCore::take_lease(Now now, Epoch epoch, AgentEffects& out) {
  deadline_ = std::max(store_until_, promise_held_until_);
  if (now.boot >= deadline_) return;  // the answer took longer than the lease
  held_ = epoch;
  if (memory_.held != epoch || memory_.highest < epoch) {
    memory_.held = epoch;
    memory_.highest = std::max(memory_.highest, epoch);
    persist(out);
  }
}

void AgentCore::drop_lease() {
  held_ = Epoch{};
  store_until_ = promise_held_until_ = deadline_ = BootTime{};
  for (PeerPromise& p : promises_) p.granted_sent = BootTime{};
  // The gateway fenced itself at the deadline, so whatever comes next must be said to it in full.
  if (gateway_ && gateway_->epoch.value != 0) gateway_.reset();
}

void AgentCore::give_up(Epoch epoch) {
  release_due_ = epoch;
  memory_.held = Epoch{};  // never again by promise at this epoch
  drop_lease();
}

void AgentCore::expire(Now now) {
  if (held_.value != 0 && now.boot >= deadline_) drop_lease();
  // A request unanswered for long is given up; its answer, should it come, is ignored.
  if (lease_request_ && now.boot >= lease_request_->sent + config_.request_timeout)
    lease_request_.reset();
  for (PeerPromise& p : promises_)
    if (p.outstanding && now.boot >= p.sent + config_.request_timeout) p.outstanding = false;
}

void AgentCore::on_promise_request(Now now, SiteId from, Epoch epoch, RequestId request,
                                   AgentEffects& out) {
  expire(now);
  // Who holds or asks for the lease has met an epoch above that of any other site, so the first
  // condition implies the others. They are kept because they say what is meant.
  bool granted = LEEWARD_GUARD("promise-not-below-known-epoch", epoch >= memory_.highest) &&
                 held_.value == 0 && !lease_request_;
  if (granted) {
    memory_.highest = std::max(memory_.highest, epoch);
    memory_.promise_until = std::max(memory_.promise_until, now.boot + config_.lease.takeover);
    if (LEEWARD_GUARD("promise-durable", false))
      persisted_ = memory_;
    else
      persist(out);
  }
  out.push_back(SendPromiseReply{from, request, granted});
  converge(now, out);
}

void AgentCore::on_promise_reply(Now now, SiteId from, RequestId request, bool granted,
                                 AgentEffects& out) {
  for (PeerPromise& p : promises_) {
    if (p.peer != from || !p.outstanding || p.request != request) continue;
    p.outstanding = false;
    if (!granted) continue;
    p.granted_sent = p.sent;
  }
  // The lease lives as long as the oldest of *all* promises; one missing peer could take it.
  bool all = !promises_.empty();
  BootTime oldest = BootTime::max();
  for (const PeerPromise& p : promises_) {
    if (p.granted_sent == BootTime{})
      all = false;
    else
      oldest = std::min(oldest, p.granted_sent);
  }
  if (!LEEWARD_GUARD("every-peer-promises", all) || oldest == BootTime::max() ||
      !may_hold_by_promise())
    return;
  promise_held_until_ = oldest + config_.lease.duration;
  take_lease(now, memory_.intent.epoch, out);
  converge(now, out);
}

void AgentCore::on_database(Now now, NodeId node, const DatabaseStatus& status, AgentEffects& out) {
  nodes_.on_look(now, node, status);
  if (node != nodes_.primary()) return converge(now, out);
  bool interrupted = !status.reachable || now.boot - database_seen_ >= config_.look_fresh;
  if (interrupted) looks_since_ = now.boot;
  database_ = status;
  database_seen_ = now.boot;
  if (heartbeat_delay_.on_look(now.boot, status)) memory_.heartbeats = heartbeat_delay_.memory();
  database_fresh_ = true;
  ++protection_looks_;
  converge(now, out);
}

void AgentCore::on_remote_node(Now now, SiteId site, NodeId node, const NodeCore::RemoteLook& look,
                               AgentEffects& out) {
  nodes_.on_remote_look(site, node, look);
  converge(now, out);
}

std::string AgentCore::switch_node(Now now, NodeId node, AgentEffects& out) {
  std::string why = nodes_.switch_to(now, node, node_site(now));
  converge(now, out);
  return why;
}

void AgentCore::on_database_done(Now now, RequestId request, bool ok, Position position,
                                 AgentEffects& out) {
  if (nodes_.on_done(now, request, ok)) return converge(now, out);
  if (!database_op_ || database_op_->request != request) return;
  StartDatabase done = *database_op_;
  database_op_.reset();
  // What was observed before the operation ended says nothing about now.
  database_fresh_ = false;
  if (!ok) {
    next_database_op_ = now.boot + config_.retry_after;
  } else if (done.op == DatabaseOp::kFence && memory_.intent.draining() && gateway_drained_ &&
             holds_lease(now) && done.epoch == held_) {
    drained_plan_ = memory_.intent.drain;
    drained_position_ = position;
  } else if (done.op == DatabaseOp::kFence && nodes_.switching() && gateway_drained_ &&
             holds_lease(now) && done.epoch == held_) {
    nodes_.fenced(position);
  }
  converge(now, out);
}

void AgentCore::on_gateway(Now now, bool drained, AgentEffects& out) {
  gateway_drained_ = drained && gateway_ && gateway_->mode == GatewayMode::kHold;
  converge(now, out);
}

void AgentCore::tick(Now now, AgentEffects& out) { converge(now, out); }

BootTime AgentCore::next_tick(Now now) const {
  BootTime next = now.boot + 250ms;
  if (held_.value != 0) next = std::min(next, deadline_);
  if (next_lease_request_ > now.boot) next = std::min(next, next_lease_request_);
  return std::max(next, now.boot + 1ms);
}

bool AgentCore::database_usable(Now now) const {
  return database_.reachable && database_fresh_ &&
         now.boot - database_seen_ < config_.database_stale;
}

bool AgentCore::may_acquire(Now now) const {
  const Intent& intent = memory_.intent;
  if (intent.writer != config_.self || intent.epoch.value == 0) return false;
  if (!LEEWARD_GUARD("promise-binds", now.boot >= memory_.promise_until)) return false;
  if (memory_.held == intent.epoch) return true;  // we were the writer: the database is ours
  bool half_done =
      database_.incomplete || (database_op_ && database_op_->op == DatabaseOp::kFollow);
  if (!database_usable(now) || half_done) return false;
  bool all_there = memory_.intent.link == 0 || database_.link == memory_.intent.link;
  if (!all_there) return false;  // asked again by the promotion itself
  return LEEWARD_GUARD("catch-up-first", caught_up());
}

bool AgentCore::caught_up() const {
  return std::max(database_.applied, database_.written) >= memory_.intent.required;
}

bool AgentCore::may_acknowledge_alone() const {
  if (!config_.lossless) return true;
  const Protection& p = memory_.protection;
  return p.epoch == held_ &&
         LEEWARD_GUARD("alone-by-record-only", p.state == ProtectionState::kOff);
}

bool AgentCore::may_hold_by_promise() const {
  return memory_.intent.writer == config_.self && memory_.held == memory_.intent.epoch &&
         memory_.held.value != 0 && memory_.highest == memory_.held;
}

void AgentCore::ask_for_lease(Now now, AgentEffects& out) {
  if (lease_request_) return;
  const Intent& intent = memory_.intent;
  auto send = [&](LeaseOp op, Epoch epoch) {
    lease_request_ = Outstanding{RequestId{next_request_++}, op, epoch, now.boot};
    next_lease_request_ = now.boot + config_.lease.renew_every;
    out.push_back(SendLease{op, epoch, lease_request_->request});
  };
  bool ours = intent.writer == config_.self && intent.epoch == held_;
  // Given back, the other side need not wait for it to run out. The gateway was closed in this same
  // step, before this request (see converge).
  if (held_.value != 0 && !ours) {
    give_up(held_);
    next_lease_request_ = now.boot;  // the other side waits for it
  }
  if (now.boot < next_lease_request_) return;
  if (release_due_.value != 0) {
    send(LeaseOp::kRelease, release_due_);
  } else if (held_.value != 0) {
    send(LeaseOp::kRenew, held_);
  } else if (may_acquire(now)) {
    send(LeaseOp::kAcquire, intent.epoch);
  }
}

void AgentCore::ask_for_promises(Now now, AgentEffects& out) {
  if (!may_hold_by_promise() || now.boot < next_promise_request_ ||
      now.boot - last_store_grant_ < config_.promise_after)
    return;
  next_promise_request_ = now.boot + config_.lease.renew_every;
  for (PeerPromise& p : promises_) {
    if (p.outstanding) continue;
    p.request = RequestId{next_request_++};
    p.sent = now.boot;
    p.outstanding = true;
    out.push_back(SendPromiseRequest{p.peer, memory_.held, p.request});
  }
}

SetGateway AgentCore::wanted_gateway(Now now) const {
  const Intent& intent = memory_.intent;
  bool contact = contacted_ && now.boot - last_contact_ < config_.contact_fresh;
  SetGateway hold{GatewayMode::kHold, {}, {}, kNoSite};
  SetGateway refuse{GatewayMode::kRefuse, {}, {}, kNoSite};
  SetGateway hold_and_finish = hold;  // the writer at the other site drains
  hold_and_finish.finish = true;
  if (intent.writer == config_.self) {
    if (!holds_lease(now) || held_ != intent.epoch) return contact ? hold : refuse;
    if (intent.draining() || nodes_.switching())
      return {GatewayMode::kHold, held_, deadline_, kNoSite};
    // A database is writable under the lease only after its promotion at this epoch (a site without
    // the lease fences first); the epoch in the data is asked all the same, it is the proof.
    bool promoted = database_.epoch == held_ && nodes_.open_to(database_, held_) &&
                    !database_.read_only && database_usable(now) && !database_op_ &&
                    (database_.strict || may_acknowledge_alone());
    bool was_open = gateway_ && gateway_->mode == GatewayMode::kLocal && gateway_->epoch == held_ &&
                    gateway_->node == nodes_.primary();
    // A server that came back with its own settings acknowledges what nobody has a copy of.
    bool careless = config_.lossless && memory_.protection.state == ProtectionState::kOn &&
                    database_usable(now) && !database_.strict;
    if (careless) return hold;
    // A status that comes late must not close a gateway that is open: the database itself answers.
    bool reopening = database_op_ && database_op_->op != DatabaseOp::kProtect;
    if (promoted || (was_open && !reopening))
      return {GatewayMode::kLocal, held_, deadline_, kNoSite, nodes_.primary()};
    return hold;
  }
  if (intent.writer == kNoSite) return refuse;
  bool open_there = memory_.active == intent.writer && memory_.active_epoch == intent.epoch;
  if (open_there && intent.draining() && contact) return hold_and_finish;
  if (open_there) return {GatewayMode::kRemote, {}, {}, intent.writer};
  return contact ? hold : refuse;
}

void AgentCore::steer_gateway(Now now, AgentEffects& out) {
  SetGateway wanted = wanted_gateway(now);
  bool same = gateway_ && gateway_->mode == wanted.mode && gateway_->epoch == wanted.epoch &&
              gateway_->site == wanted.site && gateway_->node == wanted.node &&
              gateway_->finish == wanted.finish;
  if (same && wanted.deadline == gateway_->deadline) return;
  if (wanted.mode == GatewayMode::kLocal && memory_.nodes.unopened) {
    nodes_.opened();
    memory_.nodes = nodes_.memory();
    if (LEEWARD_GUARD("open-durable", false))
      persisted_ = memory_;
    else
      persist(out);
  }
  if (same) {
    out.push_back(ExtendLease{wanted.epoch, wanted.deadline});
  } else {
    if (wanted.mode == GatewayMode::kHold) {
      drain_started_ = now.boot;
      transactions_ended_ = false;
    }
    gateway_drained_ = false;
    out.push_back(wanted);
  }
  gateway_ = wanted;
}

// Another site is the writer and has opened.
bool AgentCore::open_elsewhere() const {
  const Intent& intent = memory_.intent;
  return intent.writer != kNoSite && intent.writer != config_.self &&
         memory_.active == intent.writer && memory_.active_epoch == intent.epoch;
}

bool AgentCore::following() const {
  std::optional<NodeId> source = nodes_.source_at(memory_.intent.writer, memory_.intent.epoch);
  bool right_node = !source || database_.source_node == *source;
  return database_.source == memory_.intent.writer && right_node && !database_.diverged &&
         (database_.replication == ReplicationState::kStreaming ||
          database_.replication == ReplicationState::kConnecting);
}

std::optional<StartDatabase> AgentCore::wanted_database_op(Now now) const {
  const Intent& intent = memory_.intent;
  bool lease = holds_lease(now) && intent.writer == config_.self && intent.epoch == held_;
  if (lease && intent.draining()) {
    if (gateway_drained_ && drained_plan_ != intent.drain)
      return StartDatabase{DatabaseOp::kFence, held_, kNoSite, {}};
    return std::nullopt;
  }
  if (lease && nodes_.switching()) {
    if (gateway_drained_ && !nodes_.switch_fenced())
      return StartDatabase{DatabaseOp::kFence, held_, kNoSite, {}};
    return std::nullopt;
  }
  if (lease) {
    bool alone = may_acknowledge_alone();
    if (database_.read_only || database_.epoch != held_ || !nodes_.open_to(database_, held_)) {
      StartDatabase promote{DatabaseOp::kPromote, held_, kNoSite, {}, alone};
      if (database_.epoch != held_) promote.link = intent.link;
      return promote;
    }
    if (config_.lossless && database_.strict == alone)
      return StartDatabase{DatabaseOp::kProtect, held_, kNoSite, {}, alone};
    return std::nullopt;
  }
  if (!LEEWARD_GUARD("fence-without-lease", database_.read_only))
    return StartDatabase{DatabaseOp::kFence, {}, kNoSite, {}};
  std::optional<NodeId> source = nodes_.source_at(intent.writer, intent.epoch);
  if (!open_elsewhere() || following() || !source) return std::nullopt;
  StartDatabase follow{DatabaseOp::kFollow, intent.epoch, intent.writer, {}};
  follow.source_node = *source;
  return follow;
}

void AgentCore::steer_database(Now now, AgentEffects& out) {
  bool draining = memory_.intent.draining() || nodes_.switching();
  if (draining && holds_lease(now) && !gateway_drained_ && !transactions_ended_ &&
      now.boot - drain_started_ >= config_.drain_patience) {
    transactions_ended_ = true;
    out.push_back(EndTransactions{});
  }
  if (!memory_.intent.draining()) drained_plan_ = PlanId{};
  if (database_op_ || now.boot < next_database_op_ || !database_usable(now)) return;
  std::optional<StartDatabase> wanted = wanted_database_op(now);
  if (!wanted) return;
  if (wanted->op == DatabaseOp::kPromote && nodes_.pair()) {
    bool fresh_epoch = memory_.nodes.epoch != held_;
    if (fresh_epoch && !caught_up()) return;
    if (!nodes_.begin(held_)) return;
    memory_.nodes = nodes_.memory();
    if (!(memory_ == persisted_)) persist(out);
    wanted->term = memory_.nodes.term;
    wanted->alone = !memory_.nodes.in_sync;
    wanted->whole = wanted->term.value != 0 && database_.term != wanted->term;
  }
  start_database_op(*wanted, out);
}

void AgentCore::start_database_op(StartDatabase op, AgentEffects& out) {
  op.node = nodes_.primary();
  op.request = RequestId{next_request_++};
  database_op_ = op;
  out.push_back(op);
}

std::optional<AgentCore::Followed> AgentCore::only_follows(Now now) const {
  bool quiet = open_elsewhere() && !memory_.intent.draining() && held_.value == 0 &&
               !database_op_ && database_usable(now) && !database_.incomplete;
  if (!quiet || !following() || database_.replication != ReplicationState::kStreaming)
    return std::nullopt;
  return Followed{nodes_.primary(), database_.source, database_.source_node};
}

Status AgentCore::on_rejoin_request(Now now, Rejoin how, AgentEffects& out) {
  expire(now);
  const Intent& intent = memory_.intent;
  if (intent.writer == config_.self || held_.value != 0)
    return fail(Code::kRefused, "this site is the writer: only a standby is rewound or reseeded");
  if (!contacted_ || now.boot - last_contact_ >= config_.contact_fresh)
    return fail(Code::kRefused, "control is out of reach, so who the writer is, is not certain");
  if (intent.draining())
    return fail(Code::kRefused, "a planned move to or from this site is running");
  if (!open_elsewhere())
    return fail(Code::kRefused, "no other site is open for writes: there is nothing to follow");
  if (database_op_)
    return fail(Code::kConflict, "another operation on this site's database is running");
  if (!database_usable(now))
    return fail(Code::kUnavailable, "this site's database does not answer");
  std::optional<NodeId> source = nodes_.source_at(intent.writer, intent.epoch);
  if (!source)
    return fail(Code::kUnavailable,
                "it is not known yet which node of the other site is its primary");
  if (how == Rejoin::kRewind && following())
    return fail(Code::kRefused, "there is nothing to undo: this site follows the writer");
  StartDatabase op{DatabaseOp::kFollow, intent.epoch, intent.writer, {}};
  op.source_node = *source;
  op.reseed = how == Rejoin::kReseed;
  start_database_op(op, out);
  return {};
}

NodeCore::Site AgentCore::node_site(Now now) const {
  const Intent& intent = memory_.intent;
  NodeCore::Site site;
  site.writer = intent.writer == config_.self;
  site.lease = site.writer && holds_lease(now) && intent.epoch == held_;
  site.epoch = intent.epoch;
  site.draining = intent.draining();
  site.primary_busy = database_op_.has_value();
  site.drained = gateway_drained_;
  return site;
}

void AgentCore::steer_nodes(Now now, AgentEffects& out) {
  NodeCore::Step step = nodes_.step(now, node_site(now));
  if (step.moved) change_primary(now, out);
  memory_.nodes = nodes_.memory();
  if (!(memory_ == persisted_)) {
    bool only_sync = !step.moved && persisted_.nodes.in_sync && !memory_.nodes.in_sync;
    if (only_sync && LEEWARD_GUARD("sync-loss-durable", false))
      persisted_ = memory_;
    else
      persist(out);
  }
  for (StartDatabase& op : step.ops) {
    op.request = RequestId{next_request_++};
    nodes_.started(op);
    out.push_back(op);
  }
}

// The other node is the database from now on. No client may reach the former one any more, and what
// was seen of it, or is still being done to it, says nothing.
void AgentCore::change_primary(Now now, AgentEffects& out) {
  if (gateway_ && gateway_->epoch.value != 0) {
    gateway_ = SetGateway{GatewayMode::kHold, {}, {}, kNoSite};
    out.push_back(*gateway_);
    gateway_drained_ = false;
  }
  database_op_.reset();
  next_database_op_ = now.boot;
  database_ = nodes_.status(nodes_.primary());
  database_seen_ = nodes_.seen(nodes_.primary());
  database_fresh_ = true;
}

void AgentCore::converge(Now now, AgentEffects& out) {
  expire(now);
  if (nodes_.pair()) steer_nodes(now, out);
  if (!(memory_ == persisted_)) persist(out);
  steer_gateway(now, out);
  ask_for_lease(now, out);
  ask_for_promises(now, out);
  steer_database(now, out);
}

void AgentCore::persist(AgentEffects& out) {
  persisted_ = memory_;
  out.push_back(Persist{memory_});
}

AgentReport AgentCore::report(Now now) {
  AgentReport r;
  r.site = config_.self;
  r.life = memory_.life;
  r.sequence = ++reports_;
  r.highest_epoch = memory_.highest;
  bool lease = holds_lease(now);
  r.lease_epoch = lease ? held_ : Epoch{};
  r.by_promise = lease && store_until_ <= now.boot;
  r.gateway = gateway_ ? gateway_->mode : GatewayMode::kRefuse;
  bool writing = lease && gateway_ && gateway_->mode == GatewayMode::kLocal;
  r.writing_epoch = writing ? held_ : Epoch{};
  // With the term that the position belongs to, which the next look shows.
  bool looked = !nodes_.pair() || database_.term == nodes_.memory().term;
  r.drained_plan = lease && looked ? drained_plan_ : PlanId{};
  r.drained_position = drained_position_;
  r.rejoining = database_op_ && database_op_->op == DatabaseOp::kFollow;
  r.database = database_;
  // A look that ended after the protection was learned may have begun before; the next one did not.
  // An operation under way, or one of an earlier life still on its way, may change what was seen.
  bool settled = protection_looks_ >= 2 && database_fresh_ && !database_op_ &&
                 now.boot - looks_since_ >= config_.looks_settle;
  r.protection = settled ? memory_.protection.number : 0;
  if (nodes_.pair()) {
    for (NodeId node : {kFirstNode, kSecondNode}) {
      const DatabaseStatus& s = nodes_.status(node);
      r.nodes.push_back({s.reachable, node == nodes_.primary(), s.epoch, s.term, s.replication,
                         std::max(s.applied, s.written)});
    }
    r.node_in_sync = nodes_.memory().in_sync;
    r.node_moving = nodes_.moving(now);
  }
  r.heartbeat_late = heartbeat_delay_.late();
  r.database.reachable = database_.reachable && now.boot - database_seen_ < config_.look_fresh;
  if (r.database.heartbeat_age != kNever) r.database.heartbeat_age += now.boot - database_seen_;
  if (!r.database.reachable) {
    r.problem = "db unreachable";
  } else if (r.rejoining) {
    r.problem = "rejoining";
  } else if (now.boot - looks_since_ < config_.looks_settle) {
    // After a pause of this process or of the database, the age of the heartbeat spans the pause:
    // that reads like a writer fallen silent, until heartbeats had the time to be seen again.
    r.problem = "db seen again only just now";
  } else if (database_.diverged) {
    r.problem = "diverged";
  } else if (memory_.intent.writer != config_.self && database_.source == config_.self) {
    // New rows may still come from the other node, and yet be old: they tell nothing of the writer.
    r.problem = "follows the other node of its site, not yet the writer";
  } else if (memory_.intent.writer != config_.self &&
             database_.replication != ReplicationState::kStreaming &&
             database_.replication != ReplicationState::kConnecting) {
    r.problem = "not replicating";
  }
  return r;
}

}  // namespace leeward::control

#include "control/control_core.h"

#include <algorithm>

#include "control/guard.h"

namespace leeward::control {

ControlConfig control_config(const Platform& platform) {
  ControlConfig c;
  for (std::size_t i = 0; i < platform.sites.size(); ++i)
    c.vantages.push_back(SiteId{static_cast<std::uint8_t>(i)});
  c.workloads = platform.workload_sites();
  c.preferred = platform.preferred_site();
  c.quorum = platform.probes.quorum;
  c.lease = platform.lease;
  c.failover = platform.failover;
  c.report_stale = std::max<Duration>(2500ms, 2 * platform.probes.interval);
  c.heartbeat_fresh = std::max<Duration>(1500ms, 4 * platform.heartbeat);
  c.reopen_patience = (platform.probes.rise + 1) * platform.probes.interval;
  c.prepare_timeout = platform.failover.catch_up_timeout;
  if (const Database* database = platform.find_database(Engine::kMariadb)) {
    const ReplicationPolicy& replication = database->replication;
    c.lossless = replication.mode == ReplicationMode::kLossless;
    if (replication.on_standby_loss == StandbyLoss::kDegrade)
      c.degrade_after = replication.degrade_after;
  }
  return c;
}

namespace {

// Another site was named, or the named one has opened.
bool writer_moved(const ServiceRecord& before, const ServiceRecord& after) {
  return before.intent.epoch != after.intent.epoch || before.active_epoch != after.active_epoch;
}

}  // namespace

ControlCore::ControlCore(ControlConfig config) : config_(std::move(config)) {}

// ---------------------------------------------------------------------------------- the store

void ControlCore::load(Now now, const ServiceRecord& record, const LeaseValue& lease,
                       std::uint64_t lease_version, ControlEffects& out) {
  if (!loaded_) step_since_ = blocked_since_ = now.boot;
  if (!loaded_ || writer_moved(record_, record)) writer_since_ = now.boot;
  if (!loaded_ || !(lease == lease_)) {
    lease_changed_ = now.boot;
    expiry_noted_ = false;
  }
  loaded_ = true;
  record_ = record;
  lease_ = lease;
  lease_version_ = lease_version;
  saving_.reset();
  saving_lease_.reset();
  decide(now, out);
}

void ControlCore::save(ServiceRecord next, ControlEffects& out) {
  saving_ = next;
  out.push_back(SaveRecord{record_.version, std::move(next), std::move(notes_)});
  notes_.clear();
}

void ControlCore::on_record_saved(Now now, bool ok, std::uint64_t version, ControlEffects& out) {
  if (!saving_) return;
  if (ok) {
    bool step_changed = !record_.plan || !saving_->plan || record_.plan->id != saving_->plan->id ||
                        record_.plan->step != saving_->plan->step;
    if (step_changed) step_since_ = now.boot;
    if (saving_->blocked && !record_.blocked) blocked_since_ = now.boot;
    if (writer_moved(record_, *saving_)) writer_since_ = now.boot;
    record_ = std::move(*saving_);
    record_.version = version;
  }
  // On a lost swap the shell calls load() with what is there now.
  saving_.reset();
  if (ok) decide(now, out);
}

void ControlCore::on_lease_saved(Now now, bool ok, std::uint64_t version, ControlEffects& out) {
  if (!saving_lease_) return;
  SavingLease saved = *saving_lease_;
  saving_lease_.reset();
  if (ok) {
    lease_ = saved.value;
    lease_version_ = version;
    lease_changed_ = now.boot;
    expiry_noted_ = false;
  }
  out.push_back(
      LeaseReply{saved.asker, saved.request, ok ? LeaseOutcome::kGranted : LeaseOutcome::kNotYet});
  if (ok) decide(now, out);
}

// ---------------------------------------------------------------------------------- the lease

void ControlCore::on_lease_request(Now now, SiteId from, LeaseOp op, Epoch epoch, RequestId request,
                                   ControlEffects& out) {
  auto answer = [&](LeaseOutcome outcome) { out.push_back(LeaseReply{from, request, outcome}); };
  if (!loaded_ || saving_lease_) return answer(LeaseOutcome::kNotYet);
  const Intent& intent = record_.intent;
  bool holds = lease_.holder == from && lease_.epoch == epoch;
  LeaseValue next = lease_;
  if (op == LeaseOp::kRelease) {
    if (!holds) return answer(LeaseOutcome::kSuperseded);
    next.holder = kNoSite;
    ++next.sequence;
    note(NoteKind::kLeaseReleased, from, epoch);
  } else {
    bool named =
        LEEWARD_GUARD("grant-only-to-intent", intent.writer == from && intent.epoch == epoch);
    if (!named)
      return answer(epoch <= intent.epoch ? LeaseOutcome::kSuperseded : LeaseOutcome::kNotYet);
    if (holds) {
      ++next.sequence;
    } else {
      // Given back or never ours: an epoch is granted once.
      if (epoch <= lease_.epoch) return answer(LeaseOutcome::kSuperseded);
      // An empty store may be a lost one: somebody may hold a lease that it does not know of.
      bool known_free = lease_.holder == kNoSite && lease_version_ != 0;
      bool free = known_free || now.boot - lease_changed_ >= config_.lease.takeover;
      if (!LEEWARD_GUARD("takeover-wait", free)) return answer(LeaseOutcome::kNotYet);
      next = LeaseValue{from, epoch, 0};
      note(NoteKind::kLeaseGranted, from, epoch, lease_.holder);
    }
  }
  saving_lease_ = SavingLease{next, from, request};
  out.push_back(SaveLease{lease_version_, next, std::move(notes_)});
  notes_.clear();
}

// ------------------------------------------------------------------------------- observations

// A control process that was stopped (SIGSTOP, a suspended machine) wakes to a queue of old reports
// that look new. After a gap in its own steps it forgets what it knew and lets the queue run empty.
void ControlCore::watch_own_pause(Now now) {
  if (last_step_ != BootTime{} && now.boot - last_step_ > config_.pause_limit &&
      !LEEWARD_GUARD("distrust-after-pause", false)) {
    settled_at_ = now.boot + config_.pause_limit;
    for (SeenVantage& seen : vantages_) seen.seen = false;
    for (SeenAgent& seen : agents_) seen.seen = false;
  }
  last_step_ = now.boot;
}

// A network, or the kernel of a machine whose agent died, may deliver a report long after newer
// ones.
bool ControlCore::ReportOrder::accept(std::uint64_t life_now, std::uint64_t sequence_now) {
  bool older = life_now < life || (life_now == life && sequence_now < sequence);
  if (!LEEWARD_GUARD("no-older-report", !older)) return false;
  life = life_now;
  sequence = sequence_now;
  return true;
}

void ControlCore::on_vantage(Now now, const VantageReport& report, ControlEffects& out) {
  watch_own_pause(now);
  if (now.boot < settled_at_) return;
  if (!vantages_[report.vantage.value].order.accept(report.life, report.sequence)) return;
  SeenVantage& seen = vantages_[report.vantage.value];
  for (SiteId site : config_.workloads) {
    bool failing = report.failures[site.value] > 0 && report.health[site.value] != Health::kDown;
    if (failing && site == record_.intent.writer && !failing_noted_[site.value] &&
        last_verdict_[site.value] == Health::kUp) {
      failing_noted_[site.value] = true;
      note(NoteKind::kProbeFailing, site, {}, report.vantage, 0, report.detail);
    }
  }
  seen.seen = true;
  seen.when = now.boot;
  seen.report = report;
  decide(now, out);
}

void ControlCore::on_agent(Now now, const AgentReport& report, ControlEffects& out) {
  watch_own_pause(now);
  if (now.boot < settled_at_) return;
  if (!agents_[report.site.value].order.accept(report.life, report.sequence)) return;
  SeenAgent& seen = agents_[report.site.value];
  if (seen.seen) note_report_changes(seen.report, report);
  if (seen.lost) note(NoteKind::kAgentBack, report.site);
  seen.seen = true;
  seen.lost = false;
  seen.when = now.boot;
  seen.report = report;
  // A database that is out of reach is reported without its promotion.
  seen.newest = std::max(seen.newest, Promotion{report.database.epoch, report.database.term});
  if (report.writing_epoch.value == 0)
    seen.opened = BootTime{};
  else if (seen.opened == BootTime{} || seen.opened_as != seen.newest)
    seen.opened = now.boot;
  seen.opened_as = seen.newest;
  if (report.writing_epoch.value != 0 && report.database.reachable)
    seen.wrote = {report.writing_epoch, report.database.heartbeat_written, now.boot};
  decide(now, out);
}

void ControlCore::on_dns(Now now, SiteId site, Epoch epoch, ControlEffects& out) {
  if (dns_epoch_[site.value] == epoch) return;
  dns_epoch_[site.value] = epoch;
  decide(now, out);
}

void ControlCore::tick(Now now, ControlEffects& out) { decide(now, out); }

void ControlCore::note_report_changes(const AgentReport& before, const AgentReport& after) {
  SiteId site = after.site;
  if (before.writing_epoch != after.writing_epoch && after.writing_epoch.value != 0)
    note(NoteKind::kWriterOpen, site, after.writing_epoch);
  if (before.writing_epoch.value != 0 && after.writing_epoch.value == 0 &&
      !record_.intent.draining())
    note(NoteKind::kFenced, site, before.writing_epoch);
  if (before.database.epoch < after.database.epoch && after.database.epoch == after.lease_epoch)
    note(NoteKind::kPromoted, site, after.database.epoch);
  auto primary = [](const AgentReport& r) {
    std::size_t n = 0;
    while (n < r.nodes.size() && !r.nodes[n].primary) ++n;
    return n;
  };
  if (primary(before) != primary(after))
    note(NoteKind::kNodeMoved, site, after.database.epoch, kNoSite, primary(after) + 1);
  if (before.node_in_sync != after.node_in_sync && after.writing_epoch.value != 0)
    note(after.node_in_sync ? NoteKind::kNodeInSync : NoteKind::kNodeAlone, site,
         after.writing_epoch);
  std::uint64_t differed = before.comparison ? before.comparison->different : 0;
  if (after.comparison && after.comparison->different > differed)
    note(NoteKind::kRowsDiffer, site, {}, kNoSite,
         static_cast<std::int64_t>(after.comparison->different), after.comparison->first);
  if (before.redis && after.redis && before.life == after.life) {
    const RedisReport& was = *before.redis;
    const RedisReport& is = *after.redis;
    if (was.losses < is.losses)
      note(NoteKind::kRedisLost, site, after.lease_epoch, kNoSite,
           static_cast<std::int64_t>(is.lost_bytes - was.lost_bytes),
           is.lost_exactly ? "" : "at least ");
    if (was.primary != is.primary && after.writing_epoch.value != 0)
      note(NoteKind::kRedisMoved, site, after.writing_epoch, kNoSite,
           static_cast<std::int64_t>(is.primary));
  }
  if (before.life == after.life) {
    if (before.deployments < after.deployments)
      note(NoteKind::kDeployed, site, {}, kNoSite, 0, after.deployment);
    if (before.rollbacks < after.rollbacks)
      note(NoteKind::kRolledBack, site, {}, kNoSite, 0, after.deployment);
  }
  if (before.by_promise != after.by_promise && after.lease_epoch.value != 0)
    note(after.by_promise ? NoteKind::kPromiseOn : NoteKind::kPromiseOff, site, after.lease_epoch);
  if (!before.rejoining && after.rejoining) note(NoteKind::kRejoinStarted, site);
  if (before.rejoining && !after.rejoining && after.problem.empty())
    note(NoteKind::kRejoined, site);
  note_semi_sync(before, after);
  if (before.ledger_open < after.ledger_open)
    note(NoteKind::kLedger, site, {}, kNoSite, after.ledger_open);
}

// A writer that gave up waiting is told of once, and how much went on without a copy when it waits
// again; single commits without one (a session that was killed while it waited) as they come.
void ControlCore::note_semi_sync(const AgentReport& before, const AgentReport& after) {
  const DatabaseStatus& was = before.database;
  const DatabaseStatus& is = after.database;
  if (after.writing_epoch.value == 0 || !was.reachable || !is.reachable) return;
  if (was.term != is.term || was.epoch != is.epoch) return;  // another server counts for itself
  std::uint64_t& since = alone_at_fall_[after.site.value];
  auto count = [](std::uint64_t from, std::uint64_t to) {  // a restarted server counts from 0
    return static_cast<std::int64_t>(to < from ? to : to - from);
  };
  bool fell = is.semi_sync == SemiSync::kFallen && was.semi_sync != SemiSync::kFallen;
  bool recovered = is.semi_sync == SemiSync::kOn && was.semi_sync == SemiSync::kFallen;
  // Down and up again between two reports.
  bool dipped = !fell && !recovered && is.fallbacks > was.fallbacks;
  if (fell || dipped) note(NoteKind::kSemiSyncFallen, after.site, after.writing_epoch);
  if (fell) since = was.alone;
  if (recovered || dipped)
    note(NoteKind::kSemiSyncBack, after.site, after.writing_epoch, kNoSite,
         count(dipped ? was.alone : since, is.alone));
  bool steady = is.semi_sync != SemiSync::kFallen && was.semi_sync != SemiSync::kFallen && !dipped;
  if (steady && is.alone > was.alone)
    note(NoteKind::kAcknowledgedAlone, after.site, after.writing_epoch, kNoSite,
         count(was.alone, is.alone));
}

Health ControlCore::opinion(Now now, SiteId vantage, SiteId site) const {
  const SeenVantage& seen = vantages_[vantage.value];
  if (!seen.seen || !LEEWARD_GUARD("opinions-age", now.boot - seen.when <= config_.report_stale))
    return Health::kUnknown;
  return seen.report.health[site.value];
}

Health ControlCore::verdict(Now now, SiteId site) const {
  int down = 0;
  int up = 0;
  for (SiteId vantage : config_.vantages) {
    Health h = opinion(now, vantage, site);
    down += h == Health::kDown;
    up += h == Health::kUp;
  }
  if (down > 0 && LEEWARD_GUARD("quorum", down >= config_.quorum)) return Health::kDown;
  if (up >= config_.quorum) return Health::kUp;
  return Health::kUnknown;
}

bool ControlCore::fresh_agent(Now now, SiteId site) const {
  if (site == kNoSite) return false;
  const SeenAgent& seen = agents_[site.value];
  return seen.seen && now.boot - seen.when <= config_.report_stale;
}

// Silence must have been seen at the standby. A report that is late proves nothing: it may be we
// who are cut off, so its age is not added to the heartbeat's here.
bool ControlCore::heartbeat_fresh(Now now, SiteId writer) const {
  for (SiteId site : config_.workloads) {
    if (site == writer || !fresh_agent(now, site)) continue;
    const DatabaseStatus& db = agents_[site.value].report.database;
    if (db.source != writer || db.heartbeat_age == kNever) continue;
    // A backlog being applied is not life; but the standby's report may have been long on its way,
    // which looks like a backlog of that length.
    bool backlog = rows_behind(site) >= config_.heartbeat_fresh + config_.report_stale;
    if (db.heartbeat_age < config_.heartbeat_fresh && !backlog) return true;
  }
  return false;
}

bool ControlCore::degraded(Now now, SiteId site) const {
  return site == record_.intent.writer && verdict(now, site) == Health::kDown &&
         heartbeat_fresh(now, site);
}

const AgentReport* ControlCore::agent(SiteId site) const {
  return site != kNoSite && agents_[site.value].seen ? &agents_[site.value].report : nullptr;
}

Duration ControlCore::agent_age(Now now, SiteId site) const {
  return agent(site) != nullptr ? now.boot - agents_[site.value].when : kNever;
}

SiteId ControlCore::other_site(SiteId site) const {
  for (SiteId other : config_.workloads)
    if (other != site) return other;
  return kNoSite;
}

void ControlCore::watch_verdicts(Now now) {
  for (SiteId site : config_.workloads) {
    Health h = verdict(now, site);
    bool d = degraded(now, site);
    if (h != last_verdict_[site.value] || d != last_degraded_[site.value]) {
      if (d && !last_degraded_[site.value])
        note(NoteKind::kVerdictDegraded, site);
      else if (h == Health::kDown && !d && site == record_.intent.writer)
        note(NoteKind::kVerdictDown, site, record_.intent.epoch);
      else if (h == Health::kUp && last_verdict_[site.value] != Health::kUp)
        note(NoteKind::kVerdictUp, site);
      last_verdict_[site.value] = h;
      last_degraded_[site.value] = d;
    }
    if (h == Health::kUp) {
      bool any_failing = false;
      for (SiteId v : config_.vantages)
        any_failing |=
            vantages_[v.value].seen && vantages_[v.value].report.failures[site.value] > 0;
      if (!any_failing) failing_noted_[site.value] = false;
    }
  }
}

void ControlCore::watch_agents(Now now) {
  for (SiteId site : config_.workloads) {
    SeenAgent& seen = agents_[site.value];
    if (seen.seen && !seen.lost && !fresh_agent(now, site)) {
      seen.lost = true;
      note(NoteKind::kAgentLost, site);
    }
  }
  if (!expiry_noted_ && lease_.holder != kNoSite &&
      now.boot - lease_changed_ >= config_.lease.takeover) {
    expiry_noted_ = true;
    note(NoteKind::kLeaseExpired, lease_.holder, lease_.epoch);
  }
}

// ------------------------------------------------------------------------------------- rules

Epoch ControlCore::next_epoch() const {
  Epoch highest = std::max(record_.intent.epoch, lease_.epoch);
  for (const SeenAgent& seen : agents_) {
    if (!seen.seen) continue;
    highest = std::max({highest, seen.report.highest_epoch, seen.report.database.epoch});
  }
  return Epoch{highest.value + 1};
}

// ---------------------------------------------------------------------------------- decisions

void ControlCore::decide(Now now, ControlEffects& out) {
  if (!loaded_) return;
  watch_own_pause(now);
  watch_verdicts(now);
  watch_agents(now);
  if (!saving_) {
    if (record_.intent.writer == kNoSite) {
      decide_bootstrap(now, out);
    } else if (record_.plan && !record_.plan->ended()) {
      advance_plan(now, out);
    } else {
      follow_writer(now, out);
      if (!saving_) decide_failover(now, out);
      if (!saving_) steer_protection(now, out);
    }
  }
  flush_notes(out);
}

// First start, or a lost store: wait for every workload site, so that no epoch that any of them has
// seen is given out again, and begin where the data is newest.
void ControlCore::decide_bootstrap(Now now, ControlEffects& out) {
  SiteId writer = config_.preferred;
  auto standing = [&](SiteId site) {  // who writes now, then whose data is newest
    const AgentReport& r = agents_[site.value].report;
    return std::pair(r.lease_epoch, r.database.epoch);
  };
  for (SiteId site : config_.workloads) {
    if (!fresh_agent(now, site) || !agents_[site.value].report.database.reachable) return;
    if (standing(site) > standing(writer)) writer = site;
  }
  ServiceRecord r = next_record();
  move_intent(now, r, writer);
  r.active = writer;
  start_plan(now, r, PlanKind::kBootstrap, writer, PlanStep::kTransfer, "first start", true);
  save(std::move(r), out);
}

// A site that has just become the writer may be down by votes from before it opened, while its
// tiers start. It is not left for that.
bool ControlCore::starting(Now now) const {
  return record_.up_epoch != record_.intent.epoch &&
         now.boot - writer_since_ < config_.failover.startup_timeout;
}

void ControlCore::decide_failover(Now now, ControlEffects& out) {
  SiteId writer = record_.intent.writer;
  if (record_.blocked && now.boot - blocked_since_ >= config_.failover.block_window) {
    ServiceRecord r = next_record();
    r.blocked = false;
    note(NoteKind::kUnblocked, kNoSite);
    return save(std::move(r), out);
  }
  bool dead = verdict(now, writer) == Health::kDown &&
              LEEWARD_GUARD("heartbeat-veto", !heartbeat_fresh(now, writer));
  if (!dead) {
    down_since_ = BootTime{};
    loss_floor_ = Duration{};
    if (record_.proposal && verdict(now, writer) == Health::kUp) {
      ServiceRecord r = next_record();
      r.proposal.reset();
      note(NoteKind::kProposalWithdrawn, writer);
      save(std::move(r), out);
    }
    return;
  }
  if (down_since_ == BootTime{}) down_since_ = now.boot;
  // The site is about to go on with its other node, which loses nothing, or has just done so, and
  // was not probed since. Bounded by both clocks.
  const SeenAgent& agent = agents_[writer.value];
  bool reopened = agent.opened != BootTime{} && now.boot - agent.opened < config_.reopen_patience;
  Duration patience = config_.node_patience + (reopened ? config_.reopen_patience : 0ms);
  if (fresh_agent(now, writer) && (agent.report.node_moving || reopened) &&
      now.boot - down_since_ < patience)
    return;
  SiteId to = other_site(writer);
  // The estimate is a difference of two growing ages on two clocks: drift alone would shrink it
  // below the RPO in time, and a failover that was left to a person would start by itself.
  bool known = false;
  Duration loss = estimated_loss(now, to, known);
  if (known) loss_floor_ = loss;
  Readiness ready = readiness(now, to);
  if (ready.why_not.empty()) {
    ServiceRecord r = next_record();
    move_intent(now, r, to);
    r.blocked = true;
    r.proposal.reset();
    start_plan(now, r, PlanKind::kFailover, to, PlanStep::kTransfer,
               "quorum says the writer is down", true);
    r.plan->estimated_loss = ready.estimated_loss;
    return save(std::move(r), out);
  }
  if (!record_.proposal && to != kNoSite && now.boot - down_since_ >= config_.proposal_after) {
    ServiceRecord r = next_record();
    std::string why;
    for (const std::string& reason : ready.why_not) why += (why.empty() ? "" : "; ") + reason;
    r.proposal = Proposal{writer, to, why};
    note(NoteKind::kProposal, writer, {}, to, 0, why);
    save(std::move(r), out);
  }
}

// No plan runs: whoever holds the intent and is open is where traffic goes. That it was seen up
// there is written down once.
void ControlCore::follow_writer(Now now, ControlEffects& out) {
  SiteId writer = record_.intent.writer;
  if (record_.active_epoch == record_.intent.epoch) {
    if (record_.up_epoch == record_.intent.epoch || verdict(now, writer) != Health::kUp) return;
    ServiceRecord r = next_record();
    r.up_epoch = record_.intent.epoch;
    return save(std::move(r), out);
  }
  if (!fresh_agent(now, writer)) return;
  if (agents_[writer.value].report.writing_epoch != record_.intent.epoch) return;
  ServiceRecord r = next_record();
  r.active = writer;
  r.active_epoch = record_.intent.epoch;
  note(NoteKind::kTraffic, writer, r.active_epoch);
  save(std::move(r), out);
}

// A gateway that holds for a planned move makes a probe that asks the database hang, so probes
// prove nothing of a writer that answers for itself; the time-outs of the plan's steps bound its
// silence.
bool ControlCore::drains(Now now, const Plan& plan) const {
  const AgentReport& writer = agents_[plan.from.value].report;
  return record_.intent.drain == plan.id && fresh_agent(now, plan.from) &&
         writer.database.reachable && writer.lease_epoch == record_.intent.epoch;
}

// The only place where the writer changes. Whether everything acknowledged is at the new one is
// said here, once and for good; it begins alone, because nothing follows it yet.
void ControlCore::move_intent(Now now, ServiceRecord& r, SiteId to, Position required) {
  Intent next{to, next_epoch(), {}, required};
  if (record_.intent.writer != kNoSite && protects(now, to)) {
    next.complete = true;
    next.link = record_.protection.link;
  }
  r.intent = next;
  change_protection(r, ProtectionState::kOff);
}

void ControlCore::advance_plan(Now now, ControlEffects& out) {
  const Plan& plan = *record_.plan;
  const Intent& intent = record_.intent;
  Duration in_step = now.boot - step_since_;
  ServiceRecord r = next_record();
  bool planned = plan.kind == PlanKind::kSwitchover || plan.kind == PlanKind::kFailback;
  bool before_transfer = plan.step == PlanStep::kPrepare || plan.step == PlanStep::kDrain ||
                         plan.step == PlanStep::kCatchUp;
  if (planned && before_transfer && verdict(now, plan.from) == Health::kDown &&
      !heartbeat_fresh(now, plan.from) && !drains(now, plan)) {
    abort_plan(now, r, "the writer went down");
    return save(std::move(r), out);
  }
  switch (plan.step) {
    case PlanStep::kPrepare: {
      std::vector<std::string> why;
      planned_reasons(now, plan.to, why);
      if (why.empty() &&
          agents_[plan.to.value].report.database.replication != ReplicationState::kStreaming)
        why.push_back("replication is not streaming");
      bool known = false;
      if (why.empty() && estimated_loss(now, plan.to, known) > config_.failover.rpo)
        why.push_back("the standby lags more than the RPO");
      if (why.empty()) {
        r.intent.drain = plan.id;
        enter_step(now, r, PlanStep::kDrain);
        save(std::move(r), out);
      } else if (in_step >= config_.prepare_timeout) {
        abort_plan(now, r, why.front());
        save(std::move(r), out);
      }
      return;
    }
    case PlanStep::kDrain: {
      const AgentReport& from = agents_[plan.from.value].report;
      if (fresh_agent(now, plan.from) && from.lease_epoch == intent.epoch &&
          LEEWARD_GUARD("drained-for-this-plan", from.drained_plan == plan.id)) {
        r.plan->drained = from.drained_position;
        enter_step(now, r, PlanStep::kCatchUp);
        save(std::move(r), out);
      } else if (in_step >= config_.failover.drain_timeout) {
        abort_plan(now, r, "transactions did not end in time");
        save(std::move(r), out);
      }
      return;
    }
    case PlanStep::kCatchUp: {
      const AgentReport& to = agents_[plan.to.value].report;
      if (fresh_agent(now, plan.to) && follows_term(plan.to) &&
          LEEWARD_GUARD("catch-up-first", to.database.applied >= plan.drained)) {
        move_intent(now, r, plan.to, plan.drained);
        enter_step(now, r, PlanStep::kTransfer);
        save(std::move(r), out);
      } else if (in_step >= config_.failover.catch_up_timeout) {
        abort_plan(now, r, "the standby did not catch up in time");
        save(std::move(r), out);
      }
      return;
    }
    case PlanStep::kTransfer: {
      const AgentReport& to = agents_[plan.to.value].report;
      if (fresh_agent(now, plan.to) && to.writing_epoch == intent.epoch) {
        r.active = plan.to;
        r.active_epoch = intent.epoch;
        note(NoteKind::kTraffic, plan.to, intent.epoch);
        enter_step(now, r, PlanStep::kTraffic);
        return save(std::move(r), out);
      }
      if (in_step < config_.transfer_timeout) return;
      if (plan.kind == PlanKind::kBootstrap) {
        // There is nothing to go back to. A site that is still there may take its time; one that is
        // gone must not keep a person from starting the other. Should it come back, it goes on.
        if (fresh_agent(now, plan.to)) return;
        abort_plan(now, r, "the first writer was lost before it opened");
        return save(std::move(r), out);
      }
      // The target never took the lease, and the old writer is there: undo, under a new epoch.
      bool untouched = lease_.epoch < intent.epoch && !saving_lease_;
      bool back = fresh_agent(now, plan.from) && agents_[plan.from.value].report.database.reachable;
      if (untouched && back) {
        move_intent(now, r, plan.from);
        abort_plan(now, r, "the target did not take over in time");
        return save(std::move(r), out);
      }
      if (lease_.epoch ==
          intent.epoch) {  // it took the lease and went away: a matter for decide_failover
        abort_plan(now, r, "the target took the lease but did not open");
        return save(std::move(r), out);
      }
      // The plan stays, and is undone should the old writer come back.
      bool there = fresh_agent(now, plan.to) && to.database.reachable;
      bool dropped = there && intent.link != 0 && to.database.link != intent.link;
      bool incomplete = there && to.database.incomplete;
      if ((dropped || incomplete) && !record_.proposal) {
        std::string why =
            incomplete ? "its data is incomplete: it was being copied when the writer was lost"
                       : "its server restarted before it had applied all that it had received";
        r.proposal = Proposal{plan.from, plan.to, why};
        note(NoteKind::kProposal, plan.from, {}, plan.to, 0, why);
        return save(std::move(r), out);
      }
      return;
    }
    case PlanStep::kTraffic: {
      bool seen = true;
      for (SiteId site : config_.workloads)
        if (fresh_agent(now, site) && dns_epoch_[site.value] < intent.epoch) seen = false;
      if (!seen && in_step < config_.traffic_timeout) return;
      enter_step(now, r, PlanStep::kDone);
      r.plan->outcome = seen ? "done" : "done; a DNS server has not confirmed yet";
      note(NoteKind::kPlanDone, plan.to, intent.epoch, plan.from, 0, r.plan->outcome);
      return save(std::move(r), out);
    }
    case PlanStep::kDone:
    case PlanStep::kAborted:
      return;
  }
}

// --------------------------------------------------------------------------------------- small

void ControlCore::start_plan(Now now, ServiceRecord& r, PlanKind kind, SiteId to, PlanStep first,
                             std::string reason, bool automatic) {
  Plan plan;
  plan.id = PlanId{r.last_plan.value + 1};
  plan.kind = kind;
  plan.from = record_.intent.writer;
  plan.to = to;
  plan.automatic = automatic;
  plan.reason = std::move(reason);
  r.last_plan = plan.id;
  r.plan = std::move(plan);
  note(NoteKind::kPlanStarted, to, r.intent.epoch, r.plan->from, static_cast<std::int64_t>(kind),
       r.plan->reason);
  enter_step(now, r, first);
}

void ControlCore::enter_step(Now now, ServiceRecord& r, PlanStep step) {
  r.plan->step = step;
  r.plan->history.push_back({step, now.wall});
  if (step != PlanStep::kDone && step != PlanStep::kAborted)
    note(NoteKind::kPlanStep, r.plan->to, r.intent.epoch, r.plan->from,
         static_cast<std::int64_t>(step));
}

void ControlCore::abort_plan(Now now, ServiceRecord& r, std::string why) {
  r.intent.drain = PlanId{};
  r.plan->outcome = std::move(why);
  enter_step(now, r, PlanStep::kAborted);
  note(NoteKind::kPlanAborted, r.plan->to, r.intent.epoch, r.plan->from, 0, r.plan->outcome);
}

void ControlCore::note(NoteKind kind, SiteId site, Epoch epoch, SiteId other, std::int64_t number,
                       std::string text) {
  notes_.push_back(Note{kind, site, other, epoch, number, std::move(text)});
}

void ControlCore::flush_notes(ControlEffects& out) {
  if (notes_.empty()) return;
  out.push_back(Notes{std::move(notes_)});
  notes_.clear();
}

}  // namespace leeward::control

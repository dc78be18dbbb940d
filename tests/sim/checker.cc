#include "sim/checker.h"

#include <fmt/format.h>

#include <algorithm>

namespace leeward::sim {
namespace {

bool holds(const Database& db, std::uint64_t id) {
  auto in = [&](const std::vector<Commit>& commits) {
    return std::any_of(commits.begin(), commits.end(), [&](const Commit& c) { return c.id == id; });
  };
  return in(db.log) || in(db.relay);
}

}  // namespace

void Checker::violate(std::string what) {
  if (!outcome_.violation.empty()) return;
  say_("VIOLATION " + what);
  outcome_.violation = std::move(what);
}

void Checker::on_acknowledged(std::uint64_t id, Promotion at, int site) {
  acked_[id] = Acked{state_.time, at.epoch, site};
  if (newest_open_ > at)
    violate(fmt::format("I1: epoch {} term {} acknowledged a write after epoch {} term {} was open",
                        at.epoch.value, at.term.value, newest_open_.epoch.value,
                        newest_open_.term.value));
}

// The lease is exclusive, with its grace: when a site begins to hold it, whatever another site
// still believes to hold ended a grace ago. This is stricter than to wait for two acknowledged
// writes.
void Checker::on_agent_step(int site) {
  Now here = state_.now(site);
  const control::AgentCore& core = *state_.agents[site].core;
  // Within one life: what was learned but not yet on disk may be learned again.
  Followed& followed = followed_[site];
  if (followed.life == state_.agents[site].life && core.memory().intent.epoch < followed.epoch)
    violate(fmt::format("I2: site {} turned back from epoch {} to {}", site, followed.epoch.value,
                        core.memory().intent.epoch.value));
  followed = {state_.agents[site].life, core.memory().intent.epoch};
  Epoch held = core.holds_lease(here) ? core.memory().held : Epoch{};
  bool begins = held.value != 0 && held_[site] != held;
  held_[site] = held;
  if (!begins) return;
  for (int s = 0; s < state_.sites; ++s) {
    if (s == site || !state_.agents[s].core) continue;
    BootTime deadline = state_.agents[s].core->deadline();
    if (deadline == BootTime{}) continue;
    if (state_.now(s).boot < deadline + state_.platform.lease.grace)
      violate(fmt::format("I1: site {} takes the lease while site {} may still write", site, s));
  }
}

void Checker::on_lease_saved(const LeaseValue& after) {
  const LeaseValue& before = state_.store.lease;
  const Intent& intent = state_.store.record.intent;
  if (after.epoch < before.epoch) violate("I2: the lease's epoch went back");
  bool given = after.holder != kNoSite;
  if (given && (after.holder != intent.writer || after.epoch != intent.epoch))
    violate(fmt::format(
        "I2: the lease was given to site {} at epoch {}, which the record does not name",
        after.holder.value, after.epoch.value));
}

// I2: a database whose agent lives and holds no lease is read-only, as soon as an operation can do
// it.
void Checker::watch() {
  constexpr TrueTime kOperation = 5 * kSecond;  // noticed, the operation before it, and itself
  for (int s = 0; s < state_.sites; ++s) {
    const Agent& a = state_.agents[s];
    for (int n = 0; n < state_.site_nodes[s]; ++n) {
      const Database& db = state_.databases[s][n];
      bool right = a.core && a.core->holds_lease(state_.now(s)) && n == state_.primary(s);
      bool amiss =
          db.answers() && !db.read_only && a.core && a.paused_until <= state_.time && !right;
      TrueTime& since = open_without_right_since_[s][n];
      if (!amiss) {
        since = state_.time;
      } else if (state_.time - since > state_.platform.lease.grace.count() + kOperation) {
        violate(fmt::format("I2: database {} accepts writes though its site has no lease", s));
      }
    }
  }
}

void Checker::on_report_arrived(int site, const AgentReport& report) {
  if (report.writing_epoch.value != 0) last_writer_report_[site] = state_.time;
}

// I2, and I3's promise for moves that lose nothing: those that are planned, and those between the
// nodes of one site. There nothing acknowledged is missing where the writer opens.
void Checker::on_writer_open(int site, Epoch epoch) {
  const Gateway& gateway = state_.agents[site].gateway;
  const Database& db = state_.databases[site][gateway.node];
  Promotion opened{epoch, gateway.term};
  if (opened < newest_open_)
    violate(fmt::format("I2: a gateway opened at epoch {} term {} after {} term {}", epoch.value,
                        opened.term.value, newest_open_.epoch.value, newest_open_.term.value));
  if (opened == newest_open_) return;
  bool same_site = opened.epoch == newest_open_.epoch;
  newest_open_ = opened;
  if (!same_site) opened_at_ = state_.time;
  if (db.epoch != epoch)
    violate(fmt::format("I2: a gateway opened at epoch {} to a database of epoch {}", epoch.value,
                        db.epoch.value));
  check_opened_data(site, same_site);
}

void Checker::check_opened_data(int site, bool same_site) {
  const auto& plan = state_.store.record.plan;
  bool planned = plan && !plan->ended() &&
                 (plan->kind == PlanKind::kSwitchover || plan->kind == PlanKind::kFailback);
  const Intent& intent = state_.store.record.intent;
  bool complete = intent.epoch == newest_open_.epoch && intent.complete;
  if (complete) ++outcome_.lossless_failovers;
  std::set<std::uint64_t> there;
  for (const Commit& c : state_.served(site).log) there.insert(c.id);
  for (const auto& [id, acked] : acked_) {
    if (there.count(id) || known_lost_.count(id)) continue;
    if (complete)
      violate(fmt::format("I3: a failover under protection lost acknowledged write {}", id));
    if (same_site) violate(fmt::format("I3: a local failover lost acknowledged write {}", id));
    if (planned) violate(fmt::format("I3: a planned move lost acknowledged write {}", id));
    known_lost_.insert(id);
  }
}

void Checker::on_record_saved(const ServiceRecord& before, const ServiceRecord& after) {
  if (after.intent.epoch < before.intent.epoch) violate("I2: the intent's epoch went back");
  if (after.intent.writer != before.intent.writer && after.intent.epoch <= before.intent.epoch)
    violate("I2: the writer changed without a new epoch");
  bool new_plan = after.plan && (!before.plan || before.plan->id != after.plan->id);
  if (!new_plan) return;
  const Plan& plan = *after.plan;
  if (plan.kind == PlanKind::kSwitchover || plan.kind == PlanKind::kFailback) {
    ++outcome_.planned_moves;
    if (plan.automatic) violate("I7: a failback began without being asked for");
  }
  if (plan.kind != PlanKind::kFailover) return;
  ++outcome_.failovers;
  if (plan.automatic) check_automatic_failover(before, plan);
}

void Checker::check_automatic_failover(const ServiceRecord& before, const Plan& plan) {
  int from = plan.from.value;
  int to = plan.to.value;
  TrueTime window = state_.platform.failover.block_window.count();
  if (!automatic_failovers_.empty() &&
      static_cast<double>(state_.time - automatic_failovers_.back()) <
          static_cast<double>(window) * 0.98)
    violate("I7: two automatic failovers within the block window");
  automatic_failovers_.push_back(state_.time);
  int down = 0;
  for (int v = 0; v < state_.nodes; ++v)
    down += state_.vantages[v].last_down[from] != 0 &&
            state_.time - state_.vantages[v].last_down[from] < 6 * kSecond;
  if (down < state_.platform.probes.quorum)
    violate("I9: a failover without a quorum of vantage points that saw the site down");
  // An opinion formed longer before the writer opened than any report counts says nothing of it.
  constexpr TrueTime kOpinion = 3 * kSecond;
  bool judged = false;
  for (int v = 0; v < state_.nodes; ++v)
    judged |= state_.vantages[v].last_down[from] != 0 &&
              state_.vantages[v].down_since[from] > opened_at_ - kOpinion;
  bool opened_now =
      newest_open_.epoch == before.intent.epoch && state_.time - opened_at_ < kOpinion;
  if (opened_now && !judged)
    violate("I9: a failover away from a writer for what was seen before it opened");
  const Database& target = state_.database(to);
  if (target.epoch < before.active_epoch)
    violate(fmt::format("I2: a failover to site {}, which has not followed epoch {}", to,
                        before.active_epoch.value));
  // For longer than a report may be on its way. Rows of a backlog are no sign of life.
  bool young = state_.time - static_cast<TrueTime>(target.heartbeat) * 250 * kMs < 2 * kSecond;
  bool steady = young && state_.time - target.heartbeat_came < kSecond / 2 &&
                target.source == from && target.heartbeat_came - target.steady_since > 5 * kSecond;
  if (steady) violate("I9: a failover away from a writer whose heartbeats kept arriving");
  // I4: of what control could know (up to the writer's last report), not more than the RPO is
  // missing.
  if (last_writer_report_.count(from)) {
    TrueTime horizon = last_writer_report_[from] - 3 * kSecond;
    for (const auto& [id, acked] : acked_) {
      if (acked.at >= horizon - state_.platform.failover.rpo.count() || known_lost_.count(id))
        continue;
      if (acked.epoch == before.intent.epoch && acked.site == from &&
          !holds(state_.database(to), id)) {
        violate(fmt::format(
            "I4: an automatic failover would lose write {}, {:.1f} s older than the RPO allows", id,
            static_cast<double>(horizon - acked.at) / 1e9));
        break;
      }
    }
  }
}

int Checker::the_writer() const {
  int writer = -1;
  for (int s = 0; s < state_.sites; ++s) {
    if (!state_.writes(s)) continue;
    if (writer >= 0) return kTwoWriters;
    writer = s;
  }
  return writer;
}

// The other node of a site follows the first, and the standby's first the writer's.
std::string Checker::unsettled_nodes(int s, int writer) const {
  int primary = state_.primary(s);
  if (s != writer && state_.database(s).source_node != state_.primary(writer))
    return fmt::format("I10: site {} follows a node that is not the primary", s);
  if (state_.site_nodes[s] < 2) return {};
  const Database& other = state_.databases[s][1 - primary];
  if (!other.read_only) return "I5: a node that is not the primary accepts writes";
  if (other.replication != ReplicationState::kStreaming || other.source != s ||
      other.source_node != primary)
    return fmt::format("I10: the other node of site {} did not become a replica again", s);
  if (s == writer && !state_.agents[s].core->nodes().memory().in_sync)
    return fmt::format("I10: the nodes of site {} did not become in sync again", s);
  return {};
}

std::string Checker::unsettled() const {
  const ServiceRecord& r = state_.store.record;
  int writer = the_writer();
  if (writer == kTwoWriters) return "I1: two sites are open for writes";
  if (writer < 0 || !state_.served(writer).answers()) return "I10: no writer, and no reason stated";
  for (int s = 0; s < state_.sites; ++s) {
    const Database& db = state_.database(s);
    if (state_.lost[s]) continue;
    if (std::string why = unsettled_nodes(s, writer); !why.empty()) return why;
    if (state_.dns_active[s] != SiteId{static_cast<std::uint8_t>(writer)} ||
        state_.dns_epoch[s] != r.active_epoch)
      return "I5: a DNS server does not name the writer after the faults ended";
    if (s == writer) continue;
    if (!db.read_only) return "I5: a database without the lease accepts writes";
    if (db.replication != ReplicationState::kStreaming || db.source != writer)
      return fmt::format("I10: site {} did not become a standby again", s);
  }
  if (r.plan && !r.plan->ended()) return "I6: a plan never ended";
  bool both = !state_.lost[0] && !state_.lost[1];
  if (state_.lossless && both && r.protection.state != ProtectionState::kOn)
    return "I10: not protected again after the faults ended";
  return {};
}

void Checker::at_end() {
  const ServiceRecord& r = state_.store.record;
  int writer = the_writer();
  std::string why = unsettled();
  bool waits = writer < 0 && r.proposal && !r.proposal->why_not_automatic.empty();
  if (waits) outcome_.ended_waiting = true;
  if (!why.empty() && !waits) return violate(std::move(why));
  // I3: on the survivor, in the ledger, or still untouched on a site that has not rejoined.
  std::set<std::uint64_t> kept = state_.ledger;
  for (int s = 0; s < state_.sites; ++s) {
    for (int n = 0; n < state_.site_nodes[s]; ++n) {
      const Database& db = state_.databases[s][n];
      bool untouched = db.replication != ReplicationState::kStreaming;
      if (s != writer && !untouched) continue;
      for (const Commit& c : db.log) kept.insert(kept.end(), c.id);
    }
  }
  for (const auto& [id, acked] : acked_)
    if (kept.count(id) == 0)
      return violate(fmt::format(
          "I3: acknowledged write {} is neither on the survivor nor in the ledger", id));
}

}  // namespace leeward::sim

// What a move to a site would lose, and why it could not be made now.
#include <algorithm>

#include "control/control_core.h"
#include "control/guard.h"

namespace leeward::control {

// By how much the newest heartbeat row at `to` is older than the newest that the writer reported: a
// link may deliver rows steadily and yet be minutes behind. Both times are from the writer's own
// clock.
Duration ControlCore::rows_behind(SiteId to) const {
  const SeenAgent& standby = agents_[to.value];
  const SeenAgent::Wrote& wrote = agents_[record_.intent.writer.value].wrote;
  WallTime there = standby.report.database.heartbeat_written;
  bool comparable = wrote.epoch == record_.intent.epoch && standby.seen && there != WallTime{};
  if (!comparable) return Duration{0};
  // The writer's report may simply be the younger one.
  return std::max<Duration>(0ns,
                            wrote.row - there - std::max<Duration>(0ns, wrote.when - standby.when));
}

// How much of the writer's time would be missing at `to`: how long ago the newest heartbeat there
// was written, less how long ago the writer was last heard to be writing. All ages are on this
// clock and the agents' own, so that skew between the sites' clocks does not enter.
Duration ControlCore::estimated_loss(Now now, SiteId to, bool& known) const {
  known = false;
  if (!agents_[to.value].seen) return kNever;
  const DatabaseStatus& db = agents_[to.value].report.database;
  if (db.heartbeat_age == kNever) return kNever;
  Duration late = LEEWARD_GUARD("late-rows-are-old", false)
                      ? Duration{}
                      : agents_[to.value].report.heartbeat_late;
  if (late == kNever) return kNever;
  Duration heartbeat = db.heartbeat_age + late + (now.boot - agents_[to.value].when);
  const SeenAgent& writer = agents_[record_.intent.writer.value];
  known = true;
  if (!writer.seen || writer.report.writing_epoch != record_.intent.epoch)
    return std::max(heartbeat, rows_behind(to));
  return std::max({loss_floor_, heartbeat - (now.boot - writer.when), rows_behind(to)});
}

// Why the data at `to` could not take over.
void ControlCore::data_reasons(Now now, SiteId to, std::vector<std::string>& why) const {
  if (!fresh_agent(now, to)) {
    why.push_back("the agent of the standby does not report");
    return;
  }
  const AgentReport& r = agents_[to.value].report;
  if (r.database.incomplete)
    why.push_back("the standby's data is incomplete until its rejoin ends");
  if (!r.problem.empty()) why.push_back("standby: " + r.problem);
  if (!LEEWARD_GUARD("standby-follows-epoch", r.database.epoch >= record_.active_epoch))
    why.push_back("the standby has not yet followed the current writer's epoch");
}

// Whether the standby has followed the present node of the writer's site. What it still receives
// from the former one counts as many transactions as the present one's, and they are others: a
// planned move goes by such counts. A failover goes by the age of what the standby has
// (estimated_loss).
bool ControlCore::follows_term(SiteId to) const {
  const SeenAgent& writer = agents_[record_.intent.writer.value];
  const DatabaseStatus& db = agents_[to.value].report.database;
  bool behind = writer.newest.epoch == db.epoch && db.term < writer.newest.term;
  return LEEWARD_GUARD("standby-follows-term", !behind);
}

// Why a planned move to `to` could not begin now.
void ControlCore::planned_reasons(Now now, SiteId to, std::vector<std::string>& why) const {
  data_reasons(now, to, why);
  if (why.empty() && !follows_term(to))
    why.push_back("the standby has not yet followed the writer site's present primary node");
}

Readiness ControlCore::readiness(Now now, SiteId to) const {
  Readiness r;
  r.to = to;
  if (record_.intent.writer == kNoSite) {
    r.why_not.push_back("the service has not started yet");
    for (std::size_t i = 0; i < config_.workloads.size(); ++i)
      if (!fresh_agent(now, config_.workloads[i]) ||
          !agents_[config_.workloads[i].value].report.database.reachable)
        r.why_not.push_back(
            fmt::format("it waits for the agent and the database of workload site {} of {}", i + 1,
                        config_.workloads.size()));
    return r;
  }
  if (to == kNoSite || to == record_.intent.writer) {
    r.why_not.push_back("there is no other site");
    return r;
  }
  r.estimated_loss = protects(now, to) ? Duration{} : estimated_loss(now, to, r.loss_known);
  r.loss_known |= protects(now, to);
  data_reasons(now, to, r.why_not);
  if (!LEEWARD_GUARD("rpo-gate", r.loss_known && r.estimated_loss <= config_.failover.rpo))
    r.why_not.push_back(
        r.loss_known
            ? fmt::format("about {:.1f} s of writes would be lost, more than the RPO of {}",
                          seconds(r.estimated_loss), format_duration(config_.failover.rpo))
            : "how much would be lost is unknown: too few heartbeats were seen on the standby");
  if (!LEEWARD_GUARD("up-since-opening", !starting(now)))
    r.why_not.push_back(
        fmt::format("the writer is new and was not seen up yet, for which it has {}",
                    format_duration(config_.failover.startup_timeout)));
  if (record_.paused) r.why_not.push_back("maintenance is on");
  if (!LEEWARD_GUARD("block-window", !record_.blocked))
    r.why_not.push_back(fmt::format("an automatic failover happened within the last {}",
                                    format_duration(config_.failover.block_window)));
  if (config_.failover.mode != FailoverMode::kAutomatic)
    r.why_not.push_back(config_.failover.mode == FailoverMode::kManual
                            ? "mode is manual"
                            : "mode is approve: a person decides");
  if (record_.plan && !record_.plan->ended()) r.why_not.push_back("another plan is running");
  return r;
}

}  // namespace leeward::control

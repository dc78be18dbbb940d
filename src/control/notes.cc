// Notes of the control core as sentences for people.
#include <array>

#include "control/control_core.h"

namespace leeward::control {
namespace {

struct Row {
  NoteKind kind;
  std::string_view identifier;
};
constexpr std::array kRows{
    Row{NoteKind::kProbeFailing, "probe.failing"},
    Row{NoteKind::kVerdictDown, "verdict.down"},
    Row{NoteKind::kVerdictUp, "verdict.up"},
    Row{NoteKind::kVerdictDegraded, "verdict.degraded"},
    Row{NoteKind::kProposal, "proposal.made"},
    Row{NoteKind::kProposalWithdrawn, "proposal.withdrawn"},
    Row{NoteKind::kPlanStarted, "plan.started"},
    Row{NoteKind::kPlanStep, "plan.step"},
    Row{NoteKind::kPlanDone, "plan.done"},
    Row{NoteKind::kPlanAborted, "plan.aborted"},
    Row{NoteKind::kLeaseGranted, "lease.granted"},
    Row{NoteKind::kLeaseReleased, "lease.released"},
    Row{NoteKind::kLeaseExpired, "lease.expired"},
    Row{NoteKind::kFenced, "site.fenced"},
    Row{NoteKind::kPromoted, "database.promoted"},
    Row{NoteKind::kWriterOpen, "writer.open"},
    Row{NoteKind::kTraffic, "traffic.moved"},
    Row{NoteKind::kPromiseOn, "lease.by_promise"},
    Row{NoteKind::kPromiseOff, "lease.by_store"},
    Row{NoteKind::kRejoinStarted, "rejoin.started"},
    Row{NoteKind::kRejoined, "rejoin.done"},
    Row{NoteKind::kLedger, "ledger.written"},
    Row{NoteKind::kUnblocked, "failover.unblocked"},
    Row{NoteKind::kMaintenance, "maintenance"},
    Row{NoteKind::kAgentLost, "agent.lost"},
    Row{NoteKind::kAgentBack, "agent.back"},
    Row{NoteKind::kProtected, "replication.protected"},
    Row{NoteKind::kUnprotected, "replication.unprotected"},
    Row{NoteKind::kAcknowledgedAlone, "replication.alone"},
    Row{NoteKind::kSemiSyncFallen, "replication.fallen"},
    Row{NoteKind::kSemiSyncBack, "replication.in_sync"},
    Row{NoteKind::kRedisLost, "redis.lost"},
    Row{NoteKind::kRedisMoved, "redis.primary"},
    Row{NoteKind::kRowsDiffer, "replication.differs"},
    Row{NoteKind::kNodeMoved, "node.primary"},
    Row{NoteKind::kNodeInSync, "node.in_sync"},
    Row{NoteKind::kNodeAlone, "node.alone"},
    Row{NoteKind::kDeployed, "deploy.done"},
    Row{NoteKind::kRolledBack, "deploy.rolled_back"},
};

std::string sentence(const Note& n, std::string_view site, std::string_view other) {
  switch (n.kind) {
    case NoteKind::kProbeFailing:
      return fmt::format("probes of {} begin to fail, seen from {}: {}", site, other, n.text);
    case NoteKind::kVerdictDown:
      return fmt::format("{} is down: a quorum of vantage points agrees", site);
    case NoteKind::kVerdictUp:
      return fmt::format("{} is up", site);
    case NoteKind::kVerdictDegraded:
      return fmt::format("{} fails its probes but still commits writes: degraded, not dead", site);
    case NoteKind::kProposal:
      return fmt::format("failover from {} to {} is possible but needs a person: {}", site, other,
                         n.text);
    case NoteKind::kProposalWithdrawn:
      return fmt::format("{} recovered; the proposal is withdrawn", site);
    case NoteKind::kPlanStarted:
      return fmt::format("{} to {} begins{}{}", name(static_cast<PlanKind>(n.number)), site,
                         n.text.empty() ? "" : ": ", n.text);
    case NoteKind::kPlanStep:
      return fmt::format("plan step: {}", name(static_cast<PlanStep>(n.number)));
    case NoteKind::kPlanDone:
      return fmt::format("plan complete: {} serves", site);
    case NoteKind::kPlanAborted:
      return fmt::format("plan undone: {}", n.text);
    case NoteKind::kLeaseGranted:
      return fmt::format("{} holds the writer lease", site);
    case NoteKind::kLeaseReleased:
      return fmt::format("{} gave the writer lease back", site);
    case NoteKind::kLeaseExpired:
      return fmt::format("the lease of {} has run out", site);
    case NoteKind::kFenced:
      return fmt::format("{} is fenced: its gateway is closed", site);
    case NoteKind::kNodeMoved:
      return fmt::format("database node {} of {} is the primary", n.number, site);
    case NoteKind::kRedisLost:
      return fmt::format(
          "Redis had acknowledged {}{} bytes of writes that its present primary lacks, seen from "
          "{}",
          n.text, n.number, site);
    case NoteKind::kRowsDiffer:
      return fmt::format(
          "{} rows of {} differ from the writer's, such as {}: `leeward db verify` lists them, "
          "with "
          "--repair it mends them",
          n.number, site, n.text);
    case NoteKind::kRedisMoved:
      return fmt::format("Redis node {} of {} is the primary", n.number, site);
    case NoteKind::kNodeInSync:
      return fmt::format("both database nodes of {} have every acknowledged write", site);
    case NoteKind::kNodeAlone:
      return fmt::format("{} writes on one database node: losing it now would be losing the site",
                         site);
    case NoteKind::kDeployed:
      return fmt::format("{} runs a new revision: {}", site, n.text);
    case NoteKind::kRolledBack:
      return fmt::format("{} has rolled back a revision: {}", site, n.text);
    case NoteKind::kPromoted:
      return fmt::format("database at {} promoted", site);
    case NoteKind::kWriterOpen:
      return fmt::format("{} accepts writes", site);
    case NoteKind::kTraffic:
      return fmt::format("DNS now answers with {}", site);
    case NoteKind::kPromiseOn:
      return fmt::format("{} goes on by promise of the other site: the store is out of its reach",
                         site);
    case NoteKind::kPromiseOff:
      return fmt::format("{} holds its lease from the store again", site);
    case NoteKind::kRejoinStarted:
      return fmt::format("{} rejoins as standby", site);
    case NoteKind::kRejoined:
      return fmt::format("{} is a standby again", site);
    case NoteKind::kLedger:
      return fmt::format("{} lost writes from {} are in the ledger", n.number, site);
    case NoteKind::kUnblocked:
      return "the block window is over: automatic failover is armed again";
    case NoteKind::kMaintenance:
      return n.number ? "maintenance on" : "maintenance off";
    case NoteKind::kAgentLost:
      return fmt::format("the agent of {} stopped reporting", site);
    case NoteKind::kAgentBack:
      return fmt::format("the agent of {} reports again", site);
    case NoteKind::kProtected:
      return fmt::format("protected: every acknowledged commit of {} is on disk at {}", other,
                         site);
    case NoteKind::kUnprotected:
      return fmt::format("RPO event: {} acknowledges commits without a copy at {}: {}", site, other,
                         n.text);
    case NoteKind::kAcknowledgedAlone:
      return fmt::format("RPO event: {} commits of {} went on without a copy at the standby",
                         n.number, site);
    case NoteKind::kSemiSyncFallen:
      return fmt::format("RPO event: {} gave up waiting and acknowledges commits without a copy",
                         site);
    case NoteKind::kSemiSyncBack:
      return fmt::format("commits of {} wait for a copy again; {} went on without one", site,
                         n.number);
  }
  return {};
}

}  // namespace

std::string_view identifier(NoteKind kind) {
  for (const Row& row : kRows)
    if (row.kind == kind) return row.identifier;
  return "unknown";
}

EventRecord describe(const Note& note, const Platform& platform, WallTime time) {
  auto label = [&](SiteId id) {
    return id == kNoSite ? std::string_view("nobody") : std::string_view(platform.site(id).name);
  };
  EventRecord e;
  e.time = time;
  e.kind = identifier(note.kind);
  if (note.site != kNoSite) e.site = platform.site(note.site).name;
  e.epoch = note.epoch;
  e.message = sentence(note, label(note.site), label(note.other));
  return e;
}

}  // namespace leeward::control

// What people ask for: the same moves and the same rules as those that control decides by itself,
// unless a request says that it overrides one.
#include <algorithm>

#include "control/control_core.h"

namespace leeward::control {

void ControlCore::on_operator(Now now, const OperatorRequest& q, ControlEffects& out) {
  if (!loaded_ || saving_)
    return refuse(q, out, Code::kUnavailable, "control is busy with another decision; try again");
  switch (q.kind) {
    case OperatorRequest::Kind::kPause:
    case OperatorRequest::Kind::kResume: {
      ServiceRecord r = next_record();
      r.paused = q.kind == OperatorRequest::Kind::kPause;
      note(NoteKind::kMaintenance, kNoSite, {}, kNoSite, r.paused ? 1 : 0);
      save(std::move(r), out);
      return reply(q, out,
                   q.kind == OperatorRequest::Kind::kPause
                       ? "maintenance is on: no automatic failover"
                       : "maintenance is off");
    }
    case OperatorRequest::Kind::kDegrade: {
      if (!config_.lossless || record_.protection.state == ProtectionState::kOff)
        return refuse(q, out, Code::kRefused, "commits do not wait for the standby");
      if (standby_acknowledges(now))
        return refuse(q, out, Code::kRefused,
                      "the standby acknowledges: there is nothing that commits would wait for");
      ServiceRecord r = next_record();
      change_protection(r, ProtectionState::kOff);
      note(NoteKind::kUnprotected, r.intent.writer, r.intent.epoch, r.protection.standby, 0,
           "asked for by an operator");
      save(std::move(r), out);
      return reply(q, out, "commits no longer wait for the standby, until it streams again");
    }
    case OperatorRequest::Kind::kFailover:
    case OperatorRequest::Kind::kSwitchover:
    case OperatorRequest::Kind::kFailback:
      return operator_move(now, q, out);
  }
}

void ControlCore::operator_move(Now now, const OperatorRequest& q, ControlEffects& out) {
  SiteId writer = record_.intent.writer;
  bool failback = q.kind == OperatorRequest::Kind::kFailback;
  SiteId to = q.to != kNoSite ? q.to : failback ? config_.preferred : other_site(writer);
  if (writer == kNoSite) return refuse(q, out, Code::kRefused, "the service has not started yet");
  // A move whose target never opened, and that cannot be undone because the old writer is gone too,
  // may be overtaken by a person who names a site that is there.
  bool stuck = record_.plan && record_.plan->step == PlanStep::kTransfer &&
               now.boot - step_since_ >= config_.transfer_timeout;
  bool overtakes = stuck && q.kind == OperatorRequest::Kind::kFailover;
  if (record_.plan && !record_.plan->ended() && !overtakes)
    return refuse(q, out, Code::kConflict,
                  fmt::format("plan {} ({}) is running, at step {}", record_.plan->id.value,
                              name(record_.plan->kind), name(record_.plan->step)));
  if (std::find(config_.workloads.begin(), config_.workloads.end(), to) == config_.workloads.end())
    return refuse(q, out, Code::kInvalid, "the target site runs no workload");
  // A writer that was to take over with what it had received, and lost that before it opened, can
  // only be started by someone who accepts the loss.
  bool never_opened = record_.active_epoch < record_.intent.epoch && record_.intent.link != 0 &&
                      q.kind == OperatorRequest::Kind::kFailover && q.accept_loss;
  if (to == writer && !never_opened)
    return refuse(q, out, Code::kRefused, "the target site is the writer already");
  bool planned = q.kind != OperatorRequest::Kind::kFailover;
  std::vector<std::string> why;
  planned ? planned_reasons(now, to, why) : data_reasons(now, to, why);
  ServiceRecord r = next_record();
  if (planned) {
    if (!why.empty()) return refuse(q, out, Code::kRefused, why.front());
    start_plan(now, r, failback ? PlanKind::kFailback : PlanKind::kSwitchover, to,
               PlanStep::kPrepare, q.reason, false);
  } else {
    bool known = false;
    Duration loss = estimated_loss(now, to, known);
    if (protects(now, to)) {
      loss = Duration{};
      known = true;
    }
    if (verdict(now, writer) == Health::kUp && !q.accept_loss)
      return refuse(q, out, Code::kRefused,
                    "the writer is healthy: use switchover, which loses nothing "
                    "(or --accept-loss to fail over all the same)");
    // It could not open, whatever loss is accepted.
    bool unusable = !fresh_agent(now, to) || agents_[to.value].report.database.incomplete;
    if (unusable) return refuse(q, out, Code::kRefused, why.front());
    if (!why.empty() && !q.accept_loss)
      return refuse(q, out, Code::kRefused, why.front() + " (--accept-loss overrides)");
    if ((!known || loss > config_.failover.rpo) && !q.accept_loss)
      return refuse(q, out, Code::kRefused,
                    known
                        ? fmt::format("about {:.1f} s of writes would be lost, more than the RPO; "
                                      "--accept-loss overrides",
                                      seconds(loss))
                        : "how much would be lost is unknown; --accept-loss overrides");
    if (record_.blocked && !q.override_block)
      return refuse(q, out, Code::kRefused,
                    "an automatic failover happened within the block window; --override-block "
                    "overrides");
    move_intent(now, r, to);
    start_plan(now, r, PlanKind::kFailover, to, PlanStep::kTransfer, q.reason, false);
    r.plan->accept_loss = q.accept_loss;
    r.plan->estimated_loss = known ? loss : Duration{};
  }
  if (overtakes)
    note(NoteKind::kPlanAborted, record_.plan->to, r.intent.epoch, record_.plan->from, 0,
         "overtaken by an operator");
  r.proposal.reset();
  PlanId id = r.plan->id;
  save(std::move(r), out);
  reply(q, out, fmt::format("plan {} started", id.value));
}

void ControlCore::reply(const OperatorRequest& q, ControlEffects& out, std::string message) {
  out.push_back(OperatorReply{q.request, Code::kInternal, true, std::move(message)});
}

void ControlCore::refuse(const OperatorRequest& q, ControlEffects& out, Code code,
                         std::string message) {
  out.push_back(OperatorReply{q.request, code, false, std::move(message)});
}

}  // namespace leeward::control

// Lossless mode: when the writer must wait for copies, and when a failover loses nothing. The
// argument is in docs/internals/lossless.md.
#include <algorithm>

#include "control/control_core.h"
#include "control/guard.h"

namespace leeward::control {

// The standby follows the writer, and each commit of it is on disk there before it is acknowledged.
bool ControlCore::standby_acknowledges(Now now) const {
  SiteId standby = other_site(record_.intent.writer);
  if (standby == kNoSite || !fresh_agent(now, standby)) return false;
  const AgentReport& report = agents_[standby.value].report;
  const DatabaseStatus& db = report.database;
  return report.problem.empty() && db.reachable && db.acknowledges && db.link != 0 &&
         db.source == record_.intent.writer && db.replication == ReplicationState::kStreaming &&
         db.epoch >= record_.active_epoch;
}

bool ControlCore::protects(Now now, SiteId to) const {
  const Protection& p = record_.protection;
  if (!config_.lossless || p.standby != to || p.epoch != record_.intent.epoch) return false;
  if (!LEEWARD_GUARD("protected-by-record", p.state == ProtectionState::kOn)) return false;
  // What was received and not yet applied is lost when the standby's server restarts. No guard of
  // its own: a promotion names the link, and the database refuses it over another one.
  return fresh_agent(now, to) && agents_[to.value].report.database.link == p.link;
}

void ControlCore::change_protection(ServiceRecord& r, ProtectionState state) {
  Protection& p = r.protection;
  for (const SeenAgent& seen : agents_)  // a store that was lost begins above what agents know
    if (seen.seen) p.number = std::max(p.number, seen.report.protection);
  ++p.number;
  p.state = state;
  p.epoch = r.intent.epoch;
  p.standby = other_site(r.intent.writer);
  bool named = state != ProtectionState::kOff;
  p.link = named ? agents_[p.standby.value].report.database.link : 0;
}

// While a writer is armed each commit waits until the standby has received all that came before it.
// So that begins when the standby is near, or when waiting brings it no nearer.
bool ControlCore::time_to_arm(Now now) {
  const SiteId writer = record_.intent.writer;
  const Position written = agents_[writer.value].report.database.written;
  const Position durable = agents_[other_site(writer).value].report.database.durable;
  if (durable >= written) return true;
  const std::uint64_t behind = written.value - durable.value;
  if (!catching_up_) catching_up_ = CatchingUp{now.boot, written, now.boot, behind};
  CatchingUp& c = *catching_up_;
  const bool reached = durable >= c.written;
  const bool late = now.boot - c.since > config_.arming_near;
  if (reached && !late) return true;
  if (reached || late) {
    c.since = now.boot;
    c.written = written;
  }
  if (now.boot - c.compared < config_.arming_progress) return false;
  if (behind >= c.behind) return true;
  c.compared = now.boot;
  c.behind = behind;
  return false;
}

void ControlCore::steer_protection(Now now, ControlEffects& out) {
  if (!config_.lossless) return;
  const Protection& p = record_.protection;
  SiteId writer = record_.intent.writer;
  if (writer == kNoSite) return;
  const AgentReport& report = agents_[writer.value].report;
  bool open = fresh_agent(now, writer) && report.lease_epoch == record_.intent.epoch &&
              record_.active_epoch == record_.intent.epoch;
  bool ready = standby_acknowledges(now);
  if (ready) {
    standby_lost_since_ = BootTime{};
  } else if (standby_lost_since_ == BootTime{}) {
    standby_lost_since_ = now.boot;
  }
  Duration lost = ready ? Duration{} : now.boot - standby_lost_since_;
  if (p.state == ProtectionState::kOff || p.epoch != record_.intent.epoch) {
    if (!ready || !open) return catching_up_.reset();
    if (!time_to_arm(now)) return;
    catching_up_.reset();
    ServiceRecord r = next_record();
    change_protection(r, ProtectionState::kArming);
    return save(std::move(r), out);
  }
  if (ready && open) return confirm_copies(out);
  bool arming = p.state == ProtectionState::kArming;
  bool degrade = arming ? lost >= config_.arming_patience
                        : config_.degrade_after && lost >= *config_.degrade_after;
  // Only a writer that is there has use for it; one that is not may be about to be replaced.
  if (!degrade || !open) return;
  ServiceRecord r = next_record();
  change_protection(r, ProtectionState::kOff);
  if (!arming)
    note(NoteKind::kUnprotected, writer, r.intent.epoch, p.standby, 0,
         fmt::format("the standby was lost for {}", format_duration(*config_.degrade_after)));
  save(std::move(r), out);
}

// A report that keeps to this protection was made after control had seen the standby's link, so
// what the writer had written then includes all that it ever acknowledged over another link, or
// alone; and from then on it waits for a copy of each commit. Once the standby has that much, it
// has everything.
void ControlCore::confirm_copies(ControlEffects& out) {
  const Protection& p = record_.protection;
  const AgentReport& writer = agents_[record_.intent.writer.value].report;
  const DatabaseStatus& standby = agents_[p.standby.value].report.database;
  if (standby.link != p.link) {
    ServiceRecord r = next_record();
    change_protection(r, ProtectionState::kArming);
    return save(std::move(r), out);
  }
  if (p.state == ProtectionState::kOn) return;
  bool waits =
      LEEWARD_GUARD("writer-waits-first", writer.protection == p.number && writer.database.strict);
  if (!waits) return;
  if (!confirming_ || confirming_->number != p.number)
    confirming_ = Confirming{p.number, writer.database.written};
  if (!LEEWARD_GUARD("copies-caught-up", standby.durable >= confirming_->written)) return;
  ServiceRecord r = next_record();
  r.protection.state = ProtectionState::kOn;
  note(NoteKind::kProtected, p.standby, r.intent.epoch, r.intent.writer);
  save(std::move(r), out);
}

}  // namespace leeward::control

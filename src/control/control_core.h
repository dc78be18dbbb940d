// What control decides: who is to write, when that changes, and who may have the lease. Pure: no
// clock, no I/O, no randomness; the same code runs in the daemon, the simulator and in replays.
//
// Everything decided for a service is one ServiceRecord and one LeaseValue, each changed by
// compare-and-swap only. The core proposes a change as an effect and believes it when the shell
// reports it committed; so a control process that dies anywhere leaves a whole decision behind, and
// its successor goes on from the record (I6). Agents, DNS and edges converge to the record.
//
// The intuition of a decision:
//   - a vantage point's opinion ages out; a site is down when a quorum says so *now* (I9);
//   - a writer whose heartbeat still arrives at the standby is overloaded, not dead;
//   - an automatic failover needs every rule to agree, otherwise a proposal is left for a person;
//   - in lossless mode a failover loses nothing while the record says `protected` (see Protection
//   in
//     model/record.h), and the estimate is not asked for;
//   - a plan moves step by step on observed post-conditions and can be undone until the lease
//   moves.
//
// The lease. A holder's value is given away only when it was released, or was seen unchanged for
// the takeover time of this process's own clock, which starts anew with the process. Not
// thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "control/agent_core.h"
#include "model/lease.h"
#include "model/platform.h"
#include "model/record.h"
#include "model/status.h"

namespace leeward::control {

struct ControlConfig {
  std::vector<SiteId> vantages;   // every site that probes
  std::vector<SiteId> workloads;  // sites that can write
  SiteId preferred;
  int quorum = 2;
  LeaseTimings lease;
  FailoverPolicy failover;
  bool lossless = false;
  std::optional<Duration> degrade_after;  // lossless; none: wait for the standby, however long
  Duration report_stale = 2500ms;         // an observation older than this counts as unknown
  Duration heartbeat_fresh = 1500ms;  // a heartbeat seen at the standby within this vetoes "down"
  Duration pause_limit = 1s;          // a longer gap between own steps: we were stopped
  Duration node_patience = 4s;    // a site that changes its primary node is waited for this long
  Duration reopen_patience = 3s;  // after it opened again: until probes can have seen that
  Duration proposal_after = 5s;   // "down" this long before a person is asked
  Duration prepare_timeout = 15s;
  Duration transfer_timeout = 20s;
  Duration traffic_timeout = 5s;
  Duration arming_patience = 2s;   // the standby lost this long before protection was on
  Duration arming_near = 1s;       // a standby that is this far behind is waited for
  Duration arming_progress = 30s;  // so is one that came no nearer in this time
};
ControlConfig control_config(const Platform& platform);

// What happened, in a form that costs nothing when nobody reads it; describe() makes the sentence.
enum class NoteKind : std::uint8_t {
  kProbeFailing,
  kVerdictDown,
  kVerdictUp,
  kVerdictDegraded,
  kProposal,
  kProposalWithdrawn,
  kPlanStarted,
  kPlanStep,
  kPlanDone,
  kPlanAborted,
  kLeaseGranted,
  kLeaseReleased,
  kLeaseExpired,
  kFenced,
  kPromoted,
  kWriterOpen,
  kTraffic,
  kPromiseOn,
  kPromiseOff,
  kRejoinStarted,
  kRejoined,
  kLedger,
  kUnblocked,
  kMaintenance,
  kAgentLost,
  kAgentBack,
  kProtected,
  kUnprotected,
  kAcknowledgedAlone,
  kSemiSyncFallen,
  kSemiSyncBack,
  kRowsDiffer,
  kNodeMoved,
  kNodeInSync,
  kNodeAlone,
  kRedisLost,
  kRedisMoved,
  kDeployed,
  kRolledBack,
};
struct Note {
  NoteKind kind;
  SiteId site = kNoSite;
  SiteId other = kNoSite;
  Epoch epoch;
  std::int64_t number = 0;
  std::string text;
};
std::string_view identifier(NoteKind kind);  // "verdict.down"
EventRecord describe(const Note& note, const Platform& platform, WallTime time);

struct SaveRecord {  // compare-and-swap on expected version; notes go to the audit trail with it
  std::uint64_t expected;
  ServiceRecord record;
  std::vector<Note> notes;
};
struct SaveLease {
  std::uint64_t expected;  // version of the value it replaces
  LeaseValue value;
  std::vector<Note> notes;
};
struct LeaseReply {
  SiteId to;
  RequestId request;
  LeaseOutcome outcome;
};
struct OperatorReply {
  std::uint64_t request;
  Code code;  // meaningful when !ok
  bool ok;
  std::string message;
};
struct Notes {  // audit entries without a change of the record
  std::vector<Note> notes;
};
using ControlEffect = std::variant<SaveRecord, SaveLease, LeaseReply, OperatorReply, Notes>;
using ControlEffects = std::vector<ControlEffect>;

struct OperatorRequest {
  enum class Kind : std::uint8_t {
    kFailover,
    kSwitchover,
    kFailback,
    kPause,
    kResume,
    kDegrade,  // lossless: the writer goes on without the standby, until that streams again
  };
  std::uint64_t request = 0;
  Kind kind = Kind::kFailover;
  SiteId to = kNoSite;  // kNoSite: the other site (kFailback: the preferred one)
  bool accept_loss = false;
  bool override_block = false;
  std::string reason;
};

// Why a failover would not happen now. Empty reasons: it would.
struct Readiness {
  SiteId to = kNoSite;
  Duration estimated_loss{};
  bool loss_known = false;
  std::vector<std::string> why_not;
};

class ControlCore {
 public:
  explicit ControlCore(ControlConfig config);

  // After start and after a lost compare-and-swap: what the store holds now. Nothing is decided
  // before both were loaded.
  void load(Now now, const ServiceRecord& record, const LeaseValue& lease,
            std::uint64_t lease_version, ControlEffects& out);
  void on_record_saved(Now now, bool ok, std::uint64_t version, ControlEffects& out);
  void on_lease_saved(Now now, bool ok, std::uint64_t version, ControlEffects& out);

  void on_vantage(Now now, const VantageReport& report, ControlEffects& out);
  void on_agent(Now now, const AgentReport& report, ControlEffects& out);
  void on_lease_request(Now now, SiteId from, LeaseOp op, Epoch epoch, RequestId request,
                        ControlEffects& out);
  // The DNS server at `site` answers with what was active at `epoch`.
  void on_dns(Now now, SiteId site, Epoch epoch, ControlEffects& out);
  void on_operator(Now now, const OperatorRequest& request, ControlEffects& out);
  void tick(Now now, ControlEffects& out);

  // For status.
  const ServiceRecord& record() const { return record_; }
  const LeaseValue& lease() const { return lease_; }
  Duration lease_unchanged(Now now) const { return now.boot - lease_changed_; }
  Health verdict(Now now, SiteId site) const;
  Health opinion(Now now, SiteId vantage, SiteId site) const;
  bool degraded(Now now, SiteId site) const;       // a quorum says down, yet its heartbeat arrives
  const AgentReport* agent(SiteId site) const;     // last report, or null
  Duration agent_age(Now now, SiteId site) const;  // kNever: none
  Readiness readiness(Now now, SiteId to) const;
  SiteId other_site(SiteId site) const;  // first workload site that is not `site`
  // A failover to `to` now would lose nothing that was acknowledged, whatever the estimate says.
  bool protects(Now now, SiteId to) const;

 private:
  struct ReportOrder {  // greatest seen; anything less is from the past
    std::uint64_t life = 0;
    std::uint64_t sequence = 0;
    bool accept(std::uint64_t life_now, std::uint64_t sequence_now);
  };
  struct SeenAgent {
    ReportOrder order;
    bool seen = false;
    bool lost = false;
    BootTime when{};
    AgentReport report;
    BootTime opened{};  // first reported open for writes, after it was not; zero: it is not
    Promotion opened_as;
    Promotion newest;  // that its database was ever reported with
    struct Wrote {     // the last report as the writer; what it says stays true
      Epoch epoch;
      WallTime row;  // its newest heartbeat
      BootTime when{};
    };
    Wrote wrote;
  };
  struct SeenVantage {
    ReportOrder order;
    bool seen = false;
    BootTime when{};
    VantageReport report;
  };

  bool fresh_agent(Now now, SiteId site) const;
  bool heartbeat_fresh(Now now, SiteId writer) const;
  bool starting(Now now) const;
  Epoch next_epoch() const;
  Duration rows_behind(SiteId to) const;
  Duration estimated_loss(Now now, SiteId to, bool& known) const;
  void data_reasons(Now now, SiteId to, std::vector<std::string>& why) const;
  bool follows_term(SiteId to) const;
  void planned_reasons(Now now, SiteId to, std::vector<std::string>& why) const;

  void decide(Now now, ControlEffects& out);
  void decide_bootstrap(Now now, ControlEffects& out);
  void decide_failover(Now now, ControlEffects& out);
  bool drains(Now now, const Plan& plan) const;
  void advance_plan(Now now, ControlEffects& out);
  void follow_writer(Now now, ControlEffects& out);
  bool standby_acknowledges(Now now) const;
  void steer_protection(Now now, ControlEffects& out);
  bool time_to_arm(Now now);
  void confirm_copies(ControlEffects& out);
  void change_protection(ServiceRecord& r, ProtectionState state);
  void move_intent(Now now, ServiceRecord& r, SiteId to, Position required = {});
  void watch_own_pause(Now now);
  void watch_verdicts(Now now);
  void watch_agents(Now now);
  void note_report_changes(const AgentReport& before, const AgentReport& after);
  void note_semi_sync(const AgentReport& before, const AgentReport& after);

  ServiceRecord next_record() const { return record_; }
  void save(ServiceRecord next, ControlEffects& out);
  void enter_step(Now now, ServiceRecord& r, PlanStep step);
  void start_plan(Now now, ServiceRecord& r, PlanKind kind, SiteId to, PlanStep first,
                  std::string reason, bool automatic);
  void abort_plan(Now now, ServiceRecord& r, std::string why);
  void note(NoteKind kind, SiteId site, Epoch epoch = {}, SiteId other = kNoSite,
            std::int64_t number = 0, std::string text = {});
  void flush_notes(ControlEffects& out);
  void reply(const OperatorRequest& q, ControlEffects& out, std::string message);
  void refuse(const OperatorRequest& q, ControlEffects& out, Code code, std::string message);
  void operator_move(Now now, const OperatorRequest& q, ControlEffects& out);

  ControlConfig config_;
  bool loaded_ = false;
  ServiceRecord record_;
  std::optional<ServiceRecord> saving_;
  LeaseValue lease_;
  std::uint64_t lease_version_ = 0;
  BootTime lease_changed_{};  // first seen by this process with this value
  struct SavingLease {
    LeaseValue value;
    SiteId asker;
    RequestId request;
  };
  std::optional<SavingLease> saving_lease_;
  bool expiry_noted_ = false;

  std::array<SeenAgent, kSitesMax> agents_;
  std::array<SeenVantage, kSitesMax> vantages_;
  std::array<Health, kSitesMax> last_verdict_{};
  std::array<bool, kSitesMax> last_degraded_{};
  std::array<bool, kSitesMax> failing_noted_{};
  std::array<Epoch, kSitesMax> dns_epoch_{};
  std::array<std::uint64_t, kSitesMax> alone_at_fall_{};
  BootTime step_since_{};          // this process saw the plan enter its step
  BootTime blocked_since_{};       // this process first saw `blocked`
  BootTime writer_since_{};        // this process first saw the intent, and then that it is open
  BootTime down_since_{};          // the writer, by this process; zero: it is not
  BootTime standby_lost_since_{};  // of the protection, by this process; zero: it is there
  struct Confirming {              // what the standby must have received before protection is on
    std::uint64_t number = 0;
    Position written;
  };
  std::optional<Confirming> confirming_;
  struct CatchingUp {  // a standby that could protect, once it is near
    BootTime since;    // when the writer had written `written`
    Position written;
    BootTime compared;
    std::uint64_t behind = 0;  // transactions, at `compared`
  };
  std::optional<CatchingUp> catching_up_;
  Duration loss_floor_{};  // largest loss estimated since then
  BootTime last_step_{};   // of this core
  BootTime settled_at_{};  // reports before this are old ones from a queue
  std::vector<Note> notes_;
};

}  // namespace leeward::control

// The record of a service: all that control has decided, in one value. It lies under one key of the
// store and changes only by compare-and-swap, so that what agents see is always one whole decision,
// and a control process that dies anywhere leaves either the old or the new one (I6).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "model/ids.h"
#include "model/status.h"

namespace leeward {

// Who is to write. Agents converge to it from whatever state they are in.
struct Intent {
  SiteId writer = kNoSite;
  Epoch epoch;        // of the writer's grant; grows with each change of `writer`
  PlanId drain;       // planned move: the writer holds new requests and finishes running ones;
                      // names the plan so that an answer to an undone plan cannot count. 0: no
  Position required;  // the writer must have applied this much before it takes the lease
  bool complete =
      false;  // a failover under protection: all that was ever acknowledged has arrived
              // at the new writer, so what the old one has beyond was never acknowledged
  std::uint64_t link = 0;  // complete: the link (DatabaseStatus::link) that it arrived on; the
                           // writer takes over with what that one received, or not at all. 0: any
  bool draining() const { return drain.value != 0; }
  bool operator==(const Intent&) const = default;
};

// Lossless mode: whether a commit may be acknowledged without a durable copy at the standby site.
// It is decided here and never by the writer, so that whoever promotes the standby knows what it
// has.
//   off     commits are acknowledged alone; a failover is judged by its estimated loss
//   arming  the writer is to wait for copies from now on; nothing is promised yet
//   on      the writer waits for a copy of each commit, and all older ones are at the standby: a
//           failover to `standby` loses nothing
// The writer acknowledges alone only while it knows `off` for its own epoch.
enum class ProtectionState : std::uint8_t { kOff, kArming, kOn };
std::string_view name(ProtectionState s);

struct Protection {
  ProtectionState state = ProtectionState::kOff;
  std::uint64_t number = 0;  // grows with each change of the state
  Epoch epoch;               // of the writer it was decided for
  SiteId standby = kNoSite;
  std::uint64_t link = 0;  // arming and on: the standby's link that is to hold the copies
  bool operator==(const Protection&) const = default;
};

enum class PlanKind : std::uint8_t { kBootstrap, kFailover, kSwitchover, kFailback };
enum class PlanStep : std::uint8_t {
  kPrepare,   // target ready: replica streaming and close
  kDrain,     // old writer drained; its last position known (planned only)
  kCatchUp,   // target has applied that position (planned only)
  kTransfer,  // intent moved; target holds the lease, is promoted, and its gateway is open
  kTraffic,   // DNS points at the target
  kDone,
  kAborted,
};
std::string_view name(PlanKind k);
std::string_view name(PlanStep s);

struct StepRecord {
  PlanStep step;
  WallTime entered;
};

struct Plan {
  PlanId id;
  PlanKind kind = PlanKind::kFailover;
  SiteId from = kNoSite;
  SiteId to = kNoSite;
  PlanStep step = PlanStep::kPrepare;
  bool automatic = false;
  bool accept_loss = false;  // an operator overrode the RPO gate
  std::string reason;
  std::string outcome;        // set with kDone and kAborted
  Duration estimated_loss{};  // at the decision
  Position drained;           // last position of the old writer, known from kCatchUp on (planned)
  std::vector<StepRecord> history;

  bool ended() const { return step == PlanStep::kDone || step == PlanStep::kAborted; }
};

// A failover that the rules allow but the mode leaves to a person (mode approve or manual, or an
// RPO gate). It goes away when the site recovers.
struct Proposal {
  SiteId from = kNoSite;
  SiteId to = kNoSite;
  std::string why_not_automatic;
};

struct ServiceRecord {
  std::uint64_t version = 0;  // of the store; 0: never written
  Intent intent;
  SiteId active = kNoSite;  // the site that DNS and clients are sent to
  Epoch active_epoch;
  Epoch up_epoch;  // the newest at which a quorum saw the writer's site up after it had opened
  Protection protection;     // lossless mode only; otherwise off
  std::optional<Plan> plan;  // the running or the last one
  PlanId last_plan;
  bool blocked = false;  // an automatic failover happened within the block window (I7)
  bool paused = false;   // maintenance: no automatic failover
  std::optional<Proposal> proposal;
};

// One line of the audit trail, stored in the same transaction as the change that it tells of.
struct EventRecord {
  std::uint64_t sequence = 0;  // assigned by the store
  WallTime time;
  std::string kind;  // stable identifier: "verdict.down", "plan.step", "lease.granted" …
  std::string site;  // name or empty
  Epoch epoch;
  std::string message;  // for people
};

}  // namespace leeward

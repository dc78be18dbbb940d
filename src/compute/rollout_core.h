// How the instances of one tier are chosen and replaced: which slots run, by which revision, and
// which of them are offered to the edges.
//
// A slot is a place for an instance, with a port of its own. `wanted` instances of the goal
// revision are to run. Slots of the goal revision are called fresh here, others stale.
//
//   kSettled ──begin──▶ kReplacing ──all fresh, all ready──▶ kWatching ──watch──▶ kSettled
//                  └──▶ kPreparing ──all fresh ready: offered, stale not──▶ kWatching
//                       (blue/green)                 kWatching ──watch──▶ kKeeping ──▶ kSettled
//   kReplacing, kPreparing, kWatching ──failure, or undo()──▶ kUndoing ──▶ kSettled
//
// Rolling, as Kubernetes' Deployments do it (maxSurge, maxUnavailable): no more than wanted +
// surge instances run, and no fewer than wanted − unavailable are ready, as far as the deployment
// has a say in it. A stale instance that is broken (it crashed, or was not ready for ready_within)
// is no loss, and ends first.
//
// Blue/green: as many fresh ones as wanted start beside the stale ones and are not offered until
// all of them are ready; then the edges change over in one answer. The stale ones run on, not
// offered, until the fresh ones have proved themselves and keep_old has passed.
//
// Failure: a fresh instance that has not been ready for ready_within, or `crashes` exits of fresh
// instances by themselves. Then the goal is the revision before again; where its instances still
// run, they are offered at once. Undoing has no limit of time: nothing better is known.
//
// A site where the tier does not run (a cold standby) cannot try a revision: all its slots take it
// at once, and it has to prove itself when the site becomes active. Until then another may take its
// place.
//
// Pure: no clock, no I/O. The shell calls step() whenever something changed and at `again`, and
// does what it says; the state that must survive a restart is RolloutMemory and the places.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "model/deploy.h"

namespace leeward::compute {

enum class RolloutPhase : std::uint8_t {
  kSettled,
  kReplacing,
  kPreparing,
  kWatching,
  kKeeping,
  kUndoing,
};
std::string_view name(RolloutPhase phase);
std::optional<RolloutPhase> rollout_phase_from_name(std::string_view name);

struct RolloutMemory {
  RolloutPhase phase = RolloutPhase::kSettled;
  RevisionNumber current;   // the last one that proved itself
  RevisionNumber goal;      // of what is to run; current, unless one is being deployed
  RevisionNumber previous;  // before `current`; 0: none
  RevisionNumber failed;    // the last one that was rolled back; 0: none
  std::string reason;       // why it was
};

// What a slot is to do.
struct SlotPlace {
  RevisionNumber revision;
  bool run = false;
  bool offered = true;  // to the edges, while it is ready
  auto operator<=>(const SlotPlace&) const = default;
};

// What a slot does.
struct SlotView {
  SlotPlace place;
  bool alive = false;     // it has a process, which may be ending
  bool draining = false;  // alive, not to run, and could be taken back
  bool ready = false;
  int crashes = 0;         // exits by itself, since it has this place
  BootTime unready_since;  // while it is not ready and is to run
  bool is_protected = false;
  std::uint64_t connections = 0;
  BootTime started;
};

enum class RolloutEvent : std::uint8_t { kNone, kSwitched, kSucceeded, kUndoing, kUndone };
std::string_view name(RolloutEvent event);

struct RolloutStep {
  std::vector<SlotPlace> places;  // one a slot
  RolloutEvent event = RolloutEvent::kNone;
  std::optional<BootTime> again;  // call it then, at the latest
};

class RolloutCore {
 public:
  // REQUIRES: revision above 0.
  RolloutCore(const DeploySpec& spec, RevisionNumber revision);

  void restore(const RolloutMemory& memory) { memory_ = memory; }
  const RolloutMemory& memory() const { return memory_; }

  // Makes `revision` the goal. `active`: the tier runs at this site. kConflict while another one is
  // being deployed there.
  Status begin(RevisionNumber revision, bool active);
  // Takes back what is being deployed; once settled, deploys the revision before. kConflict when
  // there is none, or one is being undone already.
  Status undo(const std::string& reason, bool active);

  // REQUIRES: 0 ≤ wanted ≤ slots.
  RolloutStep step(BootTime now, bool active, int wanted, std::span<const SlotView> slots);

 private:
  RolloutEvent judge(BootTime now, int wanted, std::span<const SlotView> slots);
  std::string failure(BootTime now, std::span<const SlotView> slots) const;
  void turn_back(const std::string& reason);
  void replace(BootTime now, int wanted, std::span<const SlotView> slots,
               std::vector<SlotPlace>& places) const;
  void prepare(int wanted, std::span<const SlotView> slots, std::vector<SlotPlace>& places) const;
  void wait_inactive(int wanted, std::span<const SlotView> slots,
                     std::vector<SlotPlace>& places) const;
  bool broken(BootTime now, const SlotView& slot) const;

  DeploySpec spec_;
  RolloutMemory memory_;
  bool untried_ = false;           // taken by all slots while the tier does not run here
  std::optional<BootTime> until_;  // end of watching or keeping
};

}  // namespace leeward::compute

#include "compute/rollout_core.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "compute/autoscaler_core.h"

namespace leeward::compute {
namespace {

constexpr std::array<std::string_view, 6> kPhases{"settled",  "replacing", "preparing",
                                                  "watching", "keeping",   "undoing"};
constexpr std::array<std::string_view, 5> kEvents{"none", "switched", "succeeded", "undoing",
                                                  "rolled_back"};

using Places = std::vector<SlotPlace>;
using Slots = std::span<const SlotView>;

template <typename Chosen>
int count(const Places& places, Chosen chosen) {
  int n = 0;
  for (std::size_t i = 0; i < places.size(); ++i) n += chosen(i);
  return n;
}

// Ends `excess` of the slots that `chosen` names: those that are missed least.
template <typename Chosen>
void end_some(Slots slots, Places& places, int excess, RevisionNumber goal, bool spare_protected,
              Chosen chosen) {
  if (excess <= 0) return;
  std::vector<Victim> victims;
  for (std::size_t i = 0; i < slots.size(); ++i)
    if (chosen(i))
      victims.push_back({static_cast<int>(i), slots[i].ready, places[i].revision != goal,
                         spare_protected && slots[i].is_protected, slots[i].connections,
                         slots[i].started});
  for (int number : choose_victims(victims, excess))
    places[static_cast<std::size_t>(number)].run = false;
}

// Starts up to `lack` more of `revision`; one that is draining is taken back before a new one.
void start_some(Slots slots, Places& places, int lack, RevisionNumber revision, bool offered) {
  for (bool draining : {true, false})
    for (std::size_t i = 0; i < slots.size() && lack > 0; ++i) {
      bool own = places[i].revision == revision;
      // A slot is free for another revision once its process has ended.
      bool usable =
          draining ? slots[i].draining && own : !slots[i].draining && (own || !slots[i].alive);
      if (places[i].run || !usable) continue;
      places[i] = {revision, true, offered};
      --lack;
    }
}

}  // namespace

std::string_view name(RolloutPhase phase) { return kPhases.at(static_cast<std::size_t>(phase)); }
std::string_view name(RolloutEvent event) { return kEvents.at(static_cast<std::size_t>(event)); }

std::optional<RolloutPhase> rollout_phase_from_name(std::string_view name) {
  auto found = std::find(kPhases.begin(), kPhases.end(), name);
  if (found == kPhases.end()) return std::nullopt;
  return static_cast<RolloutPhase>(found - kPhases.begin());
}

RolloutCore::RolloutCore(const DeploySpec& spec, RevisionNumber revision) : spec_(spec) {
  LEEWARD_CHECK(revision.value > 0);
  memory_.current = memory_.goal = revision;
}

Status RolloutCore::begin(RevisionNumber revision, bool active) {
  RolloutPhase phase = memory_.phase;
  // One that cannot be undone because the old revision is broken as well may be replaced, and so
  // may one that nothing runs of.
  if (active && phase != RolloutPhase::kSettled && phase != RolloutPhase::kKeeping &&
      phase != RolloutPhase::kUndoing)
    return fail(Code::kConflict,
                "revision {} is being deployed; wait for its end, or roll it back first",
                memory_.goal.value);
  memory_.goal = revision;
  bool beside = spec_.strategy == DeployStrategy::kBlueGreen && active;
  memory_.phase = beside ? RolloutPhase::kPreparing : RolloutPhase::kReplacing;
  untried_ = !active;
  until_.reset();
  return {};
}

Status RolloutCore::undo(const std::string& reason, bool active) {
  switch (memory_.phase) {
    case RolloutPhase::kUndoing:
      return fail(Code::kConflict, "revision {} is being rolled back already",
                  memory_.failed.value);
    case RolloutPhase::kSettled:
      if (memory_.previous.value == 0)
        return fail(Code::kConflict, "there is no revision before {}", memory_.current.value);
      return begin(memory_.previous, active);
    case RolloutPhase::kKeeping:  // it had counted already
      memory_.current = memory_.previous;
      memory_.previous = {};
      break;
    case RolloutPhase::kReplacing:
    case RolloutPhase::kPreparing:
    case RolloutPhase::kWatching:
      break;
  }
  turn_back(reason);
  untried_ = !active;
  return {};
}

void RolloutCore::turn_back(const std::string& reason) {
  memory_.failed = memory_.goal;
  memory_.reason = reason;
  memory_.goal = memory_.current;
  memory_.phase = RolloutPhase::kUndoing;
  until_.reset();
}

bool RolloutCore::broken(BootTime now, const SlotView& slot) const {
  if (slot.ready) return false;
  if (memory_.phase == RolloutPhase::kUndoing || slot.crashes > 0) return true;
  return now - slot.unready_since >= spec_.ready_within;
}

// Why the goal revision has failed; empty: it has not.
std::string RolloutCore::failure(BootTime now, Slots slots) const {
  int crashes = 0;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const SlotView& s = slots[i];
    if (!s.place.run || s.place.revision != memory_.goal) continue;
    crashes += s.crashes;
    if (!s.ready && now - s.unready_since >= spec_.ready_within)
      return fmt::format("instance {} was not ready within {}", i,
                         format_duration(spec_.ready_within));
  }
  if (crashes < spec_.crashes) return {};
  return fmt::format("its instances exited by themselves {} times", crashes);
}

// Moves on to the next phase when this one has reached its end.
RolloutEvent RolloutCore::judge(BootTime now, int wanted, Slots slots) {
  RolloutPhase phase = memory_.phase;
  if (phase == RolloutPhase::kSettled) return RolloutEvent::kNone;
  if (phase == RolloutPhase::kKeeping) {
    if (!until_) until_ = now + spec_.keep_old;
    if (now >= *until_) memory_.phase = RolloutPhase::kSettled;
    return RolloutEvent::kNone;
  }
  if (phase != RolloutPhase::kUndoing)
    if (std::string why = failure(now, slots); !why.empty()) {
      turn_back(why);
      return RolloutEvent::kUndoing;
    }
  int fresh = 0;  // ready
  int stale = 0;
  for (const SlotView& s : slots) {
    if (!s.place.run) continue;
    bool own = s.place.revision == memory_.goal;
    fresh += own && s.ready;
    stale += !own && s.place.offered;
  }
  bool complete = fresh >= wanted;
  switch (phase) {
    case RolloutPhase::kUndoing:
      if (!complete || stale > 0) return RolloutEvent::kNone;
      memory_.phase = RolloutPhase::kSettled;
      return RolloutEvent::kUndone;
    case RolloutPhase::kPreparing:
    case RolloutPhase::kReplacing:
      if (!complete || (phase == RolloutPhase::kReplacing && stale > 0)) return RolloutEvent::kNone;
      memory_.phase = RolloutPhase::kWatching;
      until_ = now + spec_.watch;
      return phase == RolloutPhase::kPreparing ? RolloutEvent::kSwitched : RolloutEvent::kNone;
    default:
      break;
  }
  // From the moment on since which all are ready; a restart of ours begins it anew as well.
  if (!until_ || !complete) until_ = now + spec_.watch;
  if (!complete || now < *until_) return RolloutEvent::kNone;
  memory_.previous = memory_.current;
  memory_.current = memory_.goal;
  bool keeps = spec_.strategy == DeployStrategy::kBlueGreen && spec_.keep_old > Duration{};
  memory_.phase = keeps ? RolloutPhase::kKeeping : RolloutPhase::kSettled;
  until_ = keeps ? std::optional(now + spec_.keep_old) : std::nullopt;
  return RolloutEvent::kSucceeded;
}

// So many of the goal revision, the others away.
void RolloutCore::replace(BootTime now, int wanted, Slots slots, Places& places) const {
  RevisionNumber goal = memory_.goal;
  bool keep = memory_.phase == RolloutPhase::kKeeping || memory_.phase == RolloutPhase::kWatching;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    SlotPlace& p = places[i];
    if (!p.run) continue;
    if (p.revision == goal)
      p.offered = true;
    else if (keep && spec_.strategy == DeployStrategy::kBlueGreen)
      p.offered = false;
    else if (!p.offered || broken(now, slots[i]))
      p.run = false;
  }
  auto fresh = [&](std::size_t i) { return places[i].run && places[i].revision == goal; };
  auto stale = [&](std::size_t i) {
    return places[i].run && places[i].revision != goal && places[i].offered;
  };
  end_some(slots, places, count(places, fresh) - wanted, goal, true, fresh);
  int ready =
      count(places, [&](std::size_t i) { return (fresh(i) || stale(i)) && slots[i].ready; });
  int surplus = ready - std::max(0, wanted - spec_.unavailable);
  end_some(slots, places, surplus, goal, false,
           [&](std::size_t i) { return stale(i) && slots[i].ready; });
  int olds = count(places, stale);
  int lack = wanted - count(places, fresh);
  if (olds > 0) lack = std::min(lack, wanted + spec_.surge - olds - count(places, fresh));
  start_some(slots, places, lack, goal, true);
}

// As many of the goal revision beside those that serve.
void RolloutCore::prepare(int wanted, Slots slots, Places& places) const {
  RevisionNumber goal = memory_.goal;
  auto fresh = [&](std::size_t i) { return places[i].run && places[i].revision == goal; };
  auto serving = [&](std::size_t i) {
    return places[i].run && places[i].revision != goal && places[i].offered;
  };
  for (std::size_t i = 0; i < slots.size(); ++i)
    if (places[i].run && !fresh(i) && !places[i].offered) places[i].run = false;
  end_some(slots, places, count(places, serving) - wanted, goal, true, serving);
  end_some(slots, places, count(places, fresh) - wanted, goal, true, fresh);
  start_some(slots, places, wanted - count(places, serving), memory_.current, true);
  start_some(slots, places, wanted - count(places, fresh), goal, false);
}

void RolloutCore::wait_inactive(int wanted, Slots slots, Places& places) const {
  RevisionNumber goal = memory_.goal;
  if (untried_)
    for (std::size_t i = 0; i < slots.size(); ++i) {
      if (!places[i].run || places[i].revision == goal || slots[i].alive) continue;
      if (places[i].offered)
        places[i].revision = goal;
      else
        places[i].run = false;
    }
  auto offered = [&](std::size_t i) { return places[i].run && places[i].offered; };
  int lack = wanted - count(places, offered);
  end_some(slots, places, -lack, goal, true, offered);
  start_some(slots, places, lack, untried_ ? goal : memory_.current, true);
}

RolloutStep RolloutCore::step(BootTime now, bool active, int wanted, Slots slots) {
  RolloutStep out;
  for (const SlotView& s : slots) out.places.push_back(s.place);
  if (!active) {
    until_.reset();  // counted anew once it runs
    wait_inactive(wanted, slots, out.places);
    return out;
  }
  untried_ = false;
  out.event = judge(now, wanted, slots);
  if (memory_.phase == RolloutPhase::kPreparing)
    prepare(wanted, slots, out.places);
  else
    replace(now, wanted, slots, out.places);
  if (memory_.phase == RolloutPhase::kSettled) return out;
  out.again = until_;
  for (const SlotView& s : slots) {
    if (!s.place.run || s.ready) continue;
    BootTime end = s.unready_since + spec_.ready_within;
    if (end > now && (!out.again || end < *out.again)) out.again = end;
  }
  return out;
}

}  // namespace leeward::compute

// A tier's revisions in a small world: instances take time to get ready and to drain, and bad
// revisions hang or crash. What must hold is looked at in every step.
#include "compute/rollout_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>

namespace leeward::compute {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr RevisionNumber kOld{1};
constexpr RevisionNumber kNew{2};
constexpr RevisionNumber kNewest{3};

enum class Kind { kGood, kHangs, kCrashes };

class World {
 public:
  World(const DeploySpec& spec, int count, int spare)
      : spec_(spec), core(spec, kOld), wanted(count) {
    slots_.resize(static_cast<std::size_t>(wanted + spare));
    for (std::size_t i = 0; i < slots_.size(); ++i)
      slots_[i].view.place = {kOld, static_cast<int>(i) < wanted};
    settle();
  }

  // Until everything that runs is ready, without a look at the promises.
  void settle() {
    for (int i = 0; i < 100; ++i) advance();
    watch_promises = true;
  }

  void run(Duration time) {
    for (Duration passed{}; passed < time; passed += 100ms) advance();
  }
  bool run_until(Duration limit, const std::function<bool()>& condition) {
    for (Duration passed{}; passed < limit && !condition(); passed += 100ms) advance();
    return condition();
  }
  bool run_to(RolloutPhase phase, Duration limit = 5min) {
    return run_until(limit, [&] { return core.memory().phase == phase; });
  }

  // As an agent that restarts: all processes are gone, the places stay.
  void restart() {
    RolloutMemory memory = core.memory();
    core = RolloutCore(spec_, kOld);
    core.restore(memory);
    watch_promises = false;
    for (Slot& s : slots_) {
      SlotPlace place = s.view.place;
      s = Slot{};
      s.view.place = place;
      s.view.unready_since = now;
    }
  }

  void begin(RevisionNumber revision) { ASSERT_TRUE(core.begin(revision, active).has_value()); }

  int ready(RevisionNumber revision, bool offered = true) const {
    int n = 0;
    for (const Slot& s : slots_)
      n += s.view.place.run && s.view.ready && s.view.place.revision == revision &&
           s.view.place.offered == offered;
    return n;
  }
  int running(RevisionNumber revision) const {
    int n = 0;
    for (const Slot& s : slots_) n += s.view.alive && s.view.place.revision == revision;
    return n;
  }
  int placed(RevisionNumber revision) const {
    int n = 0;
    for (const Slot& s : slots_) n += s.view.place.run && s.view.place.revision == revision;
    return n;
  }
  std::vector<SlotView> views() const {
    std::vector<SlotView> all;
    for (const Slot& s : slots_) all.push_back(s.view);
    return all;
  }
  void protect(std::size_t slot) { slots_[slot].view.is_protected = true; }

  void advance() {
    now += 100ms;
    bool begins = active && !was_active_;
    was_active_ = active;
    for (Slot& s : slots_) {
      if (begins) s.view.unready_since = now;
      live(s);
    }
    RolloutStep step = core.step(now, active, wanted, views());
    if (step.event != RolloutEvent::kNone) events.push_back(step.event);
    for (std::size_t i = 0; i < slots_.size(); ++i) take(slots_[i], step.places[i]);
    if (watch_promises && active) look();
  }

  BootTime now{};
  bool active = true;
  bool watch_promises = false;
  std::map<RevisionNumber, Kind> kinds;
  std::vector<RolloutEvent> events;

 private:
  struct Slot {
    SlotView view{};
    BootTime since{};  // of starting or draining
  };

  void take(Slot& s, const SlotPlace& place) {
    SlotView& v = s.view;
    if (place.revision != v.place.revision) {
      EXPECT_FALSE(v.alive) << "a slot takes another revision only between two processes";
    }
    if (place.revision != v.place.revision || (place.run && !v.place.run)) {
      v.crashes = 0;
      v.unready_since = now;
    }
    v.place = place;
  }

  void live(Slot& s) {
    SlotView& v = s.view;
    bool wished = v.place.run && active;
    Kind kind = kinds[v.place.revision];
    if (wished && !v.alive) {
      v.alive = true;
      v.started = s.since = now;
    } else if (wished && v.draining) {
      v.draining = false;
      v.ready = true;
    } else if (wished && kind == Kind::kCrashes && now - s.since >= 500ms) {
      ++v.crashes;
      v.alive = v.ready = false;
    } else if (wished && kind == Kind::kGood && now - s.since >= 2s) {
      v.ready = true;
    } else if (!wished && v.alive && !v.draining) {
      v.draining = true;
      v.ready = false;
      s.since = now;
    } else if (v.draining && now - s.since >= 1s) {
      v.alive = v.draining = false;
    }
  }

  // What a deployment promises, whatever becomes of it.
  void look() {
    int offered = 0;
    int run = 0;
    for (const Slot& s : slots_) {
      offered += s.view.place.run && s.view.ready && s.view.place.offered;
      run += s.view.place.run;
    }
    bool beside = spec_.strategy == DeployStrategy::kBlueGreen;
    EXPECT_GE(offered, beside ? wanted : wanted - spec_.unavailable);
    EXPECT_LE(run, beside ? static_cast<int>(slots_.size()) : wanted + spec_.surge);
    if (beside) {
      EXPECT_TRUE(ready(kOld) == 0 || ready(kNew) == 0) << "edges see one revision";
    }
  }

  DeploySpec spec_;
  std::vector<Slot> slots_;
  bool was_active_ = true;

 public:
  RolloutCore core;
  int wanted;
};

DeploySpec rolling(int surge, int unavailable) {
  DeploySpec spec;
  spec.surge = surge;
  spec.unavailable = unavailable;
  return spec;
}
DeploySpec blue_green() {
  DeploySpec spec;
  spec.strategy = DeployStrategy::kBlueGreen;
  return spec;
}

TEST(Rollout, RollingReplacesAllOfThemWithinItsBounds) {
  for (int surge : {0, 1, 2})
    for (int unavailable : {0, 1, 2}) {
      if (surge + unavailable == 0) continue;
      for (int wanted : {1, 2, 5}) {
        SCOPED_TRACE(fmt::format("surge {} unavailable {} wanted {}", surge, unavailable, wanted));
        World w(rolling(surge, unavailable), wanted, surge);
        w.begin(kNew);
        EXPECT_TRUE(w.run_to(RolloutPhase::kWatching));
        EXPECT_EQ(w.ready(kNew), wanted);
        EXPECT_EQ(w.core.memory().current, kOld) << "it has not proved itself yet";
        EXPECT_TRUE(w.run_to(RolloutPhase::kSettled));
        w.run(5s);
        EXPECT_EQ(w.ready(kNew), wanted);
        EXPECT_EQ(w.running(kOld), 0);
        EXPECT_EQ(w.core.memory().current, kNew);
        EXPECT_EQ(w.core.memory().previous, kOld);
        EXPECT_THAT(w.events, ElementsAre(RolloutEvent::kSucceeded));
      }
    }
}

TEST(Rollout, ARevisionThatDoesNotGetReadyIsRolledBack) {
  for (int surge : {0, 1}) {
    World w(rolling(surge, 1 - surge), 3, surge);
    w.kinds[kNew] = Kind::kHangs;
    w.begin(kNew);
    EXPECT_TRUE(w.run_to(RolloutPhase::kUndoing));
    EXPECT_TRUE(w.run_to(RolloutPhase::kSettled, 30s));
    w.run(5s);
    EXPECT_EQ(w.ready(kOld), 3);
    EXPECT_EQ(w.running(kNew), 0);
    EXPECT_THAT(w.core.memory().reason, HasSubstr("was not ready within 1m"));
    EXPECT_EQ(w.core.memory().failed, kNew);
    EXPECT_EQ(w.core.memory().current, kOld);
    EXPECT_THAT(w.events, ElementsAre(RolloutEvent::kUndoing, RolloutEvent::kUndone));
  }
}

TEST(Rollout, ARevisionThatCrashesIsRolledBackLongBeforeItsTime) {
  World w(rolling(1, 0), 2, 1);
  w.kinds[kNew] = Kind::kCrashes;
  w.begin(kNew);
  EXPECT_TRUE(w.run_to(RolloutPhase::kUndoing, 10s));
  EXPECT_THAT(w.core.memory().reason, HasSubstr("exited by themselves 3 times"));
  EXPECT_TRUE(w.run_to(RolloutPhase::kSettled, 10s));
  EXPECT_EQ(w.ready(kOld), 2);
}

TEST(Rollout, OneThatCrashesWhileItIsWatchedIsRolledBackToo) {
  for (bool beside : {false, true}) {
    World w(beside ? blue_green() : rolling(1, 0), 2, beside ? 2 : 1);
    w.begin(kNew);
    ASSERT_TRUE(w.run_to(RolloutPhase::kWatching));
    w.watch_promises = false;  // what crashes is gone, whoever deploys
    w.kinds[kNew] = Kind::kCrashes;
    EXPECT_TRUE(w.run_to(RolloutPhase::kUndoing, 10s));
    EXPECT_TRUE(w.run_until(beside ? 200ms : 10s, [&] { return w.ready(kOld) == 2; }))
        << "those that still ran are offered at once";
    EXPECT_TRUE(w.run_to(RolloutPhase::kSettled, 10s));
  }
}

TEST(Rollout, TheWatchBeginsAnewWhenOneIsNotReady) {
  World w(rolling(1, 0), 2, 1);
  w.begin(kNew);
  ASSERT_TRUE(w.run_to(RolloutPhase::kWatching));
  w.run(9s);
  w.watch_promises = false;
  w.kinds[kNew] = Kind::kCrashes;
  w.run(300ms);  // once each, which is not yet too often
  w.kinds[kNew] = Kind::kGood;
  ASSERT_TRUE(w.run_until(5s, [&] { return w.ready(kNew) == 2; }));
  w.run(9s);
  EXPECT_EQ(w.core.memory().current, kOld);
  w.run(2s);
  EXPECT_EQ(w.core.memory().current, kNew);
}

TEST(Rollout, BlueGreenChangesOverAtOnceAndKeepsTheOldOnesForAWhile) {
  World w(blue_green(), 3, 3);
  w.begin(kNew);
  w.run(1500ms);
  EXPECT_EQ(w.running(kNew), 3);
  EXPECT_EQ(w.ready(kOld), 3);
  ASSERT_TRUE(w.run_to(RolloutPhase::kWatching));
  w.advance();
  EXPECT_EQ(w.ready(kNew), 3);
  EXPECT_EQ(w.ready(kOld, false), 3) << "they run on";
  ASSERT_TRUE(w.run_to(RolloutPhase::kKeeping));
  EXPECT_EQ(w.core.memory().current, kNew);
  w.run(4min);
  EXPECT_EQ(w.running(kOld), 3);
  ASSERT_TRUE(w.run_to(RolloutPhase::kSettled, 2min));
  w.run(3s);
  EXPECT_EQ(w.running(kOld), 0);
  EXPECT_EQ(w.ready(kNew), 3);
  EXPECT_THAT(w.events, ElementsAre(RolloutEvent::kSwitched, RolloutEvent::kSucceeded));
}

TEST(Rollout, BlueGreenThatHangsWasNeverOffered) {
  World w(blue_green(), 2, 2);
  w.kinds[kNew] = Kind::kHangs;
  w.begin(kNew);
  EXPECT_TRUE(w.run_to(RolloutPhase::kUndoing));
  EXPECT_TRUE(w.run_to(RolloutPhase::kSettled, 5s));
  w.run(3s);
  EXPECT_EQ(w.ready(kOld), 2);
  EXPECT_EQ(w.running(kNew), 0);
}

TEST(Rollout, WhatIsKeptComesBackAtOnce) {
  World w(blue_green(), 2, 2);
  w.begin(kNew);
  ASSERT_TRUE(w.run_to(RolloutPhase::kKeeping));
  ASSERT_TRUE(w.core.undo("asked", true).has_value());
  w.advance();
  w.advance();
  EXPECT_EQ(w.ready(kOld), 2);
  EXPECT_EQ(w.ready(kNew), 0);
  EXPECT_TRUE(w.run_to(RolloutPhase::kSettled, 5s));
  EXPECT_EQ(w.core.memory().current, kOld);
  EXPECT_EQ(w.core.memory().failed, kNew);
  EXPECT_EQ(w.core.undo("asked", true).error().code, Code::kConflict) << "nothing is before it";
}

TEST(Rollout, OnceSettledAnUndoDeploysTheOneBefore) {
  World w(rolling(1, 0), 2, 1);
  EXPECT_EQ(w.core.undo("asked", true).error().code, Code::kConflict);
  w.begin(kNew);
  ASSERT_TRUE(w.run_to(RolloutPhase::kSettled));
  ASSERT_TRUE(w.core.undo("asked", true).has_value());
  EXPECT_EQ(w.core.memory().phase, RolloutPhase::kReplacing);
  ASSERT_TRUE(w.run_to(RolloutPhase::kSettled));
  EXPECT_EQ(w.ready(kOld), 2);
  EXPECT_EQ(w.core.memory().current, kOld);
  EXPECT_EQ(w.core.memory().previous, kNew);
}

TEST(Rollout, OnlyOneAtATimeButAFixWhenUndoingHelpsNothing) {
  World w(rolling(1, 0), 2, 1);
  w.kinds[kNew] = Kind::kCrashes;
  w.begin(kNew);
  EXPECT_EQ(w.core.begin(kNewest, true).error().code, Code::kConflict);
  w.watch_promises = false;
  ASSERT_TRUE(w.run_to(RolloutPhase::kUndoing));
  EXPECT_EQ(w.core.undo("asked", true).error().code, Code::kConflict);
  w.kinds[kOld] = Kind::kCrashes;  // it cannot run any more either
  w.run(10s);
  EXPECT_EQ(w.core.memory().phase, RolloutPhase::kUndoing) << "nothing better is known";
  w.begin(kNewest);
  ASSERT_TRUE(w.run_to(RolloutPhase::kSettled));
  EXPECT_EQ(w.ready(kNewest), 2);
}

TEST(Rollout, BrokenOnesGoFirstAndNeedNoSurge) {
  World w(rolling(1, 0), 3, 1);
  w.watch_promises = false;
  w.kinds[kOld] = Kind::kCrashes;
  w.run(3s);
  w.begin(kNew);
  w.run(4s);
  EXPECT_EQ(w.ready(kNew), 3) << "all at once: nothing was left to lose";
}

TEST(Rollout, GoesOnAfterARestart) {
  for (bool beside : {false, true}) {
    World w(beside ? blue_green() : rolling(1, 0), 3, beside ? 3 : 1);
    w.begin(kNew);
    w.run(beside ? 1s : 4s);
    if (!beside) {
      ASSERT_EQ(w.ready(kNew), 1);
    }
    int old = w.placed(kOld);
    ASSERT_GE(old, 2);
    w.restart();
    w.run(1900ms);
    EXPECT_EQ(w.running(kOld), old) << "it begins with what ran";
    w.run(1s);
    w.watch_promises = true;
    ASSERT_TRUE(w.run_until(1min, [&] { return w.core.memory().current == kNew; }));
    EXPECT_EQ(w.ready(kNew), 3);
  }
}

TEST(Rollout, ABadOneIsStillRolledBackAfterARestart) {
  World w(rolling(1, 0), 3, 1);
  w.kinds[kNew] = Kind::kHangs;
  w.begin(kNew);
  w.run(30s);
  w.restart();
  ASSERT_TRUE(w.run_to(RolloutPhase::kUndoing));
  w.restart();
  ASSERT_TRUE(w.run_to(RolloutPhase::kSettled));
  EXPECT_EQ(w.ready(kOld), 3);
  EXPECT_EQ(w.core.memory().failed, kNew);
}

TEST(Rollout, AColdStandbyTakesItAndTriesItWhenItServes) {
  for (Kind kind : {Kind::kGood, Kind::kCrashes}) {
    World w(rolling(1, 0), 2, 1);
    w.active = false;
    w.run(3s);
    ASSERT_EQ(w.running(kOld), 0);
    w.kinds[kNew] = kind;
    w.begin(kNew);
    w.run(10min);
    EXPECT_EQ(w.core.memory().phase, RolloutPhase::kReplacing) << "nothing was tried";
    w.watch_promises = false;
    w.active = true;
    if (kind == Kind::kGood) {
      EXPECT_TRUE(w.run_until(3s, [&] { return w.ready(kNew) == 2; })) << "all at once";
      EXPECT_TRUE(w.run_until(1min, [&] { return w.core.memory().current == kNew; }));
    } else {
      EXPECT_TRUE(w.run_until(1min, [&] { return w.core.memory().failed == kNew; }));
      EXPECT_TRUE(w.run_until(1min, [&] { return w.ready(kOld) == 2; }));
    }
  }
}

TEST(Rollout, AColdStandbyTakesTheNewestOfSeveral) {
  for (const DeploySpec& spec : {rolling(1, 0), blue_green()}) {
    World w(spec, 2, 2);
    w.active = false;
    w.run(3s);
    w.begin(kNew);
    w.run(1s);
    w.begin(kNewest);
    w.run(1s);
    EXPECT_EQ(w.placed(kNewest), 2);
    w.watch_promises = false;
    w.active = true;
    EXPECT_TRUE(w.run_until(1min, [&] { return w.core.memory().current == kNewest; }));
    EXPECT_EQ(w.core.memory().previous, kOld) << "the one between never proved itself";
  }
}

TEST(Rollout, FollowsTheNumberThatIsWantedMeanwhile) {
  for (bool beside : {false, true}) {
    World w(beside ? blue_green() : rolling(1, 0), 4, beside ? 4 : 1);
    w.begin(kNew);
    w.run(3s);
    w.wanted = 2;
    w.run(3s);
    w.watch_promises = false;  // the added ones need their time
    w.wanted = 3;
    w.run(3s);
    w.watch_promises = true;
    ASSERT_TRUE(w.run_until(1min, [&] { return w.core.memory().current == kNew; }));
    EXPECT_EQ(w.ready(kNew), 3);
  }
}

TEST(Rollout, ScalingInKeepsProtectedOnesAndTakesDrainingOnesBack) {
  World w(rolling(0, 1), 3, 0);
  w.watch_promises = false;
  w.protect(2);  // otherwise the youngest goes
  w.wanted = 1;
  w.advance();
  EXPECT_TRUE(w.views()[2].place.run);
  EXPECT_FALSE(w.views()[1].place.run);
  w.run(300ms);
  ASSERT_TRUE(w.views()[1].draining);
  w.wanted = 2;
  w.run(200ms);
  EXPECT_EQ(w.ready(kOld), 2);
  EXPECT_EQ(w.running(kOld), 3) << "one was taken back, the other drains on";
}

TEST(Rollout, PhasesHaveNames) {
  for (RolloutPhase phase :
       {RolloutPhase::kSettled, RolloutPhase::kReplacing, RolloutPhase::kPreparing,
        RolloutPhase::kWatching, RolloutPhase::kKeeping, RolloutPhase::kUndoing})
    EXPECT_EQ(rollout_phase_from_name(name(phase)), phase);
  EXPECT_EQ(rollout_phase_from_name("x"), std::nullopt);
}

}  // namespace
}  // namespace leeward::compute

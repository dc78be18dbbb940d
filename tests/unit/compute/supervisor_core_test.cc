#include "compute/supervisor_core.h"

#include <gtest/gtest.h>

namespace leeward::compute {
namespace {

const BootTime kStart{1000s};

InstanceRule rule(bool has_check) {
  InstanceRule r;
  r.has_check = has_check;
  r.stop_timeout = 5s;
  return r;
}

class Instance : public ::testing::Test {
 protected:
  void start(InstanceCore& core) {
    ASSERT_EQ(core.want(now, true), Action::kStart);
    core.started(now);
  }
  // The process dies; returns how long the core waits before it starts it again.
  Duration die_and_restart(InstanceCore& core) {
    EXPECT_EQ(core.exited(now), Action::kNone);
    EXPECT_EQ(core.state(), InstanceState::kBackoff);
    BootTime due = core.deadline().value();
    EXPECT_EQ(core.tick(due - 1ns), Action::kNone);
    EXPECT_EQ(core.tick(due), Action::kStart);
    Duration waited = due - now;
    now = due;
    core.started(now);
    return waited;
  }

  BootTime now = kStart;
};

TEST_F(Instance, WithoutACheckIsReadyAsSoonAsItRuns) {
  InstanceCore core(rule(false));
  EXPECT_EQ(core.want(now, true), Action::kStart);
  EXPECT_FALSE(core.ready());
  core.started(now);
  EXPECT_TRUE(core.ready());
  EXPECT_FALSE(core.checkable());
  EXPECT_FALSE(core.deadline().has_value());
}

TEST_F(Instance, WithACheckIsReadyWhenTheCheckPasses) {
  InstanceCore core(rule(true));
  start(core);
  core.checked(now, false);
  EXPECT_EQ(core.state(), InstanceState::kStarting);
  core.checked(now, true);
  EXPECT_TRUE(core.ready());
}

TEST_F(Instance, BacksOffExponentiallyUpToABound) {
  InstanceCore core(rule(false));
  start(core);
  for (Duration expected : {250ms, 500ms, 1000ms, 2000ms, 4000ms, 8000ms, 15000ms, 15000ms})
    EXPECT_EQ(die_and_restart(core), expected);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(die_and_restart(core), 15s);
}

TEST_F(Instance, IsForgivenAfterBeingReadyForAWhile) {
  InstanceCore core(rule(false));
  start(core);
  for (int i = 0; i < 5; ++i) die_and_restart(core);
  now += 29s;
  EXPECT_GT(die_and_restart(core), 250ms);
  now += 30s;
  EXPECT_EQ(die_and_restart(core), 250ms);
}

TEST_F(Instance, LeavesTheReadySetBeforeItIsStopped) {
  InstanceRule draining = rule(false);
  draining.drain = 2s;
  InstanceCore core(draining);
  start(core);
  EXPECT_EQ(core.want(now, false), Action::kNone);
  EXPECT_EQ(core.state(), InstanceState::kDraining);
  EXPECT_FALSE(core.ready());
  EXPECT_EQ(core.tick(now + 2s - 1ns), Action::kNone);
  EXPECT_EQ(core.tick(now + 2s), Action::kStop);
  EXPECT_EQ(core.exited(now + 2s), Action::kNone);
  EXPECT_EQ(core.state(), InstanceState::kStopped);
}

TEST_F(Instance, IsReadyAgainWhenItIsWantedWhileItDrains) {
  InstanceRule draining = rule(true);
  draining.drain = 2s;
  InstanceCore core(draining);
  start(core);
  core.checked(now, true);
  EXPECT_EQ(core.want(now, false), Action::kNone);
  EXPECT_EQ(core.want(now + 1s, true), Action::kNone);
  EXPECT_TRUE(core.ready());
  EXPECT_EQ(core.tick(now + 5s), Action::kNone);
}

TEST_F(Instance, DrainsOnlyWhenItIsReadyAndThereIsTime) {
  InstanceRule draining = rule(true);
  draining.drain = 2s;
  InstanceCore core(draining);
  start(core);
  EXPECT_EQ(core.want(now, false), Action::kStop) << "nobody sends it anything yet";
  InstanceCore other(draining);
  start(other);
  other.checked(now, true);
  EXPECT_EQ(other.want(now, false, true), Action::kStop) << "at once";
  InstanceCore third(draining);
  start(third);
  third.checked(now, true);
  EXPECT_EQ(third.want(now, false), Action::kNone);
  EXPECT_EQ(third.want(now, false, true), Action::kStop) << "at once, while it drains";
}

TEST_F(Instance, ThatDiesWhileItDrainsIsNotStartedAgain) {
  InstanceRule draining = rule(false);
  draining.drain = 2s;
  InstanceCore core(draining);
  start(core);
  EXPECT_EQ(core.want(now, false), Action::kNone);
  EXPECT_EQ(core.exited(now + 1s), Action::kNone);
  EXPECT_EQ(core.state(), InstanceState::kStopped);
}

TEST_F(Instance, IsNotReadyOnceItSaysThatItEnds) {
  InstanceCore core(rule(true));
  start(core);
  core.checked(now, true);
  core.leaving(now);
  EXPECT_FALSE(core.ready());
  core.checked(now, true);
  EXPECT_TRUE(core.ready()) << "it changed its mind";
}

TEST_F(Instance, OverloadIsNotDeath) {
  InstanceCore core(rule(true));
  start(core);
  core.checked(now, true);
  for (int i = 0; i < 2; ++i) core.checked(now, false);
  EXPECT_TRUE(core.ready()) << "one or two lost checks change nothing";
  core.checked(now, false);
  EXPECT_EQ(core.state(), InstanceState::kUnready);
  EXPECT_EQ(core.tick(now + 59s), Action::kNone) << "it is left alone for a minute";
  core.checked(now + 59s, true);
  EXPECT_TRUE(core.ready());
  EXPECT_EQ(core.tick(now + 1000s), Action::kNone);
}

TEST_F(Instance, ThatStaysUnreadyIsRestarted) {
  InstanceCore core(rule(true));
  start(core);
  core.checked(now, true);
  for (int i = 0; i < 3; ++i) core.checked(now, false);
  now += 60s;
  EXPECT_EQ(core.tick(now), Action::kStop);
  EXPECT_EQ(core.state(), InstanceState::kStopping);
  EXPECT_EQ(die_and_restart(core), 250ms);
}

TEST_F(Instance, ThatNeverBecomesReadyIsRestarted) {
  InstanceCore core(rule(true));
  start(core);
  for (int i = 0; i < 59; ++i) core.checked(now += 1s, false);
  EXPECT_EQ(core.tick(now), Action::kNone);
  EXPECT_EQ(core.tick(kStart + 60s), Action::kStop);
}

TEST_F(Instance, ThatDoesNotStopIsKilled) {
  InstanceCore core(rule(false));
  start(core);
  EXPECT_EQ(core.want(now, false), Action::kStop);
  EXPECT_EQ(core.tick(now + 6s), Action::kNone);
  EXPECT_EQ(core.tick(now + 7s), Action::kKill);
  EXPECT_EQ(core.tick(now + 9s), Action::kKill) << "again, as long as it lives";
  EXPECT_EQ(core.exited(now + 10s), Action::kNone);
  EXPECT_EQ(core.state(), InstanceState::kStopped);
  EXPECT_FALSE(core.deadline().has_value());
}

TEST_F(Instance, WantedAgainWhileStoppingStartsAtOnceWhenItIsGone) {
  InstanceCore core(rule(false));
  start(core);
  EXPECT_EQ(core.want(now, false), Action::kStop);
  EXPECT_EQ(core.want(now, true), Action::kNone);
  EXPECT_EQ(core.state(), InstanceState::kStopping);
  EXPECT_EQ(core.exited(now), Action::kStart);
}

TEST_F(Instance, UnwantedInBackoffNeverStarts) {
  InstanceCore core(rule(false));
  start(core);
  EXPECT_EQ(core.exited(now), Action::kNone);
  EXPECT_EQ(core.want(now, false), Action::kNone);
  EXPECT_EQ(core.state(), InstanceState::kStopped);
  EXPECT_EQ(core.tick(now + 100s), Action::kNone);
}

TEST_F(Instance, CannotBeStartedBacksOffLikeACrash) {
  InstanceCore core(rule(true));
  EXPECT_EQ(core.want(now, true), Action::kStart);
  EXPECT_EQ(core.exited(now), Action::kNone);
  EXPECT_EQ(core.state(), InstanceState::kBackoff);
}

TEST_F(Instance, IgnoresRepeatedWishesAndLateEvents) {
  InstanceCore core(rule(true));
  start(core);
  EXPECT_EQ(core.want(now, true), Action::kNone);
  EXPECT_EQ(core.want(now, false), Action::kStop);
  EXPECT_EQ(core.want(now, false), Action::kNone);
  core.checked(now, true);
  EXPECT_EQ(core.state(), InstanceState::kStopping);
  EXPECT_EQ(core.exited(now), Action::kNone);
  EXPECT_EQ(core.exited(now), Action::kNone);
  core.started(now);
  EXPECT_EQ(core.state(), InstanceState::kStopped);
}

}  // namespace
}  // namespace leeward::compute

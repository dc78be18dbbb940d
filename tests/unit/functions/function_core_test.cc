// The life of environments and invocations, with a hand-turned clock.
#include "functions/function_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace leeward::functions {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr PoolId kShop{1};
constexpr FamilyId kShopFamily{1};

class FunctionCoreTest : public ::testing::Test {
 protected:
  void SetUp() override { core.set_pool(kShop, rule); }
  // Moves the clock and does what is due.
  Effects pass(Duration d) {
    now += d;
    return core.tick(now);
  }
  Effects invoke(std::uint64_t n, PoolId pool = kShop) {
    return core.invoke(now, pool, InvocationId{n});
  }
  Effects polled(std::uint64_t n) { return core.polled(now, EnvironmentId{n}); }
  bool answered(std::uint64_t environment, std::uint64_t n) {
    return core.answered(now, EnvironmentId{environment}, InvocationId{n});
  }

  BootTime now{1000s};
  PoolRule rule{.family = kShopFamily,
                .timeout = 3s,
                .init_timeout = 10s,
                .freeze_after = 100ms,
                .reap_after = 60s,
                .queue_max = 5,
                .queue_timeout = 20s};
  FunctionCore core{HostRule{.environments_max = 4, .starts_max = 2, .family_max = 3}};
};

Start start(std::uint64_t e, PoolId pool = kShop) { return {EnvironmentId{e}, pool}; }
Fail failure(std::uint64_t n, Failure why) { return {InvocationId{n}, why, {}}; }
Fail failure(std::uint64_t n, Failure why, std::uint64_t e) {
  return {InvocationId{n}, why, EnvironmentId{e}};
}

TEST_F(FunctionCoreTest, StartsFromZeroAndLeavesNothingBehind) {
  EXPECT_EQ(core.environments(), 0u);
  EXPECT_THAT(invoke(1), ElementsAre(start(1)));
  now += 150ms;
  EXPECT_THAT(polled(1), ElementsAre(Deliver{EnvironmentId{1}, InvocationId{1}, now + 3s}));
  EXPECT_TRUE(answered(1, 1));
  EXPECT_THAT(polled(1), IsEmpty());
  EXPECT_EQ(core.deadline(), now + 100ms);
  EXPECT_THAT(pass(100ms), ElementsAre(Freeze{EnvironmentId{1}}));
  EXPECT_THAT(pass(59899ms), IsEmpty());
  EXPECT_THAT(pass(1ms), ElementsAre(Stop{EnvironmentId{1}, StopReason::kIdle}));
  EXPECT_THAT(core.exited(now, EnvironmentId{1}), IsEmpty());
  EXPECT_EQ(core.environments(), 0u);
  EXPECT_EQ(core.deadline(), std::nullopt);
}

TEST_F(FunctionCoreTest, ThawsTheOneUsedLast) {
  static_cast<void>(invoke(1));
  static_cast<void>(invoke(2));
  static_cast<void>(polled(1));
  static_cast<void>(polled(2));
  EXPECT_TRUE(answered(2, 2));
  static_cast<void>(polled(2));
  now += 1ms;
  EXPECT_TRUE(answered(1, 1));
  static_cast<void>(polled(1));
  static_cast<void>(pass(1s));
  EXPECT_THAT(invoke(3), ElementsAre(Thaw{EnvironmentId{1}},
                                     Deliver{EnvironmentId{1}, InvocationId{3}, now + 3s}));
}

TEST_F(FunctionCoreTest, StartsNoMoreAtOnceThanTheHostBears) {
  EXPECT_THAT(invoke(1), ElementsAre(start(1)));
  EXPECT_THAT(invoke(2), ElementsAre(start(2)));
  EXPECT_THAT(invoke(3), IsEmpty());  // starts_max
  // Two wait and one start is under way, so another begins.
  EXPECT_THAT(polled(1),
              ElementsAre(Deliver{EnvironmentId{1}, InvocationId{1}, now + 3s}, start(3)));
  EXPECT_EQ(core.counts(kShop), (PoolCounts{.starting = 2, .busy = 1, .queued = 2}));
  EXPECT_THAT(polled(2), ElementsAre(Deliver{EnvironmentId{2}, InvocationId{2}, now + 3s}));
  EXPECT_THAT(polled(3), ElementsAre(Deliver{EnvironmentId{3}, InvocationId{3}, now + 3s}));
  EXPECT_THAT(invoke(5), IsEmpty());  // family_max
  EXPECT_EQ(core.counts(kShop).busy, 3u);
}

TEST_F(FunctionCoreTest, AQueueHasAnEndAndAPatience) {
  for (std::uint64_t n = 1; n <= 5; ++n) static_cast<void>(invoke(n));
  EXPECT_THAT(invoke(6), ElementsAre(failure(6, Failure::kThrottled)));
  core.set_pool(kShop, [&] {
    rule.init_timeout = 60s;
    return rule;
  }());
  EXPECT_THAT(pass(20s),
              ElementsAre(failure(1, Failure::kThrottled), failure(2, Failure::kThrottled),
                          failure(3, Failure::kThrottled), failure(4, Failure::kThrottled),
                          failure(5, Failure::kThrottled)));
}

TEST_F(FunctionCoreTest, AFamilyWithoutAnyConcurrencyIsSwitchedOff) {
  static_cast<void>(invoke(1));
  EXPECT_THAT(core.limit_family(now, kShopFamily, 0), ElementsAre(failure(1, Failure::kThrottled)));
  EXPECT_THAT(invoke(2), ElementsAre(failure(2, Failure::kThrottled)));
  EXPECT_THAT(polled(1), ElementsAre(Stop{EnvironmentId{1}, StopReason::kEvicted}));
  EXPECT_THAT(core.exited(now, EnvironmentId{1}), IsEmpty());
  EXPECT_THAT(core.limit_family(now, kShopFamily, std::nullopt), IsEmpty());
  EXPECT_THAT(invoke(3), ElementsAre(start(2)));
}

TEST_F(FunctionCoreTest, ATimeOutFailsTheInvocationAndEndsTheEnvironment) {
  static_cast<void>(invoke(1));
  static_cast<void>(polled(1));
  EXPECT_THAT(pass(2999ms), IsEmpty());
  EXPECT_THAT(pass(1ms), ElementsAre(failure(1, Failure::kTimedOut, 1),
                                     Stop{EnvironmentId{1}, StopReason::kTimedOut}));
  EXPECT_FALSE(answered(1, 1));  // too late
  EXPECT_THAT(core.exited(now, EnvironmentId{1}), IsEmpty());
  EXPECT_THAT(invoke(2), ElementsAre(start(2)));
}

TEST_F(FunctionCoreTest, WorkAfterTheAnswerHasTheSameDeadline) {
  static_cast<void>(invoke(1));
  static_cast<void>(polled(1));
  EXPECT_TRUE(answered(1, 1));
  EXPECT_THAT(pass(3s), ElementsAre(Stop{EnvironmentId{1}, StopReason::kTimedOut}));
}

TEST_F(FunctionCoreTest, OneThatHasJustAnsweredIsWaitedForAMoment) {
  static_cast<void>(invoke(1));
  static_cast<void>(polled(1));
  EXPECT_TRUE(answered(1, 1));
  EXPECT_THAT(invoke(2), IsEmpty());  // it will poll at once
  now += 1ms;
  EXPECT_THAT(polled(1), ElementsAre(Deliver{EnvironmentId{1}, InvocationId{2}, now + 3s}));
  EXPECT_TRUE(answered(1, 2));
  EXPECT_THAT(invoke(3), IsEmpty());
  EXPECT_EQ(core.deadline(), now + 10ms);
  EXPECT_THAT(pass(10ms), ElementsAre(start(2)));  // it does something else
  EXPECT_GT(*core.deadline(), now + 1s);
}

TEST_F(FunctionCoreTest, AFailedInitCostsTheOldestInvocationOnly) {
  static_cast<void>(invoke(1));
  static_cast<void>(invoke(2));
  EXPECT_THAT(core.init_failed(now, EnvironmentId{1}, Failure::kInitFailed),
              ElementsAre(failure(1, Failure::kInitFailed, 1),
                          Stop{EnvironmentId{1}, StopReason::kInitFailed}));
  EXPECT_THAT(polled(2), ElementsAre(Deliver{EnvironmentId{2}, InvocationId{2}, now + 3s}));
  EXPECT_THAT(core.exited(now, EnvironmentId{1}), IsEmpty());
}

TEST_F(FunctionCoreTest, AnInitThatNeverEndsIsEnded) {
  static_cast<void>(invoke(1));
  EXPECT_THAT(pass(10s), ElementsAre(failure(1, Failure::kInitTimedOut, 1),
                                     Stop{EnvironmentId{1}, StopReason::kInitFailed}));
}

TEST_F(FunctionCoreTest, AnEndWithoutAnAnswerFailsTheInvocation) {
  static_cast<void>(invoke(1));
  static_cast<void>(polled(1));
  EXPECT_THAT(core.exited(now, EnvironmentId{1}), ElementsAre(failure(1, Failure::kExited, 1)));
  static_cast<void>(invoke(2));
  EXPECT_THAT(core.exited(now, EnvironmentId{2}), ElementsAre(failure(2, Failure::kInitFailed, 2)));
  EXPECT_EQ(core.environments(), 0u);
}

TEST_F(FunctionCoreTest, TheLongestIdleGivesWayToAnotherFunction) {
  const PoolId other{2};
  core.set_pool(other, PoolRule{.family = FamilyId{2}});
  for (std::uint64_t n = 1; n <= 3; ++n) {
    static_cast<void>(invoke(n));
    static_cast<void>(polled(n));
  }
  static_cast<void>(invoke(4, other));
  static_cast<void>(polled(4));  // the host is full
  now += 1ms;
  EXPECT_TRUE(answered(2, 2));
  static_cast<void>(polled(2));
  now += 1ms;
  EXPECT_TRUE(answered(1, 1));
  static_cast<void>(polled(1));
  EXPECT_THAT(invoke(5, other), ElementsAre(Stop{EnvironmentId{2}, StopReason::kEvicted}));
  // Its memory is not free before it is gone, and a second one need not go for the same start.
  EXPECT_THAT(pass(1ms), IsEmpty());
  EXPECT_THAT(core.exited(now, EnvironmentId{2}), ElementsAre(start(5, other)));
}

TEST_F(FunctionCoreTest, VersionsOfAFunctionShareItsConcurrency) {
  const PoolId second{2};
  core.set_pool(second, PoolRule{.family = kShopFamily});
  static_cast<void>(core.limit_family(now, kShopFamily, 1));
  static_cast<void>(invoke(1));
  static_cast<void>(polled(1));
  EXPECT_THAT(invoke(2, second), IsEmpty());
  EXPECT_TRUE(answered(1, 1));
  EXPECT_THAT(polled(1),
              ElementsAre(Stop{EnvironmentId{1}, StopReason::kEvicted}, start(2, second)));
}

TEST_F(FunctionCoreTest, ARetiredPoolFinishesWhatRuns) {
  for (std::uint64_t n = 1; n <= 4; ++n) static_cast<void>(invoke(n));
  static_cast<void>(polled(1));  // busy with 1; 2 starts, 3 starts; 2, 3, 4 wait
  auto effects = core.retire(now, kShop);
  EXPECT_THAT(effects,
              ::testing::UnorderedElementsAre(
                  failure(2, Failure::kRetired), failure(3, Failure::kRetired),
                  failure(4, Failure::kRetired), Stop{EnvironmentId{2}, StopReason::kRetired},
                  Stop{EnvironmentId{3}, StopReason::kRetired}));
  EXPECT_TRUE(answered(1, 1));
  EXPECT_THAT(polled(1), ElementsAre(Stop{EnvironmentId{1}, StopReason::kRetired}));
  for (std::uint64_t e = 1; e <= 3; ++e) EXPECT_THAT(core.exited(now, EnvironmentId{e}), IsEmpty());
  EXPECT_EQ(core.environments(), 0u);
}

TEST_F(FunctionCoreTest, OneThatLeftTheQueueIsNotDelivered) {
  static_cast<void>(invoke(1));
  core.forget(InvocationId{1});
  EXPECT_THAT(polled(1), IsEmpty());
  EXPECT_EQ(core.counts(kShop).idle, 1u);
}

class PreparedTest : public FunctionCoreTest {
 protected:
  void SetUp() override {
    rule.prepared = 1;
    rule.prepared_for = 600s;
    rule.prepare_after = 1s;
    core.set_pool(kShop, rule);
  }
  // One invocation from a cold start to its end; the environment is idle then.
  void serve_once() {
    ASSERT_THAT(invoke(1), ElementsAre(start(1)));
    ASSERT_THAT(pass(2s), IsEmpty());  // nothing is prepared for a function that never worked
    static_cast<void>(polled(1));
    ASSERT_TRUE(answered(1, 1));
    static_cast<void>(polled(1));
  }
  static Start preparing(std::uint64_t e) { return {EnvironmentId{e}, kShop, true}; }
};

TEST_F(PreparedTest, OneIsMadeWhenItIsQuietAndIsTakenWhenNoUsedOneIsFree) {
  serve_once();
  EXPECT_EQ(core.counts(kShop).prepared, 0u);
  EXPECT_THAT(pass(999ms), ElementsAre(Freeze{EnvironmentId{1}}));
  EXPECT_THAT(pass(1ms), ElementsAre(preparing(2)));
  EXPECT_THAT(polled(2), IsEmpty());
  EXPECT_EQ(core.counts(kShop), (PoolCounts{.frozen = 1, .prepared = 1}));
  EXPECT_THAT(pass(1s), ElementsAre(Freeze{EnvironmentId{2}}));
  // The used one first, then the prepared one; a third has to be started.
  EXPECT_THAT(invoke(2), ElementsAre(Thaw{EnvironmentId{1}},
                                     Deliver{EnvironmentId{1}, InvocationId{2}, now + 3s}));
  EXPECT_THAT(invoke(3), ElementsAre(Thaw{EnvironmentId{2}},
                                     Deliver{EnvironmentId{2}, InvocationId{3}, now + 3s, true}));
  EXPECT_THAT(invoke(4), ElementsAre(start(3)));
  // The next one is prepared when it is quiet again, if there is room: the family has three.
  static_cast<void>(polled(3));
  EXPECT_TRUE(answered(3, 4));
  static_cast<void>(polled(3));
  for (const Effect& effect : pass(1s)) EXPECT_FALSE(std::holds_alternative<Start>(effect));
}

TEST_F(PreparedTest, OneOutlivesTheUsedOnesAndThenGoesToo) {
  serve_once();
  static_cast<void>(pass(1s));
  static_cast<void>(polled(2));
  static_cast<void>(pass(1s));
  EXPECT_THAT(pass(58s), ElementsAre(Stop{EnvironmentId{1}, StopReason::kIdle}));
  EXPECT_THAT(core.exited(now, EnvironmentId{1}), IsEmpty());
  EXPECT_EQ(core.counts(kShop).live(), 0u);
  EXPECT_THAT(pass(537s), IsEmpty());
  EXPECT_THAT(pass(1s), ElementsAre(Stop{EnvironmentId{2}, StopReason::kIdle}));
  EXPECT_THAT(core.exited(now, EnvironmentId{2}), IsEmpty());
  EXPECT_EQ(core.environments(), 0u);
  EXPECT_EQ(core.deadline(), std::nullopt);
}

TEST_F(PreparedTest, OneThatFailsIsNotTriedAgainUntilTheFunctionHasServed) {
  serve_once();
  EXPECT_THAT(pass(1s), ElementsAre(Freeze{EnvironmentId{1}}, preparing(2)));
  EXPECT_THAT(core.init_failed(now, EnvironmentId{2}, Failure::kInitFailed),
              ElementsAre(Stop{EnvironmentId{2}, StopReason::kInitFailed}));
  EXPECT_THAT(core.exited(now, EnvironmentId{2}), IsEmpty());
  EXPECT_THAT(pass(30s), IsEmpty());
  static_cast<void>(invoke(2));
  EXPECT_TRUE(answered(1, 2));
  static_cast<void>(polled(1));
  EXPECT_THAT(pass(1s), ElementsAre(Freeze{EnvironmentId{1}}, preparing(3)));
}

TEST_F(PreparedTest, OneGivesWayBeforeWhatIsUsed) {
  serve_once();
  static_cast<void>(pass(1s));
  static_cast<void>(polled(2));
  const PoolId other{2};
  core.set_pool(other, PoolRule{.family = kShopFamily});
  core.set_pool(PoolId{3}, PoolRule{.family = kShopFamily});
  EXPECT_THAT(invoke(2, other), ElementsAre(start(3, other)));  // the family has three now
  EXPECT_THAT(invoke(3, PoolId{3}),
              ElementsAre(Stop{EnvironmentId{2}, StopReason::kEvicted}, start(4, PoolId{3})));
}

// Random events in any order: every invocation ends exactly once, bounds hold, and at rest nothing
// is left.
TEST(FunctionCoreSoak, EveryInvocationEndsOnceAndNoBoundIsBroken) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    FunctionCore core(HostRule{.environments_max = 5, .starts_max = 2, .family_max = 3});
    for (std::uint64_t p = 1; p <= 3; ++p)
      core.set_pool(PoolId{p}, PoolRule{.family = FamilyId{p % 2},
                                        .timeout = 2s,
                                        .queue_max = 8,
                                        .queue_timeout = 5s,
                                        .prepared = p % 3,
                                        .prepared_for = 60s});
    BootTime now{1s};
    std::set<InvocationId> open;
    std::map<EnvironmentId, InvocationId> running;
    std::set<EnvironmentId> live, polling;
    std::uint64_t last = 0;
    auto apply = [&](const Effects& effects) {
      for (const Effect& effect : effects) {
        if (auto* s = std::get_if<Start>(&effect)) {
          ASSERT_TRUE(live.insert(s->environment).second);
        }
        if (auto* f = std::get_if<Fail>(&effect)) {
          ASSERT_EQ(open.erase(f->invocation), 1u);
          if (f->environment) running.erase(*f->environment);
        }
        if (auto* d = std::get_if<Deliver>(&effect)) {
          ASSERT_TRUE(polling.erase(d->environment)) << "delivered to one that did not ask";
          ASSERT_TRUE(running.emplace(d->environment, d->invocation).second);
        }
        if (auto* s = std::get_if<Stop>(&effect)) polling.erase(s->environment);
        ASSERT_LE(live.size(), 5u);
      }
    };
    auto one_of = [&](const std::set<EnvironmentId>& set) {
      return *std::next(set.begin(), static_cast<long>(pick(set.size())));
    };
    for (int step = 0; step < 600; ++step) {
      now += std::chrono::milliseconds(pick(200));
      const std::size_t what = pick(10);
      if (what < 4 && step < 400) {
        const InvocationId n{++last};
        open.insert(n);
        apply(core.invoke(now, PoolId{1 + pick(3)}, n));
      } else if (what < 7 && !live.empty()) {
        const EnvironmentId e = one_of(live);
        if (auto r = running.find(e); r != running.end()) {
          if (core.answered(now, e, r->second)) {
            ASSERT_EQ(open.erase(r->second), 1u);
            running.erase(r);
          }
        }
        if (!running.contains(e) && core.state(e) != EnvironmentState::kStopping) {
          polling.insert(e);
          apply(core.polled(now, e));
        }
      } else if (what < 8 && !live.empty()) {
        const EnvironmentId e = one_of(live);
        if (core.state(e) == EnvironmentState::kStopping || pick(8) == 0) {
          live.erase(e);
          polling.erase(e);
          apply(core.exited(now, e));
          running.erase(e);
        }
      }
      apply(core.tick(now));
      if (HasFatalFailure()) return;
    }
    // At rest: environments that stop end, everything else takes its time.
    for (int round = 0; round < 200 && core.environments() > 0; ++round) {
      for (EnvironmentId e : std::set<EnvironmentId>(live))
        if (core.state(e) == EnvironmentState::kStopping) {
          live.erase(e);
          apply(core.exited(now, e));
        }
      now += 10s;
      apply(core.tick(now));
    }
    EXPECT_EQ(core.environments(), 0u);
    EXPECT_THAT(open, IsEmpty());
  }
}

}  // namespace
}  // namespace leeward::functions

#include "edge/origin_core.h"

#include <gtest/gtest.h>

#include <map>

namespace leeward::edge {
namespace {

BootTime at(Duration d) { return BootTime(1h + d); }

OriginCore two_sites(OriginPolicy policy = {}) {
  OriginCore core(policy, {1, 1});
  core.set_rank(1, 1);
  return core;
}

std::size_t picked(OriginCore& core, Duration when, bool expendable = true) {
  return core.pick(at(when), 0, 1, 0, expendable)->origin;
}

void start(OriginCore& core, BootTime now, std::size_t origin) {
  core.started(now, origin);
  core.asked(now, origin);
}

void fail_one(OriginCore& core, Duration when, std::size_t origin) {
  start(core, at(when), origin);
  core.failed(at(when), origin, true, true);
  core.ended(origin);
}

void answer_one(OriginCore& core, Duration when, std::size_t origin, Duration took = 1ms) {
  start(core, at(when), origin);
  core.heard(at(when + took), origin, took, false);
  core.ended(origin);
}

TEST(OriginCore, TheActiveSiteComesFirst) {
  OriginCore core = two_sites();
  EXPECT_EQ(picked(core, 0s), 0u);
  core.on_check(at(0s), 0, false, false);
  EXPECT_EQ(picked(core, 0s), 1u);
  core.on_check(at(1s), 0, true, true);
  EXPECT_EQ(picked(core, 1s), 0u);
}

// Clients that send slowly say nothing about the origin.
TEST(OriginCore, SilenceCountsFromTheEndOfTheRequest) {
  OriginCore core = two_sites();
  for (int i = 0; i < 20; ++i) core.started(at(0s), 0);
  EXPECT_EQ(picked(core, 60s), 0u);
  core.heard(at(60s), 0, std::nullopt, false);  // one is answered before its end, 413 perhaps
  for (int i = 0; i < 19; ++i) core.asked(at(60s), 0);
  EXPECT_EQ(picked(core, 60s), 0u);
  EXPECT_EQ(picked(core, 65s), 1u);
  for (int i = 0; i < 19; ++i) core.failed(at(65s), 0, true, false);
  for (int i = 0; i < 20; ++i) core.ended(0);
  EXPECT_EQ(core.under_way(0), 0u);
}

// Also where requests are so short that the others never have one under way.
TEST(OriginCore, WhatComesBackGetsAShareThatGrows) {
  for (Balancing balancing : {Balancing::kTwoChoices, Balancing::kLeastRequests,
                              Balancing::kRoundRobin, Balancing::kHash}) {
    OriginPolicy policy;
    policy.balancing = balancing;
    policy.slow_start = 2s;
    OriginCore core(policy, {1, 1});
    core.on_check(at(0s), 1, false, false);
    core.on_check(at(1s), 1, true, true);
    auto share_at = [&](Duration when) {
      int got = 0;
      for (std::uint64_t i = 0; i < 2000; ++i)
        got += core.pick(at(when), 0, i, i * 0x9e3779b97f4a7c15, true)->origin == 1;
      return got / 2000.0;
    };
    const double cold = share_at(1s), half = share_at(2s), whole = share_at(3s);
    EXPECT_GT(cold, 0.02) << static_cast<int>(balancing);
    EXPECT_LT(cold, 0.12) << static_cast<int>(balancing);
    EXPECT_GT(half, 0.2) << static_cast<int>(balancing);
    EXPECT_LT(half, 0.4) << static_cast<int>(balancing);
    EXPECT_NEAR(whole, 0.5, 0.05) << static_cast<int>(balancing);
  }
}

TEST(OriginCore, FailuresInARowEject) {
  OriginCore core = two_sites();
  fail_one(core, 0s, 0);
  fail_one(core, 0s, 0);
  answer_one(core, 0s, 0);
  fail_one(core, 1ms, 0);
  fail_one(core, 1ms, 0);
  EXPECT_EQ(picked(core, 1ms), 0u);
  fail_one(core, 1ms, 0);
  EXPECT_EQ(picked(core, 2ms), 1u);
}

TEST(OriginCore, AfterAnEjectionOneRequestAtATimeThatCanBeLost) {
  OriginCore core = two_sites();
  for (int i = 0; i < 3; ++i) fail_one(core, 0s, 0);
  EXPECT_EQ(picked(core, 1100ms, false), 1u);
  EXPECT_EQ(picked(core, 1100ms), 0u);
  start(core, at(1100ms), 0);
  EXPECT_EQ(picked(core, 1100ms), 1u);
  core.heard(at(1101ms), 0, 1ms, false);
  core.ended(0);
  EXPECT_EQ(picked(core, 1102ms, false), 0u);
}

TEST(OriginCore, APassedCheckEndsAnEjectionUnlessItMayBeOlder) {
  OriginCore core = two_sites();
  for (int i = 0; i < 3; ++i) fail_one(core, 0s, 0);
  core.on_check(at(100ms), 0, true, true);
  EXPECT_EQ(picked(core, 101ms), 1u);
  core.on_check(at(400ms), 0, true, true);
  EXPECT_EQ(picked(core, 401ms), 0u);
}

TEST(OriginCore, SilenceOfManyRequestsEjects) {
  OriginCore core = two_sites();
  for (int i = 0; i < 4; ++i) start(core, at(0s), 0);
  EXPECT_EQ(picked(core, 1s), 0u);  // four may be slow
  start(core, at(1s), 0);
  EXPECT_EQ(picked(core, 1s), 1u);
}

TEST(OriginCore, ASlowOriginThatStillAnswersIsNotSilent) {
  OriginCore core = two_sites();
  for (int i = 0; i < 20; ++i) start(core, at(0s), 0);
  for (int i = 1; i <= 10; ++i) {
    core.heard(at(i * 100ms), 0, i * 100ms, false);
    EXPECT_EQ(picked(core, i * 100ms + 50ms), 0u);
  }
}

TEST(OriginCore, LostHedgesCountOnlyAgainstASilentOrigin) {
  OriginCore core = two_sites();
  auto lose = [&](Duration when) {
    start(core, at(when), 0);
    core.lost(at(when + 20ms), 0, at(when));
    core.ended(0);
  };
  lose(0s);
  start(core, at(100ms), 0);
  start(core, at(101ms), 0);
  core.heard(at(105ms), 0, 5ms, false);  // heard from while the other one waits
  core.lost(at(120ms), 0, at(100ms));
  lose(200ms);
  lose(300ms);
  EXPECT_EQ(picked(core, 400ms), 0u);
  lose(400ms);
  EXPECT_EQ(picked(core, 500ms), 1u);
}

TEST(OriginCore, WhenNoneIsAvailableTheLeastBadIsTried) {
  OriginCore core = two_sites();
  core.on_check(at(0s), 0, false, false);
  for (int i = 0; i < 3; ++i) fail_one(core, 0s, 1);
  auto choice = core.pick(at(1ms), 0, 1, 0);
  ASSERT_TRUE(choice);
  EXPECT_FALSE(choice->available);
  EXPECT_EQ(choice->origin, 1u);
  EXPECT_FALSE(core.pick(at(1ms), 3, 1, 0));  // both were tried
}

TEST(OriginCore, BudgetsBoundRetriesAndHedges) {
  OriginCore core = two_sites();
  int retries = 0, hedges = 0;
  for (int i = 0; i < 10'000; ++i) {
    core.request();
    retries += core.take_retry();
    hedges += core.take_hedge();
  }
  EXPECT_NEAR(retries, 2100, 5);
  EXPECT_NEAR(hedges, 1200, 5);
}

TEST(OriginCore, WeightsHold) {
  for (Balancing balancing : {Balancing::kRoundRobin, Balancing::kHash}) {
    OriginPolicy policy;
    policy.balancing = balancing;
    OriginCore core(policy, {1, 3});
    std::map<std::size_t, int> count;
    for (std::uint64_t i = 0; i < 8000; ++i) ++count[core.pick(at(0s), 0, i, i * 7919)->origin];
    EXPECT_NEAR(count[0], 2000, 150) << static_cast<int>(balancing);
  }
}

TEST(OriginCore, HashingMovesOnlyTheKeysOfTheLostOrigin) {
  OriginPolicy policy;
  policy.balancing = Balancing::kHash;
  OriginCore core(policy, {1, 1, 1, 1});
  std::map<std::uint64_t, std::size_t> before;
  for (std::uint64_t key = 0; key < 2000; ++key) before[key] = core.pick(at(0s), 0, 0, key)->origin;
  core.on_check(at(0s), 2, false, false);
  for (std::uint64_t key = 0; key < 2000; ++key) {
    const std::size_t now = core.pick(at(0s), 0, 0, key)->origin;
    if (before[key] != 2) {
      EXPECT_EQ(now, before[key]);
    }
    EXPECT_NE(now, 2u);
  }
}

TEST(OriginCore, TwoChoicesAvoidTheLoadedOne) {
  OriginCore core(OriginPolicy{}, {1, 1});
  for (int i = 0; i < 4; ++i) {
    start(core, at(0s), 0);
    core.heard(at(0s), 0, 1ms, false);
  }
  for (std::uint64_t i = 0; i < 100; ++i) EXPECT_EQ(core.pick(at(0s), 0, i, 0)->origin, 1u);
}

TEST(LatencyCore, TellsTheQuantileWithinAStep) {
  LatencyCore latency;
  EXPECT_FALSE(latency.quantile(0.99));
  for (int i = 0; i < 980; ++i) latency.observe(2ms);
  for (int i = 0; i < 20; ++i) latency.observe(100ms);
  EXPECT_GE(*latency.quantile(0.5), 2ms);
  EXPECT_LE(*latency.quantile(0.5), 2500us);
  EXPECT_GE(*latency.quantile(0.99), 100ms);
  EXPECT_LE(*latency.quantile(0.99), 125ms);
}

}  // namespace
}  // namespace leeward::edge

#include "health/health_core.h"

#include <gtest/gtest.h>

namespace leeward::health {
namespace {

constexpr SiteId kWitness{2};
constexpr SiteId kSite{0};
const BootTime kStart{100s};

ProbePolicy policy() {
  ProbePolicy p;
  p.interval = 1s;
  p.timeout = 800ms;
  p.fall = 3;
  p.rise = 2;
  return p;
}

// A target as seen from the network: it answers, refuses or hangs from some moment on.
enum class Behaviour { kAnswers, kRefuses, kHangs };

// Probes one target as the Prober does (one in flight) and tells when the core's opinion changed.
class Probing {
 public:
  Probing() : core(kWitness, policy()) {}

  void probe(Behaviour behaviour, Duration answer_time) {
    bool hangs = behaviour == Behaviour::kHangs;
    bool ok = behaviour == Behaviour::kAnswers && answer_time <= timeout;
    Duration took = hangs || answer_time > timeout ? timeout : answer_time;
    BootTime end = next_start + took;
    core.observe(end, kSite, ok, took, ok ? "" : "no answer");
    ProbeSchedule next = core.next_probe(kSite);
    next_start = std::max(next_start + next.gap, end);
    timeout = next.timeout;
    now = end;
  }

  // Time from `since` until the core says kDown; fails the test after 20 probes.
  Duration time_to_down(BootTime since, Behaviour behaviour, Duration answer_time = 1ms) {
    for (int i = 0; i < 20; ++i) {
      probe(behaviour, answer_time);
      if (core.state(now, kSite) == Health::kDown) return now - since;
    }
    ADD_FAILURE() << "never seen as down";
    return kNever;
  }

  HealthCore core;
  BootTime now = kStart;
  BootTime next_start = kStart;
  Duration timeout = 800ms;
};

TEST(HealthCore, IsUnknownUntilEnoughProbesAgree) {
  HealthCore core(kWitness, policy());
  EXPECT_EQ(core.state(kStart, kSite), Health::kUnknown);
  core.observe(kStart, kSite, true, 5ms, "");
  EXPECT_EQ(core.state(kStart, kSite), Health::kUnknown);
  core.observe(kStart + 1s, kSite, true, 5ms, "");
  EXPECT_EQ(core.state(kStart + 1s, kSite), Health::kUp);
}

TEST(HealthCore, GoesFromUnknownToDownAfterFallFailures) {
  HealthCore core(kWitness, policy());
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(core.state(kStart + i * 1s, kSite), Health::kUnknown);
    core.observe(kStart + i * 1s, kSite, false, 1ms, "connection refused");
  }
  EXPECT_EQ(core.state(kStart + 3s, kSite), Health::kDown);
  EXPECT_EQ(core.failures(kStart + 3s, kSite), 3);
}

TEST(HealthCore, OneLostProbeFlipsNothing) {
  HealthCore core(kWitness, policy());
  BootTime now = kStart;
  for (int i = 0; i < 2; ++i) core.observe(now += 1s, kSite, true, 5ms, "");
  for (int round = 0; round < 10; ++round) {
    core.observe(now += 1s, kSite, false, 800ms, "timed out");
    core.observe(now += 1s, kSite, false, 800ms, "timed out");
    EXPECT_EQ(core.state(now, kSite), Health::kUp);
    core.observe(now += 1s, kSite, true, 5ms, "");
    EXPECT_EQ(core.failures(now, kSite), 0);
  }
  for (int i = 0; i < 3; ++i) core.observe(now += 1s, kSite, false, 1ms, "refused");
  for (int round = 0; round < 10; ++round) {
    core.observe(now += 1s, kSite, true, 5ms, "");
    EXPECT_EQ(core.state(now, kSite), Health::kDown);
    core.observe(now += 1s, kSite, false, 1ms, "refused");
  }
}

TEST(HealthCore, SilenceIsUnknownAndCountingStartsAnew) {
  HealthCore core(kWitness, policy());
  BootTime now = kStart;
  for (int i = 0; i < 3; ++i) core.observe(now += 1s, kSite, false, 1ms, "refused");
  EXPECT_EQ(core.state(now + 3s, kSite), Health::kDown);
  EXPECT_EQ(core.state(now + 3001ms, kSite), Health::kUnknown);
  EXPECT_EQ(core.failures(now + 3001ms, kSite), 0);
  EXPECT_TRUE(core.report(now + 3001ms).detail.empty());
  now += 10s;
  core.observe(now, kSite, false, 1ms, "refused");
  EXPECT_EQ(core.state(now, kSite), Health::kUnknown);
  EXPECT_EQ(core.failures(now, kSite), 1);
}

TEST(HealthCore, SeesARefusingTargetWithinTwoSeconds) {
  Probing p;
  for (int i = 0; i < 5; ++i) p.probe(Behaviour::kAnswers, 5ms);
  EXPECT_LE(p.time_to_down(p.now, Behaviour::kRefuses), 2010ms);
}

TEST(HealthCore, SeesAHangingTargetWithinThreeSeconds) {
  Probing p;
  for (int i = 0; i < 5; ++i) p.probe(Behaviour::kAnswers, 5ms);
  EXPECT_LE(p.time_to_down(p.now, Behaviour::kHangs), 2810ms);
}

TEST(HealthCore, AHealthyTargetIsProbedOnceAnInterval) {
  Probing p;
  for (int i = 0; i < 5; ++i) p.probe(Behaviour::kAnswers, 5ms);
  BootTime before = p.next_start;
  for (int i = 0; i < 10; ++i) p.probe(Behaviour::kAnswers, 5ms);
  EXPECT_EQ(p.next_start - before, 10s);
  p.time_to_down(p.now, Behaviour::kRefuses);
  before = p.next_start;
  for (int i = 0; i < 10; ++i) p.probe(Behaviour::kRefuses, 1ms);
  EXPECT_EQ(p.next_start - before, 5s) << "what is down is looked at twice as often";
}

TEST(HealthCore, ASlowTargetKeepsTheWholeTimeoutForItsReprobes) {
  Probing p;
  for (int i = 0; i < 5; ++i) p.probe(Behaviour::kAnswers, 700ms);
  for (int i = 0; i < 10; ++i) {
    p.probe(Behaviour::kAnswers, 900ms);  // one too slow …
    p.probe(Behaviour::kAnswers, 700ms);  // … and the next as slow as ever
    EXPECT_EQ(p.core.state(p.now, kSite), Health::kUp);
  }
  EXPECT_LE(p.time_to_down(p.now, Behaviour::kHangs), 3400ms);
}

TEST(HealthCore, ReportsEverySiteAndTheErrorsOfFailingOnes) {
  HealthCore core(kWitness, policy());
  core.observe(kStart, SiteId{0}, false, 1ms, "connect to 10.0.0.1:80: connection refused");
  core.observe(kStart, SiteId{1}, true, 1ms, "");
  core.observe(kStart + 1s, SiteId{1}, true, 1ms, "");
  VantageReport report = core.report(kStart + 1s);
  EXPECT_EQ(report.vantage, kWitness);
  EXPECT_EQ(report.health[0], Health::kUnknown);
  EXPECT_EQ(report.health[1], Health::kUp);
  EXPECT_EQ(report.health[5], Health::kUnknown);
  EXPECT_EQ(report.failures[0], 1);
  EXPECT_EQ(report.detail, "connect to 10.0.0.1:80: connection refused");
}

TEST(HealthCore, FailureCountSaturates) {
  HealthCore core(kWitness, policy());
  BootTime now = kStart;
  for (int i = 0; i < 1000; ++i) core.observe(now += 1s, kSite, false, 1ms, "refused");
  EXPECT_EQ(core.report(now).failures[0], 255);
}

}  // namespace
}  // namespace leeward::health

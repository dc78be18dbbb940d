// Single worlds by name. Each recorded seed violated an invariant until the fault that its name
// tells of was repaired, and violates it again when the repair is undone. A seed means a world only
// as long as the worlds themselves stay as they are: whoever changes what is drawn by chance undoes
// each repair in turn and records the seed that finds it then.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sim/world.h"

namespace leeward::sim {
namespace {

std::string violation(std::uint64_t seed) {
  return run_world({.seed = seed, .trace = {}}).violation;
}

TEST(Replay, TheSameSeedTellsTheSameStory) {
  for (std::uint64_t seed : {3u, 11u, 24u}) {
    std::vector<std::string> told[2];
    Outcome outcomes[2];
    for (int i = 0; i < 2; ++i)
      outcomes[i] = run_world(
          {.seed = seed, .trace = [&](const std::string& line) { told[i].push_back(line); }});
    EXPECT_EQ(outcomes[0].hash, outcomes[1].hash);
    EXPECT_EQ(told[0], told[1]);
    EXPECT_FALSE(told[0].empty());
  }
}

TEST(Replay, ATraceChangesNothing) {
  Outcome silent = run_world({.seed = 24, .trace = {}});
  Outcome traced = run_world({.seed = 24, .trace = [](const std::string&) {}});
  EXPECT_EQ(silent.hash, traced.hash);
}

TEST(Replay, OtherSeedsAreOtherWorlds) {
  EXPECT_NE(run_world({.seed = 24, .trace = {}}).hash, run_world({.seed = 25, .trace = {}}).hash);
}

// What the worlds are for must happen in them, or their silence says nothing.
TEST(Worlds, AreFullOfEvents) {
  std::uint64_t acknowledged = 0;
  std::uint64_t in_ledger = 0;
  int failovers = 0;
  int planned_moves = 0;
  int promised = 0;
  int waiting = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Outcome o = run_world({.seed = seed, .trace = {}});
    EXPECT_EQ(o.violation, "") << "seed " << seed;
    acknowledged += o.acknowledged;
    in_ledger += o.in_ledger;
    failovers += o.failovers;
    planned_moves += o.planned_moves;
    promised += o.promised > 0;
    waiting += o.ended_waiting;
  }
  EXPECT_GT(acknowledged, 10'000u);
  EXPECT_GT(in_ledger, 100u);
  EXPECT_GT(failovers, 20);
  EXPECT_GT(planned_moves, 10);
  EXPECT_GT(promised, 20);
  EXPECT_GT(waiting, 0);
}

TEST(Recorded, TheHeartbeatsAgeIsDatedBackToTheLookBefore) { EXPECT_EQ(violation(2861), ""); }

TEST(Recorded, AWritersReportThatIsForgottenIsNoReportOfNoLoss) { EXPECT_EQ(violation(70), ""); }

TEST(Recorded, AHoldWithoutALeaseDropsWhatIsInFlight) { EXPECT_EQ(violation(3059), ""); }

TEST(Recorded, ControlThatIsCutOffDoesNotTakeLateReportsForSilence) {
  EXPECT_EQ(violation(206), "");
}

TEST(Recorded, AStandbysReportLongOnItsWayIsNoBacklog) { EXPECT_EQ(violation(317806), ""); }

}  // namespace
}  // namespace leeward::sim

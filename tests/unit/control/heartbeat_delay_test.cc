#include "control/heartbeat_delay.h"

#include <gtest/gtest.h>

namespace leeward::control {
namespace {

constexpr SiteId kWriter{0};

class Delays : public ::testing::Test {
 protected:
  // Rows written every 250 ms, each seen `delay` after that; the clocks of the two sites are a day
  // apart.
  void rows(int count, Duration delay, Epoch epoch = Epoch{1}) {
    for (int i = 0; i < count; ++i) {
      written_ += 250ms;
      see(written_ + delay, epoch);
    }
  }
  // The rows that waited arrive one every 10 ms.
  void backlog(int count, Duration delay) {
    for (int i = 0; i < count; ++i) {
      written_ += 250ms;
      see(written_ + delay - i * 240ms, Epoch{1});
    }
  }
  void see(Duration at, Epoch epoch) {
    DatabaseStatus status;
    status.reachable = true;
    status.source = kWriter;
    status.epoch = epoch;
    status.heartbeat_age = 0ns;
    status.heartbeat_written = WallTime(24h + written_);
    seen_ = BootTime(at);
    moved_ |= delays_.on_look(seen_, status);
  }

  HeartbeatDelay delays_;
  Duration written_ = 100s;
  BootTime seen_{};
  bool moved_ = false;
};

TEST_F(Delays, RowsThatComeAsPromptlyAsEverAreNotLate) {
  rows(20, 30ms);
  EXPECT_EQ(delays_.late(), 0ns);
}

TEST_F(Delays, ALateRowIsLateByWhatItTookLonger) {
  rows(20, 30ms);
  rows(1, 5030ms);
  EXPECT_EQ(delays_.late(), 5s);
  backlog(20, 5030ms);
  EXPECT_NEAR(seconds(delays_.late()), 5 - 19 * 0.24, 1e-9);
}

TEST_F(Delays, NothingIsKnownBeforeABacklogIsWorkedOff) {
  backlog(40, 10s);  // followed a writer that had been cut off
  EXPECT_EQ(delays_.late(), kNever);
  EXPECT_FALSE(moved_);
  rows(8, 400ms);
  EXPECT_EQ(delays_.late(), 0ns);
  EXPECT_TRUE(moved_);
}

TEST_F(Delays, ARestartedAgentKnowsWhatIsPrompt) {
  rows(20, 30ms);
  HeartbeatMemory memory = delays_.memory();
  delays_ = HeartbeatDelay{};
  delays_.start(Now{seen_, {}}, memory);
  rows(1, 8030ms);
  EXPECT_EQ(delays_.late(), 8s);
}

TEST_F(Delays, AnotherEpochHasAnotherClock) {
  rows(20, 30ms);
  rows(1, 8030ms, Epoch{2});
  EXPECT_EQ(delays_.late(), kNever);
  rows(8, 8030ms, Epoch{2});
  EXPECT_EQ(delays_.late(), 0ns);
}

TEST_F(Delays, TheClockOfAWriterMayBeSet) {
  rows(20, 30ms);
  rows(4 * 60, 3030ms);  // from here on 3 s behind
  EXPECT_EQ(delays_.late(), 3s);
  rows(4 * 60 * 10, 3030ms);
  EXPECT_EQ(delays_.late(), 0ns);
}

TEST_F(Delays, AMemoryIsWrittenOnlyWhenItMoved) {
  rows(20, 30ms);
  moved_ = false;
  rows(100, 50ms);
  EXPECT_FALSE(moved_);
  rows(1, -100ms);
  EXPECT_TRUE(moved_);
}

}  // namespace
}  // namespace leeward::control

#include "functions/event_queue_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leeward::functions {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr EventId kOne{1}, kTwo{2}, kThree{3};

class EventQueueTest : public ::testing::Test {
 protected:
  BootTime now{100s};
  EventQueueCore queue{3, 2};
  EventRule rule;
};

TEST_F(EventQueueTest, RunsOnceWhatSucceeds) {
  ASSERT_TRUE(queue.accept(now, kOne, rule));
  queue.kept(now, kOne);
  EXPECT_EQ(queue.deadline(), now);
  EXPECT_THAT(queue.due(now), ElementsAre(kOne));
  EXPECT_THAT(queue.due(now), IsEmpty());
  const EventVerdict verdict = queue.finished(now, kOne, EventOutcome::kSucceeded);
  EXPECT_EQ(verdict.end, EventEnd::kSuccess);
  EXPECT_EQ(verdict.tries, 1u);
  EXPECT_EQ(queue.size(), 0u);
  EXPECT_EQ(queue.deadline(), std::nullopt);
}

TEST_F(EventQueueTest, TriesAFailedOneAfterOneMinuteAndAfterTwoAndGivesUp) {
  ASSERT_TRUE(queue.accept(now, kOne, rule));
  queue.kept(now, kOne);
  for (Duration pause : {Duration(60s), Duration(120s)}) {
    EXPECT_THAT(queue.due(now), ElementsAre(kOne));
    EXPECT_EQ(queue.finished(now, kOne, EventOutcome::kFunctionError).end, std::nullopt);
    EXPECT_EQ(queue.deadline(), now + pause);
    EXPECT_THAT(queue.due(now + pause - 1ms), IsEmpty());
    now += pause;
  }
  EXPECT_THAT(queue.due(now), ElementsAre(kOne));
  const EventVerdict verdict = queue.finished(now, kOne, EventOutcome::kFunctionError);
  EXPECT_EQ(verdict.end, EventEnd::kRetriesExhausted);
  EXPECT_EQ(verdict.tries, 3u);
}

TEST_F(EventQueueTest, DoesNotCountWhatDidNotRunAndStopsAtTheAge) {
  rule.age_max = 120s;
  ASSERT_TRUE(queue.accept(now, kOne, rule));
  queue.kept(now, kOne);
  Duration pause = 1s;
  EventVerdict verdict;
  int rounds = 0;
  while (!verdict.end && ++rounds < 100) {
    ASSERT_THAT(queue.due(now), ElementsAre(kOne));
    verdict = queue.finished(now, kOne, EventOutcome::kNotRun);
    if (verdict.end) break;
    EXPECT_EQ(queue.deadline(), now + pause);
    now += pause;
    pause *= 2;
  }
  EXPECT_EQ(verdict.end, EventEnd::kEventAgeExceeded);
  EXPECT_EQ(verdict.tries, 0u);
  EXPECT_EQ(rounds, 7);  // at 0, 1, 3, 7, 15, 31 and 63 s; the next would be at 127 s
}

TEST_F(EventQueueTest, RunsNothingThatIsNotKept) {
  ASSERT_TRUE(queue.accept(now, kOne, rule));
  ASSERT_TRUE(queue.accept(now, kTwo, rule));
  EXPECT_THAT(queue.due(now), IsEmpty());
  EXPECT_EQ(queue.deadline(), std::nullopt);
  queue.withdraw(kOne);
  queue.kept(now + 5s, kTwo);
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_THAT(queue.due(now + 5s), ElementsAre(kTwo));
  EXPECT_EQ(queue.running(), 1u);
}

TEST_F(EventQueueTest, KeepsItsBounds) {
  for (EventId id : {kOne, kTwo, kThree}) {
    ASSERT_TRUE(queue.accept(now, id, rule));
    queue.kept(now, id);
  }
  EXPECT_FALSE(queue.accept(now, EventId{4}, rule));
  EXPECT_THAT(queue.due(now), ElementsAre(kOne, kTwo));
  EXPECT_EQ(queue.deadline(), std::nullopt);  // until one of them is done
  EXPECT_EQ(queue.finished(now, kOne, EventOutcome::kSucceeded).end, EventEnd::kSuccess);
  EXPECT_EQ(queue.deadline(), now);
  EXPECT_THAT(queue.due(now), ElementsAre(kThree));
  EXPECT_TRUE(queue.accept(now, EventId{4}, rule));
}

}  // namespace
}  // namespace leeward::functions

#include "compute/forecast_core.h"

#include <gtest/gtest.h>

namespace leeward::compute {
namespace {

// Monday 2026-01-05 00:00 UTC.
const WallTime kMonday{std::chrono::seconds(1767571200)};
constexpr Duration kHour = std::chrono::hours(1);
constexpr Duration kWeek = kHour * kHoursOfWeek;

// Needs 2 instances all week, `busy` on Mondays from 9 to 10.
void live_week(ForecastCore& core, WallTime from, int busy) {
  for (int hour = 0; hour < kHoursOfWeek; ++hour) {
    core.observe(from + hour * kHour, 1);
    core.observe(from + hour * kHour + 30min, hour == 9 ? busy : 2);
    core.observe(from + hour * kHour + 59min, 1);
  }
}

TEST(Forecast, KnowsTheHourOfTheWeek) {
  EXPECT_EQ(hour_of_week(hour_of(kMonday, 0s)), 0);
  EXPECT_EQ(hour_of_week(hour_of(kMonday - 1ns, 0s)), kHoursOfWeek - 1);
  EXPECT_EQ(hour_of_week(hour_of(kMonday + 33 * kHour, 0s)), 33);
  EXPECT_EQ(hour_of_week(hour_of(kMonday, 9 * kHour)), 9);
  EXPECT_EQ(hour_of_week(hour_of(WallTime{}, 0s)), 72) << "1 January 1970 was a Thursday";
  EXPECT_EQ(hour_of_week(hour_of(WallTime{} - 73 * kHour, 0s)), kHoursOfWeek - 1);
}

TEST(Forecast, SaysNothingBeforeItHasSeenTheHourTwice) {
  ForecastCore core(0s);
  live_week(core, kMonday, 8);
  core.observe(kMonday + kWeek, 1);
  EXPECT_FALSE(core.predict(kMonday + kWeek + 9 * kHour).has_value());
  live_week(core, kMonday + kWeek, 8);
  core.observe(kMonday + 2 * kWeek, 1);
  EXPECT_EQ(core.predict(kMonday + 2 * kWeek + 9 * kHour + 5min), 8);
  EXPECT_EQ(core.predict(kMonday + 2 * kWeek + 10 * kHour), 2);
}

TEST(Forecast, WeighsTheLastWeekTwiceAsMuchAsTheOneBefore) {
  ForecastCore core(0s);
  live_week(core, kMonday, 3);
  live_week(core, kMonday + kWeek, 6);
  live_week(core, kMonday + 2 * kWeek, 9);
  core.observe(kMonday + 3 * kWeek, 1);
  // (9 + 6/2 + 3/4) / (1 + 1/2 + 1/4) = 7.29
  EXPECT_EQ(core.predict(kMonday + 3 * kWeek + 9 * kHour), 8);
}

TEST(Forecast, KeepsWhatItPredictedBesideWhatCame) {
  ForecastCore core(0s);
  live_week(core, kMonday, 8);
  live_week(core, kMonday + kWeek, 8);
  EXPECT_TRUE(core.outcomes().empty());
  EXPECT_FALSE(core.mean_error().has_value());
  live_week(core, kMonday + 2 * kWeek, 5);
  core.observe(kMonday + 3 * kWeek, 1);
  ASSERT_EQ(core.outcomes().size(), static_cast<std::size_t>(kHoursOfWeek));
  const ForecastOutcome& busy = core.outcomes()[9];
  EXPECT_EQ(busy.predicted, 8);
  EXPECT_EQ(busy.actual, 5);
  EXPECT_DOUBLE_EQ(core.mean_error().value(), 3.0 / kHoursOfWeek);
}

TEST(Forecast, AnHourThatNobodyObservedIsNotZero) {
  ForecastCore core(0s);
  live_week(core, kMonday, 8);
  core.observe(kMonday + kWeek + 9 * kHour, 8);  // away all week but for this hour
  core.observe(kMonday + 2 * kWeek, 1);
  EXPECT_EQ(core.predict(kMonday + 2 * kWeek + 9 * kHour), 8);
  EXPECT_FALSE(core.predict(kMonday + 2 * kWeek + 11 * kHour).has_value());
}

TEST(Forecast, SurvivesARestartWithinAnHour) {
  ForecastCore core(0s);
  live_week(core, kMonday, 8);
  live_week(core, kMonday + kWeek, 8);
  core.observe(kMonday + 2 * kWeek, 7);
  ForecastCore next(0s);
  next.restore(core.memory());
  next.observe(kMonday + 2 * kWeek + 40min, 2);
  next.observe(kMonday + 2 * kWeek + kHour, 1);
  ASSERT_EQ(next.outcomes().size(), 1u);
  EXPECT_EQ(next.outcomes()[0].actual, 7);
}

TEST(Forecast, IsBoundedAndIgnoresAClockThatWasSetBack) {
  ForecastCore core(0s);
  for (int week = 0; week < 8; ++week) live_week(core, kMonday + week * kWeek, 4);
  core.observe(kMonday, 60);
  ForecastMemory memory = core.memory();
  EXPECT_LE(memory.needs.size(), ForecastCore::kNeedsMax + 1);
  EXPECT_EQ(memory.outcomes.size(), ForecastCore::kOutcomesMax);
  EXPECT_EQ(core.predict(kMonday + 8 * kWeek + 9 * kHour), 4);
  memory.needs.insert(memory.needs.begin(), {memory.needs.back().first + 5, 60});  // out of order
  ForecastCore next(0s);
  next.restore(memory);
  EXPECT_LE(next.memory().needs.size(), ForecastCore::kNeedsMax);
}

}  // namespace
}  // namespace leeward::compute

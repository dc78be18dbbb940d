// What a tier will need, by the hour of the week: people's habits repeat weekly more than anything
// else about a load.
//
// Each hour's need is the most instances that the policies asked for in it. The prediction for an
// hour is the mean of the same hour of the last kWeeks weeks, later weeks weighing twice as much as
// the one before, rounded up; with fewer than two weeks of that hour there is none. A prediction is
// only ever a floor (ForecastMode::kFloor), so a wrong one costs money and never capacity.
//
// Every completed hour that had a prediction is kept beside what it turned out to need, for people
// to judge by before they trust it.
//
// Pure. Memory: 168 × kWeeks numbers and kOutcomesMax outcomes.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "base/time.h"

namespace leeward::compute {

inline constexpr int kHoursOfWeek = 168;

// Hours since the epoch, and since Monday 00:00, of a clock that is `utc_offset` ahead of UTC.
std::int64_t hour_of(WallTime t, Duration utc_offset);
int hour_of_week(std::int64_t hour);

struct ForecastOutcome {
  std::int64_t hour = 0;  // hour_of()
  int predicted = 0;
  int actual = 0;
};

struct ForecastMemory {
  // (hour, need) of completed hours, ascending.
  std::vector<std::pair<std::int64_t, int>> needs;
  std::vector<ForecastOutcome> outcomes;  // oldest first
};

class ForecastCore {
 public:
  static constexpr int kWeeks = 4;
  static constexpr std::size_t kNeedsMax = static_cast<std::size_t>(kHoursOfWeek) * kWeeks;
  static constexpr std::size_t kOutcomesMax = 2 * kHoursOfWeek;

  explicit ForecastCore(Duration utc_offset) : utc_offset_(utc_offset) {}
  // Entries that are out of order or too many are left out.
  void restore(const ForecastMemory& memory);
  ForecastMemory memory() const;

  // `needed` instances just now. An hour that passes unobserved leaves no trace.
  void observe(WallTime now, int needed);
  std::optional<int> predict(WallTime at) const;

  // Oldest first.
  const std::deque<ForecastOutcome>& outcomes() const { return outcomes_; }
  // Mean of |predicted − actual| over the outcomes, in instances; nothing without outcomes.
  std::optional<double> mean_error() const;

 private:
  std::optional<int> predict_hour(std::int64_t hour) const;
  void close_hour();

  Duration utc_offset_;
  std::deque<std::pair<std::int64_t, int>> needs_;  // completed hours, ascending
  std::optional<std::pair<std::int64_t, int>> open_;
  std::deque<ForecastOutcome> outcomes_;
};

}  // namespace leeward::compute

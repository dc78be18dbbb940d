#include "compute/forecast_core.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace leeward::compute {

std::int64_t hour_of(WallTime t, Duration utc_offset) {
  return std::chrono::floor<std::chrono::hours>(t.time_since_epoch() + utc_offset).count();
}

int hour_of_week(std::int64_t hour) {
  constexpr std::int64_t kThursday = 3 * 24;  // the epoch's day, counted from Monday
  return static_cast<int>(((hour + kThursday) % kHoursOfWeek + kHoursOfWeek) % kHoursOfWeek);
}

void ForecastCore::restore(const ForecastMemory& memory) {
  needs_.clear();
  open_.reset();
  outcomes_.clear();
  for (const auto& need : memory.needs)
    if (needs_.empty() || need.first > needs_.back().first) needs_.push_back(need);
  while (needs_.size() > kNeedsMax) needs_.pop_front();
  for (const ForecastOutcome& outcome : memory.outcomes)
    if (outcomes_.empty() || outcome.hour > outcomes_.back().hour) outcomes_.push_back(outcome);
  while (outcomes_.size() > kOutcomesMax) outcomes_.pop_front();
}

ForecastMemory ForecastCore::memory() const {
  // The open hour is kept as well: a restart in it must not forget what it needed so far.
  ForecastMemory memory;
  memory.needs.assign(needs_.begin(), needs_.end());
  if (open_) memory.needs.push_back(*open_);
  memory.outcomes.assign(outcomes_.begin(), outcomes_.end());
  return memory;
}

void ForecastCore::observe(WallTime now, int needed) {
  std::int64_t hour = hour_of(now, utc_offset_);
  if (!open_ && !needs_.empty() && needs_.back().first == hour) {  // after a restart in this hour
    open_ = needs_.back();
    needs_.pop_back();
  }
  if (open_ && hour > open_->first) close_hour();
  if (!open_) {
    if (!needs_.empty() && hour <= needs_.back().first) return;  // the wall clock was set back
    open_ = {hour, needed};
  }
  if (hour == open_->first) open_->second = std::max(open_->second, needed);
}

void ForecastCore::close_hour() {
  if (auto predicted = predict_hour(open_->first)) {
    outcomes_.push_back({open_->first, *predicted, open_->second});
    if (outcomes_.size() > kOutcomesMax) outcomes_.pop_front();
  }
  needs_.push_back(*open_);
  if (needs_.size() > kNeedsMax) needs_.pop_front();
  open_.reset();
}

std::optional<int> ForecastCore::predict(WallTime at) const {
  return predict_hour(hour_of(at, utc_offset_));
}

std::optional<int> ForecastCore::predict_hour(std::int64_t hour) const {
  double sum = 0;
  double weights = 0;
  int found = 0;
  double weight = 1;
  for (int week = 1; week <= kWeeks; ++week, weight /= 2) {
    std::int64_t wanted = hour - static_cast<std::int64_t>(week) * kHoursOfWeek;
    auto at =
        std::lower_bound(needs_.begin(), needs_.end(), wanted,
                         [](const auto& need, std::int64_t value) { return need.first < value; });
    if (at == needs_.end() || at->first != wanted) continue;
    sum += weight * at->second;
    weights += weight;
    ++found;
  }
  if (found < 2) return std::nullopt;
  // Twice the same need is exactly that need, whatever the weights' rounding.
  return static_cast<int>(std::ceil(sum / weights - 1e-9));
}

std::optional<double> ForecastCore::mean_error() const {
  if (outcomes_.empty()) return std::nullopt;
  double sum = 0;
  for (const ForecastOutcome& o : outcomes_) sum += std::abs(o.predicted - o.actual);
  return sum / static_cast<double>(outcomes_.size());
}

}  // namespace leeward::compute

// Reads metrics in the Prometheus text format 0.0.4, as far as scaling needs them: the values of
// one series, and a quantile of a histogram.
//
// A line that is not a sample (comment, broken) is passed over: one bad line of somebody else's
// exporter must not hide the others. Nothing is allocated for lines of other series.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace leeward::compute {

using SeriesLabels = std::map<std::string, std::string, std::less<>>;

struct SeriesSelector {
  std::string name;
  SeriesLabels labels;  // that a sample must have, beside any others
};

// "jobs_waiting", "jobs_waiting{queue=\"mail\"}". kInvalid says what to write.
Result<SeriesSelector> parse_selector(std::string_view text);

// Calls `each` for every sample of that name that has the selector's labels.
void each_sample(std::string_view text, const SeriesSelector& selector,
                 const std::function<void(const SeriesLabels&, double)>& each);

// Their sum; nothing when there is none, or when one is no number.
std::optional<double> sum_of(std::string_view text, const SeriesSelector& selector);

// One bucket of a histogram: how many observations were at most `bound`, +Inf included.
struct HistogramBucket {
  double bound = 0;
  double count = 0;
};
// The value that `share` of the observations stay within, interpolated within its bucket as
// Prometheus' histogram_quantile does; beyond the last finite bound, that bound. `buckets` are
// cumulative and ascending. Nothing without observations.
std::optional<double> histogram_quantile(const std::vector<HistogramBucket>& buckets, double share);

}  // namespace leeward::compute

// What the edges answer, as text for people; and the arithmetic of `leeward speed`. Pure.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "cli/internal/api.h"

namespace leeward::cli {

// Two answers of GET /v1/edge/top, `seconds` apart: rates, hit ratio and latencies of each route,
// and what each origin got. `before` may be null: totals since the start instead of rates.
std::string render_top(const std::string& site, const Json& before, const Json& now,
                       double seconds);

// Answers of GET /v1/edge/firewall, by site, side by side: of each edge a line, then of each part
// whether all have the same.
struct FirewallComparison {
  std::string text;
  std::vector<std::string> differ;  // names of parts
};
FirewallComparison compare_firewalls(const std::vector<std::pair<std::string, Json>>& sites);

// The `quantile` (0 … 1) of counts by latency bucket (base/metrics.h, Histogram::kBounds), in
// seconds, interpolated within the bucket; 0 without counts.
double quantile_of(const std::vector<double>& counts, double quantile);

// Times of one way to fetch one URL.
struct SpeedSample {
  std::string way;                 // "direct", "edge"
  std::vector<double> seconds;     // from before connecting to the end of the body
  std::vector<double> first_byte;  // from before connecting to the response
  int status = 0;
  std::uint64_t bytes = 0;
  std::string cache_status;  // of the last response
};
struct SpeedSummary {
  double min = 0, mean = 0, median = 0, p95 = 0, max = 0;
};
SpeedSummary summary_of(std::vector<double> seconds);  // all 0 for none

// How much lower the second mean is than the first, in percent; negative: higher.
double percent_lower(double first_mean, double second_mean);

// A table with a row a way, and below it a line a way: where its times lie on one common scale.
std::string render_speed(const std::string& url, const std::vector<SpeedSample>& samples);

}  // namespace leeward::cli

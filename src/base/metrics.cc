#include "base/metrics.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/log.h"

namespace leeward {

void Histogram::observe(double seconds) {
  std::size_t i = 0;
  while (i + 1 < kBucketCount && seconds > kBounds[i]) ++i;
  buckets_[i].fetch_add(1, std::memory_order_relaxed);
  double old = sum_.load(std::memory_order_relaxed);
  while (!sum_.compare_exchange_weak(old, old + seconds, std::memory_order_relaxed)) {
  }
}

std::size_t Registry::find(std::string_view name, std::string_view help, Kind kind,
                           const Labels& labels, std::size_t next_index) {
  std::string text;
  for (const auto& [key, value] : labels) {
    text += text.empty() ? "" : ",";
    text += key + "=";
    append_json_string(text, value);
  }
  auto it = families_.find(name);
  if (it == families_.end())
    it = families_.emplace(std::string(name), Family{kind, std::string(help), {}}).first;
  LEEWARD_CHECK(it->second.kind == kind);
  for (const Series& s : it->second.series)
    if (s.labels == text) return s.index;
  it->second.series.push_back({text, next_index});
  return next_index;
}

Counter& Registry::counter(std::string_view name, std::string_view help, const Labels& labels) {
  std::lock_guard lock(mutex_);
  std::size_t i = find(name, help, Kind::kCounter, labels, counters_.size());
  if (i == counters_.size()) counters_.emplace_back();
  return counters_[i];
}

Gauge& Registry::gauge(std::string_view name, std::string_view help, const Labels& labels) {
  std::lock_guard lock(mutex_);
  std::size_t i = find(name, help, Kind::kGauge, labels, gauges_.size());
  if (i == gauges_.size()) gauges_.emplace_back();
  return gauges_[i];
}

Histogram& Registry::histogram(std::string_view name, std::string_view help, const Labels& labels) {
  std::lock_guard lock(mutex_);
  std::size_t i = find(name, help, Kind::kHistogram, labels, histograms_.size());
  if (i == histograms_.size()) histograms_.emplace_back();
  return histograms_[i];
}

std::string Registry::prometheus_text() const {
  std::lock_guard lock(mutex_);
  std::string out;
  constexpr std::string_view kKinds[] = {"counter", "gauge", "histogram"};
  for (const auto& [name, family] : families_) {
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, family.help, name,
                       kKinds[static_cast<int>(family.kind)]);
    for (const Series& s : family.series) {
      std::string braces = s.labels.empty() ? "" : "{" + s.labels + "}";
      if (family.kind == Kind::kCounter) {
        out += fmt::format("{}{} {}\n", name, braces, counters_[s.index].value());
      } else if (family.kind == Kind::kGauge) {
        out += fmt::format("{}{} {}\n", name, braces, gauges_[s.index].value());
      } else {
        const Histogram& h = histograms_[s.index];
        std::string comma = s.labels.empty() ? "" : s.labels + ",";
        std::uint64_t total = 0;
        for (std::size_t i = 0; i < Histogram::kBucketCount; ++i) {
          total += h.bucket(i);
          std::string bound = i + 1 < Histogram::kBucketCount
                                  ? fmt::format("{}", Histogram::kBounds[i])
                                  : std::string("+Inf");
          out += fmt::format("{}_bucket{{{}le=\"{}\"}} {}\n", name, comma, bound, total);
        }
        out +=
            fmt::format("{}_sum{} {}\n{}_count{} {}\n", name, braces, h.sum(), name, braces, total);
      }
    }
  }
  return out;
}

}  // namespace leeward

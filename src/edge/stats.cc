#include "edge/internal/stats.h"

namespace leeward::edge {

void RouteStats::observe(Duration d) {
  const double s = seconds(d);
  std::size_t i = 0;
  while (i + 1 < Histogram::kBucketCount && s > Histogram::kBounds[i]) ++i;
  latency[i].add();
  latency_us.add(static_cast<std::uint64_t>(d / 1us));
}

RouteStats& LoopStats::route(std::string_view name) {
  if (auto found = routes_.find(name); found != routes_.end()) return *found->second;
  std::lock_guard lock(mutex_);
  return *routes_.emplace(name, std::make_unique<RouteStats>()).first->second;
}

std::shared_ptr<GroupStats> LoopStats::group(const std::string& name, std::size_t origins) {
  std::lock_guard lock(mutex_);
  auto& stats = groups_[name];
  if (!stats || stats->origins.size() != origins) stats = std::make_shared<GroupStats>(origins);
  return stats;
}

}  // namespace leeward::edge

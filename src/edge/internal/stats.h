// What one loop counts. One thread writes, any may read: relaxed atomics without a locked
// instruction.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/metrics.h"
#include "base/time.h"

namespace leeward::edge {

class Count {
 public:
  void add(std::uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void set(std::uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct RouteStats {
  std::array<Count, 6> status;  // by class; [0]: the client left before an answer
  Count cache_hits, cache_misses;
  Count bytes_out;
  Count retries, hedges, hedges_won, parked, parked_too_long, signature_refused;
  Count latency_us;
  std::array<Count, Histogram::kBucketCount> latency;  // bounds of Histogram
  void observe(Duration d);
};

struct OriginStats {
  Count requests, connects, failures, tls_failures;
};

struct GroupStats {
  explicit GroupStats(std::size_t count) : origins(count) {}
  std::vector<OriginStats> origins;
};

class LoopStats {
 public:
  Count accepted, shed, clients, bad_requests, refused, parked_now;

  // Kept by name, so that counters live on when the configuration is reloaded. The loop's thread.
  RouteStats& route(std::string_view name);
  std::shared_ptr<GroupStats> group(const std::string& name, std::size_t origins);

  // Any thread.
  template <typename Each>
  void each_route(Each each) const {
    std::lock_guard lock(mutex_);
    for (const auto& [name, stats] : routes_) each(name, *stats);
  }
  template <typename Each>
  void each_group(Each each) const {
    std::lock_guard lock(mutex_);
    for (const auto& [name, stats] : groups_) each(name, *stats);
  }

 private:
  mutable std::mutex mutex_;  // of the maps; taken when one grows and when one is read elsewhere
  std::map<std::string, std::unique_ptr<RouteStats>, std::less<>> routes_;
  std::map<std::string, std::shared_ptr<GroupStats>, std::less<>> groups_;
};

}  // namespace leeward::edge

// What people and Prometheus see of the edge.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "edge/internal/loop.h"
#include "edge/internal/stats.h"
#include "edge/waf.h"

namespace leeward::edge {

// The counts of all loops, added up.
class Report {
 public:
  void add(const LoopStats& stats);
  std::string prometheus_text() const;
  std::string json(const Snapshot& snapshot, const WriterState& state) const;
  std::uint64_t access_log_dropped = 0;
  std::uint64_t audit_log_dropped = 0;

 private:
  struct Route {
    std::array<std::uint64_t, 6> status{};
    std::uint64_t hits = 0, misses = 0, bytes_out = 0, retries = 0, hedges = 0, hedges_won = 0,
                  parked = 0, parked_too_long = 0, signature_refused = 0, latency_us = 0;
    std::array<std::uint64_t, Histogram::kBucketCount> latency{};
  };
  struct Origin {
    std::uint64_t requests = 0, connects = 0, failures = 0, tls_failures = 0;
  };
  std::uint64_t accepted_ = 0, shed_ = 0, clients_ = 0, bad_ = 0, refused_ = 0, parked_ = 0;
  std::map<std::string, Route, std::less<>> routes_;
  std::map<std::string, std::vector<Origin>, std::less<>> groups_;
};

// `leeward edge explain`: the route, the firewall, the cache's decision and the origins for a GET
// of the URL. On the loop's thread.
std::string explain_request(Loop& loop, std::string_view url,
                            const std::optional<ClientAddress>& client);

// What the web application firewall would say of the same GET, as one line; slow. Any thread.
std::string explain_inspection(const Waf& waf, std::string_view url,
                               const std::optional<ClientAddress>& client);

}  // namespace leeward::edge

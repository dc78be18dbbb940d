// The metrics that one tier is scaled by, taken once per decision: processor time and memory from
// the supervisor, requests and latency from this site's edge, anything else from an endpoint in
// Prometheus text format. What cannot be had in time is missing, never zero.
//
// On the loop's thread. One take() at a time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/context.h"
#include "compute/prometheus_text.h"
#include "compute/supervisor.h"
#include "net/http.h"

namespace leeward::app {

// The increase a second of something that only grows. Nothing at first, and after it fell (whatever
// counted began anew).
class CounterRate {
 public:
  std::optional<double> next(BootTime now, std::optional<double> value);

 private:
  std::optional<std::pair<BootTime, double>> last_;
};

class TierSamples {
 public:
  // One value a policy of the tier's scaling, in their order.
  using Done = std::function<void(const std::vector<std::optional<double>>&)>;

  // All must outlive it. REQUIRES: tier.scaling.
  TierSamples(net::HttpClient& http, const Context& context, const Tier& tier);

  // `counted`: the instances that have warmed up. `done` is called once, perhaps at once, after at
  // most `patience`.
  void take(std::vector<compute::InstanceStatus> counted, Duration patience, Done done);

  // Requests a second to each instance, by number, as the edge counted them last.
  const std::map<int, double>& requests() const { return requests_; }

 private:
  struct Round;
  void ask(const std::shared_ptr<Round>& round, const Endpoint& from, const std::string& path,
           Duration patience, std::function<void(const std::string& text)> read);
  void read_edge(Round& round, const std::string& text);
  std::optional<double> cpu(const Round& round);
  std::optional<double> memory(const Round& round) const;
  std::optional<double> latency(const ScalingMetric& metric, const std::string& text,
                                std::size_t policy);
  void finish(Round& round);

  net::HttpClient& http_;
  const Context& context_;
  const Tier& tier_;
  std::string group_;                     // of the edge, whose origins are this tier's instances
  std::map<int, std::string> origins_;    // by instance: its index in the group, as text
  std::vector<std::string> routes_;       // of the edge, that lead to the group
  std::map<int, CounterRate> processor_;  // by instance
  std::map<int, CounterRate> request_rate_;
  std::map<int, double> requests_;
  std::vector<CounterRate> series_;                                  // by policy, without instances
  std::vector<std::map<int, CounterRate>> instance_series_;          // by policy and instance
  std::vector<std::vector<compute::HistogramBucket>> last_buckets_;  // by policy
};

}  // namespace leeward::app

// Probes the service at each site over HTTP and keeps this vantage point's opinion of it.
//
// A probe is one GET on a new connection (a kept-alive one would not notice a listener that is
// gone); it succeeds when the whole answer has come in time with status 200. At most one probe of a
// target is under way; how often and how patiently it probes, and what follows from the results, is
// in health_core.h. The first probe of each target starts after a random part of an interval, so
// that vantage points do not fall into step.
//
// Threading: create, use and destroy it on the loop's thread, or while nobody runs the loop.
// Callbacks come on the loop's thread and must not destroy the prober.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/time.h"
#include "model/ids.h"
#include "model/platform.h"
#include "model/status.h"
#include "net/http.h"
#include "net/loop.h"

namespace leeward::health {

struct ProbeTarget {
  SiteId site;
  std::string name;  // of the site, for people and as metric label
  Endpoint endpoint;
};

struct ProbeResult {
  bool ok = false;
  Duration took{};
  std::string detail;  // why it failed; empty when ok
};

struct ProberOptions {
  SiteId vantage;
  ProbePolicy policy;                // `port` is not used: targets bring theirs
  std::vector<ProbeTarget> targets;  // one a site
  Logger logger;
  // Asks a target for policy.path within `timeout`; empty: by HTTP/1.1 at its endpoint. Called, and
  // to be answered, on the loop's thread; an answer after the prober's end is ignored.
  using Answer = std::function<void(Result<net::HttpResponse>)>;
  std::function<void(const ProbeTarget&, Duration timeout, Answer)> ask;
  Registry* registry = nullptr;                               // outlives the prober; may be null
  std::function<void(SiteId, const ProbeResult&)> on_result;  // every probe; may be empty
  std::function<void(SiteId, Health)> on_change;  // every change of opinion; may be empty
};

// The targets of a platform: each workload site's address at the probe port.
std::vector<ProbeTarget> probe_targets(const Platform& platform);

class Prober {
 public:
  // Starts probing. kInvalid for two targets of one site, or a policy with a zero.
  static Result<std::unique_ptr<Prober>> start(net::EventLoop& loop, ProberOptions options);
  ~Prober();  // probes under way are dropped without a result
  Prober(const Prober&) = delete;
  Prober& operator=(const Prober&) = delete;

  // The opinion now, stale results left out.
  VantageReport report() const;

 private:
  class Impl;
  explicit Prober(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The beginning of a response body as one line for people: at most 80 characters, runs of white
// space as one blank, anything else that is not printable ASCII as '?'.
std::string excerpt(std::string_view body);

}  // namespace leeward::health

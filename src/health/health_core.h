// The opinion of one vantage point: single probe results in, health of each site out.
//
// A site is kUnknown until enough results say otherwise: `rise` successes in a row make it kUp,
// `fall` failures in a row make it kDown, and between those it stays what it was, so that one lost
// packet flips nothing. Silence is not death (I9): a site without a result for three intervals is
// kUnknown again, and counting starts anew.
//
// The core also says when to probe next. While results contradict the state it asks for the next
// probe after half an interval instead of a whole one, so that a dead target is known sooner
// without probing a healthy one more often (facts: detection is the largest part of RTO that we can
// choose). What is down is looked at as often, so that it is used soon after it is back.
//
// Bound. A target that dies just after a good answer is kDown after at most
//   refusing:  interval + (fall − 1) · interval / 2                        defaults: 2.0 s
//   hanging:   interval + timeout + (fall − 1) · interval / 2              defaults: 2.8 s
// The second line needs re-probes that give up after half an interval. That patience is cut only
// for a target whose last good answer took less than a quarter of an interval: a target that is
// known to be slow keeps the whole timeout for every probe, because overload is not death (design
// §5.7); its bound is interval + fall · timeout (defaults: 3.4 s).
//
// Pure: no clock, no I/O. Not thread-safe; owned by one Prober, or by the simulator.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/time.h"
#include "model/ids.h"
#include "model/platform.h"
#include "model/status.h"

namespace leeward::health {

// When the next probe of a site starts and how long it may take.
struct ProbeSchedule {
  Duration gap{};      // from the start of the last probe to the start of the next one
  Duration timeout{};  // for connect and answer together
};

class HealthCore {
 public:
  // Uses interval, timeout, fall and rise of `policy`. REQUIRES: all four are positive.
  HealthCore(SiteId vantage, const ProbePolicy& policy);

  // One probe of `site` ended at `now` after `took`. `detail` says why it failed (ignored for
  // `ok`). REQUIRES: site.value < kSitesMax; `now` never goes back.
  void observe(BootTime now, SiteId site, bool ok, Duration took, std::string_view detail);

  // kUnknown also when the last result is older than stale_after().
  Health state(BootTime now, SiteId site) const;
  int failures(BootTime now, SiteId site) const;  // consecutive, 0 when stale

  ProbeSchedule next_probe(SiteId site) const;

  // Three intervals, or three timeouts when those are longer.
  Duration stale_after() const;

  // All sites at once, for control. `detail` holds the last error of each failing site.
  VantageReport report(BootTime now) const;

 private:
  struct Target {
    Health health = Health::kUnknown;
    int failures = 0;   // in a row
    int successes = 0;  // in a row
    bool seen = false;
    BootTime last_result;
    Duration last_good{kNever};  // how long the last good answer took
    std::string detail;          // of the last failure; empty after a success
  };

  bool stale(BootTime now, const Target& t) const;
  bool settled(const Target& t) const;

  SiteId vantage_;
  Duration interval_;
  Duration timeout_;
  int fall_;
  int rise_;
  std::array<Target, kSitesMax> targets_;
};

}  // namespace leeward::health

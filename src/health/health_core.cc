#include "health/health_core.h"

#include <algorithm>

#include "base/check.h"

namespace leeward::health {

HealthCore::HealthCore(SiteId vantage, const ProbePolicy& policy)
    : vantage_(vantage),
      interval_(policy.interval),
      timeout_(policy.timeout),
      fall_(policy.fall),
      rise_(policy.rise) {
  LEEWARD_CHECK(interval_ > Duration::zero() && timeout_ > Duration::zero());
  LEEWARD_CHECK(fall_ > 0 && rise_ > 0);
}

void HealthCore::observe(BootTime now, SiteId site, bool ok, Duration took,
                         std::string_view detail) {
  LEEWARD_CHECK(site.value < kSitesMax);
  Target& t = targets_[site.value];
  if (stale(now, t)) t = Target{};
  t.seen = true;
  t.last_result = now;
  // The counters stop at their thresholds (and at what a report can hold): more changes nothing.
  if (ok) {
    t.failures = 0;
    t.successes = std::min(t.successes + 1, rise_);
    t.last_good = took;
    t.detail.clear();
    if (t.successes >= rise_) t.health = Health::kUp;
  } else {
    t.successes = 0;
    t.failures = std::min(t.failures + 1, std::max(fall_, 255));
    t.detail = detail;
    if (t.failures >= fall_) t.health = Health::kDown;
  }
}

bool HealthCore::stale(BootTime now, const Target& t) const {
  return !t.seen || now - t.last_result > stale_after();
}

Duration HealthCore::stale_after() const { return 3 * std::max(interval_, timeout_); }

Health HealthCore::state(BootTime now, SiteId site) const {
  LEEWARD_CHECK(site.value < kSitesMax);
  const Target& t = targets_[site.value];
  return stale(now, t) ? Health::kUnknown : t.health;
}

int HealthCore::failures(BootTime now, SiteId site) const {
  LEEWARD_CHECK(site.value < kSitesMax);
  const Target& t = targets_[site.value];
  return stale(now, t) ? 0 : t.failures;
}

// Settled: the last result agrees with the state, so there is nothing to find out in a hurry.
bool HealthCore::settled(const Target& t) const {
  switch (t.health) {
    case Health::kUp:
      return t.failures == 0;
    case Health::kDown:
      return t.successes == 0;
    case Health::kUnknown:
      return false;
  }
  return false;
}

ProbeSchedule HealthCore::next_probe(SiteId site) const {
  LEEWARD_CHECK(site.value < kSitesMax);
  const Target& t = targets_[site.value];
  if (settled(t)) return {t.health == Health::kDown ? interval_ / 2 : interval_, timeout_};
  bool known_fast = t.last_good < interval_ / 4;
  bool suspect = t.failures > 0 && known_fast;
  return {interval_ / 2, suspect ? std::min(timeout_, interval_ / 2) : timeout_};
}

VantageReport HealthCore::report(BootTime now) const {
  VantageReport report;
  report.vantage = vantage_;
  for (std::size_t i = 0; i < kSitesMax; ++i) {
    SiteId site{static_cast<std::uint8_t>(i)};
    report.health[i] = state(now, site);
    report.failures[i] = static_cast<std::uint8_t>(std::min(failures(now, site), 255));
    if (report.failures[i] == 0) continue;
    if (!report.detail.empty()) report.detail += "; ";
    report.detail += targets_[i].detail;
  }
  return report;
}

}  // namespace leeward::health

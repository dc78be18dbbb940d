#include "health/prober.h"

#include <algorithm>
#include <optional>
#include <random>
#include <set>

#include "health/health_core.h"

namespace leeward::health {
namespace {

constexpr std::size_t kExcerptCharacters = 80;
constexpr std::size_t kBodyBytesMax = 1u << 20;  // a larger answer is a failed probe

// A new connection for every probe.
net::HttpClientLimits client_limits() {
  net::HttpClientLimits limits;
  limits.body_bytes_max = kBodyBytesMax;
  limits.idle_per_endpoint_max = 0;
  limits.idle_max = 0;
  return limits;
}

Status validate(const ProberOptions& options) {
  const ProbePolicy& p = options.policy;
  if (p.interval <= Duration::zero() || p.timeout <= Duration::zero() || p.fall < 1 || p.rise < 1)
    return fail(Code::kInvalid, "probes: interval, timeout, fall and rise must be positive");
  std::set<SiteId> sites;
  for (const ProbeTarget& t : options.targets)
    if (t.site.value >= kSitesMax || !sites.insert(t.site).second)
      return fail(Code::kInvalid, "probes: site {} has no single target", t.name);
  return {};
}

}  // namespace

std::string excerpt(std::string_view body) {
  std::string out;
  bool blank = false;
  for (char c : body) {
    if (c == ' ' || (c >= '\t' && c <= '\r')) {
      blank = !out.empty();
      continue;
    }
    if (out.size() + (blank ? 2 : 1) > kExcerptCharacters) break;
    if (blank) out += ' ';
    blank = false;
    out += c > 0x20 && c < 0x7f ? c : '?';
  }
  return out;
}

std::vector<ProbeTarget> probe_targets(const Platform& platform) {
  std::vector<ProbeTarget> targets;
  for (SiteId id : platform.workload_sites()) {
    const Site& site = platform.site(id);
    targets.push_back({id, site.name, Endpoint{site.address, platform.probes.port}});
  }
  return targets;
}

class Prober::Impl {
 public:
  Impl(net::EventLoop& loop, ProberOptions options);
  ~Impl();
  VantageReport report() const { return core_.report(BootClock::now()); }

 private:
  struct Target {
    ProbeTarget what;
    net::TimerId timer;
    Health known = Health::kUnknown;  // as last told
    Gauge* up = nullptr;
    Histogram* took = nullptr;
    Counter* failures = nullptr;
  };

  void schedule(Target& t, Duration delay);
  void probe(Target& t);
  ProbeResult judge(const Result<net::HttpResponse>& answer, Duration took) const;
  void conclude(Target& t, BootTime started, ProbeResult result);
  void tell_change(Target& t);

  net::EventLoop& loop_;
  ProberOptions options_;
  HealthCore core_;
  net::HttpClient client_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::vector<Target> targets_;  // never resized after construction: callbacks keep references
};

Prober::Impl::Impl(net::EventLoop& loop, ProberOptions options)
    : loop_(loop),
      options_(std::move(options)),
      core_(options_.vantage, options_.policy),
      client_(loop, client_limits()) {
  targets_.reserve(options_.targets.size());
  std::random_device seed;
  std::mt19937_64 random(seed());
  std::uniform_int_distribution<Duration::rep> offset(0, options_.policy.interval.count());
  for (const ProbeTarget& what : options_.targets) {
    Target t{what, {}, Health::kUnknown, nullptr, nullptr, nullptr};
    if (Registry* r = options_.registry; r != nullptr) {
      Labels labels{{"target", what.name}};
      t.up = &r->gauge("leeward_probe_up", "1 if this vantage point sees the target as up", labels);
      t.took = &r->histogram("leeward_probe_seconds", "Time of successful probes", labels);
      t.failures = &r->counter("leeward_probe_failures_total", "Failed probes", labels);
    }
    targets_.push_back(std::move(t));
    schedule(targets_.back(), Duration(offset(random)));
  }
}

Prober::Impl::~Impl() {
  for (Target& t : targets_) loop_.cancel(t.timer);
}

void Prober::Impl::schedule(Target& t, Duration delay) {
  t.timer = loop_.call_after(delay, [this, &t] { probe(t); });
}

void Prober::Impl::probe(Target& t) {
  // After a suspension the old opinion has become unknown, and listeners should hear so before the
  // next result comes.
  tell_change(t);
  const Duration timeout = core_.next_probe(t.what.site).timeout;
  BootTime started = BootClock::now();
  auto done = [this, &t, started](const Result<net::HttpResponse>& answer) {
    conclude(t, started, judge(answer, BootClock::now() - started));
  };
  if (options_.ask)
    return options_.ask(t.what, timeout,
                        [done, alive = std::weak_ptr(alive_)](Result<net::HttpResponse> answer) {
                          if (!alive.expired()) done(answer);
                        });
  net::HttpRequest request;
  request.path = options_.policy.path;
  request.headers["User-Agent"] = "leeward-probe";
  client_.send(t.what.endpoint, std::move(request), timeout, done);
}

ProbeResult Prober::Impl::judge(const Result<net::HttpResponse>& answer, Duration took) const {
  if (!answer) return {false, took, answer.error().message};
  if (answer->status == 200) return {true, took, ""};
  std::string text = excerpt(answer->body);
  return {false, took, fmt::format("HTTP {}{}{}", answer->status, text.empty() ? "" : ": ", text)};
}

void Prober::Impl::conclude(Target& t, BootTime started, ProbeResult result) {
  BootTime now = BootClock::now();
  core_.observe(now, t.what.site, result.ok, result.took, result.detail);
  if (result.ok && t.took != nullptr) t.took->observe(seconds(result.took));
  if (!result.ok && t.failures != nullptr) t.failures->add();
  if (options_.on_result) options_.on_result(t.what.site, result);
  tell_change(t);
  schedule(t, started + core_.next_probe(t.what.site).gap - now);
}

void Prober::Impl::tell_change(Target& t) {
  BootTime now = BootClock::now();
  Health health = core_.state(now, t.what.site);
  if (health == t.known) return;
  t.known = health;
  if (t.up != nullptr) t.up->set(health == Health::kUp ? 1 : 0);
  options_.logger.info(
      "target changed",
      {{"target", t.what.name}, {"health", name(health)}, {"detail", core_.report(now).detail}});
  if (options_.on_change) options_.on_change(t.what.site, health);
}

Prober::Prober(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Prober::~Prober() = default;

Result<std::unique_ptr<Prober>> Prober::start(net::EventLoop& loop, ProberOptions options) {
  if (auto valid = validate(options); !valid) return fail(valid.error());
  return std::unique_ptr<Prober>(new Prober(std::make_unique<Impl>(loop, std::move(options))));
}

VantageReport Prober::report() const { return impl_->report(); }

}  // namespace leeward::health

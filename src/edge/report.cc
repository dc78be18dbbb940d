#include "edge/internal/report.h"

#include <fmt/format.h>

#include <iterator>

#include "edge/match_path.h"

namespace leeward::edge {
namespace {

constexpr std::string_view kClasses[] = {"gone", "1xx", "2xx", "3xx", "4xx", "5xx"};

class Text {
 public:
  void family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    fmt::format_to(std::back_inserter(out_), "# HELP {} {}\n# TYPE {} {}\n", name, help, name,
                   type);
  }
  template <typename T>
  void sample(std::string_view labels, T value, std::string_view suffix = "") {
    out_.append(name_).append(suffix);
    if (!labels.empty()) out_.append("{").append(labels).append("}");
    fmt::format_to(std::back_inserter(out_), " {}\n", value);
  }
  std::string take() { return std::move(out_); }

 private:
  std::string name_, out_;
};

}  // namespace

void Report::add(const LoopStats& stats) {
  accepted_ += stats.accepted.value();
  shed_ += stats.shed.value();
  clients_ += stats.clients.value();
  bad_ += stats.bad_requests.value();
  refused_ += stats.refused.value();
  parked_ += stats.parked_now.value();
  stats.each_route([&](const std::string& name, const RouteStats& s) {
    Route& route = routes_[name];
    for (std::size_t i = 0; i < route.status.size(); ++i) route.status[i] += s.status[i].value();
    for (std::size_t i = 0; i < route.latency.size(); ++i) route.latency[i] += s.latency[i].value();
    route.hits += s.cache_hits.value();
    route.misses += s.cache_misses.value();
    route.bytes_out += s.bytes_out.value();
    route.retries += s.retries.value();
    route.hedges += s.hedges.value();
    route.hedges_won += s.hedges_won.value();
    route.parked += s.parked.value();
    route.parked_too_long += s.parked_too_long.value();
    route.signature_refused += s.signature_refused.value();
    route.latency_us += s.latency_us.value();
  });
  stats.each_group([&](const std::string& name, const GroupStats& s) {
    auto& group = groups_[name];
    group.resize(std::max(group.size(), s.origins.size()));
    for (std::size_t i = 0; i < s.origins.size(); ++i) {
      group[i].requests += s.origins[i].requests.value();
      group[i].connects += s.origins[i].connects.value();
      group[i].failures += s.origins[i].failures.value();
      group[i].tls_failures += s.origins[i].tls_failures.value();
    }
  });
}

std::string Report::prometheus_text() const {
  Text t;
  auto route_counter = [&](std::string_view name, std::string_view help,
                           std::uint64_t Route::*member) {
    t.family(name, "counter", help);
    for (const auto& [route, r] : routes_) t.sample(fmt::format("route=\"{}\"", route), r.*member);
  };
  auto origin_counter = [&](std::string_view name, std::string_view type, std::string_view help,
                            std::uint64_t Origin::*member) {
    t.family(name, type, help);
    for (const auto& [group, origins] : groups_)
      for (std::size_t i = 0; i < origins.size(); ++i)
        t.sample(fmt::format("group=\"{}\",origin=\"{}\"", group, i), origins[i].*member);
  };
  t.family("leeward_edge_connections_total", "counter", "Connections accepted from clients.");
  t.sample("", accepted_);
  t.family("leeward_edge_connections_shed_total", "counter", "Connections closed at a limit.");
  t.sample("", shed_);
  t.family("leeward_edge_connections", "gauge", "Clients connected.");
  t.sample("", clients_);
  t.family("leeward_edge_bad_requests_total", "counter", "Requests refused by the parser.");
  t.sample("", bad_);
  t.family("leeward_edge_refused_total", "counter", "Requests refused by the firewall.");
  t.sample("", refused_);
  t.family("leeward_edge_parked", "gauge", "Requests that wait for the writer to move.");
  t.sample("", parked_);
  t.family("leeward_edge_access_log_dropped_total", "counter",
           "Lines that found no room or no disk.");
  t.sample("", access_log_dropped);
  t.family("leeward_edge_audit_log_dropped_total", "counter",
           "Lines that found no room or no disk.");
  t.sample("", audit_log_dropped);
  t.family("leeward_edge_responses_total", "counter", "Responses by route and class.");
  for (const auto& [route, r] : routes_)
    for (std::size_t i = 0; i < r.status.size(); ++i)
      t.sample(fmt::format("route=\"{}\",class=\"{}\"", route, kClasses[i]), r.status[i]);
  route_counter("leeward_edge_route_hits_total", "Answered from the cache.", &Route::hits);
  route_counter("leeward_edge_route_misses_total", "Fetched for the cache.", &Route::misses);
  route_counter("leeward_edge_body_bytes_total", "Bytes of response bodies.", &Route::bytes_out);
  route_counter("leeward_edge_retries_total", "Attempts after a failed one.", &Route::retries);
  route_counter("leeward_edge_hedges_total", "Second attempts beside a slow one.", &Route::hedges);
  route_counter("leeward_edge_hedges_won_total", "Hedges that answered first.", &Route::hedges_won);
  route_counter("leeward_edge_parked_total", "Requests that waited for the writer.",
                &Route::parked);
  route_counter("leeward_edge_parked_refused_total", "Waited too long, or found no room.",
                &Route::parked_too_long);
  route_counter("leeward_edge_signature_refused_total", "Without a signature that is good.",
                &Route::signature_refused);
  t.family("leeward_edge_request_seconds", "histogram",
           "From a request's head to its response's end.");
  for (const auto& [route, r] : routes_) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < r.latency.size(); ++i) {
      sum += r.latency[i];
      const std::string le =
          i + 1 < r.latency.size() ? fmt::format("{}", Histogram::kBounds[i]) : "+Inf";
      t.sample(fmt::format("route=\"{}\",le=\"{}\"", route, le), sum, "_bucket");
    }
    t.sample(fmt::format("route=\"{}\"", route), static_cast<double>(r.latency_us) / 1e6, "_sum");
    t.sample(fmt::format("route=\"{}\"", route), sum, "_count");
  }
  origin_counter("leeward_edge_origin_requests_total", "counter", "Attempts at an origin.",
                 &Origin::requests);
  origin_counter("leeward_edge_origin_connects_total", "counter", "Connections begun.",
                 &Origin::connects);
  origin_counter("leeward_edge_origin_failures_total", "counter", "Attempts that failed.",
                 &Origin::failures);
  origin_counter("leeward_edge_origin_tls_failures_total", "counter",
                 "Connections that failed in TLS: a certificate that is none, no handshake.",
                 &Origin::tls_failures);
  return t.take();
}

std::string Report::json(const Snapshot& snapshot, const WriterState& state) const {
  std::string out =
      fmt::format("{{\"clients\":{},\"parked\":{},\"moving\":{},\"epoch\":{},\"routes\":[",
                  clients_, parked_, state.moving, state.epoch.value);
  bool first = true;
  for (const auto& [name, r] : routes_) {
    std::uint64_t total = 0;
    for (std::uint64_t n : r.latency) total += n;
    fmt::format_to(std::back_inserter(out),
                   "{}{{\"route\":\"{}\",\"requests\":{},\"errors\":{},\"hits\":{},\"misses\":{},"
                   "\"bytes\":{},\"retries\":{},\"hedges\":{},\"latency_us\":{},\"buckets\":[",
                   first ? "" : ",", name, total, r.status[5], r.hits, r.misses, r.bytes_out,
                   r.retries, r.hedges, r.latency_us);
    for (std::size_t i = 0; i < r.latency.size(); ++i)
      fmt::format_to(std::back_inserter(out), "{}{}", i == 0 ? "" : ",", r.latency[i]);
    out.append("]}");
    first = false;
  }
  out.append("],\"origins\":[");
  first = true;
  for (const Group& group : snapshot.groups) {
    auto found = groups_.find(group.spec.name);
    if (found == groups_.end()) continue;
    for (std::size_t i = 0; i < group.spec.origins.size() && i < found->second.size(); ++i) {
      const Origin& o = found->second[i];
      fmt::format_to(std::back_inserter(out),
                     "{}{{\"group\":\"{}\",\"origin\":\"{}\",\"requests\":{},\"connects\":{},"
                     "\"failures\":{}}}",
                     first ? "" : ",", group.spec.name, group.spec.origins[i].name, o.requests,
                     o.connects, o.failures);
      first = false;
    }
  }
  return out.append("]}");
}

namespace {

// Writes what the signature is worth, and returns the target without it.
std::string_view explain_signature(Loop& loop, const RouteSpec& route, bool https,
                                   const HostText& host, std::string_view target,
                                   std::string& out) {
  if (route.signing_keys.empty()) return target;
  const std::int64_t now =
      std::chrono::duration_cast<std::chrono::seconds>(loop.both().wall.time_since_epoch()).count();
  const SignatureCheck check = check_signature({.scheme = https ? "https" : "http",
                                                .host = host.view(),
                                                .target = target,
                                                .cookie = {},
                                                .client = {}},
                                               route.signing_keys, now);
  if (!check.good) {
    fmt::format_to(std::back_inserter(out), "signature refused: 403, {}\n", check.reason);
    return target;
  }
  out.append("signature good\n");
  return target.substr(0, check.target_size);
}

}  // namespace

std::string explain_request(Loop& loop, std::string_view url,
                            const std::optional<ClientAddress>& client) {
  const bool https = url.starts_with("https://");
  if (!https && !url.starts_with("http://")) return "write http://HOST/PATH or https://HOST/PATH\n";
  url.remove_prefix(https ? 8 : 7);
  const std::size_t slash = std::min(url.find('/'), url.size());
  HostText host;
  if (!valid_host(url.substr(0, slash)) || !normalize_host(url.substr(0, slash), https, host))
    return "the URL's host is none\n";
  const std::string target(slash < url.size() ? url.substr(slash) : "/");
  std::string out = fmt::format("GET {} of {}\n", target, host.view());
  std::string storage;
  const RouteSpec* route = loop.snapshot().find(host.view(), match_path(target, storage));
  if (route == nullptr) return out + "route     none matches: 404\n";
  fmt::format_to(std::back_inserter(out), "route     {} (host {}, path {})\n", route->name,
                 route->host.empty() ? "any" : route->host, route->path);
  RequestView request;
  request.method_text = "GET";
  request.scheme = https ? "https" : "http";
  request.host = host.view();
  request.target = target;
  request.client = client.value_or(ClientAddress{});
  if (const Firewall* firewall = loop.snapshot().config.firewall.get())
    out.append(firewall->explain(request, client.has_value(), loop.both()));
  request.target = explain_signature(loop, *route, https, host, target, out);
  Cache* cache = loop.shared().options.cache.get();
  fmt::format_to(std::back_inserter(out), "cache     {}\n",
                 cache == nullptr || !route->cache
                     ? "not for this route"
                     : cache->explain(request, *route->cache, loop.both()));
  const GroupState& group = *loop.group(route->group);
  fmt::format_to(std::back_inserter(out), "group     {}; a second attempt after {}\n",
                 group.spec().name, format_duration(group.core.hedge_after()));
  for (std::size_t i = 0; i < group.core.size(); ++i) {
    const OriginSpec& origin = group.spec().origins[i];
    fmt::format_to(std::back_inserter(out), "origin    {} at {}: {}, {} under way\n", origin.name,
                   origin.address, group.core.describe(loop.now(), i), group.core.under_way(i));
  }
  if (loop.state().moving) out.append("writer    moves: requests that need it wait\n");
  return out;
}

std::string explain_inspection(const Waf& waf, std::string_view url,
                               const std::optional<ClientAddress>& client) {
  url.remove_prefix(std::min(url.find("//"), url.size()));
  url.remove_prefix(std::min<std::size_t>(2, url.size()));
  const std::size_t slash = std::min(url.find('/'), url.size());
  const std::string host(url.substr(0, slash));
  // As a browser would ask; without a client its address is this machine's.
  InspectedRequest request;
  request.client = client.value_or(*parse_client_address("::1"));
  request.method = "GET";
  request.target = slash < url.size() ? url.substr(slash) : "/";
  request.protocol = "1.1";
  request.host = host;
  request.fields = {{"Host", host}, {"User-Agent", "Mozilla/5.0"}, {"Accept", "*/*"}};
  const WafVerdict verdict = waf.engine->inspect(request);
  std::string out = fmt::format(
      "waf       mode {}, {}: ", waf.settings.mode == WafMode::kBlock ? "block" : "detect",
      waf.settings.before_cache ? "before the cache" : "before an origin");
  switch (verdict.kind) {
    case WafVerdict::Kind::kPass:
      out.append("passes");
      break;
    case WafVerdict::Kind::kBlock:
      fmt::format_to(std::back_inserter(out), "{}{} by rule {} ({})",
                     waf.settings.mode == WafMode::kBlock ? "" : "would be ",
                     verdict.challenge ? std::string("challenged without a pass")
                                       : fmt::format("refused with {}", verdict.status),
                     verdict.decisive.rule, verdict.decisive.message);
      break;
    case WafVerdict::Kind::kError:
      out.append("the engine failed: ").append(verdict.decisive.message);
      break;
  }
  for (const RuleMatch& match : verdict.matches)
    fmt::format_to(std::back_inserter(out), "\n          {} {}", match.rule, match.message);
  return out.append("\n");
}

}  // namespace leeward::edge

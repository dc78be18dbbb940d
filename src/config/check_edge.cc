// What the edge section must fit to: tiers, origins, certificates, keys.
#include <algorithm>

#include "config/internal/check.h"
#include "model/edge.h"
#include "model/waf_expression.h"

namespace leeward::config {
namespace {

constexpr std::uint64_t kSliceBytesMin = 64u << 10;

std::vector<std::string> names_of(const auto& items) {
  std::vector<std::string> names;
  for (const auto& item : items) names.push_back(item.name);
  return names;
}

void check_origin_checks(Reader& r, const EdgeOrigins& origins) {
  const std::string path = "edge.origins." + origins.name + ".check";
  if (!r.sound(path)) return;
  if (!origins.check.grpc) {
    if (!origins.check.grpc_service.empty())
      r.problem(r.key_at(path + ".grpc_service"), path,
                "grpc_service is for checks with grpc: true");
    return;
  }
  if (!origins.check.path.empty())
    r.problem(r.key_at(path + ".path"), path, "a check asks for a path or by gRPC, not both");
  if (origins.protocol != OriginProtocol::kHttp2)
    r.problem(r.key_at(path + ".grpc"), path, "gRPC needs protocol: http2 in its group");
}

void check_origins(Reader& r, const Platform& p, EdgeOrigins& origins) {
  const std::string path = "edge.origins." + origins.name;
  if (!r.sound(path)) return;
  if (origins.tier.empty() == origins.servers.empty()) {
    r.problem(r.key_at(path), path,
              fmt::format("group '{}' needs either tier or servers", origins.name));
    return;
  }
  check_origin_checks(r, origins);
  for (std::size_t i = 0; i < origins.servers.size(); ++i) {
    const std::string place = fmt::format("{}.servers[{}]", path, i);
    if (auto server = parse_edge_server(origins.servers[i]); !server && r.sound(place))
      r.problem(r.value_at(place), place, server.error().message);
  }
  if (origins.tier.empty()) {
    if (origins.shield)
      r.problem(r.key_at(path + ".shield"), path + ".shield",
                "only a tier has another site whose edge could be asked");
    return;
  }
  if (origins.shield && !p.edge->plain_port())
    r.problem(r.key_at(path + ".shield"), path + ".shield",
              "the edges have no listener on {address} without TLS at which they could be asked");
  auto tier = std::find_if(p.tiers.begin(), p.tiers.end(),
                           [&](const Tier& t) { return t.name == origins.tier; });
  if (tier == p.tiers.end())
    r.problem(r.value_at(path + ".tier"), path + ".tier",
              fmt::format("there is no tier {}{}", quoted(origins.tier),
                          suggestion(origins.tier, names_of(p.tiers))));
  else if (!r.present(path + ".check.path") && !origins.check.grpc && tier->ready)
    origins.check.path = tier->ready->path;
}

void check_origin_tls(Reader& r, const EdgeOrigins& origins) {
  const std::string path = "edge.origins." + origins.name + ".tls";
  if (!origins.tls || !r.sound(path)) return;
  if (origins.tls->certificate.empty() != origins.tls->key.empty())
    r.problem(r.key_at(path), path, "certificate and key belong together; give both or none");
  for (const std::string& server : origins.servers)
    if (server.starts_with("unix:") && origins.tls->name.empty())
      r.problem(r.key_at(path), path,
                fmt::format("{} has no host that could be verified; give name", quoted(server)));
}

void check_signing_keys(Reader& r, const EdgeRoute& route, std::size_t index) {
  const std::string path = fmt::format("edge.routes[{}].signed.keys", index);
  if (!r.sound(path)) return;
  if (r.present(path) && route.signing_keys.empty())
    r.problem(r.value_at(path), path, "without a key nobody could sign");
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < route.signing_keys.size(); ++i) {
    const std::string& id = route.signing_keys[i].id;
    const std::string place = fmt::format("{}[{}].id", path, i);
    if (std::find(ids.begin(), ids.end(), id) != ids.end() && r.sound(place))
      r.problem(r.value_at(place), place, fmt::format("there is a key {} already", quoted(id)));
    ids.push_back(id);
  }
}

// The parser's "column N: what" at the text's own place: column N of it where it is in quotes that
// begin there.
void check_expression(Reader& r, const std::string& path, const Error& error) {
  if (r.sound(path)) r.problem(r.value_at(path), path, error.message);
}

void check_policy(Reader& r, const WafPolicy& policy, const std::string& path) {
  for (std::size_t i = 0; i < policy.rules.size(); ++i) {
    const std::string place = fmt::format("{}.rules[{}]", path, i);
    if (auto when = parse_waf_expression(policy.rules[i].when); !when)
      check_expression(r, place + ".when", when.error());
    for (std::size_t j = 0; j < i; ++j)
      if (policy.rules[j].name == policy.rules[i].name && r.sound(place + ".name"))
        r.problem(r.value_at(place + ".name"), place + ".name",
                  fmt::format("there is a rule {} already", quoted(policy.rules[i].name)));
  }
  const std::vector<std::string> groups(kWafGroups.begin(), kWafGroups.end());
  for (std::size_t i = 0; i < policy.exclusions.size(); ++i) {
    const WafExclusion& e = policy.exclusions[i];
    const std::string place = fmt::format("{}.exclusions[{}]", path, i);
    for (std::size_t j = 0; j < e.groups.size(); ++j) {
      const std::string group = fmt::format("{}.groups[{}]", place, j);
      if (std::find(groups.begin(), groups.end(), e.groups[j]) == groups.end() && r.sound(group))
        r.problem(r.value_at(group), group,
                  fmt::format("there is no group {}{}", quoted(e.groups[j]),
                              suggestion(e.groups[j], groups)));
    }
    for (std::size_t j = 0; j < e.values.size(); ++j) {
      const std::string at = fmt::format("{}.values[{}]", place, j);
      auto value = parse_waf_value(e.values[j]);
      if (!value)
        check_expression(r, at, value.error());
      else if ((value->size || value->lower) && r.sound(at))
        r.problem(r.value_at(at), at, "size and lower mean nothing here; name the value alone");
    }
  }
}

// Who is challenged must be able to get a pass.
void check_challenge(Reader& r, const EdgeFirewall& firewall) {
  if (firewall.challenge.secret.kind != SecretRef::Kind::kNone) return;
  auto needs = [&](const std::string& place) {
    if (r.sound(place))
      r.problem(r.value_at(place), place,
                "action challenge needs edge.firewall.challenge.secret, which signs the passes");
  };
  for (std::size_t i = 0; i < firewall.rate_limits.size(); ++i)
    if (firewall.rate_limits[i].action == RateAction::kChallenge)
      needs(fmt::format("edge.firewall.rate_limits[{}].action", i));
  if (!firewall.waf.policy) return;
  for (std::size_t i = 0; i < firewall.waf.policy->rules.size(); ++i)
    if (firewall.waf.policy->rules[i].action == WafAction::kChallenge)
      needs(fmt::format("edge.firewall.policy.rules[{}].action", i));
}

// A rule that asks for what nobody finds out would never hold.
void check_crawlers(Reader& r, const EdgeWaf& waf) {
  if (waf.crawlers.verify || !waf.policy) return;
  for (std::size_t i = 0; i < waf.policy->rules.size(); ++i) {
    const std::string place = fmt::format("edge.firewall.policy.rules[{}].when", i);
    const auto when = parse_waf_expression(waf.policy->rules[i].when);
    if (when && when->asks_for(WafField::kCrawler) && r.sound(place))
      r.problem(r.value_at(place), place, "crawler needs edge.firewall.crawlers.verify: true");
  }
}

void check_firewall(Reader& r, const EdgeFirewall& firewall) {
  const std::string path = "edge.firewall";
  if (!r.sound(path)) return;
  if (!firewall.block_countries.empty() && firewall.country_file.empty())
    r.problem(r.value_at(path + ".block_countries"), path + ".block_countries",
              "without country_file nobody's country is known");
  for (const char* needs_rules : {".mode", ".on_failure", ".before_cache", ".body_bytes_max"})
    if (firewall.waf.rules_file.empty() && !firewall.waf.policy && r.present(path + needs_rules))
      r.problem(r.key_at(path + needs_rules), path + needs_rules,
                "without rules_file or policy no request is inspected");
  if (firewall.waf.policy) {
    if (!firewall.waf.rules_file.empty())
      r.problem(r.key_at(path + ".policy"), path + ".policy",
                "give rules_file or policy; a policy's own rules and exclusions can say the rest");
    check_policy(r, *firewall.waf.policy, path + ".policy");
  }
  check_challenge(r, firewall);
  check_crawlers(r, firewall.waf);
  if (firewall.waf.held_bytes_max / 2 < firewall.waf.body_bytes_max && r.sound(path))
    r.problem(r.key_at(path), path,
              "held_bytes_max is below twice body_bytes_max: one network of clients has half of it "
              "at most, so a body of that size could never be inspected");
  std::vector<std::string> names;
  for (std::size_t i = 0; i < firewall.rate_limits.size(); ++i) {
    const std::string& name = firewall.rate_limits[i].name;
    const std::string place = fmt::format("{}.rate_limits[{}].name", path, i);
    if (std::find(names.begin(), names.end(), name) != names.end() && r.sound(place))
      r.problem(r.value_at(place), place,
                fmt::format("there is a rate limit {} already", quoted(name)));
    names.push_back(name);
  }
}

}  // namespace

void check_edge(Reader& r, Platform& p) {
  if (!p.edge || !r.sound("edge.listeners") || !r.sound("edge.routes")) return;
  EdgeSpec& edge = *p.edge;
  for (EdgeOrigins& origins : edge.origins) {
    check_origins(r, p, origins);
    check_origin_tls(r, origins);
  }
  check_firewall(r, edge.firewall);
  auto empty = [&](const auto& list, const std::string& path, const char* what) {
    if (list.empty() && r.present(path)) r.problem(r.value_at(path), path, what);
  };
  empty(edge.listeners, "edge.listeners", "an edge without a listener serves nobody");
  empty(edge.routes, "edge.routes", "an edge without a route answers 404 to everything");
  for (std::size_t i = 0; i < edge.routes.size(); ++i) {
    const std::string path = fmt::format("edge.routes[{}].origins", i);
    const auto names = names_of(edge.origins);
    if (r.sound(path) &&
        std::find(names.begin(), names.end(), edge.routes[i].origins) == names.end())
      r.problem(
          r.value_at(path), path,
          fmt::format("there is no group {} in edge.origins{}", quoted(edge.routes[i].origins),
                      suggestion(edge.routes[i].origins, names)));
  }
  for (std::size_t i = 0; i < edge.routes.size(); ++i) {
    const std::string path = fmt::format("edge.routes[{}].cache", i);
    const auto names = names_of(edge.cache_policies);
    const std::string& name = edge.routes[i].cache;
    if (!name.empty() && r.sound(path) && r.sound("edge.cache_policies") &&
        std::find(names.begin(), names.end(), name) == names.end())
      r.problem(r.value_at(path), path,
                fmt::format("there is no policy {} in edge.cache_policies{}", quoted(name),
                            suggestion(name, names)));
  }
  for (std::size_t i = 0; i < edge.cache_policies.size(); ++i) {
    const std::string path = fmt::format("edge.cache_policies[{}].slice_bytes", i);
    const std::uint64_t size = edge.cache_policies[i].policy.slice_bytes;
    if (size != 0 && size < kSliceBytesMin && r.sound(path))
      r.problem(r.value_at(path), path,
                fmt::format("slices of {} bytes would cost a request to the origin each; "
                            "at least {}, or 0 for none",
                            size, kSliceBytesMin));
  }
  for (std::size_t i = 0; i < edge.routes.size(); ++i) check_signing_keys(r, edge.routes[i], i);
  for (std::size_t i = 0; i < edge.listeners.size(); ++i) {
    const std::string path = fmt::format("edge.listeners[{}]", i);
    const std::string& address = edge.listeners[i].address;
    if (address != "{address}" && !kAddressRule.valid(address) && r.sound(path))
      r.problem(r.value_at(path + ".address"), path + ".address",
                fmt::format("{} is neither an IPv4 address nor {{address}}", quoted(address)));
    if (edge.listeners[i].tls && edge.certificates.empty() && r.sound("edge.certificates"))
      r.problem(r.value_at(path + ".tls"), path + ".tls",
                "a listener with tls needs edge.certificates");
  }
}

}  // namespace leeward::config

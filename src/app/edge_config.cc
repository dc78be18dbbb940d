#include "app/edge_config.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/sha256.h"
#include "config/config.h"

namespace leeward::app {
namespace {

void add_tier(const Platform& platform, SiteId self, const Tier& tier, edge::GroupSpec& group) {
  for (SiteId site : platform.workload_sites()) {
    const Site& s = platform.site(site);
    if (site != self && (tier.local || group.shield))
      if (auto port = platform.edge->plain_port())
        group.origins.push_back({.name = s.name + "-edge",
                                 .address = fmt::format("{}:{}", s.address, *port),
                                 .site = site,
                                 .edge = true});
    if (site != self && tier.local) continue;
    const std::string host = tier.local ? "127.0.0.1" : s.address;
    if (tier.functions_at(s))
      group.origins.push_back({.name = fmt::format("{}-{}-functions", s.name, tier.name),
                               .address = fmt::format("{}:{}", host, tier.port),
                               .site = site,
                               .functions = true});
    for (int i = 0; i < tier.slots_at(s); ++i)
      group.origins.push_back({.name = fmt::format("{}-{}-{}", s.name, tier.name, i),
                               .address = fmt::format("{}:{}", host, tier.first_port_at(s) + i),
                               .site = site});
  }
}

std::string absolute(const Platform& platform, const std::string& path) {
  if (path.empty() || path.front() == '/') return path;
  return (std::filesystem::path(platform.directory) / path).string();
}

}  // namespace

edge::EdgeConfig edge_config(const Platform& platform, SiteId self) {
  const EdgeSpec& spec = *platform.edge;
  edge::EdgeConfig config;
  config.site = platform.site(self).name;
  for (const EdgeListener& l : spec.listeners)
    config.listeners.push_back(
        {.address = fmt::format(
             "{}:{}", l.address == "{address}" ? platform.site(self).address : l.address, l.port),
         .tls = l.tls,
         .proxy_protocol = l.proxy_protocol,
         .trusted = l.trusted});
  for (const EdgeCertificate& c : spec.certificates)
    config.certificates.push_back({.chain_path = absolute(platform, c.chain),
                                   .key_path = absolute(platform, c.key),
                                   .ocsp_path = absolute(platform, c.ocsp)});
  for (const EdgeOrigins& o : spec.origins) {
    edge::GroupSpec group{.name = o.name,
                          .origins = {},
                          .policy = o.policy,
                          .sticky_cookie = o.sticky_cookie,
                          .shield = o.shield,
                          .proxy_protocol = o.proxy_protocol,
                          .protocol = o.protocol,
                          .tls = o.tls};
    if (group.tls)
      for (std::string* path : {&group.tls->ca, &group.tls->certificate, &group.tls->key})
        *path = absolute(platform, *path);
    for (const std::string& text : o.servers)
      if (auto server = parse_edge_server(text))  // the configuration's check said what is wrong
        group.origins.push_back(
            {.name = server->address, .address = server->address, .weight = server->weight});
    for (const Tier& tier : platform.tiers)
      if (tier.name == o.tier) add_tier(platform, self, tier, group);
    config.groups.push_back(std::move(group));
  }
  std::map<std::string, std::shared_ptr<const CachePolicy>> policies;
  for (const EdgeCachePolicy& p : spec.cache_policies)
    policies[p.name] = std::make_shared<const CachePolicy>(p.policy);
  for (const EdgeRoute& r : spec.routes) {
    auto group = std::find_if(spec.origins.begin(), spec.origins.end(),
                              [&](const EdgeOrigins& o) { return o.name == r.origins; });
    config.routes.push_back({.name = (r.host.empty() ? "any" : r.host) + r.path,
                             .host = r.host,
                             .path = r.path,
                             .group = static_cast<std::size_t>(group - spec.origins.begin()),
                             .writer = r.writer,
                             .hedge = r.hedge,
                             .upgrade = r.upgrade,
                             .cache = r.cache.empty() ? nullptr : policies.at(r.cache)});
  }
  config.timeouts = spec.timeouts;
  config.limits = spec.limits;
  config.parking = spec.parking;
  config.server_timing = spec.server_timing;
  return config;
}

Status read_signing_keys(const Platform& platform, edge::EdgeConfig& config) {
  for (std::size_t i = 0; i < config.routes.size(); ++i)
    for (const EdgeSigningKey& key : platform.edge->routes[i].signing_keys) {
      const std::string what = fmt::format("route {}, key {}", config.routes[i].name, key.id);
      auto secret = config::resolve_secret(key.secret, platform.directory);
      if (!secret) return fail(std::move(secret.error()).wrap(what));
      if (secret->size() < edge::kSigningSecretMin)
        return fail(Code::kInvalid, "{}: the secret has fewer than {} bytes", what,
                    edge::kSigningSecretMin);
      config.routes[i].signing_keys.push_back({key.id, std::move(*secret)});
    }
  return {};
}

std::string edge_hop_key(std::string_view agent_token) {
  return hmac_sha256(agent_token, "leeward edge hop");
}

Result<std::optional<edge::Challenge::Options>> edge_challenge(const Platform& platform) {
  const EdgeChallenge& spec = platform.edge->firewall.challenge;
  if (spec.secret.kind == SecretRef::Kind::kNone) return std::nullopt;
  edge::Challenge::Options options{.secrets = {}, .pass_for = spec.pass_for, .bits = spec.bits};
  for (const SecretRef* ref : {&spec.secret, &spec.former_secret}) {
    if (ref->kind == SecretRef::Kind::kNone) continue;
    auto secret = config::resolve_secret(*ref, platform.directory);
    if (!secret) return fail(std::move(secret.error()).wrap("firewall.challenge"));
    if (secret->size() < edge::Challenge::kSecretMin)
      return fail(Code::kInvalid, "firewall.challenge: the secret has fewer than {} bytes",
                  edge::Challenge::kSecretMin);
    options.secrets.push_back(std::move(*secret));
  }
  return options;
}

EdgeFirewall edge_firewall(const Platform& platform) {
  EdgeFirewall firewall = platform.edge->firewall;
  for (std::string* path : {&firewall.allow_file, &firewall.block_file, &firewall.country_file})
    *path = absolute(platform, *path);
  firewall.waf = {};
  return firewall;
}

EdgeWaf edge_waf(const Platform& platform) {
  EdgeWaf waf = platform.edge->firewall.waf;
  waf.rules_file = absolute(platform, waf.rules_file);
  return waf;
}

}  // namespace leeward::app

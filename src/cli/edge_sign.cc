// edge sign: makes a signed URL with a key of the route that the URL belongs to. Asks nobody.
#include <chrono>

#include "cli/internal/commands.h"
#include "cli/internal/edge_view.h"
#include "config/config.h"
#include "edge/signed_url.h"
#include "model/edge.h"

namespace leeward::cli {
namespace {

bool host_matches(std::string_view pattern, std::string_view host) {
  if (pattern.empty()) return true;
  return pattern.starts_with("*.") ? host.ends_with(pattern.substr(1)) : pattern == host;
}

// The first one of the longest path that fits, a host that is named before any.
const EdgeRoute* route_of(const EdgeSpec& edge, std::string_view url) {
  const std::size_t scheme = std::min(url.find("://"), url.size());
  const std::size_t begin = std::min(scheme + 3, url.size());
  const std::size_t slash = std::min(url.find_first_of("/?", begin), url.size());
  std::string_view host = url.substr(begin, slash - begin);
  host = host.substr(0, host.rfind(':'));
  const std::string path(slash < url.size() && url[slash] == '/' ? url.substr(slash) : "/");
  const EdgeRoute* best = nullptr;
  for (const EdgeRoute& route : edge.routes) {
    if (!host_matches(route.host, host) || !path.starts_with(route.path)) continue;
    const bool better = best == nullptr || best->host.empty() != route.host.empty()
                            ? best == nullptr || best->host.empty()
                            : route.path.size() > best->path.size();
    if (better) best = &route;
  }
  return best;
}

Result<edge::SigningKey> key_of(const Platform& platform, const SignOptions& options) {
  if (!platform.edge) return fail(Code::kInvalid, "the platform has no section 'edge'");
  const EdgeRoute* route = route_of(*platform.edge, options.url);
  if (route == nullptr || route->signing_keys.empty())
    return fail(Code::kInvalid, "{}: no route with signed.keys is for this URL", options.url);
  for (const EdgeSigningKey& key : route->signing_keys) {
    if (!options.key.empty() && key.id != options.key) continue;
    auto secret = config::resolve_secret(key.secret, platform.directory);
    if (!secret) return fail(std::move(secret.error()).wrap("key " + key.id));
    return edge::SigningKey{key.id, std::move(*secret)};
  }
  return fail(Code::kNotFound, "the URL's route has no key '{}'", options.key);
}

}  // namespace

int edge_sign(const Globals& globals, const SignOptions& options, Io& io) {
  auto platform = load_platform(globals, io);
  if (!platform) return report(io, platform.error());
  auto key = key_of(*platform, options);
  if (!key) return report(io, key.error());
  const auto now = std::chrono::duration_cast<std::chrono::seconds>(
      std::chrono::system_clock::now().time_since_epoch() + options.expires);
  auto made = edge::sign_url({.url = options.url,
                              .prefix = options.prefix,
                              .expires = now.count(),
                              .client_network = options.client_network},
                             *key);
  if (!made) return report(io, made.error());
  if (globals.json) {
    Json json{{"url", made->url}, {"expires", now.count()}, {"key", key->id}};
    if (options.prefix) json["parameters"] = made->parameters;
    if (!made->cookie.empty()) json["cookie"] = made->cookie;
    io.out << to_text(json);
    return 0;
  }
  if (!options.prefix) {
    io.out << made->url << "\n";
    return 0;
  }
  io.out << "URL         " << made->url << "\nparameters  " << made->parameters << "\n";
  if (!made->cookie.empty()) io.out << "cookie      " << made->cookie << "\n";
  return 0;
}

}  // namespace leeward::cli

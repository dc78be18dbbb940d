#include "edge/internal/snapshot.h"

#include <algorithm>

#include "edge/internal/tls.h"
#include "edge/internal/tls_client.h"

namespace leeward::edge {
namespace {

// "/shop" is a prefix of "/shop" and "/shop/x", not of "/shopping".
bool has_prefix(std::string_view path, std::string_view prefix) {
  if (!path.starts_with(prefix)) return false;
  if (prefix.back() == '/' || path.size() == prefix.size()) return true;
  return path[prefix.size()] == '/';
}

const RouteSpec* longest(const std::vector<const RouteSpec*>& routes, std::string_view path) {
  for (const RouteSpec* route : routes)
    if (has_prefix(path, route->path)) return route;
  return nullptr;
}

Status check_route(const RouteSpec& route, std::size_t groups) {
  if (route.path.empty() || route.path.front() != '/')
    return fail(Code::kInvalid, "route {}: path '{}' does not begin with /", route.name,
                route.path);
  if (route.group >= groups)
    return fail(Code::kInvalid, "route {}: there is no such group of origins", route.name);
  return {};
}

Result<Group> compile_group(const GroupSpec& spec) {
  Group group{.spec = spec, .addresses = {}, .tls = nullptr};
  if (spec.origins.empty() || spec.origins.size() > OriginCore::kOriginsMax)
    return fail(Code::kInvalid, "group {}: {} origins; 1 to {} are possible", spec.name,
                spec.origins.size(), OriginCore::kOriginsMax);
  for (const OriginSpec& origin : spec.origins) {
    auto address = parse_socket_address(origin.address);
    if (!address) return fail(std::move(address.error()).wrap("group " + spec.name));
    if (origin.weight == 0)
      return fail(Code::kInvalid, "group {}: origin {} has no weight", spec.name, origin.name);
    group.addresses.push_back(*address);
  }
  if (spec.tls) {
    auto tls = TlsClient::load(*spec.tls, spec.protocol);
    if (!tls) return fail(std::move(tls.error()).wrap("group " + spec.name));
    group.tls = std::move(*tls);
  }
  return group;
}

}  // namespace

const RouteSpec* Snapshot::find(std::string_view host, std::string_view path) const {
  // A route is for a name at whatever port the listener has.
  if (const std::size_t colon = host.rfind(':');
      colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos)
    host = host.substr(0, colon);
  if (auto found = exact_.find(host); found != exact_.end())
    if (const RouteSpec* route = longest(found->second, path)) return route;
  if (!below_.empty()) {
    for (std::size_t dot = host.find('.'); dot != std::string_view::npos;
         dot = host.find('.', dot + 1))
      if (auto found = below_.find(host.substr(dot)); found != below_.end())
        if (const RouteSpec* route = longest(found->second, path)) return route;
  }
  return longest(any_, path);
}

Result<std::shared_ptr<const Snapshot>> compile(EdgeConfig config) {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->config = std::move(config);
  const EdgeLimits& limits = snapshot->config.limits;
  snapshot->head_limits = {.target_bytes_max = limits.target_bytes_max,
                           .head_bytes_max = limits.head_bytes_max,
                           .fields_max = limits.fields_max};
  bool tls = false;
  for (const ListenerSpec& listener : snapshot->config.listeners) {
    if (auto address = parse_socket_address(listener.address); !address)
      return fail(std::move(address.error()).wrap("listener"));
    tls = tls || listener.tls;
  }
  for (const GroupSpec& spec : snapshot->config.groups) {
    auto group = compile_group(spec);
    if (!group) return fail(std::move(group.error()));
    snapshot->groups.push_back(std::move(*group));
  }
  for (const RouteSpec& route : snapshot->config.routes) {
    if (auto checked = check_route(route, snapshot->groups.size()); !checked)
      return fail(std::move(checked.error()));
    if (route.host.empty())
      snapshot->any_.push_back(&route);
    else if (route.host.starts_with("*."))
      snapshot->below_[route.host.substr(1)].push_back(&route);
    else
      snapshot->exact_[route.host].push_back(&route);
  }
  auto sort = [](Snapshot::Routes& routes) {
    std::stable_sort(routes.begin(), routes.end(), [](const RouteSpec* a, const RouteSpec* b) {
      return a->path.size() > b->path.size();
    });
  };
  for (auto& [host, routes] : snapshot->exact_) sort(routes);
  for (auto& [host, routes] : snapshot->below_) sort(routes);
  sort(snapshot->any_);
  if (tls) {
    auto server = TlsServer::load(snapshot->config.certificates);
    if (!server) return fail(std::move(server.error()));
    snapshot->tls = std::move(*server);
  }
  return std::shared_ptr<const Snapshot>(std::move(snapshot));
}

}  // namespace leeward::edge

#include "app/edge_admin.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "app/edge_digests.h"
#include "console/auth.h"

namespace leeward::app {
namespace {

using Json = nlohmann::json;
using Kind = edge::PurgeRequest::Kind;

constexpr std::size_t kPopularMax = 100'000;
constexpr std::size_t kBansToldMax = 10'000;

net::HttpResponse text(std::string body, std::string type) {
  net::HttpResponse response;
  response.body = std::move(body);
  response.content_type = std::move(type);
  return response;
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Error no_such(const net::HttpRequest& request) {
  return {Code::kNotFound, "there is no " + request.method + " " + request.path};
}

// The strings of an array; kInvalid when it is none.
Result<std::vector<std::string>> texts(const Json& json, const char* key) {
  const Json value = json.is_object() ? json.value(key, Json()) : Json();
  if (!value.is_array()) return fail(Code::kInvalid, "the request needs an array '{}'", key);
  std::vector<std::string> all;
  for (const Json& item : value) {
    if (!item.is_string()) return fail(Code::kInvalid, "'{}' holds texts only", key);
    all.push_back(item.get<std::string>());
  }
  return all;
}

}  // namespace

net::HttpResponse EdgeAdmin::answer(const net::HttpRequest& request) {
  if (request.method == "GET" && request.path == "/healthz")
    return text("{\"ok\":true}", "application/json");
  if (request.method == "GET" && request.path == "/metrics")
    return text(
        edge_.prometheus_text() + cache_.prometheus_text() + rules_.current()->prometheus_text() +
            waf_.prometheus_text() +
            firewall_metrics(*rules_.current(), waf_.current().get(), !reload_refused_.empty()),
        "text/plain; version=0.0.4");
  if (auto allowed = console::authorize(request, context_.tokens, console::Role::kOperator);
      !allowed)
    return net::error_response(allowed.error());
  auto json = request.method == "GET"    ? read(request)
              : request.method == "POST" ? change(request)
                                         : Result<std::string>(fail(no_such(request)));
  if (!json) return net::error_response(json.error());
  return text(std::move(*json), "application/json");
}

Result<std::string> EdgeAdmin::read(const net::HttpRequest& request) const {
  if (request.path == "/v1/edge/top") return edge_.top_json();
  if (request.path == "/v1/edge/explain") return explain(request);
  if (request.path == "/v1/edge/bans") return bans();
  if (request.path == "/v1/edge/firewall") return firewall();
  if (request.path == "/v1/edge/popular") {
    const std::string count(request.parameter("count"));
    char* end = nullptr;
    const unsigned long long wanted = std::strtoull(count.c_str(), &end, 10);
    if (count.empty() || *end != '\0' || wanted == 0 || wanted > kPopularMax)
      return fail(Code::kInvalid, "count is a number from 1 to {}", kPopularMax);
    return dump(Json{{"urls", cache_.popular_urls(wanted)}});
  }
  if (request.path == "/v1/edge/warm") {
    const edge::WarmProgress p = edge_.warm_progress();
    return dump(Json{{"waiting", p.waiting},
                     {"under_way", p.under_way},
                     {"warmed", p.warmed},
                     {"failed", p.failed}});
  }
  return fail(no_such(request));
}

Result<std::string> EdgeAdmin::change(const net::HttpRequest& request) {
  if (request.path == "/v1/edge/purge") return purge(request.body);
  if (request.path == "/v1/edge/warm") return warm(request.body);
  if (request.path == "/v1/edge/unban") return unban(request.body);
  return fail(no_such(request));
}

// {"kind": "url" | "prefix" | "key" | "all", "texts": [...], "soft": false}
Result<std::string> EdgeAdmin::purge(const std::string& body) {
  const Json json = Json::parse(body, nullptr, false);
  auto wanted = texts(json, "texts");
  if (!wanted) return fail(std::move(wanted.error()));
  const Json kind = json.value("kind", Json("url"));
  const Json soft = json.value("soft", Json(false));
  if (!kind.is_string() || !soft.is_boolean())
    return fail(Code::kInvalid, "kind is a text, soft is true or false");
  const std::pair<const char*, Kind> kinds[] = {
      {"url", Kind::kUrl}, {"prefix", Kind::kPrefix}, {"key", Kind::kTag}, {"all", Kind::kAll}};
  auto found = std::find_if(std::begin(kinds), std::end(kinds),
                            [&](const auto& k) { return kind.get<std::string>() == k.first; });
  if (found == std::end(kinds)) return fail(Code::kInvalid, "kind is url, prefix, key or all");
  if (found->second == Kind::kAll) wanted->assign(1, "");
  std::uint64_t objects = 0;
  for (const std::string& one : *wanted) {
    auto purged = cache_.purge({found->second, one, soft.get<bool>()});
    if (!purged) return fail(std::move(purged.error()));
    objects += *purged;
  }
  context_.logger.info("purged", {{"kind", found->first},
                                  {"count", fmt::format("{}", wanted->size())},
                                  {"soft", soft.get<bool>() ? "yes" : "no"}});
  return dump(Json{{"purged", wanted->size()}, {"objects", objects}});
}

Result<std::string> EdgeAdmin::explain(const net::HttpRequest& request) const {
  std::optional<edge::ClientAddress> client;
  if (const std::string address(request.parameter("client")); !address.empty()) {
    client = edge::parse_client_address(address);
    if (!client)
      return fail(Code::kInvalid, "'{}' is neither an IPv4 nor an IPv6 address", address);
  }
  return dump(Json{{"text", edge_.explain(request.parameter("url"), client)}});
}

std::string EdgeAdmin::firewall() const {
  const edge::Waf* waf = waf_.current().get();
  const char* mode = waf == nullptr                          ? "off"
                     : waf->settings.mode == WafMode::kBlock ? "block"
                                                             : "detect";
  return dump(Json{{"mode", mode},
                   {"rules", waf == nullptr ? 0 : waf->rules},
                   {"parts", firewall_digests(*rules_.current(), waf, true)},
                   {"reload_refused", reload_refused_}});
}

std::string EdgeAdmin::bans() const {
  Json all = Json::array();
  for (const auto& ban : rules_.current()->banned(BootClock::now(), kBansToldMax))
    all.push_back(
        {{"client", ban.client}, {"rule", ban.rule}, {"seconds_left", seconds(ban.left)}});
  return dump(Json{{"bans", std::move(all)}});
}

// {"clients": ["192.0.2.7", ...]} or {"all": true}
Result<std::string> EdgeAdmin::unban(const std::string& body) {
  const Json json = Json::parse(body, nullptr, false);
  edge::AccessRules& rules = *rules_.current();
  std::size_t lifted = 0;
  if (json.is_object() && json.value("all", Json()) == Json(true)) {
    lifted = rules.lift_all(BootClock::now());
  } else {
    auto clients = texts(json, "clients");
    if (!clients) return fail(std::move(clients.error()));
    std::vector<edge::ClientAddress> addresses;
    for (const std::string& client : *clients) {
      const auto address = edge::parse_client_address(client);
      if (!address)
        return fail(Code::kInvalid, "'{}' is neither an IPv4 nor an IPv6 address", client);
      addresses.push_back(*address);
    }
    for (const edge::ClientAddress& address : addresses)
      lifted += rules.lift(address, BootClock::now());
  }
  context_.logger.info("bans lifted", {{"count", fmt::format("{}", lifted)}});
  return dump(Json{{"lifted", lifted}});
}

// {"urls": ["http://host/path", ...]}
Result<std::string> EdgeAdmin::warm(const std::string& body) {
  auto urls = texts(Json::parse(body, nullptr, false), "urls");
  if (!urls) return fail(std::move(urls.error()));
  return dump(Json{{"taken", edge_.warm(*urls)}});
}

}  // namespace leeward::app

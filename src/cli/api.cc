#include "cli/internal/api.h"

#include <cstdlib>

#include "cli/internal/agents.h"
#include "config/config.h"
#include "net/http.h"

namespace leeward::cli {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

Api::Api(Endpoint endpoint, std::string token, std::string_view what)
    : endpoint_(std::move(endpoint)),
      token_(std::move(token)),
      what_(fmt::format("{} at {}", what, to_string(endpoint_))) {}

Result<Json> Api::get(const std::string& path, std::map<std::string, std::string> query,
                      Duration timeout) const {
  return call("GET", path, std::move(query), "", timeout);
}

Result<Json> Api::post(const std::string& path, const Json& body, Duration timeout) const {
  return call("POST", path, {}, to_text(body, -1), timeout);
}

Result<Json> Api::call(std::string method, const std::string& path,
                       std::map<std::string, std::string> query, std::string body,
                       Duration timeout) const {
  net::HttpRequest request;
  request.method = std::move(method);
  request.path = path;
  request.query = std::move(query);
  request.headers["Authorization"] = "Bearer " + token_;
  if (!body.empty()) request.headers["Content-Type"] = "application/json";
  request.body = std::move(body);
  auto response = net::http_call(endpoint_, std::move(request), timeout);
  if (!response) return fail(std::move(response.error()).wrap(what_));
  if (response->status >= 400) {
    Error error = net::error_from_response(*response);
    if (error.code == Code::kUnauthorized)
      error.message += "; set LEEWARD_TOKEN, or name the platform's configuration with --config";
    return fail(std::move(error).wrap(what_));
  }
  Json json = Json::parse(response->body, nullptr, false);
  if (!json.is_object())
    return fail(Code::kCorrupt, "{}: the answer to {} is not a JSON object", what_, path);
  return json;
}

Result<Platform> load_platform(const Globals& globals, Io& io) {
  config::Loaded loaded = config::load_file(globals.config_path);
  if (loaded.platform) return std::move(*loaded.platform);
  for (const config::Problem& problem : loaded.problems)
    io.err << printable(to_string(problem)) << "\n";
  return fail(Code::kInvalid, "{} cannot be used; name another file with --config",
              globals.config_path);
}

Result<std::string> operator_token(const Platform& platform) {
  std::string token = environment("LEEWARD_TOKEN");
  if (!token.empty()) return token;
  auto secret = config::resolve_secret(platform.operator_token, platform.directory);
  if (!secret) return fail(std::move(secret.error()).wrap("access.operator_token"));
  return secret;
}

Result<Api> control_api(const Globals& globals, Io& io) {
  std::string address = globals.address.empty() ? environment("LEEWARD_ADDRESS") : globals.address;
  std::string token = environment("LEEWARD_TOKEN");
  Endpoint endpoint;
  if (!address.empty()) {
    auto parsed = parse_endpoint(address);
    if (!parsed) return fail(std::move(parsed.error()).wrap("address of the control API"));
    endpoint = *parsed;
  }
  if (address.empty() || token.empty()) {
    auto platform = load_platform(globals, io);
    if (!platform) return fail(std::move(platform.error()));
    if (address.empty()) endpoint = platform->control.listen;
    auto resolved = operator_token(*platform);
    if (!resolved) return fail(std::move(resolved.error()));
    token = std::move(*resolved);
  }
  return Api(endpoint, token, "the control API");
}

Result<std::vector<Agent>> agents(const Globals& globals, const std::string& only, Io& io) {
  auto platform = load_platform(globals, io);
  if (!platform) return fail(std::move(platform.error()));
  auto token = operator_token(*platform);
  if (!token) return fail(std::move(token.error()));
  std::vector<Agent> all;
  for (SiteId id : platform->workload_sites()) {
    const Site& site = platform->site(id);
    if (!only.empty() && site.name != only) continue;
    all.push_back({site.name, Api({site.address, platform->agent_port}, *token,
                                  "the agent of site " + site.name)});
  }
  if (all.empty()) return fail(Code::kInvalid, "there is no workload site '{}'", only);
  return all;
}

std::string to_text(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace) + "\n";
}

const Json& member(const Json& json, std::string_view key) {
  static const Json kNull;
  if (!json.is_object()) return kNull;
  auto found = json.find(key);
  return found == json.end() ? kNull : *found;
}

std::string text_of(const Json& json, std::string_view key) {
  const Json& value = member(json, key);
  return value.is_string() ? printable(value.get_ref<const std::string&>()) : "";
}

double number_of(const Json& json, std::string_view key, double otherwise) {
  const Json& value = member(json, key);
  return value.is_number() ? value.get<double>() : otherwise;
}

bool flag_of(const Json& json, std::string_view key) {
  const Json& value = member(json, key);
  return value.is_boolean() && value.get<bool>();
}

}  // namespace leeward::cli

#include "functions/registry_json.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "base/hex.h"
#include "functions/base64.h"

namespace leeward::functions {
namespace {

using nlohmann::json;

constexpr int kFormat = 1;
constexpr std::size_t kDepthMax = 32;

json to_json(const FunctionSettings& s) {
  return {{"runtime", s.runtime},
          {"handler", s.handler},
          {"role", s.role},
          {"description", s.description},
          {"timeout_seconds", s.timeout_seconds},
          {"memory_megabytes", s.memory_megabytes},
          {"tmp_megabytes", s.tmp_megabytes},
          {"environment", s.environment},
          {"dead_letter_arn", s.dead_letter_arn},
          {"code_sha256", s.code_sha256},
          {"code_bytes", s.code_bytes},
          {"last_modified", s.last_modified},
          {"revision_id", s.revision_id}};
}

// The library would make a whole number of any, whatever becomes of it.
template <typename Number>
void take_whole(const json& j, const char* name, Number& out) {
  const json& value = j.at(name);
  if (!value.is_number_unsigned() ||
      value.get<std::uint64_t>() > std::numeric_limits<Number>::max())
    throw std::out_of_range(fmt::format("'{}' is no number of its kind", name));
  out = value.get<Number>();
}

FunctionSettings settings_from(const json& j) {
  FunctionSettings s;
  j.at("runtime").get_to(s.runtime);
  j.at("handler").get_to(s.handler);
  j.at("role").get_to(s.role);
  j.at("description").get_to(s.description);
  take_whole(j, "timeout_seconds", s.timeout_seconds);
  take_whole(j, "memory_megabytes", s.memory_megabytes);
  take_whole(j, "tmp_megabytes", s.tmp_megabytes);
  j.at("environment").get_to(s.environment);
  j.at("dead_letter_arn").get_to(s.dead_letter_arn);
  j.at("code_sha256").get_to(s.code_sha256);
  take_whole(j, "code_bytes", s.code_bytes);
  j.at("last_modified").get_to(s.last_modified);
  j.at("revision_id").get_to(s.revision_id);
  return s;
}

json to_json(const Function& f) {
  json out{{"latest", to_json(f.latest)}, {"last_version", f.last_version}, {"tags", f.tags}};
  for (const auto& [number, version] : f.versions)
    out["versions"][std::to_string(number)] = to_json(version);
  for (const auto& [name, a] : f.aliases)
    out["aliases"][name] = {{"version", a.version},
                            {"weights", a.weights},
                            {"description", a.description},
                            {"revision_id", a.revision_id}};
  if (f.reserved_concurrency) out["reserved_concurrency"] = *f.reserved_concurrency;
  for (const auto& [qualifier, u] : f.urls)
    out["urls"][qualifier] = {{"id", u.id},
                              {"auth_type", u.auth_type},
                              {"streams", u.streams},
                              {"created", u.created},
                              {"last_modified", u.last_modified}};
  for (const auto& [qualifier, e] : f.events)
    out["events"][qualifier] = {{"retries_max", e.retries_max},
                                {"age_seconds_max", e.age_seconds_max},
                                {"on_success_arn", e.on_success_arn},
                                {"on_failure_arn", e.on_failure_arn},
                                {"last_modified", e.last_modified}};
  return out;
}

Function function_from(const json& j) {
  Function f;
  // Named, because items() of a temporary would outlive it.
  const json none = json::object();
  auto member = [&](const char* name) -> const json& {
    const auto found = j.find(name);
    return found == j.end() ? none : *found;
  };
  f.latest = settings_from(j.at("latest"));
  take_whole(j, "last_version", f.last_version);
  j.at("tags").get_to(f.tags);
  for (const auto& [number, version] : member("versions").items())
    f.versions[std::stoull(number)] = settings_from(version);
  for (const auto& [name, a] : member("aliases").items())
    f.aliases[name] = {a.at("version"), a.at("weights"), a.at("description"), a.at("revision_id")};
  if (j.contains("reserved_concurrency"))
    take_whole(j, "reserved_concurrency", f.reserved_concurrency.emplace());
  for (const auto& [qualifier, u] : member("urls").items())
    f.urls[qualifier] = {u.at("id"), u.at("auth_type"), u.at("streams"), u.at("created"),
                         u.at("last_modified")};
  for (const auto& [qualifier, e] : member("events").items()) {
    EventSettings& events = f.events[qualifier];
    events = {0, 0, e.at("on_success_arn"), e.at("on_failure_arn"), e.at("last_modified")};
    take_whole(e, "retries_max", events.retries_max);
    take_whole(e, "age_seconds_max", events.age_seconds_max);
  }
  return f;
}

// Recursion of the parser is bounded by refusing depth before it is built.
json parse_bounded(std::string_view text) {
  bool too_deep = false;
  auto watch = [&](int depth, json::parse_event_t, json&) {
    if (depth > static_cast<int>(kDepthMax)) too_deep = true;
    return !too_deep;
  };
  json parsed = json::parse(text, watch, false);
  return too_deep ? json(json::value_t::discarded) : parsed;
}

tl::unexpected<ApiError> wrong_type(const char* name, std::string_view wanted) {
  return tl::unexpected(
      ApiError{400, "SerializationException", fmt::format("'{}' must be {}.", name, wanted)});
}

ApiStatus take_number(const json& request, const char* name, std::uint32_t& out) {
  auto found = request.find(name);
  if (found == request.end() || found->is_null()) return {};
  if (!found->is_number_integer() || found->get<std::int64_t>() < 0 ||
      found->get<std::int64_t>() > 1'000'000'000)
    return wrong_type(name, "a whole number");
  out = found->get<std::uint32_t>();
  return {};
}

ApiStatus take_text(const json& request, const char* name, std::string& out) {
  auto found = request.find(name);
  if (found == request.end() || found->is_null()) return {};
  auto text = text_member(request, name);
  if (!text) return tl::unexpected(text.error());
  out = std::move(*text);
  return {};
}

// The object `name` of the request; null when it is not there.
ApiResult<json> take_object(const json& request, const char* name) {
  auto found = request.find(name);
  if (found == request.end() || found->is_null()) return json();
  if (!found->is_object()) return wrong_type(name, "an object");
  return *found;
}

ApiStatus take_environment(const json& request, FunctionSettings& settings) {
  auto environment = take_object(request, "Environment");
  if (!environment) return tl::unexpected(environment.error());
  if (environment->is_null()) return {};
  auto variables = take_object(*environment, "Variables");
  if (!variables) return tl::unexpected(variables.error());
  settings.environment.clear();
  for (const auto& [name, value] : variables->items()) {
    if (!value.is_string()) return wrong_type("Environment.Variables", "a map of strings");
    settings.environment[name] = value.get<std::string>();
  }
  return {};
}

// Things of AWS that this host has not: naming one is an error unless it is empty.
ApiStatus refuse_foreign(const json& request) {
  for (const char* name : {"VpcConfig", "Layers", "FileSystemConfigs", "ImageConfig", "SnapStart",
                           "KMSKeyArn", "CodeSigningConfigArn"}) {
    auto found = request.find(name);
    if (found == request.end() || found->is_null() || found->empty()) continue;
    if (found->is_string() && found->get_ref<const std::string&>().empty()) continue;
    return invalid_parameter(fmt::format("{} is not offered here.", name));
  }
  auto package = text_member(request, "PackageType");
  if (!package) return tl::unexpected(package.error());
  if (!package->empty() && *package != "Zip")
    return invalid_parameter("PackageType must be Zip here.");
  return {};
}

}  // namespace

std::string save_registry(const Registry& registry) {
  json out{{"format", kFormat}, {"functions", json::object()}};
  for (const auto& [name, function] : registry.all()) out["functions"][name] = to_json(function);
  return out.dump(1, ' ', false, json::error_handler_t::replace);
}

Status load_registry(Registry& registry, std::string_view text) {
  const json in = parse_bounded(text);
  std::map<std::string, Function> functions;
  // The library reports a missing or wrong member by exception only; it does not leave this room.
  try {
    if (!in.is_object() || in.at("format") != kFormat)
      return fail(Code::kCorrupt, "the list of functions is not one of this version");
    for (const auto& [name, function] : in.at("functions").items())
      functions[name] = function_from(function);
  } catch (const std::exception& error) {
    return fail(Code::kCorrupt, "the list of functions is damaged: {}", error.what());
  }
  registry.load(std::move(functions));
  return {};
}

json function_shape(const Registry& registry, const std::string& name, const std::string& version,
                    const FunctionSettings& s) {
  json out {
    {"FunctionName", name}, {"FunctionArn", registry.arn(name, version == kLatest ? "" : version)},
        {"Runtime", s.runtime}, {"Role", s.role}, {"Handler", s.handler},
        {"CodeSize", s.code_bytes}, {"Description", s.description}, {"Timeout", s.timeout_seconds},
        {"MemorySize", s.memory_megabytes}, {"LastModified", s.last_modified},
        {"CodeSha256", base64_of_hex(s.code_sha256)}, {"Version", version},
        {"TracingConfig", {{"Mode", "PassThrough"}}}, {"RevisionId", s.revision_id},
        {"State", "Active"}, {"LastUpdateStatus", "Successful"}, {"PackageType", "Zip"},
#if defined(__aarch64__)
        {"Architectures", {"arm64"}},
#else
        {"Architectures", {"x86_64"}},
#endif
    {
      "EphemeralStorage", {
        { "Size", s.tmp_megabytes }
      }
    }
  };
  if (!s.environment.empty()) out["Environment"] = {{"Variables", s.environment}};
  if (!s.dead_letter_arn.empty()) out["DeadLetterConfig"] = {{"TargetArn", s.dead_letter_arn}};
  return out;
}

json alias_shape(const Registry& registry, const std::string& name, const std::string& alias,
                 const Alias& value) {
  json out{{"AliasArn", registry.arn(name, alias)},
           {"Name", alias},
           {"FunctionVersion", value.version},
           {"Description", value.description},
           {"RevisionId", value.revision_id}};
  if (!value.weights.empty()) out["RoutingConfig"] = {{"AdditionalVersionWeights", value.weights}};
  return out;
}

json url_shape(const Registry& registry, const std::string& name, const std::string& qualifier,
               const UrlSettings& url, const std::string& address) {
  return {{"FunctionUrl", fmt::format("{}/function-urls/{}/", address, url.id)},
          {"FunctionArn", registry.arn(name, qualifier)},
          {"AuthType", url.auth_type},
          {"InvokeMode", url.streams ? "RESPONSE_STREAM" : "BUFFERED"},
          {"CreationTime", url.created},
          {"LastModifiedTime", url.last_modified}};
}

json event_shape(const Registry& registry, const std::string& name, const std::string& qualifier,
                 const EventSettings& s) {
  json destinations = json::object();
  if (!s.on_success_arn.empty()) destinations["OnSuccess"] = {{"Destination", s.on_success_arn}};
  if (!s.on_failure_arn.empty()) destinations["OnFailure"] = {{"Destination", s.on_failure_arn}};
  return {{"FunctionArn", registry.arn(name, qualifier.empty() ? kLatest : qualifier)},
          {"MaximumRetryAttempts", s.retries_max},
          {"MaximumEventAgeInSeconds", s.age_seconds_max},
          {"DestinationConfig", destinations}};
}

ApiStatus apply_members(const json& request, FunctionSettings& s) {
  ApiStatus ok = refuse_foreign(request);
  if (ok) ok = take_text(request, "Runtime", s.runtime);
  if (ok) ok = take_text(request, "Handler", s.handler);
  if (ok) ok = take_text(request, "Role", s.role);
  if (ok) ok = take_text(request, "Description", s.description);
  if (ok) ok = take_number(request, "Timeout", s.timeout_seconds);
  if (ok) ok = take_number(request, "MemorySize", s.memory_megabytes);
  if (ok) ok = take_environment(request, s);
  if (!ok) return ok;
  auto storage = take_object(request, "EphemeralStorage");
  if (!storage) return tl::unexpected(storage.error());
  if (storage->is_object()) ok = take_number(*storage, "Size", s.tmp_megabytes);
  auto dead_letters = take_object(request, "DeadLetterConfig");
  if (!dead_letters) return tl::unexpected(dead_letters.error());
  if (ok && dead_letters->is_object())
    ok = take_text(*dead_letters, "TargetArn", s.dead_letter_arn);
  return ok;
}

ApiStatus apply_members(const json& request, Alias& alias) {
  ApiStatus ok = take_text(request, "FunctionVersion", alias.version);
  if (ok) ok = take_text(request, "Description", alias.description);
  if (!ok) return ok;
  auto routing = take_object(request, "RoutingConfig");
  if (!routing) return tl::unexpected(routing.error());
  if (routing->is_null()) return {};
  auto weights = take_object(*routing, "AdditionalVersionWeights");
  if (!weights) return tl::unexpected(weights.error());
  alias.weights.clear();
  for (const auto& [version, weight] : weights->items()) {
    if (!weight.is_number()) return wrong_type("AdditionalVersionWeights", "a map of numbers");
    alias.weights[version] = weight.get<double>();
  }
  return {};
}

ApiStatus apply_members(const json& request, EventSettings& s) {
  ApiStatus ok = take_number(request, "MaximumRetryAttempts", s.retries_max);
  if (ok) ok = take_number(request, "MaximumEventAgeInSeconds", s.age_seconds_max);
  if (!ok) return ok;
  if (s.retries_max > 2) return invalid_parameter("MaximumRetryAttempts must be between 0 and 2.");
  if (s.age_seconds_max < 60 || s.age_seconds_max > 21'600)
    return invalid_parameter("MaximumEventAgeInSeconds must be between 60 and 21600.");
  auto destinations = take_object(request, "DestinationConfig");
  if (!destinations) return tl::unexpected(destinations.error());
  if (destinations->is_null()) return {};
  for (auto [name, arn] :
       {std::pair{"OnSuccess", &s.on_success_arn}, std::pair{"OnFailure", &s.on_failure_arn}}) {
    auto one = take_object(*destinations, name);
    if (!one) return tl::unexpected(one.error());
    arn->clear();
    if (one->is_object()) ok = take_text(*one, "Destination", *arn);
    if (!ok) return ok;
  }
  return {};
}

ApiResult<json> parse_request(std::string_view body) {
  if (body.empty()) return json::object();
  json parsed = parse_bounded(body);
  if (!parsed.is_object())
    return tl::unexpected(
        ApiError{400, "SerializationException", "The request's body is not a JSON object."});
  return parsed;
}

ApiResult<std::string> text_member(const json& request, const char* name) {
  auto found = request.find(name);
  if (found == request.end() || found->is_null()) return std::string{};
  if (!found->is_string()) return wrong_type(name, "a string");
  return found->get<std::string>();
}

std::string base64_of_hex(std::string_view digits) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2)
    bytes += static_cast<char>(hex_digit(digits[i]) * 16 + hex_digit(digits[i + 1]));
  return base64(bytes);
}

}  // namespace leeward::functions

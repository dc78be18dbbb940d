// The control plane of the Lambda API: which call a request is, and what each does. Paths and
// shapes are those of the API's model (2015-03-31 and later additions), as botocore has it.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "compute/instance_log.h"
#include "functions/base64.h"
#include "functions/internal/api_request.h"

namespace leeward::functions {
namespace {

using nlohmann::json;

constexpr std::size_t kPageMax = 50;

std::vector<std::string> segments_of(std::string_view path) {
  std::vector<std::string> all;
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    const auto end = std::min(path.find('/'), path.size());
    if (end > 0) all.emplace_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return all;
}

tl::unexpected<ApiError> unknown_operation(const net::HttpRequest& request) {
  return tl::unexpected(
      ApiError{404, "UnknownOperationException",
               fmt::format("{} {} is not offered here.", request.method, request.path)});
}

// The page of `all` that Marker and MaxItems ask for, under `key`, with NextMarker.
ApiResult<json> page(const net::HttpRequest& request, const char* key, const json& all) {
  std::size_t first = 0, count = kPageMax;
  auto number = [](std::string_view text, std::size_t& out) {
    if (text.empty()) return true;
    if (text.size() > 9 || text.find_first_not_of("0123456789") != std::string_view::npos)
      return false;
    out = static_cast<std::size_t>(std::stoul(std::string(text)));
    return true;
  };
  if (!number(request.parameter("Marker"), first) ||
      !number(request.parameter("MaxItems"), count) || count == 0)
    return invalid_parameter("Marker and MaxItems must be numbers.");
  count = std::min(count, kPageMax);
  json out{{key, json::array()}};
  for (std::size_t i = first; i < all.size() && i < first + count; ++i) out[key].push_back(all[i]);
  if (first + count < all.size()) out["NextMarker"] = std::to_string(first + count);
  return out;
}

}  // namespace

void FunctionService::handle(net::HttpRequest http, net::Responder respond) {
  constexpr std::string_view kUrls = "/function-urls/";
  if (stopping_) {
    net::HttpResponse response;
    response.status = 503;
    response.headers["x-amzn-ErrorType"] = "ServiceException";
    response.body = R"({"Type":"Server","Message":"The host is stopping."})";
    response.close = true;
    return respond(std::move(response));
  }
  if (http.path.starts_with(kUrls)) {
    const std::string id =
        http.path.substr(kUrls.size(), http.path.find('/', kUrls.size()) - kUrls.size());
    const std::size_t prefix = kUrls.size() + id.size();
    auto reference = registry_.find_url(id);
    if (!reference) {
      net::HttpResponse response;
      response.status = 404;
      response.body = R"({"Message":"Not Found"})";
      return respond(std::move(response));
    }
    http.path = http.path.size() > prefix ? http.path.substr(prefix) : "/";
    http.target = http.target.size() > prefix ? http.target.substr(prefix) : "/";
    if (!http.target.starts_with('/')) http.target.insert(0, "/");
    return handle_url(*reference, std::move(http), std::move(respond));
  }
  Request request;
  request.http = std::move(http);
  request.respond = std::move(respond);
  request.request_id = uuid();
  if (!options_.access_keys.empty()) {
    ApiStatus known = check_signature(request.http, options_.access_keys, SystemClock().now().wall);
    if (!known) return request.answer(tl::unexpected(known.error()));
  }
  route(request);
}

template <typename... Args>
void FunctionService::answer_change(Request& request,
                                    Answer (FunctionService::*change)(Request&, Args...),
                                    const std::type_identity_t<Args>&... args) {
  if (request.http.method == "GET") return request.answer((this->*change)(request, args...));
  auto before = registry_.all();
  Answer answer = (this->*change)(request, args...);
  if (!answer) registry_.load(std::move(before));
  request.answer(std::move(answer));
}

void FunctionService::route(Request& request) {
  const std::vector<std::string> path = segments_of(request.http.path);
  const std::string& method = request.http.method;
  if (path.size() == 2 && path[0] == "leeward" && path[1] == "functions" && method == "GET")
    return request.answer(usage_list());
  if (path.size() == 4 && path[0] == "leeward" && path[1] == "functions" && path[3] == "log" &&
      method == "GET")
    return request.answer(log_tail(path[2]));
  if (path.size() < 2) return request.answer(unknown_operation(request.http));
  // An Invoke carries the function's payload, everything else an object of the API's own.
  const std::string& last = path.back();
  const bool carries_payload = last == "invocations" || last == "response-streaming-invocations";
  if (!carries_payload) {
    auto body = parse_request(request.http.body);
    if (!body) return request.answer(tl::unexpected(body.error()));
    request.body = std::move(*body);
  }
  if (path[1] == "tags" && path[0] == "2017-03-31" && path.size() == 3)
    return answer_change(request, &FunctionService::tags, path[2]);
  if (path[1] != "functions") return request.answer(unknown_operation(request.http));
  if (path.size() == 2) {
    if (method == "GET") return request.answer(list_functions(request));
    if (method == "POST") return store_code(request, &FunctionService::create_function);
    return request.answer(unknown_operation(request.http));
  }
  auto reference =
      registry_.parse_reference(path[2], std::string(request.http.parameter("Qualifier")));
  if (!reference) return request.answer(tl::unexpected(reference.error()));
  request.function = std::move(*reference);
  route_function(request, path[0], {path.begin() + 3, path.end()});
}

void FunctionService::route_function(Request& request, const std::string& date,
                                     std::vector<std::string> rest) {
  const std::string& method = request.http.method;
  const std::string what = rest.empty() ? "" : rest[0];
  if (rest.size() == 2 && what == "aliases") {
    if (method == "GET") return request.answer(get_alias(request, rest[1]));
    if (method == "PUT") return answer_change(request, &FunctionService::put_alias, rest[1]);
    if (method == "DELETE") return answer_change(request, &FunctionService::delete_alias, rest[1]);
  }
  if (rest.size() > 1) return request.answer(unknown_operation(request.http));
  if (what.empty() && method == "GET") return request.answer(get_function(request));
  if (what.empty() && method == "DELETE")
    return answer_change(request, &FunctionService::delete_function);
  if (what == "configuration" && method == "GET") return request.answer(get_configuration(request));
  if (what == "configuration" && method == "PUT")
    return answer_change(request, &FunctionService::update_configuration);
  if (what == "code" && method == "PUT") return store_code(request, &FunctionService::update_code);
  if (what == "versions" && method == "POST")
    return answer_change(request, &FunctionService::publish);
  if (what == "versions" && method == "GET") return request.answer(list_versions(request));
  if (what == "aliases" && method == "POST")
    return answer_change(request, &FunctionService::put_alias, "");
  if (what == "aliases" && method == "GET") return request.answer(list_aliases(request));
  if (what == "concurrency") return answer_change(request, &FunctionService::concurrency);
  if (what == "url" || what == "urls")
    return answer_change(request, &FunctionService::function_url);
  if (what == "event-invoke-config") return answer_change(request, &FunctionService::event_config);
  if (what == "invocations" && method == "POST") return invoke(request);
  if (what == "response-streaming-invocations" && date == "2021-11-15" && method == "POST")
    return invoke_streaming(request);
  request.answer(unknown_operation(request.http));
}

// Takes the archive out of the request, unpacks it on the other thread and goes on with `then`.
void FunctionService::store_code(Request& request,
                                 Answer (FunctionService::*then)(Request&,
                                                                 const CodeStore::Stored&)) {
  json* code = &request.body;
  if (auto member = request.body.find("Code"); member != request.body.end()) code = &*member;
  if (!code->is_object() || !code->contains("ZipFile"))
    return request.answer(
        invalid_parameter("Code must be given as ZipFile: S3 and images are not offered here."));
  const json& text = (*code)["ZipFile"];
  auto bytes = text.is_string() ? from_base64(text.get_ref<const std::string&>()) : std::nullopt;
  if (!bytes)
    return request.answer(tl::unexpected(
        ApiError{400, "SerializationException", "ZipFile is not a zip archive in base64."}));
  code->erase("ZipFile");
  request.http.body.clear();
  auto archive = std::make_shared<std::string>(std::move(*bytes));
  auto held = std::make_shared<Request>(std::move(request));
  auto work = [this, archive, held, then, alive = std::weak_ptr(alive_)] {
    auto stored = std::make_shared<Result<CodeStore::Stored>>(code_->put(*archive));
    loop_.post([this, stored, held, then, alive] {
      if (alive.expired()) return;
      if (!*stored) {
        const Error& error = stored->error();
        return held->answer(
            error.code == Code::kInvalid
                ? invalid_parameter("Could not unzip uploaded file. " + error.message)
                : service_error(error));
      }
      answer_change(*held, then, **stored);
    });
  };
  if (Status queued = unpacker_->submit(work); !queued)
    held->answer(tl::unexpected(
        ApiError{429, "TooManyRequestsException", "Too many uploads at once; try again."}));
}

FunctionService::Answer FunctionService::create_function(Request& request,
                                                         const CodeStore::Stored& code) {
  auto name = text_member(request.body, "FunctionName");
  if (!name) return tl::unexpected(name.error());
  auto reference = registry_.parse_reference(*name);
  if (!reference) return tl::unexpected(reference.error());
  FunctionSettings settings;
  if (ApiStatus applied = apply_members(request.body, settings); !applied)
    return tl::unexpected(applied.error());
  settings.code_sha256 = code.sha256;
  settings.code_bytes = code.bytes;
  std::map<std::string, std::string> tag_map;
  std::vector<Grant> grants;
  const json wanted = request.body.value("Tags", json::object());
  for (const auto& [key, value] : wanted.items())
    if (value.is_string()) tag_map[key] = value.get<std::string>();
  if (ApiStatus granted = check_grants(tag_map, grants); !granted)
    return tl::unexpected(granted.error());
  if (ApiStatus runnable = check_runnable(reference->name, settings); !runnable)
    return tl::unexpected(runnable.error());
  if (ApiStatus deliverable = check_destination(settings.dead_letter_arn); !deliverable)
    return tl::unexpected(deliverable.error());
  const WallTime now = SystemClock().now().wall;
  if (ApiStatus created = registry_.create(now, reference->name, std::move(settings)); !created)
    return tl::unexpected(created.error());
  Function* function = *registry_.find(reference->name);
  function->tags = std::move(tag_map);
  std::string version = kLatest;
  if (request.body.value("Publish", json(false)) == true) {
    auto published = registry_.publish(now, reference->name, "", "");
    if (published) version = *published;
  }
  if (Status saved = save(); !saved) return service_error(saved.error());
  auto resolved = registry_.resolve({reference->name, version});
  return json_answer(function_shape(registry_, reference->name, version, resolved->settings), 201);
}

FunctionService::Answer FunctionService::update_code(Request& request,
                                                     const CodeStore::Stored& code) {
  const std::string& name = request.function.name;
  auto function = registry_.find(name);
  if (!function) return tl::unexpected(function.error());
  auto revision = text_member(request.body, "RevisionId");
  if (!revision) return tl::unexpected(revision.error());
  FunctionSettings settings = (*function)->latest;
  settings.code_sha256 = code.sha256;
  settings.code_bytes = code.bytes;
  if (ApiStatus runnable = check_runnable(name, settings); !runnable)
    return tl::unexpected(runnable.error());
  if (request.body.value("DryRun", json(false)) == true)
    return json_answer(function_shape(registry_, name, kLatest, settings));
  const WallTime now = SystemClock().now().wall;
  if (ApiStatus updated = registry_.update(now, name, std::move(settings), *revision); !updated)
    return tl::unexpected(updated.error());
  std::string version = kLatest;
  if (request.body.value("Publish", json(false)) == true) {
    auto published = registry_.publish(now, name, "", "");
    if (!published) return tl::unexpected(published.error());
    version = *published;
  }
  if (Status saved = save(); !saved) return service_error(saved.error());
  retire_stale(name);
  collect_code();
  return json_answer(
      function_shape(registry_, name, version, registry_.resolve({name, version})->settings));
}

FunctionService::Answer FunctionService::update_configuration(Request& request) {
  const std::string& name = request.function.name;
  auto function = registry_.find(name);
  if (!function) return tl::unexpected(function.error());
  auto revision = text_member(request.body, "RevisionId");
  if (!revision) return tl::unexpected(revision.error());
  FunctionSettings settings = (*function)->latest;
  ApiStatus ok = apply_members(request.body, settings);
  if (ok) ok = check_runnable(name, settings);
  if (ok) ok = check_destination(settings.dead_letter_arn);
  if (ok) ok = registry_.update(SystemClock().now().wall, name, std::move(settings), *revision);
  if (!ok) return tl::unexpected(ok.error());
  if (Status saved = save(); !saved) return service_error(saved.error());
  retire_stale(name);
  return json_answer(function_shape(registry_, name, kLatest, (*function)->latest));
}

FunctionService::Answer FunctionService::get_function(Request& request) {
  auto resolved = registry_.resolve(request.function);
  if (!resolved) return tl::unexpected(resolved.error());
  const Function& function = registry_.all().at(resolved->name);
  json out{{"Configuration",
            function_shape(registry_, resolved->name, resolved->version, resolved->settings)},
           {"Code", {{"RepositoryType", "Local"}, {"Location", ""}}},
           {"Tags", function.tags}};
  if (function.reserved_concurrency)
    out["Concurrency"] = {{"ReservedConcurrentExecutions", *function.reserved_concurrency}};
  return json_answer(out);
}

FunctionService::Answer FunctionService::get_configuration(Request& request) {
  auto resolved = registry_.resolve(request.function);
  if (!resolved) return tl::unexpected(resolved.error());
  return json_answer(
      function_shape(registry_, resolved->name, resolved->version, resolved->settings));
}

FunctionService::Answer FunctionService::delete_function(Request& request) {
  const std::string& name = request.function.name;
  ApiStatus removed = request.function.qualifier.empty()
                          ? registry_.remove(name)
                          : registry_.remove_version(name, request.function.qualifier);
  if (!removed) return tl::unexpected(removed.error());
  if (Status saved = save(); !saved) return service_error(saved.error());
  retire_stale(name);
  if (request.function.qualifier.empty()) host_->limit(name, std::nullopt);
  collect_code();
  return empty_answer(204);
}

FunctionService::Answer FunctionService::list_functions(Request& request) {
  json all = json::array();
  const bool versions = request.http.parameter("FunctionVersion") == "ALL";
  for (const auto& [name, function] : registry_.all()) {
    all.push_back(function_shape(registry_, name, kLatest, function.latest));
    if (!versions) continue;
    for (const auto& [number, settings] : function.versions)
      all.push_back(function_shape(registry_, name, std::to_string(number), settings));
  }
  auto out = page(request.http, "Functions", all);
  if (!out) return tl::unexpected(out.error());
  return json_answer(*out);
}

FunctionService::Answer FunctionService::publish(Request& request) {
  const std::string& name = request.function.name;
  auto description = text_member(request.body, "Description");
  auto sha256 = text_member(request.body, "CodeSha256");
  auto revision = text_member(request.body, "RevisionId");
  for (auto* member : {&description, &sha256, &revision})
    if (!*member) return tl::unexpected(member->error());
  auto function = registry_.find(name);
  if (!function) return tl::unexpected(function.error());
  if (!sha256->empty() && *sha256 == base64_of_hex((*function)->latest.code_sha256))
    *sha256 = (*function)->latest.code_sha256;
  if (!revision->empty() && *revision != (*function)->latest.revision_id)
    return tl::unexpected(ApiError{412, "PreconditionFailedException",
                                   "The RevisionId provided does not match the latest one."});
  auto version = registry_.publish(SystemClock().now().wall, name, *description, *sha256);
  if (!version) return tl::unexpected(version.error());
  if (Status saved = save(); !saved) return service_error(saved.error());
  return json_answer(
      function_shape(registry_, name, *version, registry_.resolve({name, *version})->settings),
      201);
}

FunctionService::Answer FunctionService::list_versions(Request& request) {
  auto function = registry_.find(request.function.name);
  if (!function) return tl::unexpected(function.error());
  json all =
      json::array({function_shape(registry_, request.function.name, kLatest, (*function)->latest)});
  for (const auto& [number, settings] : (*function)->versions)
    all.push_back(
        function_shape(registry_, request.function.name, std::to_string(number), settings));
  auto out = page(request.http, "Versions", all);
  if (!out) return tl::unexpected(out.error());
  return json_answer(*out);
}

FunctionService::Answer FunctionService::put_alias(Request& request, const std::string& alias) {
  const std::string& name = request.function.name;
  auto function = registry_.find(name);
  if (!function) return tl::unexpected(function.error());
  auto given = text_member(request.body, "Name");
  if (!given) return tl::unexpected(given.error());
  const bool exists = !alias.empty();
  const std::string key = exists ? alias : *given;
  Alias value;
  if (auto known = (*function)->aliases.find(key); exists && known != (*function)->aliases.end())
    value = known->second;
  ApiStatus ok = apply_members(request.body, value);
  if (ok) ok = registry_.set_alias(name, key, std::move(value), exists);
  if (!ok) return tl::unexpected(ok.error());
  if (Status saved = save(); !saved) return service_error(saved.error());
  return json_answer(alias_shape(registry_, name, key, (*function)->aliases.at(key)),
                     exists ? 200 : 201);
}

FunctionService::Answer FunctionService::get_alias(Request& request, const std::string& alias) {
  const std::string& name = request.function.name;
  auto function = registry_.find(name);
  if (!function) return tl::unexpected(function.error());
  auto known = (*function)->aliases.find(alias);
  if (known == (*function)->aliases.end())
    return not_found("Cannot find alias arn: " + registry_.arn(name, alias));
  return json_answer(alias_shape(registry_, name, alias, known->second));
}

FunctionService::Answer FunctionService::delete_alias(Request& request, const std::string& alias) {
  ApiStatus removed = registry_.remove_alias(request.function.name, alias);
  if (!removed) return tl::unexpected(removed.error());
  if (Status saved = save(); !saved) return service_error(saved.error());
  return empty_answer(204);
}

FunctionService::Answer FunctionService::list_aliases(Request& request) {
  auto function = registry_.find(request.function.name);
  if (!function) return tl::unexpected(function.error());
  const std::string_view version = request.http.parameter("FunctionVersion");
  json all = json::array();
  for (const auto& [alias, value] : (*function)->aliases)
    if (version.empty() || value.version == version)
      all.push_back(alias_shape(registry_, request.function.name, alias, value));
  auto out = page(request.http, "Aliases", all);
  if (!out) return tl::unexpected(out.error());
  return json_answer(*out);
}

FunctionService::Answer FunctionService::concurrency(Request& request) {
  const std::string& name = request.function.name;
  const std::string& method = request.http.method;
  auto function = registry_.find(name);
  if (!function) return tl::unexpected(function.error());
  std::optional<std::uint32_t> reserved = (*function)->reserved_concurrency;
  if (method == "PUT") {
    const json wanted = request.body.value("ReservedConcurrentExecutions", json());
    if (!wanted.is_number_unsigned() || wanted.get<std::uint64_t>() > 1'000'000)
      return invalid_parameter("ReservedConcurrentExecutions must be a whole number.");
    reserved = wanted.get<std::uint32_t>();
  } else if (method == "DELETE") {
    reserved = std::nullopt;
  } else if (method != "GET") {
    return unknown_operation(request.http);
  }
  if (method != "GET") {
    if (ApiStatus set = registry_.set_concurrency(name, reserved); !set)
      return tl::unexpected(set.error());
    if (Status saved = save(); !saved) return service_error(saved.error());
    host_->limit(name, reserved);
  }
  if (method == "DELETE") return empty_answer(204);
  json out = json::object();
  if (reserved) out["ReservedConcurrentExecutions"] = *reserved;
  return json_answer(out);
}

FunctionService::Answer FunctionService::function_url(Request& request) {
  const std::string& name = request.function.name;
  const std::string& qualifier = request.function.qualifier;
  const std::string& method = request.http.method;
  auto function = registry_.find(name);
  if (!function) return tl::unexpected(function.error());
  auto& urls = (*function)->urls;
  if (request.http.path.ends_with("/urls")) {
    json all = json::array();
    for (const auto& [of, url] : urls)
      all.push_back(url_shape(registry_, name, of, url, options_.address));
    return json_answer({{"FunctionUrlConfigs", all}});
  }
  const bool exists = urls.contains(qualifier);
  if (method == "POST" && exists)
    return conflict("FunctionUrlConfig exists for this Lambda function");
  if (method != "POST" && !exists) return not_found("The resource you requested does not exist.");
  if (method == "DELETE") {
    urls.erase(qualifier);
    if (Status saved = save(); !saved) return service_error(saved.error());
    return empty_answer(204);
  }
  if (method == "POST" || method == "PUT") {
    if (!qualifier.empty() && !(*function)->aliases.contains(qualifier))
      return not_found("Function not found: " + registry_.arn(name, qualifier));
    UrlSettings url = exists ? urls.at(qualifier) : UrlSettings{};
    auto auth = text_member(request.body, "AuthType");
    auto mode = text_member(request.body, "InvokeMode");
    if (!auth) return tl::unexpected(auth.error());
    if (!mode) return tl::unexpected(mode.error());
    if (!auth->empty() && *auth != "NONE")
      return invalid_parameter("AuthType must be NONE here: put the edge in front of it.");
    if (!mode->empty() && *mode != "BUFFERED" && *mode != "RESPONSE_STREAM")
      return invalid_parameter("InvokeMode must be BUFFERED or RESPONSE_STREAM.");
    if (!mode->empty()) url.streams = *mode == "RESPONSE_STREAM";
    url.last_modified = format_wall(SystemClock().now().wall);
    if (!exists) {
      url.created = url.last_modified;
      url.id = uuid();
      std::erase(url.id, '-');
    }
    urls[qualifier] = url;
    if (Status saved = save(); !saved) return service_error(saved.error());
  } else if (method != "GET") {
    return unknown_operation(request.http);
  }
  return json_answer(url_shape(registry_, name, qualifier, urls.at(qualifier), options_.address),
                     method == "POST" ? 201 : 200);
}

FunctionService::Answer FunctionService::event_config(Request& request) {
  const std::string& name = request.function.name;
  const std::string qualifier =
      request.function.qualifier == kLatest ? "" : request.function.qualifier;
  const std::string& method = request.http.method;
  auto function = registry_.find(name);
  if (!function) return tl::unexpected(function.error());
  auto& all = (*function)->events;
  if (method == "PUT" || method == "POST") {
    EventSettings settings;  // PUT replaces, POST changes what it names
    if (method == "POST" && all.contains(qualifier)) settings = all.at(qualifier);
    ApiStatus ok = apply_members(request.body, settings);
    if (ok) ok = check_destination(settings.on_success_arn);
    if (ok) ok = check_destination(settings.on_failure_arn);
    if (!ok) return tl::unexpected(ok.error());
    settings.last_modified = format_wall(SystemClock().now().wall);
    all[qualifier] = std::move(settings);
  } else if (!all.contains(qualifier)) {
    return not_found(fmt::format("The function {} doesn't have an EventInvokeConfig",
                                 registry_.arn(name, qualifier)));
  } else if (method == "DELETE") {
    all.erase(qualifier);
  } else if (method != "GET") {
    return unknown_operation(request.http);
  }
  if (method != "GET")
    if (Status saved = save(); !saved) return service_error(saved.error());
  if (method == "DELETE") return empty_answer(204);
  return json_answer(event_shape(registry_, name, qualifier, all.at(qualifier)));
}

FunctionService::Answer FunctionService::tags(Request& request, const std::string& arn) {
  auto reference = registry_.parse_reference(arn);
  if (!reference) return tl::unexpected(reference.error());
  auto function = registry_.find(reference->name);
  if (!function) return tl::unexpected(function.error());
  const std::string& method = request.http.method;
  if (method == "GET") return json_answer({{"Tags", (*function)->tags}});
  auto wanted = (*function)->tags;
  if (method == "POST") {
    const json given = request.body.value("Tags", json::object());
    if (!given.is_object()) return invalid_parameter("Tags must be a map.");
    for (const auto& [key, value] : given.items()) {
      if (!value.is_string() || key.size() > 128) return invalid_parameter("Tags are strings.");
      wanted[key] = value.get<std::string>();
    }
    if (wanted.size() > 50) return invalid_parameter("50 tags are the most.");
  } else if (method == "DELETE") {
    wanted.erase(std::string(request.http.parameter("tagKeys")));
  } else {
    return unknown_operation(request.http);
  }
  std::vector<Grant> grants;
  if (ApiStatus granted = check_grants(wanted, grants); !granted)
    return tl::unexpected(granted.error());
  (*function)->tags = std::move(wanted);
  // What a function may reach changed: environments that were made before end.
  (*function)->latest.revision_id = uuid();
  for (auto& [number, version] : (*function)->versions) version.revision_id = uuid();
  if (Status saved = save(); !saved) return service_error(saved.error());
  retire_stale(reference->name);
  return empty_answer(204);
}

// Ours: the end of a function's log.
FunctionService::Answer FunctionService::log_tail(const std::string& name) {
  if (auto function = registry_.find(name); !function) return tl::unexpected(function.error());
  constexpr std::size_t kLines = 200;
  auto lines =
      compute::tail_of_log(fmt::format("{}/log/{}.log", options_.state_directory, name), kLines);
  if (!lines && lines.error().code != Code::kNotFound) return service_error(lines.error());
  return json_answer({{"lines", lines.value_or(std::vector<std::string>{})}});
}

// Ours: what each function used, and what it has now.
FunctionService::Answer FunctionService::usage_list() const {
  json all = json::array();
  for (const auto& [name, function] : registry_.all()) {
    const Usage u = host_->usage(name);
    PoolCounts now;
    for (const auto& [key, entry] : pools_) {
      if (key.first != name) continue;
      const PoolCounts c = host_->counts(entry.pool);
      now.starting += c.starting;
      now.idle += c.idle;
      now.frozen += c.frozen;
      now.busy += c.busy;
      now.prepared += c.prepared;
      now.queued += c.queued;
    }
    all.push_back({{"name", name},
                   {"runtime", function.latest.runtime},
                   {"memory_megabytes", function.latest.memory_megabytes},
                   {"invocations", u.invocations},
                   {"errors", u.errors},
                   {"throttles", u.throttles},
                   {"cold_starts", u.cold_starts},
                   {"prepared_starts", u.prepared_starts},
                   {"billed_milliseconds", u.billed_milliseconds},
                   {"gigabyte_seconds", u.gigabyte_seconds()},
                   {"environments",
                    {{"starting", now.starting},
                     {"idle", now.idle},
                     {"frozen", now.frozen},
                     {"busy", now.busy},
                     {"prepared", now.prepared}}},
                   {"queued", now.queued}});
  }
  return json_answer({{"functions", all}});
}

}  // namespace leeward::functions

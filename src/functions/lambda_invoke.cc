// Invoke and InvokeWithResponseStream, function URLs, and what turns a version into a pool.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "functions/base64.h"
#include "functions/event_stream.h"
#include "functions/function_url.h"
#include "functions/http_function.h"
#include "functions/internal/api_request.h"

namespace leeward::functions {
namespace {

constexpr int kMovesMax = 5;  // times that an invocation follows a function that is being changed
constexpr char kConnectTag[] = "leeward:connect";
constexpr std::size_t kGrantsMax = 16;

// The executable files in the code's folder `extensions`, which run beside the function.
std::vector<std::string> extensions_of(const std::string& code_directory) {
  std::vector<std::string> names;
  const std::string folder = code_directory + "/extensions";
  std::error_code error;  // no such folder: none
  // A link is none either: what is mounted as /opt/extensions is the folder that was read here.
  if (!std::filesystem::is_directory(std::filesystem::symlink_status(folder, error))) return names;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    if (entry.is_regular_file(error) && ::access(entry.path().c_str(), X_OK) == 0)
      names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

tl::unexpected<ApiError> too_many_requests() {
  return tl::unexpected(ApiError{429, "TooManyRequestsException", "Rate Exceeded."});
}

// What the answer to Invoke is made of, when the function ran or could have.
ApiResult<net::HttpResponse> invoke_answer(InvocationResult result, const std::string& version,
                                           bool with_log) {
  if (result.end == InvocationEnd::kThrottled) return too_many_requests();
  if (result.end == InvocationEnd::kServiceError || result.end == InvocationEnd::kRetired)
    return tl::unexpected(ApiError{500, "ServiceException", result.payload});
  net::HttpResponse response;
  response.content_type = result.content_type;
  response.headers["X-Amz-Executed-Version"] = version;
  if (result.end == InvocationEnd::kFunctionError)
    response.headers["X-Amz-Function-Error"] = "Unhandled";
  if (with_log) response.headers["X-Amz-Log-Result"] = base64(result.report.log_tail);
  response.body = std::move(result.payload);
  return response;
}

ApiStatus check_payload(std::string& payload, std::size_t bytes_max) {
  if (payload.size() > bytes_max)
    return tl::unexpected(ApiError{
        413, "RequestTooLargeException",
        fmt::format("{} byte payload is too large for the limit {}", payload.size(), bytes_max)});
  if (payload.empty()) payload = "{}";
  if (!nlohmann::json::accept(payload))
    return tl::unexpected(ApiError{400, "InvalidRequestContentException",
                                   "Could not parse request body into json: this is not JSON"});
  return {};
}

Error error_of(const InvocationResult& result) {
  const auto body = nlohmann::json::parse(result.payload, nullptr, false);
  Error error{Code::kInternal, "Unhandled"};
  if (body.is_object() && body.contains("errorType") && body["errorType"].is_string())
    error.message = body["errorType"].get<std::string>();
  return error;
}

}  // namespace

ApiStatus FunctionService::check_grants(const std::map<std::string, std::string>& tags,
                                        std::vector<Grant>& grants) const {
  auto tag = tags.find(kConnectTag);
  if (tag == tags.end()) return {};
  std::istringstream words(tag->second);
  for (std::string word; words >> word;) {
    std::optional<Grant> allowed;
    for (const Grant& grant : options_.connectable)
      if (to_string(grant.server) == word) allowed = grant;
    if (!allowed)
      return invalid_parameter(
          fmt::format("{}: functions of this host may not connect to '{}'; its configuration says "
                      "what they may",
                      kConnectTag, word));
    grants.push_back(*allowed);
  }
  if (grants.size() > kGrantsMax)
    return invalid_parameter(fmt::format("{}: at most {} servers", kConnectTag, kGrantsMax));
  return {};
}

Result<FunctionVersion> FunctionService::version_of(const Registry::Resolved& resolved) const {
  const FunctionSettings& s = resolved.settings;
  FunctionVersion v;
  v.name = resolved.name;
  v.version = resolved.version;
  v.runtime = s.runtime;
  v.handler = s.handler;
  v.code_directory = code_->directory_of(s.code_sha256);
  v.environment = s.environment;
  v.environment["AWS_REGION"] = registry_.rule().region;
  v.environment["AWS_DEFAULT_REGION"] = registry_.rule().region;
  v.timeout = std::chrono::seconds(s.timeout_seconds);
  v.limits.memory_bytes = std::uint64_t{s.memory_megabytes} << 20;
  v.limits.tmp_bytes = std::uint64_t{s.tmp_megabytes} << 20;
  if (s.runtime == "http") {
    std::istringstream words(s.handler);
    for (std::string word; words >> word;) v.argv.push_back(word);
  }
  auto function = registry_.all().find(resolved.name);
  if (function != registry_.all().end()) {
    ApiStatus granted = check_grants(function->second.tags, v.grants);
    if (!granted) return fail(Code::kRefused, "{}", granted.error().message);
  }
  v.extensions = extensions_of(v.code_directory);
  if (Status applied = apply_runtime(v, options_.tools); !applied) return fail(applied.error());
  return v;
}

// Whether it could be started at all: told when it is created, not when it is needed.
ApiStatus FunctionService::check_runnable(const std::string& name,
                                          const FunctionSettings& settings) const {
  auto version = version_of({name, kLatest, settings});
  if (!version) return invalid_parameter(version.error().message);
  if (settings.runtime.starts_with("provided") &&
      ::access((code_->directory_of(settings.code_sha256) + "/bootstrap").c_str(), X_OK) != 0)
    return invalid_parameter("The code has no executable file 'bootstrap' at its top.");
  if (version->extensions.size() > kSandboxCompanionsMax)
    return invalid_parameter(
        fmt::format("The code's folder 'extensions' has {} programs; {} at most.",
                    version->extensions.size(), kSandboxCompanionsMax));
  return {};
}

ApiResult<PoolId> FunctionService::pool_for(const Registry::Resolved& resolved) {
  auto [at, is_new] = pools_.try_emplace({resolved.name, resolved.version});
  if (!is_new && at->second.revision == resolved.settings.revision_id) return at->second.pool;
  auto version = version_of(resolved);
  if (!version) {
    if (is_new) pools_.erase(at);
    return tl::unexpected(ApiError{502, "InvalidRuntimeException", version.error().message});
  }
  if (!is_new) host_->retire(at->second.pool);
  at->second = {host_->add(std::move(*version)), resolved.settings.revision_id};
  return at->second.pool;
}

void FunctionService::run(const Registry::Resolved& resolved, Invocation invocation,
                          InvocationCaller caller, int attempts) {
  auto pool = pool_for(resolved);
  if (!pool) {
    InvocationResult result;
    result.payload = pool.error().message;
    return caller.done(std::move(result));
  }
  // One that waits while its function is changed goes on with what the function is then.
  InvocationCaller outer = caller;
  outer.done = [this, alive = std::weak_ptr(alive_), resolved, invocation, caller,
                attempts](InvocationResult result) {
    if (result.end != InvocationEnd::kRetired || alive.expired() || attempts >= kMovesMax)
      return caller.done(std::move(result));
    auto again = registry_.resolve({resolved.name, resolved.version});
    if (!again) return caller.done(std::move(result));
    loop_.post([this, alive, again = *again, invocation, caller, attempts] {
      if (!alive.expired()) run(again, invocation, caller, attempts + 1);
    });
  };
  host_->invoke(*pool, std::move(invocation), std::move(outer));
}

void FunctionService::invoke(Request& request) {
  auto resolved = registry_.resolve(request.function, chance());
  if (!resolved) return request.answer(tl::unexpected(resolved.error()));
  const std::string type(request.http.header("X-Amz-Invocation-Type"));
  const bool event = type == "Event";
  if (ApiStatus sound =
          check_payload(request.http.body, event ? kAsynchronousPayloadBytesMax : kPayloadBytesMax);
      !sound)
    return request.answer(tl::unexpected(sound.error()));
  if (type == "DryRun") return request.answer(empty_answer(204));
  if (!type.empty() && type != "RequestResponse" && !event)
    return request.answer(
        invalid_parameter("InvocationType must be RequestResponse, Event or DryRun."));
  std::string context;
  if (auto header = request.http.header("X-Amz-Client-Context"); !header.empty()) {
    auto decoded = from_base64(header);
    if (!decoded || !nlohmann::json::accept(*decoded))
      return request.answer(
          tl::unexpected(ApiError{400, "InvalidRequestContentException",
                                  "Client context must be a valid Base64-encoded JSON object."}));
    context = std::move(*decoded);
  }
  if (event) {
    Event taken{request.function, request.request_id, std::move(request.http.body), context};
    return accept_event(std::move(taken), [request](const ApiStatus& accepted) {
      if (!accepted) return request.answer(tl::unexpected(accepted.error()));
      request.answer(empty_answer(202));
    });
  }
  Invocation invocation;
  invocation.request_id = request.request_id;
  invocation.function_arn = registry_.arn(request.function.name, request.function.qualifier);
  invocation.payload = std::move(request.http.body);
  invocation.client_context = context;
  invocation.trace_id = std::string(request.http.header("X-Amzn-Trace-Id"));
  InvocationCaller caller;
  const bool with_log = request.http.header("X-Amz-Log-Type") == "Tail";
  caller.done = [request, with_log, version = resolved->version](InvocationResult result) {
    request.answer(invoke_answer(std::move(result), version, with_log));
  };
  run(*resolved, std::move(invocation), std::move(caller));
}

void FunctionService::invoke_streaming(Request& request) {
  auto resolved = registry_.resolve(request.function, chance());
  if (!resolved) return request.answer(tl::unexpected(resolved.error()));
  if (ApiStatus sound = check_payload(request.http.body, kPayloadBytesMax); !sound)
    return request.answer(tl::unexpected(sound.error()));
  if (request.http.header("X-Amz-Invocation-Type") == "DryRun")
    return request.answer(empty_answer(204));
  Invocation invocation;
  invocation.request_id = request.request_id;
  invocation.function_arn = registry_.arn(request.function.name, request.function.qualifier);
  invocation.payload = std::move(request.http.body);
  auto stream = std::make_shared<net::HttpBodyStream>();
  auto begun = std::make_shared<bool>(false);
  auto begin = [request, stream, begun, version = resolved->version] {
    if (std::exchange(*begun, true)) return;
    net::HttpResponse response;
    response.content_type = "application/vnd.amazon.eventstream";
    response.headers["X-Amz-Executed-Version"] = version;
    response.stream = stream;
    request.answer(std::move(response));
  };
  InvocationCaller caller;
  caller.begin = [begin](std::string_view) { begin(); };
  caller.bytes = [stream](std::string_view bytes) { stream->write(payload_chunk(bytes)); };
  const bool with_log = request.http.header("X-Amz-Log-Type") == "Tail";
  caller.done = [request, stream, begun, begin, with_log](InvocationResult result) {
    const bool ran =
        result.end == InvocationEnd::kAnswered || result.end == InvocationEnd::kFunctionError;
    if (!*begun && !ran) return request.answer(invoke_answer(std::move(result), "", false));
    begin();
    const bool failed = result.end != InvocationEnd::kAnswered;
    if (!failed && !result.payload.empty()) stream->write(payload_chunk(result.payload));
    stream->write(invoke_complete(failed ? error_of(result).message : "",
                                  failed ? result.payload : "",
                                  with_log ? result.report.log_tail : ""));
    stream->finish();
  };
  run(*resolved, std::move(invocation), std::move(caller));
}

void FunctionService::handle_url(const FunctionReference& reference, net::HttpRequest request,
                                 net::Responder respond) {
  auto refuse = [&](int status, std::string_view message) {
    net::HttpResponse response;
    response.status = status;
    response.body = nlohmann::json{{"Message", message}}.dump();
    respond(std::move(response));
  };
  auto resolved = registry_.resolve(reference, chance());
  if (!resolved) return refuse(404, "Not Found");
  bool streams = false;
  UrlContext context;
  context.account = registry_.rule().account;
  if (auto function = registry_.find(reference.name)) {
    auto url = (*function)->urls.find(reference.qualifier);
    if (url != (*function)->urls.end()) {
      streams = url->second.streams;
      context.url_id = url->second.id;
      if (url->second.auth_type != "NONE") return refuse(403, "Forbidden");
    }
  }
  context.domain = std::string(request.header("Host"));
  context.request_id = uuid();
  context.now = SystemClock().now().wall;
  Invocation invocation;
  invocation.request_id = context.request_id;
  invocation.function_arn = registry_.arn(reference.name, reference.qualifier);
  invocation.payload = event_of(request, context);
  if (invocation.payload.size() > kPayloadBytesMax) return refuse(413, "Request Too Large");
  auto stream = std::make_shared<net::HttpBodyStream>();
  auto begun = std::make_shared<bool>(false);
  InvocationCaller caller;
  if (streams) {
    auto answer = [respond, begun, request_id = context.request_id](net::HttpResponse response) {
      *begun = true;
      response.headers["x-amzn-RequestId"] = request_id;
      respond(std::move(response));
    };
    auto prelude = std::make_shared<std::optional<StreamPrelude>>();
    caller.begin = [answer, stream, prelude](std::string_view type) {
      if (has_prelude(type)) {
        prelude->emplace();
        return;
      }
      net::HttpResponse response;
      response.content_type = type.empty() ? "application/octet-stream" : std::string(type);
      response.stream = stream;
      answer(std::move(response));
    };
    caller.bytes = [answer, stream, begun, prelude](std::string_view bytes) {
      if (*begun) return stream->write(bytes);
      auto response = (*prelude)->take(bytes);
      if (!response) {
        stream->abort();  // what else comes goes nowhere
        InvocationResult failed;
        failed.end = InvocationEnd::kFunctionError;
        return answer(http_answer(failed));
      }
      if (!*response) return;
      (*response)->stream = stream;
      answer(std::move(**response));
    };
  }
  caller.done = [respond, stream, begun, request_id = context.request_id](InvocationResult result) {
    const bool answered = result.end == InvocationEnd::kAnswered;
    if (*begun) return answered ? stream->finish() : stream->abort();
    net::HttpResponse response = http_answer(result);
    response.headers["x-amzn-RequestId"] = request_id;
    respond(std::move(response));
  };
  run(*resolved, std::move(invocation), std::move(caller));
}

}  // namespace leeward::functions

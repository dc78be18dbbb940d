#include "functions/extensions.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace leeward::functions {
namespace {

using nlohmann::json;

constexpr std::size_t kExtensionsMax = 20;  // internal ones included
constexpr std::size_t kNameBytesMax = 128;

std::int64_t milliseconds_since_epoch(WallTime t) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(t.time_since_epoch()).count();
}

net::HttpResponse with_body(const json& body) {
  net::HttpResponse response;
  response.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
  return response;
}

}  // namespace

ExtensionCall parse_extension_call(const net::HttpRequest& request) {
  using Kind = ExtensionCall::Kind;
  constexpr std::string_view kExtension = "/2020-01-01/extension/";
  ExtensionCall call;
  call.identifier = std::string(request.header("Lambda-Extension-Identifier"));
  std::string_view path = request.path;
  if (path == "/2022-07-01/telemetry" || path == "/2022-07-01/telemetry/") {
    call.kind = request.method == "PUT" ? Kind::kSubscribe : Kind::kUnknown;
    return call;
  }
  if (!path.starts_with(kExtension)) return call;
  path.remove_prefix(kExtension.size());
  const bool post = request.method == "POST";
  call.kind = Kind::kUnknown;
  if (path == "register" && post) call.kind = Kind::kRegister;
  if (path == "event/next" && request.method == "GET") call.kind = Kind::kNext;
  if (path == "init/error" && post) call.kind = Kind::kInitError;
  if (path == "exit/error" && post) call.kind = Kind::kExitError;
  return call;
}

Result<ExtensionEvents> parse_registration(std::string_view body) {
  const json parsed = json::parse(body, nullptr, false);
  if (!parsed.is_object()) return fail(Code::kInvalid, "the body is not a JSON object");
  ExtensionEvents events;
  const auto found = parsed.find("events");
  if (found == parsed.end()) return events;
  if (!found->is_array()) return fail(Code::kInvalid, "'events' is not a list");
  for (const json& event : *found) {
    if (event == "INVOKE") {
      events.invoke = true;
    } else if (event == "SHUTDOWN") {
      events.shutdown = true;
    } else {
      return fail(Code::kInvalid, "'events' has {}; there are INVOKE and SHUTDOWN",
                  event.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 80));
    }
  }
  return events;
}

net::HttpResponse registered_response(const FunctionVersion& version,
                                      const std::string& identifier) {
  net::HttpResponse response = with_body({{"functionName", version.name},
                                          {"functionVersion", version.version},
                                          {"handler", version.handler}});
  response.headers["Lambda-Extension-Identifier"] = identifier;
  return response;
}

net::HttpResponse invoke_event(const Invocation& invocation, WallTime deadline) {
  json event{{"eventType", "INVOKE"},
             {"deadlineMs", milliseconds_since_epoch(deadline)},
             {"requestId", invocation.request_id},
             {"invokedFunctionArn", invocation.function_arn}};
  if (!invocation.trace_id.empty())
    event["tracing"] = {{"type", "X-Amzn-Trace-Id"}, {"value", invocation.trace_id}};
  return with_body(event);
}

net::HttpResponse shutdown_event(ShutdownReason reason, WallTime deadline) {
  const char* why = reason == ShutdownReason::kSpindown  ? "spindown"
                    : reason == ShutdownReason::kTimeout ? "timeout"
                                                         : "failure";
  return with_body({{"eventType", "SHUTDOWN"},
                    {"shutdownReason", why},
                    {"deadlineMs", milliseconds_since_epoch(deadline)}});
}

const Extensions::One* Extensions::find(std::string_view identifier) const {
  auto found = std::find_if(all_.begin(), all_.end(),
                            [&](const One& one) { return one.identifier == identifier; });
  return found == all_.end() ? nullptr : &*found;
}

std::string Extensions::name_of(std::string_view identifier) const {
  const One* one = find(identifier);
  return one == nullptr ? "" : one->name;
}

bool Extensions::all_registered() const {
  const auto external = std::count_if(all_.begin(), all_.end(),
                                      [](const One& one) { return one.program.has_value(); });
  return static_cast<std::size_t>(external) == programs_.size();
}

Status Extensions::add(const std::string& name, ExtensionEvents events,
                       const std::string& identifier, bool init_is_over) {
  if (name.empty() || name.size() > kNameBytesMax)
    return fail(Code::kInvalid, "Lambda-Extension-Name is missing or too long");
  if (init_is_over) return fail(Code::kRefused, "extensions register during init only");
  if (all_.size() >= kExtensionsMax)
    return fail(Code::kRefused, "there are {} extensions already", all_.size());
  if (std::any_of(all_.begin(), all_.end(), [&](const One& one) { return one.name == name; }))
    return fail(Code::kConflict, "an extension '{}' has registered already", name);
  One one;
  one.name = name;
  one.identifier = identifier;
  one.events = events;
  const auto program = std::find(programs_.begin(), programs_.end(), name);
  if (program != programs_.end()) {
    one.program = static_cast<std::size_t>(program - programs_.begin());
  } else if (events.shutdown) {
    return fail(Code::kRefused,
                "'{}' is no program in /opt/extensions; a part of the runtime gets no SHUTDOWN",
                name);
  }
  all_.push_back(std::move(one));
  return {};
}

void Extensions::asked(std::string_view identifier) {
  for (One& one : all_)
    if (one.identifier == identifier) one.waits = true;
}

bool Extensions::all_asked() const {
  return all_registered() &&
         std::all_of(all_.begin(), all_.end(), [](const One& one) { return one.waits; });
}

std::vector<std::string> Extensions::take_invoke() {
  std::vector<std::string> takers;
  for (One& one : all_)
    if (one.waits && one.events.invoke) {
      one.waits = false;
      takers.push_back(one.identifier);
    }
  return takers;
}

std::vector<std::string> Extensions::take_shutdown() {
  std::vector<std::string> takers;
  for (One& one : all_)
    if (one.waits && one.events.shutdown) {
      one.waits = false;
      takers.push_back(one.identifier);
    }
  return takers;
}

std::string Extensions::ended(std::size_t program) {
  for (One& one : all_)
    if (one.program == program) one.ended = true;
  return program < programs_.size() ? programs_[program] : "";
}

bool Extensions::shutdown_is_awaited() const {
  return std::any_of(all_.begin(), all_.end(), [](const One& one) {
    return one.program && one.events.shutdown && !one.ended;
  });
}

}  // namespace leeward::functions

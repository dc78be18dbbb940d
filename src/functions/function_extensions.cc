// FunctionHost and extensions: the Extensions API, their life cycle, and the Telemetry API.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "functions/function_host.h"

namespace leeward::functions {
namespace {

using nlohmann::json;

// AWS: 2 s for the shutdown phase of a function with external extensions.
constexpr Duration kShutdownPatience = 2s;
constexpr timeval kSendPatience{0, 500'000};

json error_body(std::string_view type, std::string_view message) {
  return {{"errorType", type}, {"errorMessage", message}};
}

net::HttpResponse extension_error(int status, std::string_view type, std::string_view message) {
  net::HttpResponse response;
  response.status = status;
  response.body = error_body(type, message).dump(-1, ' ', false, json::error_handler_t::replace);
  return response;
}

// One batch to a server in a sandbox, by HTTP. Blocks for kSendPatience at most a step; what does
// not get through is lost, as telemetry may be.
void send_batch(int fd, const TelemetrySubscription& to, const std::string& batch) {
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &kSendPatience, sizeof kSendPatience);
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kSendPatience, sizeof kSendPatience);
  const std::string request = fmt::format(
      "POST {} HTTP/1.1\r\nHost: sandbox.localdomain:{}\r\nContent-Type: application/json\r\n"
      "Content-Length: {}\r\nConnection: close\r\n\r\n{}",
      to.path, to.port, batch.size(), batch);
  for (std::string_view rest = request; !rest.empty();) {
    const ssize_t n = ::send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  // Its answer says nothing that would be acted on; but closing before it would reset it.
  char answer[512];
  while (::recv(fd, answer, sizeof answer, 0) > 0) {
  }
}

std::string exit_text(int status) {
  return WIFSIGNALED(status) ? fmt::format("signal {}", WTERMSIG(status))
                             : fmt::format("exit status {}", WEXITSTATUS(status));
}

}  // namespace

// ---- the API

void FunctionHost::on_extension(EnvironmentId id, const ExtensionCall& call,
                                net::HttpRequest request, net::Responder respond) {
  using Kind = ExtensionCall::Kind;
  if (call.kind == Kind::kUnknown)
    return respond(
        extension_error(404, "Extension.UnknownPath", "there is no such call: " + request.path));
  Environment& environment = environments_.at(id);
  if (call.kind == Kind::kRegister) return register_extension(id, request, respond);
  if (!environment.extensions->known(call.identifier))
    return respond(extension_error(403, "Extension.UnknownExtensionIdentifier",
                                   "Lambda-Extension-Identifier names no registered extension"));
  if (call.kind == Kind::kSubscribe) return subscribe(id, call.identifier, request.body, respond);
  if (call.kind == Kind::kInitError || call.kind == Kind::kExitError) {
    const std::string type(request.header("Lambda-Extension-Function-Error-Type"));
    if (type.empty())
      return respond(extension_error(400, "Extension.MissingHeader",
                                     "Lambda-Extension-Function-Error-Type is missing"));
    respond(accepted_response());
    return fail_by_extension(id, posted_error(request.body, type));
  }
  if (environment.shutdown)
    return respond(
        shutdown_event(*environment.shutdown, SystemClock().now().wall + kShutdownPatience));
  environment.extensions->asked(call.identifier);
  environment.extension_next[call.identifier] = std::move(respond);
  maybe_polled(id);
}

void FunctionHost::register_extension(EnvironmentId id, const net::HttpRequest& request,
                                      const net::Responder& respond) {
  Environment& environment = environments_.at(id);
  auto events = parse_registration(request.body);
  if (!events)
    return respond(extension_error(400, "Extension.InvalidRequest", events.error().message));
  const std::string name(request.header("Lambda-Extension-Name"));
  // An identifier is known to one environment only, which is why counting is enough.
  const std::string identifier =
      fmt::format("{:08x}-0000-4000-8000-{:012x}", id.value & 0xffffffff, ++last_extension_);
  const bool init_is_over = core_.state(id) != EnvironmentState::kStarting;
  if (Status added = environment.extensions->add(name, *events, identifier, init_is_over); !added) {
    const int status = added.error().code == Code::kInvalid ? 400 : 403;
    const char* type = added.error().code == Code::kConflict ? "Extension.AlreadyRegistered"
                       : init_is_over                        ? "Extension.RegistrationClosed"
                                                             : "Extension.InvalidRegistration";
    return respond(extension_error(status, type, added.error().message));
  }
  respond(registered_response(pools_.at(environment.pool).version, identifier));
  json names = json::array();
  if (events->invoke) names.push_back("INVOKE");
  if (events->shutdown) names.push_back("SHUTDOWN");
  emit(id, "platform.extension", {{"name", name}, {"state", "Registered"}, {"events", names}});
  // Of a sandbox without companions the program runs already, and this says nothing new.
  if (environment.extensions->all_registered())
    if (Status begun = environment.sandbox->start_program(); !begun)
      options_.logger.warn("cannot start a program", {{"why", begun.error().message}});
}

void FunctionHost::subscribe(EnvironmentId id, const std::string& identifier,
                             const std::string& body, const net::Responder& respond) {
  Environment& environment = environments_.at(id);
  auto subscription = parse_subscription(body);
  if (!subscription)
    return respond(extension_error(400, "ValidationError", subscription.error().message));
  if (core_.state(id) != EnvironmentState::kStarting)
    return respond(extension_error(403, "Extension.RegistrationClosed",
                                   "extensions subscribe during init only"));
  std::erase_if(environment.telemetry,
                [&](const auto& buffer) { return buffer->subscriber() == identifier; });
  environment.telemetry.push_back(std::make_unique<TelemetryBuffer>(identifier, *subscription));
  net::HttpResponse response;
  response.body = "\"OK\"";
  respond(std::move(response));
  // What has happened before it: it may have been the first to run.
  const FunctionVersion& version = pools_.at(environment.pool).version;
  const WallTime begun = SystemClock().now().wall - (BootClock::now() - environment.started);
  environment.telemetry.back()->add(BootClock::now(), begun, "platform.initStart",
                                    {{"initializationType", "on-demand"},
                                     {"phase", "init"},
                                     {"functionName", version.name},
                                     {"functionVersion", version.version}});
  json types = json::array();
  if (subscription->platform) types.push_back("platform");
  if (subscription->function) types.push_back("function");
  if (subscription->extension) types.push_back("extension");
  emit(id, "platform.telemetrySubscription",
       {{"name", environment.extensions->name_of(identifier)},
        {"state", "Subscribed"},
        {"types", types}});
}

// ---- the life cycle

// The runtime and every extension have to have asked for what comes next.
void FunctionHost::maybe_polled(EnvironmentId id) {
  Environment& environment = environments_.at(id);
  const auto state = core_.state(id);
  const bool begins = state == EnvironmentState::kStarting;
  if (!environment.next || (!begins && state != EnvironmentState::kAnswered)) return;
  if (environment.extensions && !environment.extensions->all_asked()) return;
  if (begins) {
    environment.init = BootClock::now() - environment.started;
    emit_init(id, *environment.init);
  }
  perform(core_.polled(BootClock::now(), id));
}

void FunctionHost::tell_extensions(Environment& environment, const Invocation& invocation,
                                   WallTime deadline) {
  if (!environment.extensions) return;
  for (const std::string& identifier : environment.extensions->take_invoke())
    if (auto waiting = environment.extension_next.extract(identifier))
      waiting.mapped()(invoke_event(invocation, deadline));
}

// Ends the environment; extensions that want to know are told, and given a moment.
void FunctionHost::shut_down(EnvironmentId id, ShutdownReason reason) {
  Environment& environment = environments_.at(id);
  if (environment.shutdown) return;
  environment.shutdown = reason;
  if (!environment.extensions || !environment.extensions->shutdown_is_awaited())
    return environment.sandbox->kill();
  if (environment.frozen) perform_one(Thaw{id});
  flush_telemetry(id, true);
  const WallTime deadline = SystemClock().now().wall + kShutdownPatience;
  for (const std::string& identifier : environment.extensions->take_shutdown())
    if (auto waiting = environment.extension_next.extract(identifier))
      waiting.mapped()(shutdown_event(reason, deadline));
  loop_.call_after(kShutdownPatience, [this, id, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    auto found = environments_.find(id);
    if (found != environments_.end() && found->second.sandbox) found->second.sandbox->kill();
  });
}

void FunctionHost::fail_by_extension(EnvironmentId id, std::string error) {
  Environment& environment = environments_.at(id);
  if (environment.shutdown) return;
  environment.extension_error = std::move(error);
  if (core_.state(id) == EnvironmentState::kStarting)
    return perform(core_.init_failed(BootClock::now(), id, Failure::kInitFailed));
  shut_down(id, ShutdownReason::kFailure);
}

void FunctionHost::on_companion_ended(EnvironmentId id, std::size_t companion, int status) {
  auto found = environments_.find(id);
  if (found == environments_.end()) return;
  Environment& environment = found->second;
  const std::string name = environment.extensions->ended(companion);
  if (environment.shutdown) {
    if (!environment.extensions->shutdown_is_awaited()) environment.sandbox->kill();
    return;
  }
  const auto running = core_.running(id);
  const auto call = running ? calls_.find(*running) : calls_.end();
  const std::string request = call == calls_.end() ? "" : call->second.invocation.request_id;
  fail_by_extension(id, error_body("Extension.Crash", fmt::format("RequestId: {} Error: {}: {}",
                                                                  request, name, exit_text(status)))
                            .dump());
}

// With extensions the end of the program is not yet the end of the environment.
void FunctionHost::on_program_ended(EnvironmentId id) {
  auto found = environments_.find(id);
  if (found == environments_.end()) return;
  // Who waits hears of it now, not after the extensions have had their moment.
  const auto running = core_.running(id);
  if (const auto call = running ? calls_.find(*running) : calls_.end(); call != calls_.end())
    finish(*running, id, InvocationEnd::kFunctionError,
           exited_error(call->second.invocation.request_id, found->second.end));
  shut_down(id, ShutdownReason::kFailure);
}

void FunctionHost::on_companion_output(EnvironmentId id, std::string_view bytes) {
  auto found = environments_.find(id);
  if (found == environments_.end()) return;
  std::string& line = found->second.extension_line;
  line += bytes;
  const auto end = line.rfind('\n');
  if (end == std::string::npos && line.size() < kLineBytesMax) return;
  const std::string lines = line.substr(0, end == std::string::npos ? line.size() : end + 1);
  line.erase(0, lines.size());
  log(pools_.at(found->second.pool).version, lines);
  emit_lines(id, "extension", lines);
}

// ---- telemetry

void FunctionHost::emit(EnvironmentId id, std::string_view type, const json& record) {
  auto found = environments_.find(id);
  if (found == environments_.end() || found->second.telemetry.empty()) return;
  const Now now = SystemClock().now();
  for (auto& buffer : found->second.telemetry) buffer->add(now.boot, now.wall, type, record);
  arm_telemetry(id);
}

void FunctionHost::emit_lines(EnvironmentId id, std::string_view type, std::string_view lines) {
  auto found = environments_.find(id);
  if (found == environments_.end() || found->second.telemetry.empty()) return;
  while (!lines.empty()) {
    const auto end = std::min(lines.find('\n'), lines.size() - 1) + 1;
    emit(id, type, std::string(lines.substr(0, end)));
    lines.remove_prefix(end);
  }
}

void FunctionHost::emit_init(EnvironmentId id, Duration took) {
  const json done{{"initializationType", "on-demand"}, {"phase", "init"}, {"status", "success"}};
  emit(id, "platform.initRuntimeDone", done);
  json report = done;
  report["metrics"] = {{"durationMs", std::chrono::duration<double, std::milli>(took).count()}};
  emit(id, "platform.initReport", report);
}

// A frozen environment takes nothing; its batches wait until it is thawed.
void FunctionHost::arm_telemetry(EnvironmentId id) {
  Environment& environment = environments_.at(id);
  if (environment.telemetry_timer) loop_.cancel(*environment.telemetry_timer);
  environment.telemetry_timer.reset();
  if (environment.frozen) return;
  std::optional<BootTime> first;
  for (const auto& buffer : environment.telemetry)
    if (auto due = buffer->due()) first = first ? std::min(*first, *due) : *due;
  if (!first) return;
  environment.telemetry_timer =
      loop_.call_after(*first - BootClock::now(), [this, id, alive = std::weak_ptr(alive_)] {
        if (alive.expired()) return;
        auto found = environments_.find(id);
        if (found == environments_.end()) return;
        found->second.telemetry_timer.reset();
        flush_telemetry(id, false);
      });
}

void FunctionHost::flush_telemetry(EnvironmentId id, bool all) {
  Environment& environment = environments_.at(id);
  if (!environment.sandbox) return;
  const BootTime now = BootClock::now();
  for (const auto& buffer : environment.telemetry) {
    const auto due = buffer->due();
    if (!due || (!all && *due > now)) continue;
    auto batch = std::make_shared<const std::string>(buffer->take());
    environment.sandbox->dial(
        buffer->subscription().port,
        [this, batch, to = buffer->subscription()](UniqueFd connected) {
          if (!connected.valid()) return;
          auto fd = std::make_shared<UniqueFd>(std::move(connected));
          Status queued = senders_.submit([fd, batch, to] { send_batch(fd->get(), to, *batch); });
          if (!queued) options_.logger.warn("telemetry is lost", {{"why", queued.error().message}});
        });
  }
  arm_telemetry(id);
}

}  // namespace leeward::functions

#include "functions/function_host.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/check.h"
#include "functions/grant_relay.h"

namespace leeward::functions {
namespace {

constexpr char kRuntimeAddress[] = "127.0.0.1";
constexpr std::uint16_t kRuntimePort = 9001;
constexpr int kTelemetrySenders = 2;
constexpr std::size_t kTelemetryWaiting = 256;
// Of a body that is neither a response nor an error of the runtime: calls of extensions, which are
// far smaller, and what has no meaning.
constexpr std::size_t kSmallBodyBytesMax = 64u << 10;

// What code in a sandbox can make the host hold is outside of its own memory limit, so it is
// bounded here and by on_head(): a payload that comes, one or two that go, and little for each
// connection.
net::HttpLimits runtime_limits() {
  net::HttpLimits limits;
  limits.body_bytes_max = kStreamBytesMax;
  // AWS's runtimes keep one or two. Each of ten extensions that are programs waits on one and may
  // speak on another; each of ten that are parts of the runtime waits on one (extensions.h).
  limits.connections_max = 32;
  limits.answer_bytes_max = 2 * kPayloadBytesMax;
  // A runtime may think as long as it likes between two requests; it is bounded by its time-outs.
  limits.idle_timeout = std::chrono::hours(24);
  limits.request_timeout = std::chrono::minutes(15);
  return limits;
}

double milliseconds(Duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

// What AWS Lambda sets ("Defined runtime environment variables").
std::map<std::string, std::string> environment_of(const FunctionVersion& v, EnvironmentId id) {
  std::map<std::string, std::string> all = {
      {"PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin"},
      {"LANG", "C.UTF-8"},
      {"TZ", ":UTC"},
      {"HOME", "/tmp"},
  };
  for (const auto& [name, value] : v.environment) all.insert_or_assign(name, value);
  const std::map<std::string, std::string> reserved = {
      {"_HANDLER", v.handler},
      {"LAMBDA_TASK_ROOT", "/var/task"},
      {"LAMBDA_RUNTIME_DIR", "/var/runtime"},
      {"AWS_LAMBDA_RUNTIME_API", fmt::format("{}:{}", kRuntimeAddress, kRuntimePort)},
      {"AWS_LAMBDA_FUNCTION_NAME", v.name},
      {"AWS_LAMBDA_FUNCTION_VERSION", v.version},
      {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE", std::to_string(v.limits.memory_bytes >> 20)},
      {"AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/" + v.name},
      {"AWS_LAMBDA_LOG_STREAM_NAME", fmt::format("[{}]{}", v.version, id.value)},
      {"AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"},
      {"AWS_EXECUTION_ENV", "AWS_Lambda_" + v.runtime},
  };
  for (const auto& [name, value] : reserved) all.insert_or_assign(name, value);
  return all;
}

}  // namespace

FunctionHost::FunctionHost(net::EventLoop& loop, FunctionHostOptions options)
    : loop_(loop),
      options_(std::move(options)),
      cgroups_(CgroupTree::detect(options_.cgroup_name)),
      core_(options_.rule),
      senders_(kTelemetrySenders, kTelemetryWaiting) {
  options_.logger.info("functions", {{"group", options_.cgroup_name},
                                     {"cgroups", leeward::name(cgroups_.kind())},
                                     {"why", cgroups_.why()}});
}

FunctionHost::~FunctionHost() {
  if (timer_) loop_.cancel(*timer_);
  calls_.clear();
  environments_.clear();
}

PoolId FunctionHost::add(FunctionVersion version) {
  const PoolId id{++last_pool_};
  const FamilyId family =
      families_.try_emplace(version.name, FamilyId{families_.size() + 1}).first->second;
  PoolRule rule;
  rule.family = family;
  rule.timeout = version.timeout;
  rule.freeze_after = options_.freeze_after;
  rule.reap_after = options_.reap_after;
  rule.prepared = options_.prepared;
  rule.prepared_for = options_.prepared_for;
  rule.queue_max = options_.queue_max;
  rule.queue_timeout = options_.queue_timeout;
  core_.set_pool(id, rule);
  pools_.emplace(id, Pool{std::move(version)});
  return id;
}

void FunctionHost::retire(PoolId pool) {
  pools_.at(pool).retired = true;
  perform(core_.retire(BootClock::now(), pool));
  forget_retired();
}

void FunctionHost::forget_retired() {
  std::erase_if(pools_, [this](const auto& entry) {
    const PoolId id = entry.first;
    if (!entry.second.retired) return false;
    const auto of_pool = [id](const auto& e) { return e.second.pool == id; };
    return std::none_of(environments_.begin(), environments_.end(), of_pool) &&
           std::none_of(calls_.begin(), calls_.end(), of_pool);
  });
}

void FunctionHost::limit(const std::string& name, std::optional<std::size_t> environments) {
  const FamilyId family = families_.try_emplace(name, FamilyId{families_.size() + 1}).first->second;
  perform(core_.limit_family(BootClock::now(), family, environments));
}

void FunctionHost::invoke(PoolId pool, Invocation invocation, InvocationCaller caller) {
  const InvocationId id{++last_invocation_};
  Call call;
  call.pool = pool;
  call.invocation = std::move(invocation);
  call.caller = std::move(caller);
  calls_.emplace(id, std::move(call));
  perform(core_.invoke(BootClock::now(), pool, id));
}

Usage FunctionHost::usage(const std::string& name) const {
  auto found = usage_.find(name);
  return found == usage_.end() ? Usage{} : found->second;
}

void FunctionHost::set_usage(const std::string& name, const Usage& usage) { usage_[name] = usage; }

// ---- effects

// An effect may lead to an event at once, whose effects then wait behind those before them.
void FunctionHost::perform(Effects effects) {
  effects_.insert(effects_.end(), effects.begin(), effects.end());
  if (performing_) return;
  performing_ = true;
  while (!effects_.empty()) {
    const Effect effect = effects_.front();
    effects_.pop_front();
    std::visit([this](const auto& e) { perform_one(e); }, effect);
  }
  performing_ = false;
  arm_timer();
}

void FunctionHost::arm_timer() {
  const auto due = core_.deadline();
  if (timer_ && due == timer_due_) return;
  if (timer_) loop_.cancel(*timer_);
  timer_.reset();
  timer_due_ = due;
  if (!due) return;
  timer_ = loop_.call_after(*due - BootClock::now(), [this] {
    timer_.reset();
    perform(core_.tick(BootClock::now()));
  });
}

void FunctionHost::perform_one(const Start& effect) {
  const FunctionVersion& version = pools_.at(effect.pool).version;
  Environment& environment = environments_[effect.environment];
  environment.pool = effect.pool;
  environment.started = BootClock::now();
  environment.outside_id = free_outside_id();
  if (!effect.prepares) ++usage_[version.name].cold_starts;
  if (Status started = start_sandbox(effect.environment, environment, version); !started) {
    environment.end.failure = started.error();
    perform(core_.init_failed(BootClock::now(), effect.environment, Failure::kStartFailed));
  }
}

Status FunctionHost::start_sandbox(EnvironmentId id, Environment& environment,
                                   const FunctionVersion& version) {
  SandboxSpec spec;
  // By place, not by number, so that groups left behind by a crash are found and used again.
  spec.name = fmt::format("e{}", environment.outside_id - options_.first_outside_id);
  spec.argv = version.argv;
  spec.environment = environment_of(version, id);
  spec.directory = "/var/task";
  spec.root = version.root;
  spec.binds = version.binds;
  spec.files = version.files;
  if (!version.code_directory.empty()) spec.binds.push_back({version.code_directory, "/var/task"});
  for (const std::string& name : version.extensions)
    spec.companions.push_back("/opt/extensions/" + name);
  if (!version.extensions.empty())
    spec.binds.push_back({version.code_directory + "/extensions", "/opt/extensions"});
  environment.extensions.emplace(version.extensions);
  spec.limits = version.limits;
  spec.outside_id = environment.outside_id;
  spec.listeners.push_back({kRuntimeAddress, kRuntimePort});
  for (const Grant& grant : version.grants)
    spec.listeners.push_back({grant.inside.host, grant.inside.port});

  Sandbox::Events events;
  events.ready = [this, id](std::vector<UniqueFd> listeners) {
    on_ready(id, std::move(listeners));
  };
  events.output = [this, id](std::string_view bytes) { on_output(id, bytes); };
  events.companion_output = [this, id](std::string_view bytes) { on_companion_output(id, bytes); };
  events.companion_ended = [this, id](std::size_t companion, int status) {
    on_companion_ended(id, companion, status);
  };
  if (!version.extensions.empty())
    events.program_ended = [this, id](int status) {
      if (auto found = environments_.find(id); found != environments_.end())
        found->second.end.status = status;
      on_program_ended(id);
    };
  events.ended = [this, id](SandboxEnd end) { on_ended(id, std::move(end)); };
  auto sandbox =
      Sandbox::start(loop_, options_.sandbox_executable, cgroups_, spec, std::move(events));
  if (!sandbox) return fail(sandbox.error());
  environment.sandbox = std::move(*sandbox);
  return {};
}

// Each environment has a user id of its own, so that even outside its namespaces it could touch
// nothing of another.
std::uint32_t FunctionHost::free_outside_id() const {
  std::set<std::uint32_t> used;
  for (const auto& [id, e] : environments_) used.insert(e.outside_id);
  std::uint32_t id = options_.first_outside_id;
  while (used.contains(id)) ++id;
  return id;
}

void FunctionHost::perform_one(const Deliver& effect) {
  Environment& environment = environments_.at(effect.environment);
  auto found = calls_.find(effect.invocation);
  LEEWARD_CHECK(found != calls_.end() && environment.next);
  Call& call = found->second;
  const BootTime now = BootClock::now();
  call.delivered = now;
  if (effect.was_prepared) ++usage_[pools_.at(environment.pool).version.name].prepared_starts;
  // Nobody has waited for the init of one that was prepared.
  call.init = effect.was_prepared ? Duration{0} : environment.init.value_or(Duration{0});
  environment.init.reset();
  environment.tail.clear();
  const std::string line = start_line(call.invocation, pools_.at(environment.pool).version.version);
  environment.tail += line;
  log(pools_.at(environment.pool).version, line);
  const WallTime deadline = SystemClock().now().wall + (effect.deadline - now);
  emit(effect.environment, "platform.start",
       {{"requestId", call.invocation.request_id},
        {"version", pools_.at(environment.pool).version.version}});
  tell_extensions(environment, call.invocation, deadline);
  net::Responder next = std::exchange(environment.next, nullptr);
  next(next_response(call.invocation, deadline));
}

void FunctionHost::perform_one(const Freeze& effect) {
  Environment& environment = environments_.at(effect.environment);
  environment.frozen = true;
  if (Status frozen = environment.sandbox->freeze(); !frozen)
    options_.logger.warn("cannot freeze a function", {{"why", frozen.error().message}});
}

void FunctionHost::perform_one(const Thaw& effect) {
  Environment& environment = environments_.at(effect.environment);
  environment.frozen = false;
  if (Status thawed = environment.sandbox->thaw(); !thawed)
    options_.logger.warn("cannot thaw a function", {{"why", thawed.error().message}});
  if (!environment.telemetry.empty()) arm_telemetry(effect.environment);
}

void FunctionHost::perform_one(const Stop& effect) {
  Environment& environment = environments_.at(effect.environment);
  if (environment.sandbox)
    return shut_down(effect.environment,
                     effect.reason == StopReason::kTimedOut     ? ShutdownReason::kTimeout
                     : effect.reason == StopReason::kInitFailed ? ShutdownReason::kFailure
                                                                : ShutdownReason::kSpindown);
  // It was never made. Its end is an event like any other.
  const EnvironmentId id = effect.environment;
  environments_.erase(id);
  perform(core_.exited(BootClock::now(), id));
}

void FunctionHost::perform_one(const Fail& effect) {
  auto found = calls_.find(effect.invocation);
  if (found == calls_.end()) return;
  const Call& call = found->second;
  const FunctionVersion& version = pools_.at(call.pool).version;
  const std::string& request = call.invocation.request_id;
  InvocationResult result;
  result.report.memory_bytes = version.limits.memory_bytes;
  auto environment =
      effect.environment ? environments_.find(*effect.environment) : environments_.end();
  const bool known = environment != environments_.end();
  switch (effect.failure) {
    case Failure::kThrottled:
      ++usage_[version.name].throttles;
      result.end = InvocationEnd::kThrottled;
      result.payload = "Rate Exceeded.";
      return give(effect.invocation, std::move(result));
    case Failure::kRetired:
      result.end = InvocationEnd::kRetired;
      result.payload = "The function was deleted or changed while the request waited.";
      return give(effect.invocation, std::move(result));
    case Failure::kTimedOut:
      return finish(effect.invocation, *effect.environment, InvocationEnd::kFunctionError,
                    timed_out_error(request, version.timeout));
    case Failure::kInitTimedOut:
      return finish(effect.invocation, *effect.environment, InvocationEnd::kFunctionError,
                    init_timed_out_error(request, PoolRule{}.init_timeout));
    case Failure::kStartFailed:
    case Failure::kInitFailed:
    case Failure::kExited:
      break;
  }
  if (known && environment->second.end.failure) {
    options_.logger.error(
        "cannot start a function",
        {{"function", version.name}, {"why", environment->second.end.failure->message}});
    result.payload = environment->second.end.failure->message;
    return give(effect.invocation, std::move(result));
  }
  std::string posted = known ? environment->second.init_error : "";
  if (known && !environment->second.extension_error.empty())
    posted = environment->second.extension_error;
  const std::string text =
      !posted.empty() ? posted
                      : exited_error(request, known ? environment->second.end : SandboxEnd{});
  finish(effect.invocation, *effect.environment, InvocationEnd::kFunctionError, text);
}

// ---- what an environment does

void FunctionHost::on_ready(EnvironmentId id, std::vector<UniqueFd> listeners) {
  auto found = environments_.find(id);
  if (found == environments_.end() || listeners.empty()) return;
  Environment& environment = found->second;
  auto server = net::HttpServer::adopt(
      loop_, std::move(listeners[0]),
      [this, id](net::HttpRequest request, net::Responder respond) {
        on_request(id, std::move(request), std::move(respond));
      },
      [this, id](const net::HttpRequest& head) { return on_head(id, head); }, runtime_limits());
  Status ready;
  if (!server) ready = fail(server.error());
  const auto& grants = pools_.at(environment.pool).version.grants;
  if (ready && !grants.empty()) {
    listeners.erase(listeners.begin());
    auto relay = GrantRelay::start(std::move(listeners), grants);
    if (relay) environment.relay = std::move(*relay);
    if (!relay) ready = fail(relay.error());
  }
  if (!ready) {
    environment.end.failure = ready.error();
    return perform(core_.init_failed(BootClock::now(), id, Failure::kStartFailed));
  }
  environment.runtime_api = std::move(*server);
}

void FunctionHost::on_output(EnvironmentId id, std::string_view bytes) {
  auto found = environments_.find(id);
  if (found == environments_.end()) return;
  Environment& environment = found->second;
  environment.tail += bytes;
  if (environment.tail.size() > kLogTailBytes)
    environment.tail.erase(0, environment.tail.size() - kLogTailBytes);
  environment.line += bytes;
  const auto end = environment.line.rfind('\n');
  if (end == std::string::npos && environment.line.size() < kLineBytesMax) return;
  const std::size_t whole = end == std::string::npos ? environment.line.size() : end + 1;
  const std::string lines = environment.line.substr(0, whole);
  environment.line.erase(0, whole);
  log(pools_.at(environment.pool).version, lines);
  emit_lines(id, "function", lines);
}

void FunctionHost::on_ended(EnvironmentId id, SandboxEnd end) {
  auto found = environments_.find(id);
  if (found == environments_.end()) return;
  Environment& environment = found->second;
  if (!environment.line.empty()) log(pools_.at(environment.pool).version, environment.line + "\n");
  if (!environment.end.failure) environment.end = std::move(end);
  // Its entry stays until the effects of its end, which speak of it, are done.
  perform(core_.exited(BootClock::now(), id));
  loop_.post([this, id, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    environments_.erase(id);
    forget_retired();
  });
}

void FunctionHost::on_request(EnvironmentId id, net::HttpRequest request, net::Responder respond) {
  if (const ExtensionCall of_extension = parse_extension_call(request);
      of_extension.kind != ExtensionCall::Kind::kNone)
    return on_extension(id, of_extension, std::move(request), std::move(respond));
  const RuntimeCall call = parse_runtime_call(request);
  using Kind = RuntimeCall::Kind;
  if (call.kind == Kind::kUnknown)
    return respond(
        runtime_error(404, "Runtime.UnknownPath", "there is no such call: " + request.path));
  if (call.kind != Kind::kNext) return on_posted(id, call, std::move(request), respond);
  Environment& environment = environments_.at(id);
  if (core_.state(id) == EnvironmentState::kBusy)
    return respond(runtime_error(403, "InvalidStateTransition",
                                 "the invocation under way has not been answered"));
  environment.next = std::move(respond);
  maybe_polled(id);
}

FunctionHost::Call* FunctionHost::running_call(EnvironmentId id, const std::string& request_id) {
  const auto running = core_.running(id);
  auto call = running ? calls_.find(*running) : calls_.end();
  if (call == calls_.end() || call->second.invocation.request_id != request_id) return nullptr;
  return &call->second;
}

void FunctionHost::on_posted(EnvironmentId id, const RuntimeCall& call, net::HttpRequest request,
                             const net::Responder& respond) {
  using Kind = RuntimeCall::Kind;
  const std::string type(request.header("Lambda-Runtime-Function-Error-Type"));
  if (call.kind == Kind::kInitError) {
    if (core_.state(id) != EnvironmentState::kStarting)
      return respond(runtime_error(403, "InvalidStateTransition", "init is over"));
    environments_.at(id).init_error = posted_error(request.body, type);
    respond(accepted_response());
    return perform(core_.init_failed(BootClock::now(), id, Failure::kInitFailed));
  }
  Call* running = running_call(id, call.request_id);
  if (running == nullptr)
    return respond(runtime_error(400, "InvalidRequestID", "Invalid request ID"));
  const InvocationId invocation = *core_.running(id);
  if (request.body_dropped > 0 && request.body.size() < kPayloadBytesMax)
    return respond(runtime_error(403, "InvalidStateTransition",
                                 "another response to the invocation is on its way"));
  if (request.body_dropped > 0) {
    respond(runtime_error(
        413, "RequestEntityTooLarge",
        fmt::format("Exceeded maximum allowed payload size ({} bytes).", kPayloadBytesMax)));
    static_cast<void>(core_.answered(BootClock::now(), id, invocation));
    return finish(invocation, id, InvocationEnd::kFunctionError,
                  response_too_large_error(kPayloadBytesMax));
  }
  LEEWARD_CHECK(core_.answered(BootClock::now(), id, invocation));
  respond(accepted_response());
  if (call.kind == Kind::kError)
    return finish(invocation, id, InvocationEnd::kFunctionError, posted_error(request.body, type));
  std::string content_type(request.header("Content-Type"));
  if (!is_streamed_response(request))
    return finish(invocation, id, InvocationEnd::kAnswered, std::move(request.body),
                  content_type.empty() ? "application/json" : content_type);
  // The end of a stream; an error in its middle comes in the trailer.
  if (!type.empty())
    return finish(invocation, id, InvocationEnd::kFunctionError,
                  posted_error(request.header("Lambda-Runtime-Function-Error-Body"), type));
  std::string collected = std::move(running->collected);
  finish(invocation, id, InvocationEnd::kAnswered, std::move(collected), content_type);
}

// Only what ends the init or the invocation under way may be large, and only one of these at a
// time: the others are let go as they come, and told so by on_posted().
net::HttpBodyRule FunctionHost::on_head(EnvironmentId id, const net::HttpRequest& head) {
  using Kind = RuntimeCall::Kind;
  const RuntimeCall call = parse_runtime_call(head);
  const bool of_invocation = call.kind == Kind::kResponse || call.kind == Kind::kError;
  const bool awaited = of_invocation ? running_call(id, call.request_id) != nullptr
                                     : call.kind == Kind::kInitError &&
                                           core_.state(id) == EnvironmentState::kStarting;
  const bool streamed = is_streamed_response(head);
  Environment& environment = environments_.at(id);
  if (!awaited || !environment.posting.expired())
    return {.kept_max = streamed ? 0 : kSmallBodyBytesMax};
  std::shared_ptr<void> posting = std::make_shared<bool>();
  environment.posting = posting;
  // What is larger than a payload is read to its end, so that it is answered as AWS does.
  if (!streamed) return {.kept_max = kPayloadBytesMax, .while_it_comes = std::move(posting)};
  return {.sink = [this, id, request_id = call.request_id,
                   type = std::string(head.header("Content-Type"))](
                      std::string_view bytes) { stream(id, request_id, type, bytes); },
          .while_it_comes = std::move(posting)};
}

void FunctionHost::stream(EnvironmentId id, const std::string& request_id,
                          const std::string& content_type, std::string_view bytes) {
  Call* call = running_call(id, request_id);
  if (call == nullptr) return;  // over already; the end of the request is refused
  call->streamed_bytes += bytes.size();
  if (!call->caller.begin) {
    if (call->streamed_bytes <= kPayloadBytesMax) call->collected += bytes;
    return;
  }
  // Only in several attempts, each of which was cut; finish() tells.
  if (call->streamed_bytes > kStreamBytesMax) return;
  if (!call->streaming) call->caller.begin(content_type);
  call->streaming = true;
  call->caller.bytes(bytes);
}

// ---- results

void FunctionHost::finish(InvocationId id, EnvironmentId environment_id, InvocationEnd end,
                          std::string payload, std::string content_type) {
  auto found = calls_.find(id);
  if (found == calls_.end()) return;
  Call& call = found->second;
  const FunctionVersion& version = pools_.at(call.pool).version;
  InvocationResult result;
  result.end = end;
  result.payload = std::move(payload);
  result.content_type = std::move(content_type);
  const std::size_t streamed_bytes_max = call.caller.begin ? kStreamBytesMax : kPayloadBytesMax;
  if (call.streamed_bytes > streamed_bytes_max) {
    result.end = InvocationEnd::kFunctionError;
    result.payload = response_too_large_error(streamed_bytes_max);
  }
  InvocationReport& report = result.report;
  report.memory_bytes = version.limits.memory_bytes;
  report.init = call.init;
  const BootTime now = BootClock::now();
  report.duration = call.delivered ? now - *call.delivered : Duration{0};
  report.billed = std::chrono::ceil<std::chrono::milliseconds>(report.duration);
  Usage& usage = usage_[version.name];
  ++usage.invocations;
  if (result.end == InvocationEnd::kFunctionError) ++usage.errors;
  const auto billed = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(report.billed).count());
  usage.billed_milliseconds += billed;
  usage.megabyte_milliseconds += billed * (version.limits.memory_bytes >> 20);

  auto environment = environments_.find(environment_id);
  if (environment != environments_.end()) {
    if (environment->second.sandbox) {
      environment->second.sandbox->drain_output();
      report.memory_peak_bytes = std::max(environment->second.sandbox->memory_peak_bytes(),
                                          environment->second.end.memory_peak_bytes);
    }
    const std::string lines =
        end_line(call.invocation.request_id) + report_line(call.invocation.request_id, report);
    log(version, lines);
    report.log_tail = environment->second.tail + lines;
    if (report.log_tail.size() > kLogTailBytes)
      report.log_tail.erase(0, report.log_tail.size() - kLogTailBytes);
  }
  emit(environment_id, "platform.runtimeDone",
       {{"requestId", call.invocation.request_id},
        {"status", end == InvocationEnd::kAnswered ? "success" : "error"},
        {"metrics",
         {{"durationMs", milliseconds(report.duration)},
          {"producedBytes", result.payload.size() + call.streamed_bytes}}}});
  nlohmann::json metrics{{"durationMs", milliseconds(report.duration)},
                         {"billedDurationMs", billed},
                         {"memorySizeMB", version.limits.memory_bytes >> 20},
                         {"maxMemoryUsedMB", (report.memory_peak_bytes + (1u << 20) - 1) >> 20}};
  if (report.init > Duration{0}) metrics["initDurationMs"] = milliseconds(report.init);
  emit(environment_id, "platform.report",
       {{"requestId", call.invocation.request_id},
        {"status", end == InvocationEnd::kAnswered ? "success" : "error"},
        {"metrics", metrics}});
  give(id, std::move(result));
}

void FunctionHost::give(InvocationId id, InvocationResult result) {
  auto call = calls_.extract(id);
  if (call.empty()) return;
  if (call.mapped().caller.done) call.mapped().caller.done(std::move(result));
}

void FunctionHost::log(const FunctionVersion& version, std::string_view bytes) {
  if (options_.log_directory.empty()) return;
  auto [at, inserted] = logs_.try_emplace(
      version.name, options_.log_directory + "/" + version.name + ".log", compute::kLogBytesMax);
  std::string stamped;
  const std::string time = format_wall(SystemClock().now().wall);
  while (!bytes.empty()) {
    const auto end = bytes.find('\n');
    const auto line = bytes.substr(0, end == std::string_view::npos ? bytes.size() : end + 1);
    stamped.append(time).append(" ").append(line);
    bytes.remove_prefix(line.size());
  }
  at->second.append(stamped);
}

}  // namespace leeward::functions

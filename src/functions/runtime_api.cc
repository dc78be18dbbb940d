#include "functions/runtime_api.h"

#include <signal.h>
#include <sys/wait.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace leeward::functions {
namespace {

constexpr std::string_view kRuntime = "/2018-06-01/runtime/";

std::string error_object(std::string_view type, std::string_view message) {
  nlohmann::json error;
  error["errorType"] = type;
  error["errorMessage"] = message;
  return error.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

double milliseconds(Duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

std::uint64_t megabytes(std::uint64_t bytes) { return (bytes + (1u << 20) - 1) >> 20; }

// "signal: killed", as Go's os/exec names signals.
std::string signal_text(int number) {
  switch (number) {
    case SIGKILL:
      return "killed";
    case SIGSEGV:
      return "segmentation fault";
    case SIGABRT:
      return "aborted";
    case SIGTERM:
      return "terminated";
    case SIGBUS:
      return "bus error";
    case SIGFPE:
      return "floating point exception";
    case SIGILL:
      return "illegal instruction";
    case SIGSYS:
      return "bad system call";
    default:
      return fmt::format("signal {}", number);
  }
}

}  // namespace

RuntimeCall parse_runtime_call(const net::HttpRequest& request) {
  using Kind = RuntimeCall::Kind;
  std::string_view path = request.path;
  if (!path.starts_with(kRuntime)) return {};
  path.remove_prefix(kRuntime.size());
  if (path == "invocation/next")
    return {request.method == "GET" ? Kind::kNext : Kind::kUnknown, ""};
  if (request.method != "POST") return {};
  if (path == "init/error") return {Kind::kInitError, ""};
  constexpr std::string_view kInvocation = "invocation/";
  if (!path.starts_with(kInvocation)) return {};
  path.remove_prefix(kInvocation.size());
  const auto slash = path.find('/');
  if (slash == 0 || slash == std::string_view::npos) return {};
  const std::string_view what = path.substr(slash + 1);
  const Kind kind = what == "response" ? Kind::kResponse
                    : what == "error"  ? Kind::kError
                                       : Kind::kUnknown;
  return {kind, std::string(path.substr(0, slash))};
}

bool is_streamed_response(const net::HttpRequest& head) {
  return parse_runtime_call(head).kind == RuntimeCall::Kind::kResponse &&
         head.header("Lambda-Runtime-Function-Response-Mode") == "streaming";
}

net::HttpResponse next_response(const Invocation& invocation, WallTime deadline) {
  net::HttpResponse response;
  const auto since_epoch =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline.time_since_epoch());
  response.headers["Lambda-Runtime-Aws-Request-Id"] = invocation.request_id;
  response.headers["Lambda-Runtime-Deadline-Ms"] = std::to_string(since_epoch.count());
  response.headers["Lambda-Runtime-Invoked-Function-Arn"] = invocation.function_arn;
  if (!invocation.trace_id.empty())
    response.headers["Lambda-Runtime-Trace-Id"] = invocation.trace_id;
  if (!invocation.client_context.empty())
    response.headers["Lambda-Runtime-Client-Context"] = invocation.client_context;
  response.body = invocation.payload;
  return response;
}

net::HttpResponse accepted_response() {
  net::HttpResponse response;
  response.status = 202;
  response.body = R"({"status":"OK"})";
  return response;
}

net::HttpResponse runtime_error(int status, std::string_view type, std::string_view message) {
  net::HttpResponse response;
  response.status = status;
  response.body = error_object(type, message);
  return response;
}

std::string posted_error(std::string_view body, std::string_view type_header) {
  const auto json = nlohmann::json::parse(body, nullptr, false);
  if (json.is_object() && (json.contains("errorMessage") || json.contains("errorType")))
    return std::string(body);
  return error_object(type_header.empty() ? "Runtime.Unknown" : type_header,
                      "the runtime reported an error without a description");
}

std::string timed_out_error(const std::string& request_id, Duration timeout) {
  return error_object("Sandbox.Timedout",
                      fmt::format("RequestId: {} Error: Task timed out after {:.2f} seconds",
                                  request_id, seconds(timeout)));
}

std::string init_timed_out_error(const std::string& request_id, Duration timeout) {
  return error_object("Sandbox.Timedout",
                      fmt::format("RequestId: {} Error: Init timed out after {:.2f} seconds",
                                  request_id, seconds(timeout)));
}

std::string exited_error(const std::string& request_id, const SandboxEnd& end) {
  std::string how = "Runtime exited without providing a reason";
  const int status = end.status.value_or(SIGKILL);
  if (WIFSIGNALED(status)) {
    how = "Runtime exited with error: signal: " + signal_text(WTERMSIG(status));
  } else if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
    how = fmt::format("Runtime exited with error: exit status {}", WEXITSTATUS(status));
  }
  return error_object(end.out_of_memory ? "Runtime.OutOfMemory" : "Runtime.ExitError",
                      fmt::format("RequestId: {} Error: {}", request_id, how));
}

std::string response_too_large_error(std::size_t bytes_max) {
  return error_object(
      "Function.ResponseSizeTooLarge",
      fmt::format("Response payload size exceeded maximum allowed payload size ({} bytes).",
                  bytes_max));
}

std::string start_line(const Invocation& invocation, const std::string& version) {
  return fmt::format("START RequestId: {} Version: {}\n", invocation.request_id, version);
}

std::string end_line(const std::string& request_id) {
  return fmt::format("END RequestId: {}\n", request_id);
}

std::string report_line(const std::string& request_id, const InvocationReport& report) {
  std::string line = fmt::format(
      "REPORT RequestId: {}\tDuration: {:.2f} ms\tBilled Duration: {} ms\tMemory Size: {} MB\tMax "
      "Memory Used: {} MB\t",
      request_id, milliseconds(report.duration),
      std::chrono::ceil<std::chrono::milliseconds>(report.billed).count(),
      megabytes(report.memory_bytes), megabytes(report.memory_peak_bytes));
  if (report.init > Duration{0})
    line += fmt::format("Init Duration: {:.2f} ms\t", milliseconds(report.init));
  return line + "\n";
}

}  // namespace leeward::functions

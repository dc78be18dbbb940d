// AWS's Lambda Runtime API, version 2018-06-01, as text: which call a request is, and the words of
// the answers. Pure. Source: "Using the Lambda runtime API for custom runtimes" in the AWS Lambda
// developer guide.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "functions/function_core.h"
#include "functions/invocation.h"
#include "net/http.h"

namespace leeward::functions {

struct RuntimeCall {
  enum class Kind : std::uint8_t { kNext, kResponse, kError, kInitError, kUnknown };
  Kind kind = Kind::kUnknown;
  std::string request_id;  // kResponse, kError
};
RuntimeCall parse_runtime_call(const net::HttpRequest& request);
// Whether its body is one that comes in pieces.
bool is_streamed_response(const net::HttpRequest& head);

// The answer to kNext.
net::HttpResponse next_response(const Invocation& invocation, WallTime deadline);
net::HttpResponse accepted_response();  // 202
// Errors that a runtime gets, in the API's shape.
net::HttpResponse runtime_error(int status, std::string_view type, std::string_view message);

// ---- What callers get when a function fails, in Lambda's words.

// {"errorType", "errorMessage"[, "trace"]} as the runtime posted it if it is such an object,
// otherwise made from the header Lambda-Runtime-Function-Error-Type.
std::string posted_error(std::string_view body, std::string_view type_header);
// Sandbox.Timedout: "RequestId: … Error: Task timed out after 3.00 seconds"
std::string timed_out_error(const std::string& request_id, Duration timeout);
std::string init_timed_out_error(const std::string& request_id, Duration timeout);
// How the runtime ended: exit status, signal, memory.
std::string exited_error(const std::string& request_id, const SandboxEnd& end);
std::string response_too_large_error(std::size_t bytes_max);

// Lines of a function's log.
std::string start_line(const Invocation& invocation, const std::string& version);
std::string end_line(const std::string& request_id);
std::string report_line(const std::string& request_id, const InvocationReport& report);

}  // namespace leeward::functions

// What passes between a caller and a function: an invocation, its result, and what it cost.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"
#include "functions/sandbox.h"
#include "model/platform.h"

namespace leeward::functions {

// Bounds of AWS Lambda ("Lambda quotas").
inline constexpr std::size_t kPayloadBytesMax = 6'291'556;  // request and buffered response
inline constexpr std::size_t kAsynchronousPayloadBytesMax = 262'144;
inline constexpr std::size_t kStreamBytesMax = 20'971'520;  // a streamed response
inline constexpr std::size_t kLogTailBytes = 4096;

// A server outside that a function may reach, and where it finds it inside: normally under the same
// address.
struct Grant {
  explicit Grant(Endpoint s) : server(s), inside(std::move(s)) {}
  Grant(Endpoint s, Endpoint i) : server(std::move(s)), inside(std::move(i)) {}
  Endpoint server;
  Endpoint inside;
};

// One version of a function, ready to run.
struct FunctionVersion {
  std::string name;
  std::string version = "$LATEST";
  std::string runtime;  // for AWS_EXECUTION_ENV
  std::string handler;
  std::vector<std::string> argv;  // what runs in the sandbox and speaks the Runtime API
  std::string code_directory;     // appears as /var/task
  std::string root;               // as in SandboxSpec
  std::vector<SandboxPlan::Bind> binds;
  std::vector<SandboxPlan::File> files;
  std::map<std::string, std::string> environment;
  std::vector<Grant> grants;
  std::vector<std::string> extensions;  // file names in code_directory/extensions
  Duration timeout = 3s;
  SandboxLimits limits;
};

struct Invocation {
  std::string request_id;
  std::string function_arn;  // with the qualifier that the caller used
  std::string payload;
  std::string client_context;  // JSON; empty: none
  std::string trace_id;
};

struct InvocationReport {
  Duration duration{0};
  Duration billed{0};  // whole milliseconds, rounded up
  Duration init{0};    // of the environment, if this was its first invocation
  std::uint64_t memory_bytes = 0, memory_peak_bytes = 0;
  std::string log_tail;  // the last kLogTailBytes of its output
};

enum class InvocationEnd : std::uint8_t {
  kAnswered,       // payload: what the handler returned
  kFunctionError,  // payload: the error object; the function's own fault
  kThrottled,      // payload: a sentence; nothing ran
  kServiceError,   // payload: a sentence; the host's fault
  kRetired,        // its pool was retired while it waited; nothing ran
};

struct InvocationResult {
  InvocationEnd end = InvocationEnd::kServiceError;
  std::string payload;
  std::string content_type = "application/json";
  InvocationReport report;
};

// Who waits for a result. `done` is called exactly once. If `begin` is set, a response that the
// runtime streams is passed on as it comes: begin, then bytes, then done with an empty payload (or
// kFunctionError in the middle). Otherwise it is collected.
struct InvocationCaller {
  std::function<void(std::string_view content_type)> begin;
  std::function<void(std::string_view bytes)> bytes;
  std::function<void(InvocationResult)> done;
};

// What a function has used; the unit of a bill.
struct Usage {
  std::uint64_t invocations = 0, errors = 0, throttles = 0;
  std::uint64_t cold_starts = 0, prepared_starts = 0;
  std::uint64_t billed_milliseconds = 0;
  std::uint64_t megabyte_milliseconds = 0;  // memory size × billed time, exact
  double gigabyte_seconds() const {
    return static_cast<double>(megabyte_milliseconds) / 1024.0 / 1000.0;
  }
};

}  // namespace leeward::functions

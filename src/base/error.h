// Expected failures. No room throws across its boundary: what can fail returns Result<T>.
// A broken invariant is LEEWARD_CHECK (check.h), which stays on in release builds.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace leeward {

// Each code maps to exactly one exit status, one HTTP status and one metric label (error.cc).
enum class Code {
  kInvalid,       // bad input or configuration
  kNotFound,      // the named thing does not exist
  kConflict,      // a compare-and-swap lost, or the thing is in another state than required
  kRefused,       // a safety rule says no
  kUnauthorized,  // missing or wrong credentials
  kTimeout,       // a deadline passed; the outcome is unknown
  kUnavailable,   // the other end cannot be reached
  kNoQuorum,      // not enough votes or observations
  kUnhealthy,     // works, but not as it should
  kIo,            // the operating system said no
  kCorrupt,       // bytes that cannot be what they claim to be
  kInternal,      // a bug that we survive
};

struct Error {
  Code code = Code::kInternal;
  std::string message;  // what happened, to which thing, what to do about it; never a secret

  // "context: message", for adding the outer operation on the way up.
  Error wrap(std::string_view context) && {
    return Error{code, fmt::format("{}: {}", context, message)};
  }
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

template <typename... Args>
tl::unexpected<Error> fail(Code code, fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}
inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

std::string_view name(Code code);             // stable lower-case label: "no_quorum"
Code code_from_name(std::string_view label);  // kInternal for an unknown label
int exit_status(Code code);  // 1 failure, 2 usage, 4 unhealthy, 5 refused, 6 no quorum or timed out
int http_status(Code code);
Code code_from_http_status(int status);

// Error for a failed system call: "open /x: No such file or directory".
Error os_error(int error_number, std::string_view what);

}  // namespace leeward

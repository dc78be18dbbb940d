#include "base/error.h"

#include <array>
#include <cstring>

namespace leeward {
namespace {

struct Row {
  Code code;
  std::string_view name;
  int exit_status;
  int http_status;
};

constexpr std::array kRows{
    Row{Code::kInvalid, "invalid", 2, 400},           Row{Code::kNotFound, "not_found", 1, 404},
    Row{Code::kConflict, "conflict", 1, 409},         Row{Code::kRefused, "refused", 5, 412},
    Row{Code::kUnauthorized, "unauthorized", 1, 401}, Row{Code::kTimeout, "timeout", 6, 504},
    Row{Code::kUnavailable, "unavailable", 1, 503},   Row{Code::kNoQuorum, "no_quorum", 6, 421},
    Row{Code::kUnhealthy, "unhealthy", 4, 424},       Row{Code::kIo, "io", 1, 507},
    Row{Code::kCorrupt, "corrupt", 1, 422},           Row{Code::kInternal, "internal", 1, 500},
};

const Row& row(Code code) { return kRows[static_cast<std::size_t>(code)]; }

}  // namespace

std::string_view name(Code code) { return row(code).name; }
int exit_status(Code code) { return row(code).exit_status; }
int http_status(Code code) { return row(code).http_status; }

Code code_from_name(std::string_view label) {
  for (const Row& r : kRows)
    if (r.name == label) return r.code;
  return Code::kInternal;
}

Code code_from_http_status(int status) {
  for (const Row& r : kRows)
    if (r.http_status == status) return r.code;
  return status == 403 ? Code::kUnauthorized : Code::kInternal;
}

Error os_error(int error_number, std::string_view what) {
  return Error{Code::kIo, fmt::format("{}: {}", what, std::strerror(error_number))};
}

}  // namespace leeward

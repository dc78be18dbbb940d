// An event of payload format 2.0 (function_url.h) as the HTTP request that an application gets, and
// its response as the function's result. Pure; linked into the adapter that runs in the sandbox.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace leeward::functions {

struct AppRequest {
  std::string method, target;  // as in a request line
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};
// kInvalid when the event is not one of format 2.0.
Result<AppRequest> app_request_of(std::string_view event);
struct AppResponse {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};
std::string payload_of(const AppResponse& response);

}  // namespace leeward::functions

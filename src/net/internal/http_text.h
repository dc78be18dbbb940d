// The textual parts of HTTP that need no socket: request targets and message heads.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/error.h"
#include "net/http.h"

namespace leeward::net {

struct Target {
  std::string path;
  std::map<std::string, std::string> query;
};

// Splits and decodes an origin-form target (RFC 9112 §3.2.1), "/a%20b?x=1&y". kInvalid for another
// form, a broken percent-encoding, or a NUL.
Result<Target> parse_target(std::string_view text);
std::string format_target(const std::string& path, const std::map<std::string, std::string>& query);

// Request line and header fields with the final empty line. kInvalid for a method, name or value
// that would break out of its place.
Result<std::string> format_request_head(const HttpRequest& request, const Endpoint& to);
// Status line and header fields with the final empty line. Fields that would break out of their
// place are left out: a response cannot be refused any more. A response with a stream announces
// chunks if `chunked`, and otherwise an end by closing.
std::string format_response_head(const HttpResponse& response, std::string_view reason,
                                 bool keep_alive, bool chunked);
// Whether a response with this status carries a body (RFC 9110 §6.4.1).
bool status_has_body(int status);

}  // namespace leeward::net

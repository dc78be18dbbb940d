// A request as a person writes it into a file, or as a proxy or `curl -v` shows it: request line,
// fields, an empty line, the body. Lines end with LF or CRLF.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace leeward::cli {

struct RequestText {
  std::string method = "GET";
  std::string target;
  std::string protocol = "1.1";
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;  // all that follows the empty line, as it is
};

// kInvalid with "NAME:LINE: what is wrong".
Result<RequestText> parse_request_text(std::string_view text, const std::string& name);

}  // namespace leeward::cli

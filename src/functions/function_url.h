// HTTP requests as events of a function and back: payload format 2.0 of function URLs and HTTP
// APIs. Pure. Source: "Invoking Lambda function URLs" in the AWS Lambda developer guide.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/time.h"
#include "net/http.h"

namespace leeward::functions {

struct UrlContext {
  std::string url_id;
  std::string account;
  std::string domain;  // Host of the request
  std::string request_id;
  WallTime now;
};

// `request.target` must be that behind the function's own address, for example "/a?b=1".
std::string event_of(const net::HttpRequest& request, const UrlContext& context);

// What the function returned as an HTTP answer: an object with statusCode, headers, cookies, body
// and isBase64Encoded, or any other JSON value, which becomes the body of a 200 as it is.
// kCorrupt when statusCode or the rest is of a wrong kind; the caller answers 502.
net::HttpResponse response_of(std::string_view payload, Status& sound);

// Whether a streamed response of this content type begins with a prelude: one of
// awslambda.HttpResponseStream.from() and of the AWS Lambda Web Adapter does.
bool has_prelude(std::string_view content_type);

// The prelude of a streamed response: a JSON object with statusCode (200 without), headers and
// cookies, then eight NUL bytes, which JSON has none of. What follows is the body.
class StreamPrelude {
 public:
  // Takes the next bytes of the stream. The answer once the prelude is whole, with as much of the
  // body as came with it; nullopt before. kCorrupt when it is too long (64 KiB) or not as above.
  // REQUIRES: the answer has not been given, nor an error.
  Result<std::optional<net::HttpResponse>> take(std::string_view bytes);

 private:
  std::string held_;
};

}  // namespace leeward::functions

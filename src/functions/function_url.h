// HTTP requests as events of a function and back: payload format 2.0 of function URLs and HTTP
// APIs. Pure. Source: "Invoking Lambda function URLs" in the AWS Lambda developer guide.
#pragma once

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

}  // namespace leeward::functions

#include "functions/function_url.h"

#include <algorithm>
#include <cstdlib>

#include "functions/base64.h"
#include "functions/internal/http_event.h"

namespace leeward::functions {
namespace {

constexpr std::size_t kPreludeBytesMax = 64u << 10;  // with its end
constexpr std::string_view kPreludeEnd("\0\0\0\0\0\0\0\0", 8);

tl::unexpected<Error> broken(std::string_view what) {
  return fail(Code::kCorrupt, "the function's response has a broken {}", what);
}

// Status, fields and cookies of `answer`, an object.
Status read_head(const json& answer, net::HttpResponse& response) {
  if (auto status = answer.find("statusCode"); status != answer.end()) {
    const int code = status->is_number_integer() ? status->get<int>()
                     : status->is_string()       ? std::atoi(status->get<std::string>().c_str())
                                                 : 0;
    if (code < 100 || code > 599) return broken("statusCode");
    response.status = code;
  }
  if (auto headers = answer.find("headers"); headers != answer.end() && !headers->is_null()) {
    if (!headers->is_object()) return broken("headers");
    for (const auto& [name, value] : headers->items()) {
      const std::string text = text_of(value);
      if (!is_token(name) || !is_field_value(text)) return broken("header");
      if (is_hop_field(lower(name))) continue;
      if (lower(name) == "content-type")
        response.content_type = text;
      else
        response.headers[name] = text;
    }
  }
  if (auto cookies = answer.find("cookies"); cookies != answer.end() && !cookies->is_null()) {
    if (!cookies->is_array()) return broken("cookies");
    for (const json& cookie : *cookies) {
      const std::string text = text_of(cookie);
      if (!is_field_value(text)) return broken("cookie");
      response.cookies.push_back(text);
    }
  }
  return {};
}

}  // namespace

std::string event_of(const net::HttpRequest& request, const UrlContext& context) {
  const auto mark = request.target.find('?');
  const std::string raw_path = request.target.substr(0, mark);
  const std::string raw_query = mark == std::string::npos ? "" : request.target.substr(mark + 1);
  json headers = json::object();
  json cookies = json::array();
  for (const auto& [name, value] : request.headers) {
    const std::string key = lower(name);
    if (is_hop_field(key) && key != "content-length") continue;
    if (key != "cookie") {
      headers[key] = value;
      continue;
    }
    std::string_view rest = value;
    while (!rest.empty()) {
      const auto end = rest.find(';');
      auto one = rest.substr(0, end);
      while (one.starts_with(' ')) one.remove_prefix(1);
      if (!one.empty()) cookies.push_back(one);
      rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    }
  }
  headers["x-forwarded-for"] = headers.contains("x-forwarded-for")
                                   ? headers["x-forwarded-for"].get<std::string>()
                                   : request.peer.host;
  const auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(context.now.time_since_epoch());
  json event{{"version", "2.0"},
             {"routeKey", "$default"},
             {"rawPath", raw_path},
             {"rawQueryString", raw_query},
             {"headers", headers},
             {"requestContext",
              {{"accountId", "anonymous"},
               {"apiId", context.url_id},
               {"domainName", context.domain},
               {"domainPrefix", context.url_id},
               {"http",
                {{"method", request.method},
                 {"path", request.path},
                 {"protocol", "HTTP/1.1"},
                 {"sourceIp", request.peer.host},
                 {"userAgent", std::string(request.header("User-Agent"))}}},
               {"requestId", context.request_id},
               {"routeKey", "$default"},
               {"stage", "$default"},
               {"time", format_wall(context.now)},
               {"timeEpoch", milliseconds.count()}}},
             {"isBase64Encoded", false}};
  if (!cookies.empty()) event["cookies"] = cookies;
  if (!request.query.empty()) event["queryStringParameters"] = request.query;
  if (!request.body.empty()) {
    const bool text = is_utf8(request.body);
    event["body"] = text ? request.body : base64(request.body);
    event["isBase64Encoded"] = !text;
  }
  return event.dump(-1, ' ', false, json::error_handler_t::replace);
}

net::HttpResponse response_of(std::string_view payload, Status& sound) {
  net::HttpResponse response;
  sound = {};
  auto parsed = parse(payload);
  if (!parsed || !parsed->is_object() || !parsed->contains("statusCode")) {
    // "If your function returns valid JSON and doesn't return a statusCode": a 200 with it.
    if (parsed && parsed->is_string())
      response.body = parsed->get<std::string>();
    else if (parsed)
      response.body = std::string(payload);
    else
      sound = fail(Code::kCorrupt, "the function's response is not JSON");
    return response;
  }
  const json& answer = *parsed;
  sound = read_head(answer, response);
  if (!sound) return {};
  if (auto body = answer.find("body"); body != answer.end() && !body->is_null())
    response.body = text_of(*body);
  const auto encoded = answer.find("isBase64Encoded");
  if (encoded != answer.end() && encoded->is_boolean() && encoded->get<bool>()) {
    auto bytes = from_base64(response.body);
    if (!bytes) {
      sound = broken("body (base64)");
      return {};
    }
    response.body = std::move(*bytes);
  }
  return response;
}

bool has_prelude(std::string_view content_type) {
  std::string type = lower(content_type.substr(0, content_type.find(';')));
  while (type.ends_with(' ')) type.pop_back();
  return type == "application/vnd.awslambda.http-integration-response";
}

Result<std::optional<net::HttpResponse>> StreamPrelude::take(std::string_view bytes) {
  // The end may have begun in what came before.
  const std::size_t searched = held_.size() - std::min(held_.size(), kPreludeEnd.size() - 1);
  held_ += bytes;
  const auto end = held_.find(kPreludeEnd, searched);
  const bool whole = end != std::string::npos;
  if ((whole ? end + kPreludeEnd.size() : held_.size()) > kPreludeBytesMax)
    return broken("prelude: it is too long");
  if (!whole) return std::optional<net::HttpResponse>();
  auto parsed = parse(std::string_view(held_).substr(0, end));
  if (!parsed || !parsed->is_object()) return broken("prelude: it is not a JSON object");
  net::HttpResponse response;
  response.content_type = "application/octet-stream";
  if (Status sound = read_head(*parsed, response); !sound) return fail(sound.error());
  response.body = held_.substr(end + kPreludeEnd.size());
  return std::optional(std::move(response));
}

}  // namespace leeward::functions

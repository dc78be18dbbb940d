#include "functions/function_url.h"

#include "functions/base64.h"
#include "functions/internal/http_event.h"

namespace leeward::functions {
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
  auto broken = [&](std::string_view what) {
    sound = fail(Code::kCorrupt, "the function's response has a broken {}", what);
    return net::HttpResponse{};
  };
  const json& status = answer["statusCode"];
  const int code = status.is_number_integer() ? status.get<int>()
                   : status.is_string()       ? std::atoi(status.get<std::string>().c_str())
                                              : 0;
  if (code < 100 || code > 599) return broken("statusCode");
  response.status = code;
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
  if (auto body = answer.find("body"); body != answer.end() && !body->is_null())
    response.body = text_of(*body);
  const auto encoded = answer.find("isBase64Encoded");
  if (encoded != answer.end() && encoded->is_boolean() && encoded->get<bool>()) {
    auto bytes = from_base64(response.body);
    if (!bytes) return broken("body (base64)");
    response.body = std::move(*bytes);
  }
  return response;
}

}  // namespace leeward::functions

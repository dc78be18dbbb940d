#include "functions/app_request.h"

#include "functions/base64.h"
#include "functions/internal/http_event.h"

namespace leeward::functions {

Result<AppRequest> app_request_of(std::string_view text) {
  auto parsed = parse(text);
  if (!parsed) return fail(parsed.error());
  const json& event = *parsed;
  auto refuse = [](std::string_view what) {
    return fail(Code::kInvalid, "the event is not an HTTP request of payload format 2.0: {}", what);
  };
  if (!event.is_object() || event.value("version", json()) != "2.0") return refuse("version");
  const json context = event.value("requestContext", json::object());
  const json http = context.is_object() ? context.value("http", json::object()) : json();
  const json method = http.is_object() ? http.value("method", json()) : json();
  const json path = event.value("rawPath", json("/"));
  const json query = event.value("rawQueryString", json(""));
  if (!method.is_string() || !path.is_string() || !query.is_string()) return refuse("http");
  AppRequest request;
  request.method = method.get<std::string>();
  request.target = path.get<std::string>();
  if (!query.get_ref<const std::string&>().empty())
    request.target += "?" + query.get<std::string>();
  const bool line_sound = is_token(request.method) && request.target.starts_with('/') &&
                          is_field_value(request.target) &&
                          request.target.find(' ') == std::string::npos;
  if (!line_sound) return refuse("request line");
  const json headers = event.value("headers", json::object());
  if (!headers.is_object()) return refuse("headers");
  for (const auto& [name, value] : headers.items()) {
    const std::string field = text_of(value);
    if (!is_token(name) || !is_field_value(field)) return refuse("header");
    if (!is_hop_field(lower(name))) request.headers.emplace_back(name, field);
  }
  const json cookies = event.value("cookies", json::array());
  if (!cookies.is_array()) return refuse("cookies");
  std::string all;
  for (const json& cookie : cookies) all += (all.empty() ? "" : "; ") + text_of(cookie);
  if (!is_field_value(all)) return refuse("cookies");
  if (!all.empty()) request.headers.emplace_back("cookie", all);
  const json body = event.value("body", json(""));
  if (!body.is_string() && !body.is_null()) return refuse("body");
  if (body.is_string()) request.body = body.get<std::string>();
  if (event.value("isBase64Encoded", json(false)) == true) {
    auto bytes = from_base64(request.body);
    if (!bytes) return refuse("body (base64)");
    request.body = std::move(*bytes);
  }
  return request;
}

std::string payload_of(const AppResponse& response) {
  json headers = json::object();
  json cookies = json::array();
  for (const auto& [name, value] : response.headers) {
    const std::string key = lower(name);
    if (is_hop_field(key)) continue;
    if (key == "set-cookie")
      cookies.push_back(value);
    else if (headers.contains(key))
      headers[key] = headers[key].get<std::string>() + ", " + value;
    else
      headers[key] = value;
  }
  const bool text = is_utf8(response.body);
  json payload{{"statusCode", response.status},
               {"headers", headers},
               {"body", text ? response.body : base64(response.body)},
               {"isBase64Encoded", !text}};
  if (!cookies.empty()) payload["cookies"] = cookies;
  return payload.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace leeward::functions

#include "net/internal/http_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/hex.h"
#include "base/log.h"

namespace leeward::net {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

Result<std::string> percent_decode(std::string_view text, bool plus_is_space) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      int high = i + 1 < text.size() ? hex_digit(text[i + 1]) : -1;
      int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return fail(Code::kInvalid, "broken percent-encoding in the target");
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (c == '\0') return fail(Code::kInvalid, "NUL in the target");
    out += c;
  }
  return out;
}

// Keeps the unreserved characters of RFC 3986 §2.3 and those of `also`.
void percent_encode(std::string& out, std::string_view text, std::string_view also) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (char c : text) {
    if (is_alphanumeric(c) || std::string_view("-._~").find(c) != std::string_view::npos ||
        also.find(c) != std::string_view::npos) {
      out += c;
      continue;
    }
    auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
}

bool is_token(std::string_view text) {  // RFC 9110 §5.6.2
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return is_alphanumeric(c) ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool is_field_value(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

// Written by this room itself, so a caller's own is not passed on.
bool is_framing_field(std::string_view name) {
  return same_name(name, "Content-Length") || same_name(name, "Transfer-Encoding") ||
         same_name(name, "Connection") || same_name(name, "Host");
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

bool CaseInsensitiveLess::operator()(std::string_view a, std::string_view b) const {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(),
                                      [](char x, char y) { return lower(x) < lower(y); });
}

std::string_view HttpRequest::header(std::string_view wanted) const {
  auto found = headers.find(wanted);
  return found == headers.end() ? std::string_view{} : std::string_view(found->second);
}

std::string_view HttpRequest::parameter(std::string_view wanted) const {
  auto found = query.find(std::string(wanted));
  return found == query.end() ? std::string_view{} : std::string_view(found->second);
}

Result<Target> parse_target(std::string_view text) {
  if (text.empty() || text.front() != '/')
    return fail(Code::kInvalid, "the target must start with '/'");
  const auto mark = text.find('?');
  auto path = percent_decode(text.substr(0, mark), false);
  if (!path) return fail(path.error());
  Target target{std::move(*path), {}};
  if (mark == std::string_view::npos) return target;

  std::string_view rest = text.substr(mark + 1);
  while (!rest.empty()) {
    const auto end = rest.find('&');
    const auto pair = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    if (pair.empty()) continue;
    const auto equals = pair.find('=');
    auto key = percent_decode(pair.substr(0, equals), true);
    auto value = percent_decode(
        equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1), true);
    if (!key) return fail(key.error());
    if (!value) return fail(value.error());
    target.query.insert_or_assign(std::move(*key), std::move(*value));
  }
  return target;
}

std::string format_target(const std::string& path,
                          const std::map<std::string, std::string>& query) {
  std::string out;
  percent_encode(out, path, "/!$&'()*+,;=:@");
  char separator = '?';
  for (const auto& [key, value] : query) {
    out += separator;
    percent_encode(out, key, "");
    out += '=';
    percent_encode(out, value, "");
    separator = '&';
  }
  return out;
}

Result<std::string> format_request_head(const HttpRequest& request, const Endpoint& to) {
  if (!is_token(request.method))
    return fail(Code::kInvalid, "'{}' is not an HTTP method", request.method);
  if (!request.path.starts_with('/'))
    return fail(Code::kInvalid, "path '{}' must start with '/'", request.path);
  std::string head =
      request.method + ' ' + format_target(request.path, request.query) + " HTTP/1.1\r\n";
  append_field(head, "Host", to_string(to));
  for (const auto& [name, value] : request.headers) {
    if (!is_token(name) || !is_field_value(value))  // the value may be a secret: not in the message
      return fail(Code::kInvalid, "header '{}' cannot be sent", name);
    if (!is_framing_field(name)) append_field(head, name, value);
  }
  // A length also for an empty body when the method suggests one (RFC 9110 §8.6).
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT")
    append_field(head, "Content-Length", std::to_string(request.body.size()));
  head += "\r\n";
  return head;
}

bool status_has_body(int status) { return status >= 200 && status != 204 && status != 304; }

std::string format_response_head(const HttpResponse& response, std::string_view reason,
                                 bool keep_alive, bool chunked) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\n", response.status, reason);
  if (!response.content_type.empty() && is_field_value(response.content_type))
    append_field(head, "Content-Type", response.content_type);
  for (const auto& [name, value] : response.headers)
    if (is_token(name) && is_field_value(value) && !is_framing_field(name) &&
        !same_name(name, "Content-Type"))
      append_field(head, name, value);
  for (const std::string& cookie : response.cookies)
    if (is_field_value(cookie)) append_field(head, "Set-Cookie", cookie);
  if (status_has_body(response.status) && !response.stream)
    append_field(head, "Content-Length", std::to_string(response.body.size()));
  if (status_has_body(response.status) && response.stream && chunked)
    append_field(head, "Transfer-Encoding", "chunked");
  append_field(head, "Connection", keep_alive ? "keep-alive" : "close");
  head += "\r\n";
  return head;
}

HttpResponse error_response(const Error& error) {
  HttpResponse response;
  response.status = http_status(error.code);
  response.body = "{\"error\":{\"code\":";
  append_json_string(response.body, name(error.code));
  response.body += ",\"message\":";
  append_json_string(response.body, error.message);
  response.body += "}}";
  return response;
}

Error error_from_response(const HttpResponse& response) {
  const auto json = nlohmann::json::parse(response.body, nullptr, false);
  if (json.is_object()) {
    const auto error = json.find("error");
    if (error != json.end() && error->is_object()) {
      const auto code = error->find("code");
      const auto message = error->find("message");
      if (code != error->end() && code->is_string() && message != error->end() &&
          message->is_string())
        return Error{code_from_name(code->get_ref<const std::string&>()),
                     message->get<std::string>()};
    }
  }
  return Error{code_from_http_status(response.status),
               fmt::format("the server answered with status {}", response.status)};
}

}  // namespace leeward::net

#include "edge/audit_body.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "edge/exchange.h"
#include "waf/body_json.h"
#include "waf/body_multipart.h"
#include "waf/body_urlencoded.h"

namespace leeward::edge {
namespace {

constexpr waf::BodyLimits kLimits = {.fields_max = kAuditFieldsMax};

void append_encoded(std::string_view text, std::string& out) {
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~*").find(c) != std::string_view::npos;
    if (plain)
      out += c;
    else if (c == ' ')
      out += '+';
    else
      fmt::format_to(std::back_inserter(out), "%{:02X}", static_cast<unsigned char>(c));
  }
}

// A name without a value may be a secret itself, such as JSON that came as a form.
void append_field(std::string_view name, std::string_view value, const SecretMask& mask,
                  std::string& out) {
  if (!out.empty()) out += '&';
  const bool secret = mask.is_secret(name);
  append_encoded(secret && value.empty() ? SecretMask::kMasked : name, out);
  out += '=';
  append_encoded(secret && !value.empty() ? SecretMask::kMasked : value, out);
}

std::string as_form(const waf::FieldList& fields, const SecretMask& mask) {
  std::string out;
  for (const waf::Field& field : fields) append_field(field.name, field.value, mask, out);
  return out;
}

bool begins_with(std::string_view text, std::string_view type) {
  return text.size() >= type.size() && same_name(text.substr(0, type.size()), type);
}

// "application/json", "application/problem+json; charset=utf-8".
bool is_json(std::string_view content_type) {
  std::string_view type = content_type.substr(0, content_type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  return type.size() >= 5 && (same_name(type.substr(type.size() - 5), "/json") ||
                              same_name(type.substr(type.size() - 5), "+json"));
}

std::string of_multipart(std::string_view content_type, std::string_view body,
                         const SecretMask& mask) {
  waf::MultipartBody parser(content_type, kLimits);
  parser.feed(body);
  if (parser.finish()) return as_form(parser.result().arguments, mask);
  std::string out;
  for (const waf::Field& part : parser.result().names)
    append_field(part.name, SecretMask::kMasked, mask, out);
  return out;
}

}  // namespace

std::string audit_body(std::string_view content_type, std::string_view body,
                       const SecretMask& mask) {
  if (begins_with(content_type, "multipart/form-data"))
    return of_multipart(content_type, body, mask);
  waf::FieldList fields;
  if (begins_with(content_type, "application/x-www-form-urlencoded")) {
    waf::parse_urlencoded(body, fields, kLimits);
  } else if (is_json(content_type)) {
    waf::JsonBody parser(fields, kLimits);
    if (parser.feed(body)) parser.finish();
  } else {
    return std::string(SecretMask::kMasked);
  }
  return as_form(fields, mask);
}

}  // namespace leeward::edge

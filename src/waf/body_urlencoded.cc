#include "waf/body_urlencoded.h"

#include <algorithm>

#include "waf/internal/bytes.h"

namespace leeward::waf {
namespace {

// Appends `text` decoded; false when an escape in it is none.
bool append_decoded(std::string_view text, std::string& out) {
  bool valid = true;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t plain =
        first_that(text.substr(at), [](unsigned char c) { return c == '%' || c == '+'; });
    out.append(text.substr(at, plain));
    at += plain;
    if (at == text.size()) break;
    if (text[at] == '+') {
      out += ' ';
      ++at;
    } else if (at + 2 < text.size() && is_hex(static_cast<unsigned char>(text[at + 1])) &&
               is_hex(static_cast<unsigned char>(text[at + 2]))) {
      out += static_cast<char>(hex_value(static_cast<unsigned char>(text[at + 1])) * 16 +
                               hex_value(static_cast<unsigned char>(text[at + 2])));
      at += 3;
    } else {
      valid = false;
      out += '%';
      ++at;
    }
  }
  return valid;
}

}  // namespace

Urlencoded parse_urlencoded(std::string_view text, FieldList& fields, const BodyLimits& limits,
                            char separator) {
  Urlencoded result;
  std::string name;
  std::string value;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(separator, at), text.size());
    if (fields.size() >= limits.fields_max) {
      result.error = BodyError{"More than " + std::to_string(limits.fields_max) + " arguments", at};
      return result;
    }
    const std::string_view field = text.substr(at, end - at);
    if (fields.bytes() + field.size() > limits.text_bytes_max) {
      result.error = BodyError{
          "Arguments of more than " + std::to_string(limits.text_bytes_max) + " bytes", at};
      return result;
    }
    const std::size_t equals = std::min(field.find('='), field.size());
    name.clear();
    value.clear();
    const bool name_valid = append_decoded(field.substr(0, equals), name);
    const bool value_valid =
        equals == field.size() || append_decoded(field.substr(equals + 1), value);
    result.invalid_escape = result.invalid_escape || !name_valid || !value_valid;
    fields.add(name, value);
    at = end + 1;
  }
  return result;
}

}  // namespace leeward::waf

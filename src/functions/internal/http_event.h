// What both directions of function_url.h and app_request.h share: fields and JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"

namespace leeward::functions {

using nlohmann::json;

inline bool is_ascii_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
inline char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

inline std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = lower(c);
  return out;
}

inline bool is_utf8(std::string_view s) {
  for (std::size_t i = 0; i < s.size();) {
    const auto lead = static_cast<unsigned char>(s[i]);
    const std::size_t more = lead < 0x80                   ? 0
                             : lead >= 0xc2 && lead < 0xe0 ? 1
                             : lead >= 0xe0 && lead < 0xf0 ? 2
                             : lead >= 0xf0 && lead < 0xf5 ? 3
                                                           : 4;
    if (more == 4 || s.size() - i <= more) return false;
    for (std::size_t k = 1; k <= more; ++k)
      if ((static_cast<unsigned char>(s[i + k]) & 0xc0) != 0x80) return false;
    const auto second = more > 0 ? static_cast<unsigned char>(s[i + 1]) : 0;
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
        (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f))
      return false;
    i += more + 1;
  }
  return true;
}

// Fields that belong to one connection, not to the request (RFC 9110 §7.6.1).
inline bool is_hop_field(std::string_view name) {
  for (std::string_view hop : {"connection", "keep-alive", "transfer-encoding", "te", "trailer",
                               "upgrade", "proxy-connection", "content-length"})
    if (name == hop) return true;
  return false;
}

inline bool is_token(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  for (char c : text)
    if (!is_ascii_alpha(c) && !(c >= '0' && c <= '9') && kMarks.find(c) == std::string_view::npos)
      return false;
  return !text.empty();
}

inline bool is_field_value(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

// A header value of the event: text, number or truth, as functions write them.
inline std::string text_of(const json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

inline Result<json> parse(std::string_view text) {
  constexpr int kDepthMax = 256;
  bool too_deep = false;
  json parsed = json::parse(
      text,
      [&](int depth, json::parse_event_t, json&) {
        too_deep = too_deep || depth > kDepthMax;
        return !too_deep;
      },
      false);
  if (too_deep || parsed.is_discarded()) return fail(Code::kInvalid, "this is not JSON");
  return parsed;
}

}  // namespace leeward::functions

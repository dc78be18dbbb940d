#include "waf/cookies.h"

#include "waf/internal/bytes.h"

namespace leeward::waf {

bool parse_cookies(std::string_view field, FieldList& cookies, std::size_t cookies_max) {
  for (std::size_t at = 0; at < field.size();) {
    const std::size_t end = std::min(field.find(';', at), field.size());
    std::string_view cookie = field.substr(at, end - at);
    at = end + 1;
    if (at >= field.size())  // blanks at the end of the field are no part of the last cookie
      while (!cookie.empty() && is_space(static_cast<unsigned char>(cookie.back())))
        cookie.remove_suffix(1);
    const std::size_t equals = cookie.find('=');
    std::string_view name = cookie.substr(0, equals);
    while (!name.empty() && is_space(static_cast<unsigned char>(name.front())))
      name.remove_prefix(1);
    if (name.empty()) continue;
    if (cookies.size() >= cookies_max) return false;
    cookies.add(name,
                equals == std::string_view::npos ? std::string_view() : cookie.substr(equals + 1));
  }
  return true;
}

}  // namespace leeward::waf

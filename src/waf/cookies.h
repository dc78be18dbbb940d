// REQUEST_COOKIES: the Cookie field as libmodsecurity 3.0.9 takes it apart.
#pragma once

#include <string_view>

#include "waf/field_list.h"

namespace leeward::waf {

// `field` is the value of one Cookie field. Names and values are as they were sent, not decoded;
// blanks before a name are no part of it. Appends to `cookies`, at most `cookies_max` in all; the
// rest is left out, and false returned.
bool parse_cookies(std::string_view field, FieldList& cookies, std::size_t cookies_max = 1000);

}  // namespace leeward::waf

// application/x-www-form-urlencoded bodies and query strings: "a=1&b=2" as libmodsecurity 3.0.9
// takes it apart, because ARGS is what the rules were written against.
//
// Pure. The caller has the text in one piece; reading it is one pass.
#pragma once

#include <string_view>

#include "waf/body.h"
#include "waf/field_list.h"

namespace leeward::waf {

struct Urlencoded {
  // URLENCODED_ERROR: a '%' is not followed by two hexadecimal digits. Such a '%' stays as it is.
  bool invalid_escape = false;
  std::optional<BodyError> error;  // limits only; the fields before it are in the list
};

// Appends to `fields`. '+' is a blank; a field without '=' has an empty value; an empty field
// between two separators counts, one at the end does not. `separator` is SecArgumentSeparator.
Urlencoded parse_urlencoded(std::string_view text, FieldList& fields, const BodyLimits& limits = {},
                            char separator = '&');

}  // namespace leeward::waf

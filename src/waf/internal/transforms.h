// One function a transformation, for transform.cc to choose from. Each returns whether it changed
// the value.
#pragma once

#include <string>

namespace leeward::waf {
class UnicodeMap;
}

namespace leeward::waf::transforms {

// transform_decode.cc
bool css_decode(std::string& value);
bool escape_seq_decode(std::string& value);
bool hex_decode(std::string& value);
bool html_entity_decode(std::string& value);
bool js_decode(std::string& value);
bool sql_hex_decode(std::string& value);
bool url_decode(std::string& value);
bool url_decode_uni(std::string& value, const UnicodeMap* map);

// transform_encode.cc
bool base64_decode(std::string& value);
bool base64_decode_ext(std::string& value);
bool base64_encode(std::string& value);
bool hex_encode(std::string& value);
bool length(std::string& value);
bool md5(std::string& value);
bool sha1(std::string& value);
bool url_encode(std::string& value);
bool utf8_to_unicode(std::string& value);

// transform_text.cc
bool cmd_line(std::string& value);
bool compress_whitespace(std::string& value);
bool lowercase(std::string& value);
bool normalize_path(std::string& value, bool windows);
bool parity_even_7bit(std::string& value);
bool parity_odd_7bit(std::string& value);
bool parity_zero_7bit(std::string& value);
bool remove_comments(std::string& value);
bool remove_comments_char(std::string& value);
bool remove_nulls(std::string& value);
bool remove_whitespace(std::string& value);
bool replace_comments(std::string& value);
bool replace_nulls(std::string& value);
bool trim(std::string& value, bool left, bool right);
bool uppercase(std::string& value);

}  // namespace leeward::waf::transforms

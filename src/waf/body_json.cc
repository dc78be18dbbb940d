#include "waf/body_json.h"

#include <algorithm>
#include <utility>

#include "waf/internal/bytes.h"

namespace leeward::waf {

JsonBody::JsonBody(FieldList& fields, const BodyLimits& limits)
    : fields_(fields), limits_(limits) {}

bool JsonBody::fail(std::string message) {
  if (!error_) error_ = BodyError{std::move(message), offset_};
  return false;
}

bool JsonBody::feed(std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size() && !error_;) {
    if (in_ == In::kString && utf8_left_ == 0) {
      const std::size_t plain = take_plain(bytes.substr(i));
      i += plain;
      offset_ += plain;
      if (i == bytes.size() || error_) break;
    }
    if (!step(bytes[i])) break;
    ++i;
    ++offset_;
  }
  return !error_;
}

bool JsonBody::finish() {
  if (error_) return false;
  if (offset_ == 0) return true;
  if (in_ == In::kNumber && !number(' ')) return false;  // only what follows ends a number
  if (in_ != In::kNone || expect_ != Expect::kNothing) return fail("premature end of the text");
  return true;
}

bool JsonBody::step(char c) {
  switch (in_) {
    case In::kNone:
      return structure(c);
    case In::kString:
      return string_byte(c);
    case In::kEscape:
    case In::kSurrogate:
      return escape(c);
    case In::kCodeUnit:
      return code_unit(c);
    case In::kWord:
      return word(c);
    case In::kNumber:
      return number(c);
  }
  return false;
}

bool JsonBody::structure(char c) {
  if (is_space(static_cast<unsigned char>(c))) return true;
  switch (expect_) {
    case Expect::kFirstItem:
      if (c == ']') return close();
      [[fallthrough]];
    case Expect::kValue:
      return begin_value(c);
    case Expect::kFirstKey:
      if (c == '}') return close();
      [[fallthrough]];
    case Expect::kKey:
      if (c != '"') return fail("a key is wanted, a string in double quotes");
      is_key_ = true;
      in_ = In::kString;
      text_.clear();
      return true;
    case Expect::kColon:
      if (c != ':') return fail("':' is wanted after a key");
      expect_ = Expect::kValue;
      return true;
    case Expect::kCommaOrEnd: {
      const bool array = levels_.back().array;
      if (c == (array ? ']' : '}')) return close();
      if (c != ',') return fail(array ? "',' or ']' is wanted" : "',' or '}' is wanted");
      expect_ = array ? Expect::kValue : Expect::kKey;
      return true;
    }
    case Expect::kNothing:
      return fail("something follows the end of the text");
  }
  return false;
}

bool JsonBody::begin_value(char c) {
  switch (c) {
    case '{':
      return open(false);
    case '[':
      return open(true);
    case '"':
      is_key_ = false;
      in_ = In::kString;
      text_.clear();
      return true;
    case 't':
      word_ = "true";
      break;
    case 'f':
      word_ = "false";
      break;
    case 'n':
      word_ = "null";
      break;
    default:
      if (c != '-' && !is_digit(static_cast<unsigned char>(c))) return fail("a value is wanted");
      in_ = In::kNumber;
      number_ = c == '-' ? Number::kMinus : c == '0' ? Number::kZero : Number::kInteger;
      text_.assign(1, c);
      return true;
  }
  in_ = In::kWord;
  word_bytes_ = 1;
  return true;
}

// Gives an array's item its name, ".array_0".
void JsonBody::name_item() {
  if (levels_.empty() || !levels_.back().array) return;
  Level& level = levels_.back();
  path_.resize(level.path_bytes);
  path_.append(".array_").append(std::to_string(level.items++));
}

bool JsonBody::open(bool array) {
  if (levels_.size() >= limits_.depth_max)
    return fail("nested deeper than " + std::to_string(limits_.depth_max));
  name_item();
  levels_.push_back({array, path_.size(), 0});
  expect_ = array ? Expect::kFirstItem : Expect::kFirstKey;
  return true;
}

bool JsonBody::close() {
  levels_.pop_back();
  expect_ = levels_.empty() ? Expect::kNothing : Expect::kCommaOrEnd;
  return true;
}

bool JsonBody::end_value(std::string_view value) {
  name_item();
  in_ = In::kNone;
  if (fields_.size() >= limits_.fields_max)
    return fail("more than " + std::to_string(limits_.fields_max) + " arguments");
  if (fields_.bytes() + path_.size() + value.size() > limits_.text_bytes_max)
    return fail("arguments of more than " + std::to_string(limits_.text_bytes_max) + " bytes");
  fields_.add(path_, value);
  expect_ = levels_.empty() ? Expect::kNothing : Expect::kCommaOrEnd;
  return true;
}

bool JsonBody::end_string() {
  if (!is_key_) return end_value(text_);
  in_ = In::kNone;
  expect_ = Expect::kColon;
  path_.resize(levels_.back().path_bytes);
  path_.append(".").append(text_.empty() ? std::string_view("empty-key") : text_);
  if (path_.size() > limits_.text_bytes_max)
    return fail("keys of more than " + std::to_string(limits_.text_bytes_max) + " bytes");
  return true;
}

// Copies what needs no thought: ASCII without quotes, escapes and control characters.
std::size_t JsonBody::take_plain(std::string_view bytes) {
  const std::size_t plain = first_that(
      bytes, [](unsigned char c) { return (c == '"') | (c == '\\') | (c < ' ') | (c >= 0x80); });
  const std::size_t room = limits_.text_bytes_max - std::min(limits_.text_bytes_max, text_.size());
  if (plain > room || text_.size() > limits_.text_bytes_max) {
    offset_ += room;
    fail("a string of more than " + std::to_string(limits_.text_bytes_max) + " bytes");
    return 0;
  }
  text_.append(bytes.substr(0, plain));
  return plain;
}

bool JsonBody::string_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (utf8_left_ > 0 || byte >= 0x80) return utf8_byte(byte);
  if (byte < ' ') return fail("a control character in a string; write it as \\uXXXX");
  if (c == '\\') {
    in_ = In::kEscape;
    return true;
  }
  if (c == '"') return end_string();
  text_ += c;
  return true;
}

bool JsonBody::utf8_byte(unsigned char c) {
  if (utf8_left_ > 0) {
    if (c >> 6 != 2) return fail("a string that is not UTF-8");
    --utf8_left_;
  } else if (c >> 5 == 6) {
    utf8_left_ = 1;
  } else if (c >> 4 == 14) {
    utf8_left_ = 2;
  } else if (c >> 3 == 30) {
    utf8_left_ = 3;
  } else {
    return fail("a string that is not UTF-8");
  }
  if (text_.size() >= limits_.text_bytes_max)
    return fail("a string of more than " + std::to_string(limits_.text_bytes_max) + " bytes");
  text_ += static_cast<char>(c);
  return true;
}

// After a backslash, or where the other half of a surrogate pair may begin.
bool JsonBody::escape(char c) {
  if (in_ == In::kSurrogate) {
    in_ = In::kString;
    if (c == '\\') {
      in_ = In::kEscape;
      return true;
    }
    high_surrogate_ = 0;
    text_ += '?';
    return string_byte(c);
  }
  if (c == 'u') {
    in_ = In::kCodeUnit;
    digits_left_ = 4;
    code_unit_ = 0;
    return true;
  }
  if (high_surrogate_ != 0) text_ += '?';
  high_surrogate_ = 0;
  in_ = In::kString;
  constexpr std::string_view kEscapes = "\"\\/bfnrt";
  constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
  const std::size_t which = kEscapes.find(c);
  if (which == std::string_view::npos) return fail("an escape that JSON does not have");
  text_ += kMeanings[which];
  return true;
}

bool JsonBody::code_unit(char c) {
  const auto digit = static_cast<unsigned char>(c);
  if (!is_hex(digit)) return fail("\\u is wanted with four hexadecimal digits");
  code_unit_ = code_unit_ << 4 | hex_value(digit);
  if (--digits_left_ > 0) return true;
  in_ = In::kString;
  if (high_surrogate_ != 0) {  // whatever it is, its low bits are taken
    put_code_point((((high_surrogate_ & 0x3ff) << 10) | (code_unit_ & 0x3ff)) + 0x10000);
    high_surrogate_ = 0;
  } else if ((code_unit_ & 0xfc00) == 0xd800) {
    high_surrogate_ = code_unit_;
    in_ = In::kSurrogate;
  } else {
    put_code_point(code_unit_);
  }
  return true;
}

void JsonBody::put_code_point(std::uint32_t code_point) {
  const auto tail = [&](int shift) {
    text_ += static_cast<char>(0x80 | (code_point >> shift & 0x3f));
  };
  if (code_point < 0x80) {
    text_ += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    text_ += static_cast<char>(0xc0 | code_point >> 6);
    tail(0);
  } else if (code_point < 0x10000) {
    text_ += static_cast<char>(0xe0 | code_point >> 12);
    tail(6);
    tail(0);
  } else {
    text_ += static_cast<char>(0xf0 | code_point >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

bool JsonBody::word(char c) {
  if (c != word_[word_bytes_]) return fail("a value is wanted");
  if (++word_bytes_ < word_.size()) return true;
  return end_value(word_ == "null" ? std::string_view() : word_);
}

bool JsonBody::number(char c) {
  const bool digit = is_digit(static_cast<unsigned char>(c));
  const bool exponent = c == 'e' || c == 'E';
  const auto goes_on = [&](Number next) {
    if (text_.size() >= limits_.text_bytes_max)
      return fail("a number of more than " + std::to_string(limits_.text_bytes_max) + " bytes");
    number_ = next;
    text_ += c;
    return true;
  };
  switch (number_) {
    case Number::kMinus:
      if (digit) return goes_on(c == '0' ? Number::kZero : Number::kInteger);
      return fail("a digit is wanted after '-'");
    case Number::kInteger:
      if (digit) return goes_on(Number::kInteger);
      [[fallthrough]];
    case Number::kZero:
      if (c == '.') return goes_on(Number::kPoint);
      if (exponent) return goes_on(Number::kExponent);
      break;
    case Number::kPoint:
      if (digit) return goes_on(Number::kFraction);
      return fail("a digit is wanted after '.'");
    case Number::kFraction:
      if (digit) return goes_on(Number::kFraction);
      if (exponent) return goes_on(Number::kExponent);
      break;
    case Number::kExponent:
      if (c == '+' || c == '-') return goes_on(Number::kExponentSign);
      [[fallthrough]];
    case Number::kExponentSign:
      if (digit) return goes_on(Number::kExponentDigits);
      return fail("a digit is wanted in the exponent");
    case Number::kExponentDigits:
      if (digit) return goes_on(Number::kExponentDigits);
      break;
  }
  if (!end_value(text_)) return false;
  return structure(c);  // the byte that ended it
}

}  // namespace leeward::waf

// JSON bodies as arguments: the value at {"a": {"b": [1]}} is the argument json.a.b.array_0, as
// libmodsecurity 3.0.9 names it. A parser of our own, fed in pieces of any size; it keeps the path
// to where it is and nothing of the document.
//
// What is a JSON text is RFC 8259, read as the library's yajl reads it: of UTF-8 the form is
// checked, not whether it is the shortest; VT and FF are blanks; a lone high surrogate is '?'; keys
// may be there more than once.
//
// Threading: one parser for one body on one thread.
// Cost: linear in the body; memory is the arguments, the path and the value that is being read,
// each within BodyLimits.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "waf/body.h"
#include "waf/field_list.h"

namespace leeward::waf {

class JsonBody {
 public:
  // Arguments go into `fields`, which outlives the parser.
  JsonBody(FieldList& fields, const BodyLimits& limits);

  // The next bytes of the body. False once there is an error; what follows is then ignored.
  bool feed(std::string_view bytes);
  // The body is complete. False when it is no JSON text, or was none before. A body of no bytes at
  // all is no error and has no arguments.
  bool finish();
  const std::optional<BodyError>& error() const { return error_; }

 private:
  enum class Expect : std::uint8_t {
    kValue,
    kFirstItem,  // a value, or the end of the array
    kFirstKey,   // a key, or the end of the object
    kKey,
    kColon,
    kCommaOrEnd,
    kNothing,  // the text is complete
  };
  enum class In : std::uint8_t { kNone, kString, kEscape, kCodeUnit, kSurrogate, kWord, kNumber };
  enum class Number : std::uint8_t {  // what has been read of one
    kMinus,
    kZero,
    kInteger,
    kPoint,
    kFraction,
    kExponent,
    kExponentSign,
    kExponentDigits,
  };
  struct Level {
    bool array;
    std::size_t path_bytes;  // of the path that leads to the container
    std::size_t items;
  };

  bool step(char c);
  bool structure(char c);
  bool begin_value(char c);
  bool open(bool array);
  bool close();
  std::size_t take_plain(std::string_view bytes);
  bool string_byte(char c);
  bool utf8_byte(unsigned char c);
  bool escape(char c);
  bool code_unit(char c);
  bool word(char c);
  bool number(char c);
  bool end_string();
  bool end_value(std::string_view value);
  void put_code_point(std::uint32_t code_point);
  void name_item();
  bool fail(std::string message);

  FieldList& fields_;
  const BodyLimits limits_;
  std::vector<Level> levels_;
  std::string path_ = "json";
  std::string text_;  // the string or number that is being read
  std::size_t offset_ = 0;
  Expect expect_ = Expect::kValue;
  In in_ = In::kNone;
  Number number_ = Number::kZero;
  bool is_key_ = false;
  std::uint8_t utf8_left_ = 0;    // bytes that a UTF-8 sequence still needs
  std::uint8_t digits_left_ = 0;  // of \uXXXX
  std::uint32_t code_unit_ = 0;
  std::uint32_t high_surrogate_ = 0;  // read, and its partner not yet
  std::string_view word_;             // true, false or null
  std::size_t word_bytes_ = 0;
  std::optional<BodyError> error_;
};

}  // namespace leeward::waf

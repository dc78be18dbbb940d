// JSON bodies as arguments: the value at {"a": {"b": [1]}} is the argument json.a.b.array_0, as
// libmodsecurity 3.0.9 names it. A parser of our own, fed in pieces of any size; it keeps the path
// to where it is and nothing of the document.
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
  // The body is complete. False when it is no JSON text (RFC 8259), or was none before.
  bool finish();
  const std::optional<BodyError>& error() const { return error_; }

 private:
  enum class Expect : std::uint8_t;
  enum class Text : std::uint8_t;
  struct Level {
    bool array;
    std::size_t path_bytes;  // of the path that leads to the container
    std::size_t items;
  };

  bool step(char c);
  bool step_string(char c);
  bool step_escape(char c);
  bool step_code_unit(char c);
  bool step_word(char c);
  bool step_number(char c);
  bool begin_value(char c);
  bool open(bool array);
  bool close(bool array);
  bool end_string();
  bool end_value(std::string_view value);
  bool append(std::string_view bytes);
  bool append_code_point(std::uint32_t code_point);
  bool name_item();
  bool fail(std::string message);

  FieldList& fields_;
  const BodyLimits limits_;
  std::vector<Level> levels_;
  std::string path_;
  std::string text_;  // the string, number or word that is being read
  std::size_t offset_ = 0;
  Expect expect_;
  Text in_;
  std::uint8_t number_ = 0;     // where in the grammar of numbers
  std::uint8_t utf8_left_ = 0;  // continuation bytes that a UTF-8 sequence still needs
  std::uint8_t utf8_first_[2] = {0x80, 0xbf};  // bounds of the next one
  std::uint8_t digits_left_ = 0;               // of \uXXXX
  std::uint32_t code_unit_ = 0;
  std::uint32_t high_surrogate_ = 0;
  std::optional<BodyError> error_;
};

}  // namespace leeward::waf

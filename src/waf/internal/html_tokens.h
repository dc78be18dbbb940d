// A value read as HTML, beginning in any of the places of a page that it may be put into. The
// tokeniser of the HTML standard (13.2.5), loosened to what browsers have accepted: NUL in names,
// quotes of `…`, comments of <%…%>. The rules are those of libinjection, whose verdict @detectXSS
// has to give.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace leeward::waf {

enum class HtmlContext : std::uint8_t {
  kText,         // between tags
  kUnquoted,     // in a tag: attributes follow
  kSingleQuote,  // in an attribute's '…'
  kDoubleQuote,
  kBackQuote,
};

struct HtmlToken {
  enum class Kind : std::uint8_t {
    kText,
    kTagOpen,   // the name
    kTagEnd,    // '>' or "/>"
    kTagClose,  // the name, of </name>
    kAttributeName,
    kAttributeValue,
    kComment,
    kDoctype,
  };
  Kind kind = Kind::kText;
  std::string_view text;
};

class HtmlTokenizer {
 public:
  HtmlTokenizer(std::string_view value, HtmlContext context);
  bool next(HtmlToken& token);  // false at the end

 private:
  enum class State : std::uint8_t {
    kEnd,
    kText,
    kTagOpen,
    kBeforeAttributeName,
    kAttributeName,
    kAfterAttributeName,
    kBeforeAttributeValue,
    kQuotedValue,
    kUnquotedValue,
    kAfterQuotedValue,
    kSelfClosing,
    kTagEnd,
  };
  enum class Outcome : std::uint8_t { kToken, kAgain, kEnd };

  Outcome step(HtmlToken& token);
  Outcome text(HtmlToken& token);
  Outcome tag_open(HtmlToken& token);
  Outcome end_tag_open(HtmlToken& token);
  Outcome tag_name(HtmlToken& token);
  Outcome attribute_name(HtmlToken& token);
  Outcome after_attribute_name(HtmlToken& token);
  Outcome before_attribute_value();
  Outcome quoted_value(HtmlToken& token);
  Outcome unquoted_value(HtmlToken& token);
  Outcome declaration(HtmlToken& token);
  Outcome comment(HtmlToken& token);
  Outcome character_data(HtmlToken& token);
  Outcome tag_end(HtmlToken& token);

  // A token of `size` bytes from here; reading goes on `skip` bytes behind it, in `state`.
  Outcome emit(HtmlToken& token, HtmlToken::Kind kind, std::size_t size, std::size_t skip,
               State state);
  Outcome emit_until(HtmlToken& token, HtmlToken::Kind kind, std::string_view end);
  Outcome go(State state) {
    state_ = state;
    return Outcome::kAgain;
  }
  std::string_view rest() const { return value_.substr(at_); }
  int skip_blanks();  // the byte that follows them, -1 at the end

  const std::string_view value_;
  std::size_t at_ = 0;
  State state_;
  char quote_ = 0;
  bool closing_tag_ = false;
};

}  // namespace leeward::waf

#include "waf/internal/html_tokens.h"

#include <algorithm>

#include "waf/internal/bytes.h"

namespace leeward::waf {
namespace {

using Kind = HtmlToken::Kind;

bool is_blank(char c) { return c == 0 || is_space(static_cast<unsigned char>(c)); }
bool begins_name(char c) { return c == 0 || is_alpha(static_cast<unsigned char>(c)); }

}  // namespace

HtmlTokenizer::HtmlTokenizer(std::string_view value, HtmlContext context) : value_(value) {
  switch (context) {
    case HtmlContext::kText:
      state_ = State::kText;
      break;
    case HtmlContext::kUnquoted:
      state_ = State::kBeforeAttributeName;
      break;
    case HtmlContext::kSingleQuote:
      quote_ = '\'';
      break;
    case HtmlContext::kDoubleQuote:
      quote_ = '"';
      break;
    case HtmlContext::kBackQuote:
      quote_ = '`';
      break;
  }
  if (quote_ != 0) state_ = State::kQuotedValue;
}

bool HtmlTokenizer::next(HtmlToken& token) {
  for (;;) {
    switch (step(token)) {
      case Outcome::kToken:
        return true;
      case Outcome::kEnd:
        return false;
      case Outcome::kAgain:
        break;
    }
  }
}

HtmlTokenizer::Outcome HtmlTokenizer::step(HtmlToken& token) {
  switch (state_) {
    case State::kEnd:
      return Outcome::kEnd;
    case State::kText:
      return text(token);
    case State::kTagOpen:
      return tag_open(token);
    case State::kBeforeAttributeName: {
      const int c = skip_blanks();
      if (c == -1) return Outcome::kEnd;
      if (c == '>') return emit(token, Kind::kTagEnd, 1, 0, State::kText);
      if (c != '/') return attribute_name(token);
      ++at_;
      return go(State::kSelfClosing);
    }
    case State::kAttributeName:
      return attribute_name(token);
    case State::kAfterAttributeName:
      return after_attribute_name(token);
    case State::kBeforeAttributeValue:
      return before_attribute_value();
    case State::kQuotedValue:
      return quoted_value(token);
    case State::kUnquotedValue:
      return unquoted_value(token);
    case State::kAfterQuotedValue:
      if (rest().empty()) return Outcome::kEnd;
      if (value_[at_] == '>') return emit(token, Kind::kTagEnd, 1, 0, State::kText);
      if (value_[at_] != '/') return go(State::kBeforeAttributeName);
      ++at_;
      return go(State::kSelfClosing);
    case State::kSelfClosing:
      if (rest().empty()) return Outcome::kEnd;
      if (value_[at_] != '>') return go(State::kBeforeAttributeName);
      return emit(token, Kind::kTagEnd, 1, 0, State::kText);
    case State::kTagEnd:
      return tag_end(token);
  }
  return Outcome::kEnd;
}

HtmlTokenizer::Outcome HtmlTokenizer::emit(HtmlToken& token, Kind kind, std::size_t size,
                                           std::size_t skip, State state) {
  token = {kind, value_.substr(at_, size)};
  at_ += size + skip;
  state_ = state;
  return Outcome::kToken;
}

// What goes up to `end`, or to the end of the value.
HtmlTokenizer::Outcome HtmlTokenizer::emit_until(HtmlToken& token, Kind kind,
                                                 std::string_view end) {
  const std::size_t found = rest().find(end);
  if (found == std::string_view::npos) return emit(token, kind, rest().size(), 0, State::kEnd);
  return emit(token, kind, found, end.size(), State::kText);
}

// The byte 0xff ends the value, because it is the reference's sign for the end.
int HtmlTokenizer::skip_blanks() {
  while (at_ < value_.size() && is_blank(value_[at_])) ++at_;
  return at_ < value_.size() ? static_cast<signed char>(value_[at_]) : -1;
}

HtmlTokenizer::Outcome HtmlTokenizer::text(HtmlToken& token) {
  const std::size_t tag = rest().find('<');
  if (tag == std::string_view::npos) {
    if (rest().empty()) return Outcome::kEnd;
    return emit(token, Kind::kText, rest().size(), 0, State::kEnd);
  }
  if (tag > 0) return emit(token, Kind::kText, tag, 1, State::kTagOpen);
  ++at_;
  return go(State::kTagOpen);
}

HtmlTokenizer::Outcome HtmlTokenizer::tag_open(HtmlToken& token) {
  if (rest().empty()) return Outcome::kEnd;
  const char c = value_[at_];
  if (begins_name(c)) return tag_name(token);
  switch (c) {
    case '!':
      ++at_;
      return declaration(token);
    case '/':
      ++at_;
      closing_tag_ = true;
      return end_tag_open(token);
    case '?':
      ++at_;
      return emit_until(token, Kind::kComment, ">");
    case '%':
      ++at_;
      return emit_until(token, Kind::kComment, "%>");  // once of Internet Explorer
    default:
      break;
  }
  token = {Kind::kText, value_.substr(at_ - 1, 1)};  // the '<' was text
  state_ = State::kText;
  return Outcome::kToken;
}

HtmlTokenizer::Outcome HtmlTokenizer::end_tag_open(HtmlToken& token) {
  if (rest().empty()) return Outcome::kEnd;
  if (value_[at_] == '>') return go(State::kText);
  if (is_alpha(static_cast<unsigned char>(value_[at_]))) return tag_name(token);
  closing_tag_ = false;
  return emit_until(token, Kind::kComment, ">");
}

HtmlTokenizer::Outcome HtmlTokenizer::tag_name(HtmlToken& token) {
  std::size_t size = 0;
  for (; size < rest().size(); ++size) {
    const char c = rest()[size];
    if (is_space(static_cast<unsigned char>(c)))
      return emit(token, Kind::kTagOpen, size, 1, State::kBeforeAttributeName);
    if (c == '/') return emit(token, Kind::kTagOpen, size, 1, State::kSelfClosing);
    if (c != '>') continue;
    if (!closing_tag_) return emit(token, Kind::kTagOpen, size, 0, State::kTagEnd);
    closing_tag_ = false;
    return emit(token, Kind::kTagClose, size, 1, State::kText);
  }
  return emit(token, Kind::kTagOpen, size, 0, State::kEnd);
}

HtmlTokenizer::Outcome HtmlTokenizer::tag_end(HtmlToken& token) {
  closing_tag_ = false;
  return emit(token, Kind::kTagEnd, 1, 0, State::kText);
}

// The first byte belongs to the name whatever it is.
HtmlTokenizer::Outcome HtmlTokenizer::attribute_name(HtmlToken& token) {
  std::size_t size = 1;
  for (; size < rest().size(); ++size) {
    const char c = rest()[size];
    if (is_blank(c)) return emit(token, Kind::kAttributeName, size, 1, State::kAfterAttributeName);
    if (c == '/') return emit(token, Kind::kAttributeName, size, 1, State::kSelfClosing);
    if (c == '=') return emit(token, Kind::kAttributeName, size, 1, State::kBeforeAttributeValue);
    if (c == '>') return emit(token, Kind::kAttributeName, size, 0, State::kTagEnd);
  }
  return emit(token, Kind::kAttributeName, rest().size(), 0, State::kEnd);
}

HtmlTokenizer::Outcome HtmlTokenizer::after_attribute_name(HtmlToken& token) {
  switch (skip_blanks()) {
    case -1:
      return Outcome::kEnd;
    case '/':
      ++at_;
      return go(State::kSelfClosing);
    case '=':
      ++at_;
      return go(State::kBeforeAttributeValue);
    case '>':
      return tag_end(token);
    default:
      return attribute_name(token);
  }
}

HtmlTokenizer::Outcome HtmlTokenizer::before_attribute_value() {
  const int c = skip_blanks();
  if (c == -1) return Outcome::kEnd;
  if (c != '"' && c != '\'' && c != '`') return go(State::kUnquotedValue);
  quote_ = static_cast<char>(c);
  return go(State::kQuotedValue);
}

HtmlTokenizer::Outcome HtmlTokenizer::quoted_value(HtmlToken& token) {
  if (at_ > 0) ++at_;  // the quote; at the beginning of the value it lies before it
  const std::size_t end = rest().find(quote_);
  if (end == std::string_view::npos)
    return emit(token, Kind::kAttributeValue, rest().size(), 0, State::kEnd);
  return emit(token, Kind::kAttributeValue, end, 1, State::kAfterQuotedValue);
}

HtmlTokenizer::Outcome HtmlTokenizer::unquoted_value(HtmlToken& token) {
  std::size_t size = 0;
  for (; size < rest().size(); ++size) {
    const char c = rest()[size];
    if (is_blank(c))
      return emit(token, Kind::kAttributeValue, size, 1, State::kBeforeAttributeName);
    if (c == '>') return emit(token, Kind::kAttributeValue, size, 0, State::kTagEnd);
  }
  return emit(token, Kind::kAttributeValue, size, 0, State::kEnd);
}

HtmlTokenizer::Outcome HtmlTokenizer::declaration(HtmlToken& token) {
  constexpr std::string_view kDoctype = "DOCTYPE";
  constexpr std::string_view kData = "[CDATA[";
  if (equal_ignoring_case(rest().substr(0, kDoctype.size()), kDoctype))
    return emit_until(token, Kind::kDoctype, ">");
  if (rest().starts_with(kData)) {
    at_ += kData.size();
    return character_data(token);
  }
  if (!rest().starts_with("--")) return emit_until(token, Kind::kComment, ">");
  at_ += 2;
  return comment(token);
}

// Ends with "-->" or "-!>", with any number of NUL behind the dash.
HtmlTokenizer::Outcome HtmlTokenizer::comment(HtmlToken& token) {
  const std::string_view text = rest();
  for (std::size_t dash = text.find('-'); dash != std::string_view::npos && dash + 3 <= text.size();
       dash = text.find('-', dash + 1)) {
    std::size_t end = dash + 1;
    while (end < text.size() && text[end] == 0) ++end;
    if (end == text.size()) break;
    if (text[end] != '-' && text[end] != '!') continue;
    ++end;
    if (end == text.size()) break;
    if (text[end] != '>') continue;
    return emit(token, Kind::kComment, dash, end + 1 - dash, State::kText);
  }
  return emit(token, Kind::kComment, text.size(), 0, State::kEnd);
}

HtmlTokenizer::Outcome HtmlTokenizer::character_data(HtmlToken& token) {
  return emit_until(token, Kind::kText, "]]>");
}

}  // namespace leeward::waf

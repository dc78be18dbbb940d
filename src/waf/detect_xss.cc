// The value is read as HTML in the five contexts it may stand in; a tag, an attribute or an address
// that can run a script is what is looked for. The idea and the rules are libinjection's (Nick
// Galbraith); the lists are measured by tools/waf_tables, see docs/adr/0033-measured-detectors.md.
#include "waf/detect_xss.h"

#include <algorithm>

#include "waf/internal/bytes.h"
#include "waf/internal/html_tokens.h"

namespace leeward::waf {
namespace {

#include "waf/internal/xss_words.inc"

enum class Attribute { kHarmless, kScript, kUrl, kNamesAttribute };

// `upper` in any letter case, NUL being nothing, as for Internet Explorer.
bool is(std::string_view upper, std::string_view text) {
  std::size_t same = 0;
  for (const char c : text) {
    if (c == 0) continue;
    if (same == upper.size() || to_upper(c) != upper[same]) return false;
    ++same;
  }
  return same == upper.size();
}

template <std::size_t kSize>
bool is_any(const std::string_view (&list)[kSize], std::string_view text) {
  return std::any_of(std::begin(list), std::end(list),
                     [text](std::string_view upper) { return is(upper, text); });
}

bool starts(std::string_view lower, std::string_view text) {
  return equal_ignoring_case(text.substr(0, lower.size()), lower);
}

bool runs_as_tag(std::string_view name) {
  if (name.size() < 3) return false;
  return is_any(kTags, name) || starts("svg", name) || starts("xsl", name);
}

Attribute kind_of_attribute(std::string_view name) {
  if (name.size() < 2) return Attribute::kHarmless;
  if (name.size() >= 5) {
    if (starts("on", name)) return Attribute::kScript;  // an event
    // Name spaces make any tag.
    if (is("XMLNS", name.substr(0, 5)) || is("XLINK", name.substr(0, 5))) return Attribute::kScript;
  }
  if (is_any(kBlackAttributes, name)) return Attribute::kScript;
  if (is_any(kUrlAttributes, name)) return Attribute::kUrl;
  if (is_any(kIndirectAttributes, name)) return Attribute::kNamesAttribute;
  return Attribute::kHarmless;
}

// The character at the front of `text`, numeric references decoded; what it took is removed.
int take_character(std::string_view& text) {
  constexpr int kLargest = 0x1000ff;
  const auto plain = [&text] {
    const int c = static_cast<unsigned char>(text[0]);
    text.remove_prefix(1);
    return c;
  };
  if (text[0] != '&' || text.size() < 2 || text[1] != '#') return plain();
  const bool hex = text.size() > 2 && (text[2] == 'x' || text[2] == 'X');
  const std::size_t first = hex ? 3 : 2;
  std::size_t at = first;
  int number = 0;
  for (; at < text.size(); ++at) {
    const auto c = static_cast<unsigned char>(text[at]);
    if (hex ? !is_hex(c) : !is_digit(c)) break;
    number = number * (hex ? 16 : 10) + static_cast<int>(hex_value(c));
    if (number > kLargest) return plain();
  }
  if (at == first) return plain();
  if (at < text.size() && text[at] == ';') ++at;
  text.remove_prefix(at);
  return number;
}

// An address that begins with `scheme`, with whatever a browser skips before and within it.
bool has_scheme(std::string_view scheme, std::string_view address) {
  std::size_t same = 0;
  bool leading = true;
  while (!address.empty()) {
    if (same == scheme.size()) return true;
    const int c = take_character(address);
    if (leading && c <= ' ') continue;
    leading = false;
    if (c == 0 || c == '\n') continue;
    const int upper = c >= 'a' && c <= 'z' ? c - 0x20 : c;
    if (static_cast<char>(upper) != scheme[same]) return false;
    ++same;
  }
  return same == scheme.size();
}

bool runs_as_address(std::string_view address) {
  while (!address.empty() && (static_cast<signed char>(address[0]) <= ' ' || address[0] == 0x7f))
    address.remove_prefix(1);
  return std::any_of(std::begin(kSchemes), std::end(kSchemes),
                     [address](std::string_view scheme) { return has_scheme(scheme, address); });
}

// Internet Explorer's comments that are none.
bool runs_as_comment(std::string_view text) {
  if (text.find('`') != std::string_view::npos) return true;
  if (text.size() > 3 && (starts("[if", text) || starts("xml", text))) return true;
  return text.size() > 5 && (is("IMPORT", text.substr(0, 6)) || is("ENTITY", text.substr(0, 6)));
}

bool runs_in(std::string_view value, HtmlContext context) {
  HtmlTokenizer tokenizer(value, context);
  HtmlToken token;
  Attribute attribute = Attribute::kHarmless;
  while (tokenizer.next(token)) {
    switch (token.kind) {
      case HtmlToken::Kind::kDoctype:
        return true;
      case HtmlToken::Kind::kTagOpen:
        if (runs_as_tag(token.text)) return true;
        break;
      case HtmlToken::Kind::kComment:
        if (runs_as_comment(token.text)) return true;
        break;
      case HtmlToken::Kind::kAttributeValue:
        if (attribute == Attribute::kScript) return true;
        if (attribute == Attribute::kUrl && runs_as_address(token.text)) return true;
        if (attribute == Attribute::kNamesAttribute &&
            kind_of_attribute(token.text) != Attribute::kHarmless)
          return true;
        break;
      default:
        break;
    }
    attribute = token.kind == HtmlToken::Kind::kAttributeName ? kind_of_attribute(token.text)
                                                              : Attribute::kHarmless;
  }
  return false;
}

}  // namespace

bool detect_xss(std::string_view value) {
  // Outside text every context needs an attribute with a value, or '<'.
  const std::size_t first =
      first_that(value, [](unsigned char c) { return (c == '<') | (c == '='); });
  if (first == value.size()) return false;
  for (const HtmlContext context :
       {HtmlContext::kText, HtmlContext::kUnquoted, HtmlContext::kSingleQuote,
        HtmlContext::kDoubleQuote, HtmlContext::kBackQuote})
    if (runs_in(value, context)) return true;
  return false;
}

}  // namespace leeward::waf

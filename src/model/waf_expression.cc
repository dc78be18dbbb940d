#include "model/waf_expression.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

namespace leeward {
namespace {

struct NamedField {
  std::string_view name;
  WafField field;
};
constexpr std::array kFields = {
    NamedField{"address", WafField::kAddress}, NamedField{"country", WafField::kCountry},
    NamedField{"method", WafField::kMethod},   NamedField{"host", WafField::kHost},
    NamedField{"path", WafField::kPath},       NamedField{"query", WafField::kQuery},
    NamedField{"target", WafField::kTarget},   NamedField{"protocol", WafField::kProtocol},
    NamedField{"headers", WafField::kHeaders}, NamedField{"header_names", WafField::kHeaderNames},
    NamedField{"cookies", WafField::kCookies}, NamedField{"cookie_names", WafField::kCookieNames},
    NamedField{"args", WafField::kArgs},       NamedField{"arg_names", WafField::kArgNames},
    NamedField{"body", WafField::kBody},       NamedField{"files", WafField::kFiles},
    NamedField{"bot", WafField::kBot},         NamedField{"ja4", WafField::kJa4},
    NamedField{"crawler", WafField::kCrawler},
};
constexpr std::array kSelectors = {
    NamedField{"header", WafField::kHeaders},
    NamedField{"cookie", WafField::kCookies},
    NamedField{"arg", WafField::kArgs},
};

struct NamedTest {
  std::string_view name;
  WafTest test;
};
constexpr std::array kTests = {
    NamedTest{"==", WafTest::kEquals},
    NamedTest{"contains", WafTest::kContains},
    NamedTest{"starts_with", WafTest::kStartsWith},
    NamedTest{"ends_with", WafTest::kEndsWith},
    NamedTest{"matches", WafTest::kMatches},
    NamedTest{"in", WafTest::kIn},
    NamedTest{"<", WafTest::kLess},
    NamedTest{"<=", WafTest::kLessOrEqual},
    NamedTest{">", WafTest::kGreater},
    NamedTest{">=", WafTest::kGreaterOrEqual},
};

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

struct Token {
  enum class Kind { kEnd, kWord, kText, kNumber, kSign };
  Kind kind = Kind::kEnd;
  std::string text;  // kText: without quotes and escapes
  std::size_t column = 1;
};

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<WafExpression> run() {
    if (text_.size() > WafExpression::kTextMax)
      return fail(Code::kInvalid, "column {}: an expression has at most {} octets",
                  WafExpression::kTextMax, WafExpression::kTextMax);
    if (auto moved = advance(); !moved) return fail(std::move(moved.error()));
    auto whole = disjunction(0);
    if (whole && token_.kind != Token::Kind::kEnd)
      return wrong("'and', 'or' or the end was expected here");
    return whole;
  }

  Result<WafValue> run_value() {
    if (text_.size() > WafExpression::kTextMax)
      return fail(Code::kInvalid, "column {}: a value has at most {} octets",
                  WafExpression::kTextMax, WafExpression::kTextMax);
    if (auto moved = advance(); !moved) return fail(std::move(moved.error()));
    auto whole = value();
    if (whole && token_.kind != Token::Kind::kEnd) return wrong("the end was expected here");
    return whole;
  }

 private:
  template <typename... Args>
  tl::unexpected<Error> wrong_at(std::size_t column, fmt::format_string<Args...> text,
                                 Args&&... args) {
    return fail(Code::kInvalid, "column {}: {}", column,
                fmt::format(text, std::forward<Args>(args)...));
  }
  template <typename... Args>
  tl::unexpected<Error> wrong(fmt::format_string<Args...> text, Args&&... args) {
    return wrong_at(token_.column, text, std::forward<Args>(args)...);
  }

  Status advance() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n'))
      ++at_;
    token_ = {.kind = Token::Kind::kEnd, .text = {}, .column = at_ + 1};
    if (at_ == text_.size()) return {};
    const char c = text_[at_];
    if (c == '"') return quoted();
    if (is_word(c)) {
      const std::size_t begin = at_;
      while (at_ < text_.size() && is_word(text_[at_])) ++at_;
      token_.text = text_.substr(begin, at_ - begin);
      const bool digits = std::all_of(token_.text.begin(), token_.text.end(),
                                      [](char d) { return d >= '0' && d <= '9'; });
      token_.kind = digits ? Token::Kind::kNumber : Token::Kind::kWord;
      return {};
    }
    token_.kind = Token::Kind::kSign;
    for (std::string_view sign : {"==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", ","}) {
      if (!text_.substr(at_).starts_with(sign)) continue;
      token_.text = sign;
      at_ += sign.size();
      return {};
    }
    return wrong("'{}' means nothing here", c >= ' ' && c < 0x7f ? std::string(1, c) : "?");
  }

  Status quoted() {
    token_.kind = Token::Kind::kText;
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\' && at_ + 1 < text_.size() &&
          (text_[at_ + 1] == '"' || text_[at_ + 1] == '\\'))
        ++at_;
      if (static_cast<unsigned char>(text_[at_]) < ' ')
        return wrong_at(at_ + 1, "a text holds no control characters");
      token_.text += text_[at_];
    }
    if (at_ == text_.size()) return wrong("this text has no end");
    ++at_;
    return {};
  }

  bool is(std::string_view word) const {
    return (token_.kind == Token::Kind::kWord || token_.kind == Token::Kind::kSign) &&
           token_.text == word;
  }
  Status expect(std::string_view sign) {
    if (!is(sign)) return wrong("'{}' was expected here", sign);
    return advance();
  }

  using Level = Result<WafExpression> (Parser::*)(std::size_t);
  Result<WafExpression> several(std::size_t depth, std::string_view word, WafExpression::Kind kind,
                                Level next) {
    auto first = (this->*next)(depth);
    if (!first || !is(word)) return first;
    WafExpression all;
    all.kind = kind;
    all.parts.push_back(std::move(*first));
    while (is(word)) {
      if (auto moved = advance(); !moved) return fail(std::move(moved.error()));
      auto part = (this->*next)(depth);
      if (!part) return part;
      all.parts.push_back(std::move(*part));
    }
    return all;
  }
  Result<WafExpression> disjunction(std::size_t depth) {
    if (depth > WafExpression::kDepthMax)
      return wrong("more than {} levels of parentheses and 'not'", WafExpression::kDepthMax);
    return several(depth, "or", WafExpression::Kind::kAny, &Parser::conjunction);
  }
  Result<WafExpression> conjunction(std::size_t depth) {
    return several(depth, "and", WafExpression::Kind::kAll, &Parser::term);
  }

  Result<WafExpression> term(std::size_t depth) {
    if (is("not")) {
      if (depth > WafExpression::kDepthMax)
        return wrong("more than {} levels of parentheses and 'not'", WafExpression::kDepthMax);
      if (auto moved = advance(); !moved) return fail(std::move(moved.error()));
      auto inner = term(depth + 1);
      if (!inner) return inner;
      return negated(std::move(*inner));
    }
    if (!is("(")) return comparison();
    if (auto moved = advance(); !moved) return fail(std::move(moved.error()));
    auto inner = disjunction(depth + 1);
    if (!inner) return inner;
    if (auto closed = expect(")"); !closed) return fail(std::move(closed.error()));
    return inner;
  }

  static WafExpression negated(WafExpression inner) {
    WafExpression no;
    no.kind = WafExpression::Kind::kNot;
    no.parts.push_back(std::move(inner));
    return no;
  }

  Result<WafExpression> comparison() {
    if (++tests_ > WafExpression::kTestsMax)
      return wrong("more than {} comparisons", WafExpression::kTestsMax);
    WafExpression test;
    auto value = this->value();
    if (!value) return fail(std::move(value.error()));
    test.value = std::move(*value);
    const bool not_equal = is("!=");
    const auto known = std::find_if(kTests.begin(), kTests.end(), [&](const NamedTest& t) {
      return is(t.name) || (not_equal && t.test == WafTest::kEquals);
    });
    if (known == kTests.end()) {
      if (token_.kind == Token::Kind::kWord && !is("and") && !is("or"))
        return wrong("there is no operator '{}'", token_.text);
      return test;
    }
    test.test = known->test;
    if (auto operand = read_operand(test); !operand) return fail(std::move(operand.error()));
    if (not_equal) return negated(std::move(test));
    return test;
  }

  Result<WafValue> value() {
    WafValue v;
    if (token_.kind != Token::Kind::kWord) return wrong("a field was expected here");
    const Token word = token_;
    if (auto moved = advance(); !moved) return fail(std::move(moved.error()));
    if (word.text == "size" || word.text == "lower") {
      if (auto open = expect("("); !open) return fail(std::move(open.error()));
      auto inner = value();
      if (!inner) return inner;
      if (inner->size || (inner->lower && word.text == "lower"))
        return wrong_at(word.column, "{} of a {} is nothing", word.text,
                        inner->size ? "size" : "lower");
      if (auto close = expect(")"); !close) return fail(std::move(close.error()));
      (word.text == "size" ? inner->size : inner->lower) = true;
      return inner;
    }
    for (const NamedField& s : kSelectors) {
      if (s.name != word.text) continue;
      v.field = s.field;
      if (auto open = expect("("); !open) return fail(std::move(open.error()));
      if (token_.kind != Token::Kind::kText || token_.text.empty())
        return wrong("a name in quotes was expected here");
      v.name = token_.text;
      if (auto moved = advance(); !moved) return fail(std::move(moved.error()));
      if (auto close = expect(")"); !close) return fail(std::move(close.error()));
      return v;
    }
    for (const NamedField& f : kFields) {
      if (f.name != word.text) continue;
      v.field = f.field;
      return v;
    }
    std::string known;
    for (const NamedField& f : kFields) known.append(known.empty() ? "" : ", ").append(f.name);
    return wrong_at(word.column, "there is no field '{}'; there are {}, and header, cookie and arg",
                    word.text, known);
  }

  static bool is_order(WafTest test) {
    return test == WafTest::kLess || test == WafTest::kLessOrEqual || test == WafTest::kGreater ||
           test == WafTest::kGreaterOrEqual;
  }

  Status read_operand(WafExpression& test) {
    const Token sign = token_;
    if (auto moved = advance(); !moved) return moved;
    const bool ordered = is_order(test.test);
    if (test.value.size != (ordered || token_.kind == Token::Kind::kNumber) ||
        (test.value.size && !ordered && test.test != WafTest::kEquals))
      return wrong_at(sign.column, "{}",
                      test.value.size ? "a size is compared by ==, !=, <, <=, > or >= with a number"
                                      : "only size(…) is compared with a number");
    if (test.value.size) return read_number(test);
    if (test.test == WafTest::kIn) return read_list(test);
    if (token_.kind != Token::Kind::kText) return wrong("a text in quotes was expected here");
    if (token_.text.empty() && test.test != WafTest::kEquals)
      return wrong("an empty text is in every value");
    if (test.test == WafTest::kEquals)
      if (auto known = check_word(test.value.field); !known) return known;
    test.texts.push_back(token_.text);
    return advance();
  }

  Status read_number(WafExpression& test) {
    if (token_.kind != Token::Kind::kNumber) return wrong("a number was expected here");
    const char* end = token_.text.data() + token_.text.size();
    if (std::from_chars(token_.text.data(), end, test.number).ec != std::errc{} ||
        test.number > (std::uint64_t{1} << 31))
      return wrong("the number is above {}", std::uint64_t{1} << 31);
    return advance();
  }

  Status read_list(WafExpression& test) {
    if (auto open = expect("["); !open) return open;
    for (;;) {
      if (token_.kind != Token::Kind::kText || token_.text.empty())
        return wrong("a text in quotes was expected here");
      if (test.value.field == WafField::kAddress && !is_network(token_.text))
        return wrong("'{}' is no address or network", token_.text);
      if (auto known = check_word(test.value.field); !known) return known;
      test.texts.push_back(token_.text);
      if (auto moved = advance(); !moved) return moved;
      if (!is(",")) return expect("]");
      if (auto moved = advance(); !moved) return moved;
    }
  }

  // Of fields that are always one of some words.
  Status check_word(WafField field) {
    if (field == WafField::kBot) return check_word("bot", kBotSignals);
    if (field == WafField::kCrawler) return check_word("crawler", kCrawlerStates);
    return {};
  }

  template <typename Words>
  Status check_word(std::string_view field, const Words& words) {
    if (std::find(words.begin(), words.end(), token_.text) != words.end()) return {};
    return wrong("{} is never '{}'; it can be {}", field, token_.text, fmt::join(words, ", "));
  }

  static bool is_network(std::string_view text) {
    const std::size_t slash = text.find('/');
    const std::string address(text.substr(0, slash));
    const bool v6 = address.find(':') != std::string::npos;
    in6_addr parsed{};
    if (inet_pton(v6 ? AF_INET6 : AF_INET, address.c_str(), &parsed) != 1) return false;
    if (slash == std::string_view::npos) return true;
    const std::string_view bits = text.substr(slash + 1);
    unsigned n = 0;
    return std::from_chars(bits.data(), bits.data() + bits.size(), n).ptr ==
               bits.data() + bits.size() &&
           !bits.empty() && n <= (v6 ? 128u : 32u);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  Token token_;
  std::size_t tests_ = 0;
};

}  // namespace

bool WafExpression::asks_for(WafField field) const {
  if (kind == Kind::kTest) return value.field == field;
  return std::any_of(parts.begin(), parts.end(),
                     [field](const WafExpression& part) { return part.asks_for(field); });
}

bool WafExpression::needs_body() const {
  return asks_for(WafField::kArgs) || asks_for(WafField::kArgNames) || asks_for(WafField::kBody) ||
         asks_for(WafField::kFiles);
}

Result<WafExpression> parse_waf_expression(std::string_view text) { return Parser(text).run(); }
Result<WafValue> parse_waf_value(std::string_view text) { return Parser(text).run_value(); }

}  // namespace leeward

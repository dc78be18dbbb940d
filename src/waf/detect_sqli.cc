// The value is read as SQL in the contexts it may stand in (as it is, inside '…', inside "…"), the
// tokens are folded to the shortest expression that means the same, and the kinds of the first five
// are looked up among those of known attacks. The idea, and every rule below, is libinjection's
// (Nick Galbraith, 2012-2016); rules that make verdicts equal cannot be chosen freely.
#include "waf/detect_sqli.h"

#include <algorithm>

#include "waf/internal/bytes.h"
#include "waf/internal/sqli_tokens.h"
#include "waf/internal/sqli_words.h"

namespace leeward::waf {
namespace {

constexpr std::size_t kTokensMax = 5;  // of a fingerprint

bool one_of(char kind, std::string_view kinds) {
  return kinds.find(kind) != std::string_view::npos;
}

bool is_word(const SqlToken& token, std::string_view word) {
  return equal_ignoring_case(token.text(), word);
}

// Names of columns that are functions when a bracket follows.
constexpr std::string_view kNamesThatAreFunctions[] = {
    "USER_ID",   "USER_NAME",      "DATABASE",     "PASSWORD",
    "USER",      "CURRENT_USER",   "CURRENT_DATE", "CURRENT_TIMESTAMP",
    "LOCALTIME", "LOCALTIMESTAMP", "CURRENT_TIME"};

class Folder {
 public:
  explicit Folder(SqlTokenizer& tokenizer) : tokenizer_(tokenizer) {}

  // How many of tokens() are left, at most kTokensMax.
  std::size_t run() {
    if (!skip_what_may_stand_before()) return 0;
    for (;;) {
      if (end_ >= kTokensMax) begin_again_after_a_whole_expression();
      if (!more_ || left_ >= kTokensMax) {
        left_ = end_;
        break;
      }
      read_until(2);
      if (end_ - left_ < 2) {
        left_ = end_;
        continue;
      }
      const Step pair = fold_pair();
      if (pair == Step::kEvil) return left_ + 2;
      if (pair == Step::kFolded) continue;
      read_until(3);
      if (end_ - left_ < 3) {
        left_ = end_;
        continue;
      }
      if (fold_triple() == Step::kNothing) ++left_;
    }
    if (left_ < kTokensMax && comment_.kind == sql::kComment) tokens_[left_++] = comment_;
    return std::min(left_, kTokensMax);  // a sixth was read to tell what the fifth is
  }
  std::array<SqlToken, 8>& tokens() { return tokens_; }

 private:
  enum class Step { kNothing, kFolded, kEvil };

  bool skip_what_may_stand_before() {
    SqlToken& first = tokens_[0];
    do {
      more_ = tokenizer_.next(first);
    } while (more_ && (one_of(first.kind, "c(t") || first.is_unary_operator()));
    end_ = more_ ? 1 : 0;
    return more_;
  }

  // Comments between tokens mean nothing; one at the end is remembered.
  void read_until(std::size_t tokens) {
    while (more_ && end_ <= kTokensMax && end_ - left_ < tokens) {
      SqlToken& token = tokens_[end_];
      more_ = tokenizer_.next(token);
      if (!more_) return;
      if (token.kind == sql::kComment) {
        comment_ = token;
      } else {
        comment_.kind = 0;
        ++end_;
      }
    }
  }

  bool kinds_are(std::string_view kinds) const {
    for (std::size_t i = 0; i < kinds.size(); ++i)
      if (tokens_[i].kind != kinds[i]) return false;
    return true;
  }

  // Five tokens that are one number or name in brackets: only what follows can tell more.
  void begin_again_after_a_whole_expression() {
    if (!(kinds_are("1o(1)") || kinds_are("1,(1)") || kinds_are("no(n)") || kinds_are("no(1)") ||
          kinds_are("1),(1") || kinds_are("n)o(n")))
      return;
    left_ = 0;
    if (end_ > kTokensMax) tokens_[1] = tokens_[kTokensMax];
    end_ = end_ > kTokensMax ? 2 : 1;
  }

  Step drop(std::size_t tokens, std::size_t left) {
    end_ -= tokens;
    left_ = left;
    return Step::kFolded;
  }
  std::size_t one_back() const { return left_ > 0 ? left_ - 1 : 0; }

  bool merge_words(SqlToken& first, const SqlToken& second) const {
    constexpr std::string_view kMergeable = "knoUfETt";
    if (!one_of(first.kind, kMergeable) || !one_of(second.kind, "knoUfETt&")) return false;
    const std::size_t size = first.size + 1u + second.size;
    if (size > SqlToken::kTextMax) return false;
    std::array<char, SqlToken::kTextMax> words;
    char* end = std::copy_n(first.bytes.begin(), first.size, words.begin());
    *end++ = ' ';
    std::copy_n(second.bytes.begin(), second.size, end);
    const std::string_view both(words.data(), size);
    const char kind = sql_kind_of(both);
    if (kind == 0) return false;
    first.set(kind, both);
    return true;
  }

  Step fold_pair() {
    SqlToken& a = tokens_[left_];
    SqlToken& b = tokens_[left_ + 1];
    if (a.kind == b.kind && one_of(a.kind, "s;")) return drop(1, left_);
    if (one_of(a.kind, "o&") && (b.is_unary_operator() || b.kind == sql::kType)) return drop(1, 0);
    if (a.kind == '(' && b.is_unary_operator()) return drop(1, one_back());
    if (merge_words(a, b)) return drop(1, one_back());
    if (a.kind == ';' && b.kind == sql::kFunction && b.size >= 2 &&
        equal_ignoring_case(b.text().substr(0, 2), "IF")) {
      b.kind = sql::kStatement;
      return Step::kFolded;
    }
    if (one_of(a.kind, "nv") && b.kind == '(' &&
        std::any_of(std::begin(kNamesThatAreFunctions), std::end(kNamesThatAreFunctions),
                    [&](std::string_view name) { return is_word(a, name); })) {
      a.kind = sql::kFunction;
      return Step::kFolded;
    }
    if (a.kind == sql::kKeyword && (is_word(a, "IN") || is_word(a, "NOT IN"))) {
      a.kind = b.kind == '(' ? sql::kOperator : sql::kBareword;
      return Step::kFolded;
    }
    if (a.kind == sql::kOperator && (is_word(a, "LIKE") || is_word(a, "NOT LIKE"))) {
      if (b.kind == '(') a.kind = sql::kFunction;
      return Step::kNothing;
    }
    if (a.kind == sql::kType && one_of(b.kind, "n1t(fvs")) {
      a = b;
      return drop(1, 0);
    }
    if (a.kind == sql::kCollate && b.kind == sql::kBareword) {
      const std::string_view name = b.text().substr(0, b.text().find('\0'));
      if (name.find('_') != std::string_view::npos) {
        b.kind = sql::kType;
        left_ = 0;
      }
      return Step::kNothing;
    }
    if (a.kind == sql::kBackslash) {
      if (b.is_arithmetic_operator()) {  // Transact-SQL reads \%1 as 0 % 1
        a.kind = sql::kNumber;
        return drop(0, 0);
      }
      a = b;
      return drop(1, 0);
    }
    if (a.kind == b.kind && one_of(a.kind, "()")) return drop(1, 0);
    if (a.kind == '{' && b.kind == sql::kBareword) {  // ODBC's {name expression}
      if (b.size == 0) {
        b.kind = sql::kEvil;
        return Step::kEvil;
      }
      return drop(2, 0);
    }
    if (b.kind == '}') return drop(1, 0);
    return Step::kNothing;
  }

  Step fold_triple() {
    SqlToken& a = tokens_[left_];
    SqlToken& b = tokens_[left_ + 1];
    const SqlToken& c = tokens_[left_ + 2];
    const bool unary = b.is_unary_operator();
    if (folds_to_its_first(a, b, c)) return drop(2, 0);
    if (one_of(a.kind, "EB,") && unary && c.kind == '(') {
      b = c;
      return drop(1, 0);
    }
    if (one_of(a.kind, "kEB") && unary && one_of(c.kind, "1nvsf")) {
      b = c;
      return drop(1, 0);
    }
    if (a.kind == ',' && unary && one_of(c.kind, "1nvs")) {  // 1,-1 is 1,1: looked at from before
      b = c;
      return drop(3, 0);
    }
    if (a.kind == ',' && unary && c.kind == sql::kFunction) {
      b = c;
      return drop(1, 0);
    }
    if (a.kind == sql::kBareword && b.kind == '.' && c.kind == sql::kBareword) return drop(2, 0);
    if (a.kind == sql::kExpression && b.kind == '.' && c.kind == sql::kBareword) {
      b = c;
      return drop(1, 0);
    }
    // USER() is a function, USER(x) is none.
    if (a.kind == sql::kFunction && b.kind == '(' && c.kind != ')' && is_word(a, "USER"))
      a.kind = sql::kBareword;
    return Step::kNothing;
  }

  static bool folds_to_its_first(const SqlToken& a, const SqlToken& b, const SqlToken& c) {
    const bool operation = b.kind == sql::kOperator;
    if (a.kind == sql::kOperator && b.kind != '(' && c.kind == sql::kOperator) return true;
    if (a.kind == sql::kLogic && c.kind == sql::kLogic) return true;
    if (a.kind == sql::kVariable && operation && one_of(c.kind, "v1n")) return true;
    if (one_of(a.kind, "n1") && operation && one_of(c.kind, "1n")) return true;
    if (one_of(a.kind, "n1vs") && operation && b.text() == "::" && c.kind == sql::kType)
      return true;
    return one_of(a.kind, "n1sv") && b.kind == ',' && one_of(c.kind, "1nsv");
  }

  SqlTokenizer& tokenizer_;
  std::array<SqlToken, 8> tokens_;
  SqlToken comment_;
  std::size_t end_ = 0;   // where the next token goes
  std::size_t left_ = 0;  // tokens before this one do not change any more
  bool more_ = true;
};

// One reading of the value.
class Reading {
 public:
  Reading(std::string_view value, SqlQuote quote, SqlDialect dialect)
      : value_(value), tokenizer_(value, quote, dialect), folder_(tokenizer_) {
    std::size_t size = folder_.run();
    auto& tokens = folder_.tokens();
    if (size > 2) {  // PHP's `: an empty name that never ends is a comment
      SqlToken& last = tokens[size - 1];
      if (last.kind == sql::kBareword && last.open == '`' && last.size == 0 && last.close == 0)
        last.kind = sql::kComment;
    }
    for (std::size_t i = 0; i < size; ++i) verdict_.fingerprint[i] = tokens[i].kind;
    if (verdict_.text().find(sql::kEvil) != std::string_view::npos) {
      verdict_.fingerprint = {sql::kEvil};
      tokens[0].set(sql::kEvil, "X");
      tokens[1].kind = 0;
    }
    verdict_.attack = is_attack_shape(verdict_.text()) && !is_common_text();
  }

  SqliVerdict take() const { return verdict_; }
  bool attack() const { return verdict_.attack; }
  bool depends_on_dialect() const { return tokenizer_.depends_on_dialect(); }

 private:
  // Shapes of attacks that people also write.
  bool is_common_text() {
    const std::string_view shape = verdict_.text();
    // The audit log of SQL Server leaves lines out that mention it.
    if (shape.size() > 1 && shape.back() == sql::kComment &&
        value_.find("sp_password") != std::string_view::npos)
      return false;
    if (shape.size() == 2) return is_common_pair(shape);
    if (shape.size() == 3) return is_common_triple(shape);
    return false;
  }

  bool is_common_pair(std::string_view shape) {
    const SqlToken& first = folder_.tokens()[0];
    const SqlToken& second = folder_.tokens()[1];
    if (shape[1] == sql::kUnion) return tokenizer_.count() == 2;
    if (second.front() == '#') return true;
    if (shape == "nc" && second.front() != '/') return true;
    if (shape == "1c") {
      if (second.front() == '/') return false;
      if (tokenizer_.count() > 2) return false;  // folded, so there was an expression
      // "1234-ABCDEF--" is text; a number, and at once the comment or a blank, is not.
      const std::string_view after =
          value_.substr(std::min<std::size_t>(first.size, value_.size()));
      if (after.empty() || static_cast<signed char>(after[0]) <= ' ') return false;
      return !after.starts_with("/*") && !after.starts_with("--");
    }
    return second.size > 2 && second.front() == '-';  // "--" in the middle of text
  }

  bool is_common_triple(std::string_view shape) {
    const auto& tokens = folder_.tokens();
    if (shape == "sos" || shape == "s&s") {  // …foo" + "bar… is an attack
      return !(tokens[0].open == 0 && tokens[2].close == 0 && tokens[0].close == tokens[2].open);
    }
    if (shape == "s&n" || shape == "n&1" || shape == "1&1" || shape == "1&v" || shape == "1&s")
      return tokenizer_.count() == 3;     // "sexy and 17"
    if (tokens[1].kind == sql::kKeyword)  // INTO OUTFILE, INTO DUMPFILE
      return tokens[1].size < 5 || !equal_ignoring_case(tokens[1].text().substr(0, 4), "INTO");
    return false;
  }

  const std::string_view value_;
  SqlTokenizer tokenizer_;
  Folder folder_;
  SqliVerdict verdict_;
};

// One word or one number has no shape that is an attack, and most values are that. With dots in it
// ("items.17.size") it is one word unless what is before a dot is one of SQL's.
bool is_one_word(std::string_view value) {
  if (first_that(value, [](unsigned char c) { return !is_alnum(c) && c != '_' && c != '.'; }) !=
      value.size())
    return false;
  if (value[0] == '.' || is_digit(static_cast<unsigned char>(value[0])))
    return first_that(value, [](unsigned char c) { return !is_digit(c); }) == value.size();
  return !has_word_before_a_dot(value);
}

}  // namespace

SqliVerdict detect_sqli(std::string_view value) {
  if (value.empty() || is_one_word(value)) return {};
  struct Context {
    SqlQuote quote;
    SqlDialect dialect;
    bool again;  // in MySQL's dialect when that makes a difference
  };
  constexpr Context kContexts[] = {{SqlQuote::kNone, SqlDialect::kAnsi, true},
                                   {SqlQuote::kSingle, SqlDialect::kAnsi, true},
                                   {SqlQuote::kDouble, SqlDialect::kMysql, false}};
  for (const Context& context : kContexts) {
    if (context.quote != SqlQuote::kNone &&
        value.find(static_cast<char>(context.quote)) == std::string_view::npos)
      continue;
    const Reading reading(value, context.quote, context.dialect);
    if (reading.attack()) return reading.take();
    if (!context.again || !reading.depends_on_dialect()) continue;
    const Reading other(value, context.quote, SqlDialect::kMysql);
    if (other.attack()) return other.take();
  }
  return {};
}

}  // namespace leeward::waf

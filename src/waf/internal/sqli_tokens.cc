#include "waf/internal/sqli_tokens.h"

#include <algorithm>

#include "waf/internal/bytes.h"
#include "waf/internal/sqli_words.h"

namespace leeward::waf {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kWordEnds = " []{}<>:\\?=@!#~+-*/&|^%(),';\t\n\v\f\r\"\240\000"sv;
constexpr std::string_view kVariableEnds = " <>:\\?=@!#~+-*/&|^%(),';\t\n\v\f\r'`\"\000"sv;
constexpr std::string_view kDecimals = "0123456789";
// With NUL: the reference searches these sets as C strings, and finds the end of the string.
constexpr std::string_view kBits = "01\0"sv;
constexpr std::string_view kHexDigits = "0123456789abcdefABCDEF\0"sv;
constexpr std::string_view kAmountDigits = "0123456789.,\0"sv;

constexpr std::array<bool, 256> set_of(std::string_view bytes) {
  std::array<bool, 256> set{};
  for (const char c : bytes) set[static_cast<unsigned char>(c)] = true;
  return set;
}
constexpr auto kEndsWord = set_of(kWordEnds);
constexpr auto kEndsVariable = set_of(kVariableEnds);

std::size_t word_bytes(std::string_view text, const std::array<bool, 256>& ends) {
  std::size_t bytes = 0;
  while (bytes < text.size() && !ends[static_cast<unsigned char>(text[bytes])]) ++bytes;
  return bytes;
}

std::size_t run_of(std::string_view text, std::string_view bytes) {
  return std::min(text.find_first_not_of(bytes), text.size());
}

bool is_blank(unsigned char c) { return c <= ' ' || c == 0x7f || c == 0xa0; }  // no token begins
bool ends_comment_dash(unsigned char c) { return is_space(c) || c == 0xa0 || c == 0; }

// Where a literal ends: at a quote that is neither doubled nor behind an odd number of backslashes.
// `text` is what follows the opening quote.
std::size_t closing_quote(std::string_view text, char quote) {
  for (std::size_t at = text.find(quote); at != std::string_view::npos;) {
    std::size_t backslashes = 0;
    while (backslashes < at && text[at - 1 - backslashes] == '\\') ++backslashes;
    if (backslashes % 2 == 1) {
      at = text.find(quote, at + 1);
    } else if (at + 1 < text.size() && text[at + 1] == quote) {
      at = text.find(quote, at + 2);
    } else {
      return at;
    }
  }
  return std::string_view::npos;
}

}  // namespace

void SqlToken::set(char new_kind, std::string_view new_text) {
  kind = new_kind;
  open = close = 0;
  size = static_cast<std::uint8_t>(std::min(new_text.size(), kTextMax));
  std::copy_n(new_text.begin(), size, bytes.begin());
}

bool SqlToken::is_unary_operator() const {
  if (kind != sql::kOperator) return false;
  const std::string_view word = text();
  return word == "+" || word == "-" || word == "!" || word == "~" || word == "!!" ||
         equal_ignoring_case(word, "NOT");
}

bool SqlToken::is_arithmetic_operator() const {
  return kind == sql::kOperator && size == 1 && "*/-+%"sv.find(front()) != std::string_view::npos;
}

void SqlTokenizer::take(SqlToken& token, char kind, std::size_t bytes) {
  token.set(kind, value_.substr(at_, bytes));
  at_ += bytes;
}

bool SqlTokenizer::next(SqlToken& token) {
  token.set(0, {});
  if (value_.empty()) return false;
  if (at_ == 0 && quote_ != SqlQuote::kNone) {  // as if the value began with the quote it stands in
    read_quoted(token, static_cast<char>(quote_), 0);
    ++count_;
    return true;
  }
  while (at_ < value_.size()) {
    if (is_blank(peek(0))) {
      ++at_;
      continue;
    }
    read(token);
    ++count_;
    return true;
  }
  return false;
}

void SqlTokenizer::read(SqlToken& token) {
  const char c = value_[at_];
  switch (c) {
    case '\'':
    case '"':
      return read_quoted(token, c, 1);
    case '#':
      return read_hash(token);
    case '-':
      return read_dash(token);
    case '/':
      return read_block_comment(token);
    case '$':
      return read_dollar(token);
    case '@':
      return read_variable(token);
    case '\\':
      return read_backslash(token);
    case '[':
      return read_bracketed_word(token);
    case '`':
      return read_backticked(token);
    case '%':
    case '+':
    case '^':
    case '~':
      return take(token, sql::kOperator, 1);
    case '!':
    case '&':
    case '*':
    case ':':
    case '<':
    case '=':
    case '>':
    case '|':
      return read_two_byte_operator(token);
    case '(':
    case ')':
    case ',':
    case ';':
    case '{':
    case '}':
      return take(token, c, 1);
    case '?':
    case ']':
      return take(token, sql::kUnknown, 1);
    case 'e':
    case 'E':
      return read_escape_string(token);
    case 'u':
    case 'U':
      return read_unicode_string(token);
    case 'q':
    case 'Q':
      return read_oracle_string(token, 0);
    case 'n':
    case 'N':
      return peek(1) == '\'' ? read_escape_string(token) : read_oracle_string(token, 1);
    case 'b':
    case 'B':
      return read_digits_literal(token, kBits);
    case 'x':
    case 'X':
      return read_digits_literal(token, kHexDigits);
    default:
      if (c == '.' || is_digit(static_cast<unsigned char>(c))) return read_number(token);
      read_word(token);
  }
}

// `prefix`: bytes up to and with the opening quote, none when that is before the value.
void SqlTokenizer::read_quoted(SqlToken& token, char quote, std::size_t prefix) {
  const std::string_view text = rest(prefix);
  const std::size_t end = closing_quote(text, quote);
  token.set(sql::kString, text.substr(0, end));
  token.open = prefix > 0 ? quote : '\0';
  token.close = end == std::string_view::npos ? '\0' : quote;
  at_ = end == std::string_view::npos ? value_.size() : at_ + prefix + end + 1;
}

void SqlTokenizer::read_line_comment(SqlToken& token) {
  take(token, sql::kComment, std::min(rest(0).find('\n'), left()));
}

// In MySQL '#' begins a comment, elsewhere it is an operator.
void SqlTokenizer::read_hash(SqlToken& token) {
  depends_on_dialect_ = true;
  if (dialect_ == SqlDialect::kMysql) return read_line_comment(token);
  take(token, sql::kOperator, 1);
}

// "--" begins a comment; in MySQL only before a blank or at the end.
void SqlTokenizer::read_dash(SqlToken& token) {
  if (peek(1) == '-' && has(1)) {
    if (!has(2) || ends_comment_dash(peek(2))) return read_line_comment(token);
    if (dialect_ == SqlDialect::kAnsi) {
      depends_on_dialect_ = true;
      return read_line_comment(token);
    }
  }
  take(token, sql::kOperator, 1);
}

// A comment within a comment is read differently by each database, and "/*!" runs in MySQL: both
// are made by nobody but attackers.
void SqlTokenizer::read_block_comment(SqlToken& token) {
  if (peek(1) != '*') return take(token, sql::kOperator, 1);
  const std::size_t end = rest(2).find("*/");
  const bool open_ended = end == std::string_view::npos;
  const bool nested =
      !open_ended && rest(2).substr(0, end + 1).find("/*") != std::string_view::npos;
  const bool evil = nested || peek(2) == '!';
  take(token, evil ? sql::kEvil : sql::kComment, open_ended ? left() : end + 4);
}

void SqlTokenizer::read_two_byte_operator(SqlToken& token) {
  if (!has(1)) return take(token, sql::kOperator, 1);
  if (rest(0).starts_with("<=>")) return take(token, sql::kOperator, 3);
  if (const char kind = sql_kind_of(rest(0).substr(0, 2))) return take(token, kind, 2);
  take(token, peek(0) == ':' ? ':' : sql::kOperator, 1);
}

void SqlTokenizer::read_backslash(SqlToken& token) {
  if (peek(1) == 'N') return take(token, sql::kNumber, 2);  // MySQL's NULL
  take(token, sql::kBackslash, 1);
}

void SqlTokenizer::read_word(SqlToken& token) {
  const std::size_t bytes = word_bytes(rest(0), kEndsWord);
  token.set(sql::kBareword, rest(0).substr(0, bytes));
  const std::string_view word = token.text();
  for (std::size_t i = 0; i < word.size(); ++i) {  // SELECT.1, SELECT`column`
    if (word[i] != '.' && word[i] != '`') continue;
    const char kind = sql_kind_of(word.substr(0, i));
    if (kind != 0 && kind != sql::kBareword) return take(token, kind, i);
  }
  const char kind = bytes <= SqlToken::kTextMax ? sql_kind_of(word) : '\0';
  if (kind != 0) token.kind = kind;
  at_ += bytes;
}

void SqlTokenizer::read_bracketed_word(SqlToken& token) {
  const std::size_t end = rest(0).find(']');
  take(token, sql::kBareword, end == std::string_view::npos ? left() : end + 1);
}

void SqlTokenizer::read_backticked(SqlToken& token) {
  read_quoted(token, '`', 1);
  token.kind = sql_kind_of(token.text()) == sql::kFunction ? sql::kFunction : sql::kBareword;
}

void SqlTokenizer::read_escape_string(SqlToken& token) {  // E'…', N'…'
  if (peek(1) != '\'' || !has(2)) return read_word(token);
  read_quoted(token, '\'', 2);
}

void SqlTokenizer::read_unicode_string(SqlToken& token) {  // U&'…'
  if (peek(1) != '&' || peek(2) != '\'') return read_word(token);
  at_ += 2;
  read_quoted(token, '\'', 1);
  token.open = 'u';
  if (token.close == '\'') token.close = 'u';
}

void SqlTokenizer::read_oracle_string(SqlToken& token, std::size_t prefix) {  // q'(…)', nq'[…]'
  const bool begins = (peek(prefix) == 'q' || peek(prefix) == 'Q') && peek(prefix + 1) == '\'';
  const auto opens = static_cast<signed char>(peek(prefix + 2));
  if (!begins || !has(prefix + 2) || opens < 33) return read_word(token);
  constexpr std::string_view kOpening = "([{<";
  constexpr std::string_view kClosing = ")]}>";
  const std::size_t bracket = kOpening.find(static_cast<char>(opens));
  const char end[] = {
      bracket == std::string_view::npos ? static_cast<char>(opens) : kClosing[bracket], '\''};
  const std::string_view text = rest(prefix + 3);
  const std::size_t found = text.find(std::string_view(end, 2));
  token.set(sql::kString, text.substr(0, found));
  token.open = 'q';
  token.close = found == std::string_view::npos ? '\0' : 'q';
  at_ = found == std::string_view::npos ? value_.size() : at_ + prefix + 3 + found + 2;
}

void SqlTokenizer::read_digits_literal(SqlToken& token, std::string_view digits) {  // b'01', x'4f'
  if (peek(1) != '\'' || !has(2)) return read_word(token);
  const std::size_t bytes = run_of(rest(2), digits);
  if (peek(2 + bytes) != '\'') return read_word(token);
  take(token, sql::kNumber, bytes + 3);
}

void SqlTokenizer::read_variable(SqlToken& token) {
  at_ += peek(1) == '@' && has(1) ? 2 : 1;
  if (peek(0) == '`') {
    read_backticked(token);
    token.kind = sql::kVariable;
  } else if (peek(0) == '\'' || peek(0) == '"') {
    read_quoted(token, value_[at_], 1);
    token.kind = sql::kVariable;
  } else {
    take(token, sql::kVariable, word_bytes(rest(0), kEndsVariable));
  }
}

// Amounts, $1,000.00; PostgreSQL's $$…$$ and $tag$…$tag$.
void SqlTokenizer::read_dollar(SqlToken& token) {
  if (!has(1)) return take(token, sql::kBareword, 1);
  const std::size_t digits = run_of(rest(1), kAmountDigits);
  if (digits == 1 && peek(1) == '.') return read_word(token);
  if (digits > 0) return take(token, sql::kNumber, 1 + digits);
  if (peek(1) == '$') return read_dollar_tag(token, 0);
  std::size_t letters = 0;
  while (has(1 + letters) && (is_alpha(peek(1 + letters)) || peek(1 + letters) == 0)) ++letters;
  if (letters == 0 || peek(1 + letters) != '$') return take(token, sql::kBareword, 1);
  read_dollar_tag(token, letters);
}

void SqlTokenizer::read_dollar_tag(SqlToken& token, std::size_t letters) {
  const std::size_t tag = letters + 2;
  const std::string_view text = rest(tag);
  const std::size_t end = text.find(value_.substr(at_, tag));
  token.set(sql::kString, text.substr(0, end));
  token.open = '$';
  token.close = end == std::string_view::npos ? '\0' : '$';
  at_ = end == std::string_view::npos ? value_.size() : at_ + tag + end + tag;
}

void SqlTokenizer::read_number(SqlToken& token) {
  const unsigned char base = peek(1) | 0x20u;
  if (peek(0) == '0' && (base == 'x' || base == 'b')) {
    const std::size_t digits = run_of(rest(2), base == 'x' ? kHexDigits : kBits);
    return take(token, digits == 0 ? sql::kBareword : sql::kNumber, 2 + digits);
  }
  std::size_t bytes = run_of(rest(0), kDecimals);
  if (peek(bytes) == '.') {
    bytes += 1 + run_of(rest(bytes + 1), kDecimals);
    if (bytes == 1) return take(token, '.', 1);
  }
  bool exponent_missing = false;
  if (peek(bytes) == 'e' || peek(bytes) == 'E') {
    ++bytes;
    if (peek(bytes) == '+' || peek(bytes) == '-') ++bytes;
    const std::size_t digits = run_of(rest(bytes), kDecimals);
    exponent_missing = digits == 0;
    bytes += digits;
  }
  // Oracle's suffix for float and double; "1fUNION" is 1f and UNION there.
  const unsigned char suffix = peek(bytes) | 0x20u;
  if (has(bytes) && (suffix == 'd' || suffix == 'f')) {
    const unsigned char after = peek(bytes + 1);
    if (!has(bytes + 1) || ends_comment_dash(after) || after == ';' || (after | 0x20u) == 'u')
      ++bytes;
  }
  take(token, exponent_missing ? sql::kBareword : sql::kNumber, bytes);
}

}  // namespace leeward::waf

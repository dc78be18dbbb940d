#include "gateway/internal/statement.h"

#include <algorithm>
#include <cctype>
#include <utility>

namespace leeward::gateway {
namespace {

template <std::size_t N>
bool one_of(std::string_view word, const std::array<std::string_view, N>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// As the first word: session state of the server that cannot be read back and replayed, or text
// (stored procedures, compound statements) that may do anything.
constexpr std::array<std::string_view, 16> kPinningFirst{
    "lock", "handler", "xa",    "prepare", "execute", "call", "flush",   "backup",
    "if",   "for",     "while", "loop",    "repeat",  "case", "declare", "change"};
// Anywhere outside quotes. "atomic" is of BEGIN NOT ATOMIC.
constexpr std::array<std::string_view, 2> kPinningAnywhere{"get_lock", "atomic"};
constexpr std::array<std::string_view, 4> kLookingBack{"found_rows", "row_count", "diagnostics",
                                                       "lastval"};
constexpr std::array<std::string_view, 3> kShowLookingBack{"warnings", "errors", "count"};
// Functions whose result depends on their arguments alone.
constexpr std::array<std::string_view, 9> kPureFunctions{
    "concat", "concat_ws", "replace", "if", "ifnull", "coalesce", "lower", "upper", "trim"};
// In SET: changes more than this session, or a value that differs the next time. The character sets
// are those in which the tail of a character can look like a quote or a backslash, so that this
// scanner could lose its way.
constexpr std::array<std::string_view, 18> kPinningInSet{
    "global",         "persist",       "password",     "select",       "current_timestamp",
    "current_date",   "current_time",  "current_user", "current_role", "localtime",
    "localtimestamp", "utc_timestamp", "big5",         "gbk",          "sjis",
    "cp932",          "gb18030",       "next"};

bool is_word(std::uint8_t c) { return std::isalnum(c) != 0 || c == '_' || c == '$' || c >= 0x80; }
bool is_blank(std::uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

}  // namespace

void StatementScanner::feed(std::span<const std::uint8_t> text) {
  for (const std::uint8_t c : text) step(c);
}

void StatementScanner::step(std::uint8_t c) {
  switch (in_) {
    case In::kCode:
      return code(c);
    case In::kQuote:  // a doubled quote closes and opens again at once
      if (escaped_)
        escaped_ = false;
      else if (c == '\\' && backslash_escapes_ && quote_ != '`')
        escaped_ = true;
      else if (c == quote_)
        in_ = In::kCode;
      return;
    case In::kDashes:
      in_ = In::kCode;
      if (c == '\n') return;
      if (is_blank(c))
        in_ = In::kLineComment;
      else
        code(c);
      return;
    case In::kLineComment:
      if (c == '\n') in_ = In::kCode;
      return;
    case In::kCommentOpen:
    case In::kCommentOpenM:
      if (c == '!') {
        in_ = In::kVersion;
        return;
      }
      in_ = c == 'M' && in_ == In::kCommentOpen ? In::kCommentOpenM : In::kBlockComment;
      star_ = c == '*';
      return;
    case In::kVersion:
      if (std::isdigit(c) != 0) return;
      in_ = In::kCode;
      return code(c);
    case In::kBlockComment:
      if (star_ && c == '/') in_ = In::kCode;
      star_ = c == '*';
      return;
  }
}

void StatementScanner::code(std::uint8_t c) {
  if (is_word(c)) {
    if (word_size_ < word_.size()) word_[word_size_] = static_cast<char>(std::tolower(c));
    ++word_size_;
    return;
  }
  end_word();
  if (is_blank(c)) {
    if (previous_ != '@') previous_ = ' ';
    return;
  }
  symbol(c);
}

void StatementScanner::symbol(std::uint8_t c) {
  const std::uint8_t before = std::exchange(previous_, c);
  if (c != '(') after_unknown_word_ = false;
  const bool after_into = std::exchange(after_into_, false);
  switch (c) {
    case '*':
      if (before == '/') in_ = In::kCommentOpen, previous_ = ' ';
      break;
    case '/':
      if (before == '*') previous_ = ' ';  // end of an executable comment
      break;
    case '-':
      if (before == '-') in_ = In::kDashes, previous_ = ' ';
      break;
    case '#':
      in_ = In::kLineComment;
      break;
    case '\'':
    case '"':
    case '`':
      in_ = In::kQuote;
      quote_ = c;
      escaped_ = false;
      break;
    case '=':
      if (before == ':' && first_ != First::kSet) traits_.pins = true;
      after_equals_ = true;
      break;
    case ',':
      after_equals_ = false;
      break;
    case '@':
      if (after_into || first_ == First::kLoad) traits_.pins = true;
      if (after_equals_) traits_.computed = true;
      break;
    case '(':
      if (first_ == First::kSet) {
        traits_.computed = true;
        if (after_unknown_word_) traits_.pins = true;
      }
      break;
    case ';':
      end_statement();
      break;
    default:
      break;
  }
}

void StatementScanner::end_word() {
  if (word_size_ == 0) return;
  const std::string_view word(word_.data(), word_size_ <= word_.size() ? word_size_ : 0);
  word_size_ = 0;
  const bool variable = previous_ == '@' || previous_ == '.';
  previous_ = ' ';
  if (words_ == 0) {
    ++statements_;
    first_word(word);
  } else if (!variable || first_ == First::kSet) {
    later_word(word);
  }
  ++words_;
  after_into_ = word == "into";
}

void StatementScanner::first_word(std::string_view word) {
  first_ = word == "set"      ? First::kSet
           : word == "create" ? First::kCreate
           : word == "show"   ? First::kShow
           : word == "load"   ? First::kLoad
                              : First::kOther;
  if (first_ == First::kSet) traits_.sets = set_or_use_ = true;
  if (word == "use") traits_.uses = set_or_use_ = true;
  if (one_of(word, kPinningFirst)) traits_.pins = true;
}

void StatementScanner::later_word(std::string_view word) {
  if (one_of(word, kPinningAnywhere)) traits_.pins = true;
  if (one_of(word, kLookingBack)) traits_.looks_back = true;
  if (first_ == First::kCreate && word == "temporary") traits_.pins = true;
  if (first_ == First::kShow && one_of(word, kShowLookingBack)) traits_.looks_back = true;
  if (first_ == First::kSet) word_in_set(word);
}

void StatementScanner::word_in_set(std::string_view word) {
  after_unknown_word_ = !one_of(word, kPureFunctions);
  if (one_of(word, kPinningInSet)) traits_.pins = true;
  if (words_ != 1) return;
  if (word == "default") traits_.pins = true;  // SET DEFAULT ROLE changes an account
  if (word == "transaction") traits_.sets_once = true;
  if (word == "statement") {  // SET STATEMENT … FOR …: nothing remains of it
    first_ = First::kOther;
    traits_.sets = false;
  }
}

void StatementScanner::end_statement() {
  words_ = 0;
  first_ = First::kOther;
  after_into_ = after_equals_ = after_unknown_word_ = false;
}

StatementTraits StatementScanner::finish() {
  end_word();
  if (statements_ > 1 && set_or_use_) {
    // Which of them succeeded cannot be told from one answer.
    traits_.pins = true;
    traits_.sets = traits_.sets_once = traits_.uses = false;
  }
  if (traits_.pins) traits_.sets = traits_.sets_once = traits_.uses = false;
  return traits_;
}

std::string database_of_use(std::string_view text) {
  std::size_t at = text.find_first_of("uU");
  if (at == std::string_view::npos || text.size() < at + 4) return {};
  at = text.find_first_not_of(" \t\r\n", at + 3);
  if (at == std::string_view::npos) return {};
  std::string name;
  if (text[at] != '`') {
    const std::size_t end = text.find_first_of(" \t\r\n;/", at);
    return std::string(text.substr(at, end == std::string_view::npos ? end : end - at));
  }
  for (++at; at < text.size(); ++at) {
    if (text[at] == '`') {
      if (at + 1 >= text.size() || text[at + 1] != '`') return name;
      ++at;
    }
    name += text[at];
  }
  return {};
}

}  // namespace leeward::gateway

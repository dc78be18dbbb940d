// A value read as SQL, token by token, the way that finds attacks rather than the way of any one
// database: every dialect's comments, literals and operators are known at once. The rules are those
// of libinjection, whose verdict @detectSQLi has to give.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace leeward::waf {

// Kinds of tokens, as they stand in a fingerprint. Punctuation "(){},;:." is its own kind.
namespace sql {
inline constexpr char kKeyword = 'k';
inline constexpr char kUnion = 'U';
inline constexpr char kGroup = 'B';
inline constexpr char kExpression = 'E';
inline constexpr char kType = 't';
inline constexpr char kFunction = 'f';
inline constexpr char kBareword = 'n';
inline constexpr char kNumber = '1';
inline constexpr char kVariable = 'v';
inline constexpr char kString = 's';
inline constexpr char kOperator = 'o';
inline constexpr char kLogic = '&';
inline constexpr char kComment = 'c';
inline constexpr char kCollate = 'A';
inline constexpr char kStatement = 'T';  // of Transact-SQL
inline constexpr char kUnknown = '?';
inline constexpr char kEvil = 'X';  // cannot be told for sure: always an attack
inline constexpr char kBackslash = '\\';
}  // namespace sql

struct SqlToken {
  static constexpr std::size_t kTextMax = 31;

  char kind = 0;
  char open = 0;   // the quote that begins it; 0 when it began before the value
  char close = 0;  // the quote that ends it; 0 when the value ends first
  std::uint8_t size = 0;
  std::array<char, kTextMax> bytes;

  std::string_view text() const { return {bytes.data(), size}; }
  char front() const { return size > 0 ? bytes[0] : '\0'; }
  void set(char new_kind, std::string_view new_text);  // cut at kTextMax
  bool is_unary_operator() const;
  bool is_arithmetic_operator() const;
};

enum class SqlQuote : char {
  kNone = 0,
  kSingle = '\'',
  kDouble = '"'
};  // what the value stands in
enum class SqlDialect { kAnsi, kMysql };

class SqlTokenizer {
 public:
  SqlTokenizer(std::string_view value, SqlQuote quote, SqlDialect dialect)
      : value_(value), quote_(quote), dialect_(dialect) {}

  // The next token; false at the end, and `token` is then of kind 0.
  bool next(SqlToken& token);
  std::size_t count() const { return count_; }
  // Something was a comment that is none in the other dialect, so that it is worth reading again.
  bool depends_on_dialect() const { return depends_on_dialect_; }

 private:
  std::size_t left() const { return value_.size() - at_; }
  unsigned char peek(std::size_t ahead) const {  // 0 behind the end
    return ahead < left() ? static_cast<unsigned char>(value_[at_ + ahead]) : '\0';
  }
  bool has(std::size_t ahead) const { return ahead < left(); }
  std::string_view rest(std::size_t ahead) const {
    return ahead < left() ? value_.substr(at_ + ahead) : std::string_view();
  }

  void read(SqlToken& token);
  void take(SqlToken& token, char kind, std::size_t bytes);  // and goes on behind it
  void read_quoted(SqlToken& token, char quote, std::size_t prefix);
  void read_line_comment(SqlToken& token);
  void read_block_comment(SqlToken& token);
  void read_dash(SqlToken& token);
  void read_hash(SqlToken& token);
  void read_two_byte_operator(SqlToken& token);
  void read_backslash(SqlToken& token);
  void read_word(SqlToken& token);
  void read_bracketed_word(SqlToken& token);
  void read_backticked(SqlToken& token);
  void read_escape_string(SqlToken& token);
  void read_unicode_string(SqlToken& token);
  void read_oracle_string(SqlToken& token, std::size_t prefix);
  void read_digits_literal(SqlToken& token, std::string_view digits);
  void read_variable(SqlToken& token);
  void read_dollar(SqlToken& token);
  void read_dollar_tag(SqlToken& token, std::size_t letters);
  void read_number(SqlToken& token);

  const std::string_view value_;
  const SqlQuote quote_;
  const SqlDialect dialect_;
  std::size_t at_ = 0;
  std::size_t count_ = 0;
  bool depends_on_dialect_ = false;
};

}  // namespace leeward::waf

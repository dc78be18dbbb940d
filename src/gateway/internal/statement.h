// Reads the text of a SQL command as it streams by, without keeping it, and says what it does to
// the session that a later move must know. Understands quotes, comments (executable ones are code)
// and several statements in one text; what is unclear gets the careful answer. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace leeward::gateway {

struct StatementTraits {
  bool sets = false;       // SET …: replayed on a move
  bool sets_once = false;  // SET TRANSACTION …: holds for the next transaction only
  bool computed = false;   // a SET whose value is no plain constant: its place in the order matters
  bool uses = false;       // USE database
  bool pins = false;       // creates state that cannot be carried to another server
  bool looks_back = false;  // asks about the previous statement: FOUND_ROWS(), SHOW WARNINGS …
};

class StatementScanner {
 public:
  // `backslash_escapes`: false under sql_mode NO_BACKSLASH_ESCAPES.
  explicit StatementScanner(bool backslash_escapes = true)
      : backslash_escapes_(backslash_escapes) {}
  void feed(std::span<const std::uint8_t> text);
  // Whether the text could still turn out to be a SET or USE, so that it is worth keeping.
  bool wants_text() const { return statements_ == 0 || set_or_use_; }
  StatementTraits finish();

 private:
  enum class In : std::uint8_t {
    kCode,
    kQuote,
    kDashes,  // after "--": a comment if a blank follows
    kLineComment,
    kCommentOpen,  // after "/*": code if '!' or 'M!' follows
    kCommentOpenM,
    kVersion,  // digits after "/*!"
    kBlockComment,
  };
  void step(std::uint8_t c);
  void code(std::uint8_t c);
  void symbol(std::uint8_t c);
  void end_word();
  void first_word(std::string_view word);
  void later_word(std::string_view word);
  void word_in_set(std::string_view word);
  void end_statement();

  bool backslash_escapes_;
  In in_ = In::kCode;
  std::uint8_t quote_ = 0;
  bool escaped_ = false;
  bool star_ = false;            // last byte in a comment was '*'
  std::uint8_t previous_ = ' ';  // last byte of code that is no part of a word
  std::array<char, 24> word_{};
  std::size_t word_size_ = 0;  // may exceed the array: then it is no keyword
  StatementTraits traits_;
  int statements_ = 0;       // that had a word
  bool set_or_use_ = false;  // one of them was SET or USE
  // Of the current statement:
  int words_ = 0;
  enum class First : std::uint8_t { kOther, kSet, kCreate, kShow, kLoad } first_ = First::kOther;
  bool after_into_ = false;          // the last word was INTO
  bool after_equals_ = false;        // in the value of an assignment
  bool after_unknown_word_ = false;  // a word that names no function allowed in SET
};

// The database that a text, known to be one USE statement, names; empty if it cannot be read.
std::string database_of_use(std::string_view text);

}  // namespace leeward::gateway

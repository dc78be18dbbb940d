// Row filters: which rows of a table take part. One expression, two ways to ask it that must agree:
// as SQL text in a WHERE clause (seed, verify) and over the values of a row event (stream).
//
//   region = 'eu' and (total >= 100 or vip = 1) and not deleted_at is not null
//
//   expression  term { or term }
//   term        factor { and factor }
//   factor      not factor | ( expression ) | test
//   test        COLUMN = <> != < <= > >= literal
//               COLUMN [not] in ( literal, … ) | COLUMN [not] between literal and literal
//               COLUMN is [not] null
//   literal     a number as 12, -0.5 or 1e3, or text in single quotes ('' is one quote)
//   COLUMN      letters, digits, _ and $, or anything in backquotes
//
// Meaning:
// - NULL compared with anything is unknown; a row takes part only when the expression is true, as
//   in SQL.
// - A number is compared with a column of integers or DECIMAL by value, without rounding, and with
// a
//   DOUBLE as double.
// - Text is compared byte by byte in UTF-8: case and accents count, unlike under most collations.
//   DATE, TIME, DATETIME and TIMESTAMP (in UTC) are text as MariaDB prints them, ENUM is its label.
// - FLOAT (its digits are not its value), bytes (BINARY, BLOB, BIT, GEOMETRY), SET, YEAR, UUID and
//   INET only take `is null`.
//
// Pure; immutable once made, so it may be shared by threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace leeward::replication {

// How the values of a column can be compared.
enum class ColumnKind : std::uint8_t {
  kNumber,  // integers, DECIMAL, DOUBLE
  kText,    // CHAR, VARCHAR, TEXT, ENUM, dates and times
  kOther,
};
// The kind of a column whose information_schema.columns.data_type is `data_type`.
ColumnKind column_kind(std::string_view data_type);

struct SourceColumn {
  std::string name;
  ColumnKind kind = ColumnKind::kOther;
};

// Bounds of an expression; beyond one of them it is kInvalid.
inline constexpr std::size_t kFilterBytesMax = 16 * 1024;
inline constexpr int kFilterNestingMax = 64;

struct FilterNode {
  enum class Kind : std::uint8_t { kAnd, kOr, kNot, kCompare, kIn, kBetween, kIsNull };
  enum class Operator : std::uint8_t { kEqual, kNotEqual, kLess, kAtMost, kGreater, kAtLeast };
  // kEither (DMS mappings write every value as text): a number where the column holds numbers.
  enum class LiteralKind : std::uint8_t { kNumber, kText, kEither };
  struct Literal {
    LiteralKind kind = LiteralKind::kText;
    std::string text;
  };
  Kind kind = Kind::kAnd;
  Operator op = Operator::kEqual;
  std::string column;
  std::vector<Literal> literals;                         // kCompare: 1, kBetween: 2, kIn: 1 or more
  std::vector<std::shared_ptr<const FilterNode>> parts;  // kAnd, kOr: 1 or more; kNot: 1
};
using FilterPtr = std::shared_ptr<const FilterNode>;

struct FilterError {
  std::size_t offset = 0;  // into the text, in bytes
  std::string message;
};
tl::expected<FilterPtr, FilterError> parse_filter(std::string_view text);

// The value of column `index` of a row as text, nullopt for NULL.
using RowValues = std::function<std::optional<std::string_view>(std::size_t index)>;

// An expression bound to the columns of one table.
class RowFilter {
 public:
  // kInvalid, all reasons at once: a column that the table does not have, or one that cannot be
  // compared with such a literal.
  static Result<RowFilter> bind(FilterPtr expression, const std::vector<SourceColumn>& columns);

  bool matches(const RowValues& row) const;
  // The same as a condition in SQL, in parentheses. `quote` makes an SQL literal of a text
  // (SqlConnection::quote).
  std::string sql(const std::function<std::string(std::string_view)>& quote) const;

 private:
  RowFilter(FilterPtr expression, std::vector<SourceColumn> columns)
      : expression_(std::move(expression)), columns_(std::move(columns)) {}
  std::optional<bool> evaluate(const FilterNode& node, const RowValues& row) const;
  std::string render(const FilterNode& node,
                     const std::function<std::string(std::string_view)>& quote) const;
  std::size_t index_of(std::string_view column) const;

  FilterPtr expression_;
  std::vector<SourceColumn> columns_;
};

// Compares two numbers in text form ("-12", "0.50", "1e3") by value: <0, 0, >0; nullopt when either
// is none. Exact for digits with a point; with an exponent, as double.
std::optional<int> compare_numbers(std::string_view a, std::string_view b);

}  // namespace leeward::replication

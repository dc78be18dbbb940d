#include "replication/row_filter.h"

#include <algorithm>
#include <cstdlib>

#include "base/check.h"
#include "mysql/sql.h"

namespace leeward::replication {
namespace {

using Kind = FilterNode::Kind;
using Literal = FilterNode::Literal;
using LiteralKind = FilterNode::LiteralKind;
using Operator = FilterNode::Operator;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool is_word(char c) {
  return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || c == '_' || c == '$' ||
         (static_cast<unsigned char>(c) & 0x80) != 0;
}
bool equal_names(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

struct Token {
  enum class Kind { kEnd, kWord, kName, kNumber, kText, kSymbol } kind = Kind::kEnd;
  std::string text;
  std::size_t offset = 0;
};

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  tl::expected<FilterPtr, FilterError> run() {
    if (text_.size() > kFilterBytesMax) {
      refuse(0, fmt::format("the filter is longer than {} bytes", kFilterBytesMax));
      return tl::unexpected(*error_);
    }
    advance();
    FilterPtr all = expression(0);
    if (!error_ && token_.kind != Token::Kind::kEnd)
      refuse(token_.offset,
             fmt::format("unexpected '{}'; write 'and' or 'or' between two tests", token_.text));
    if (error_) return tl::unexpected(*error_);
    return all;
  }

 private:
  void refuse(std::size_t offset, std::string message) {
    if (!error_) error_ = FilterError{offset, std::move(message)};
  }

  void advance() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
    token_ = Token{Token::Kind::kEnd, "", at_};
    if (at_ == text_.size() || error_) return;
    char c = text_[at_];
    if (c == '\'' || c == '`') return quoted(c);
    bool sign = (c == '-' || c == '+') && at_ + 1 < text_.size();
    if (is_digit(c) || (c == '.' && at_ + 1 < text_.size() && is_digit(text_[at_ + 1])) ||
        (sign && (is_digit(text_[at_ + 1]) || text_[at_ + 1] == '.')))
      return number();
    if (is_word(c)) {
      while (at_ < text_.size() && is_word(text_[at_])) token_.text += text_[at_++];
      token_.kind = Token::Kind::kWord;
      return;
    }
    token_.kind = Token::Kind::kSymbol;
    token_.text = c;
    ++at_;
    if (at_ < text_.size()) {
      std::string two = token_.text + text_[at_];
      if (two == "<=" || two == ">=" || two == "<>" || two == "!=") {
        token_.text = two;
        ++at_;
      }
    }
  }

  void quoted(char quote) {
    std::size_t begin = at_++;
    token_.kind = quote == '\'' ? Token::Kind::kText : Token::Kind::kName;
    for (;;) {
      if (at_ == text_.size()) return refuse(begin, "a quote is not closed");
      char c = text_[at_++];
      if (c != quote) {
        token_.text += c;
      } else if (at_ < text_.size() && text_[at_] == quote) {
        token_.text += quote;
        ++at_;
      } else {
        return;
      }
    }
  }

  void number() {
    token_.kind = Token::Kind::kNumber;
    if (text_[at_] == '+') ++at_;
    if (text_[at_] == '-') token_.text += text_[at_++];
    auto digits = [&] {
      while (at_ < text_.size() && is_digit(text_[at_])) token_.text += text_[at_++];
    };
    digits();
    if (at_ < text_.size() && text_[at_] == '.') {
      token_.text += text_[at_++];
      digits();
    }
    if (at_ < text_.size() && lower(text_[at_]) == 'e') {
      token_.text += text_[at_++];
      if (at_ < text_.size() && (text_[at_] == '-' || text_[at_] == '+'))
        token_.text += text_[at_++];
      digits();
    }
    if ((at_ < text_.size() && is_word(text_[at_])) ||
        !compare_numbers(token_.text, "0").has_value())
      refuse(token_.offset, "this is not a number; text stands in single quotes");
  }

  bool is(std::string_view word) const {
    return (token_.kind == Token::Kind::kWord || token_.kind == Token::Kind::kSymbol) &&
           equal_names(token_.text, word);
  }
  bool take(std::string_view word) {
    if (error_ || !is(word)) return false;
    advance();
    return true;
  }
  void expect(std::string_view word) {
    if (!take(word)) refuse(token_.offset, fmt::format("'{}' is missing here", word));
  }

  FilterPtr joined(int depth, std::string_view word, Kind kind, FilterPtr (Parser::*inner)(int)) {
    FilterPtr first = (this->*inner)(depth);
    if (error_ || !is(word)) return first;
    auto node = std::make_shared<FilterNode>();
    node->kind = kind;
    node->parts.push_back(std::move(first));
    while (take(word)) node->parts.push_back((this->*inner)(depth));
    return node;
  }
  FilterPtr expression(int depth) { return joined(depth, "or", Kind::kOr, &Parser::term); }
  FilterPtr term(int depth) { return joined(depth, "and", Kind::kAnd, &Parser::factor); }

  FilterPtr factor(int depth) {
    if (depth > kFilterNestingMax) {
      refuse(token_.offset, fmt::format("nested more than {} levels deep", kFilterNestingMax));
      return nullptr;
    }
    if (take("not")) return negated(factor(depth + 1));
    if (take("(")) {
      FilterPtr inner = expression(depth + 1);
      expect(")");
      return inner;
    }
    return test();
  }

  static FilterPtr negated(FilterPtr inner) {
    auto node = std::make_shared<FilterNode>();
    node->kind = Kind::kNot;
    node->parts.push_back(std::move(inner));
    return node;
  }

  FilterPtr test() {
    auto node = std::make_shared<FilterNode>();
    if (token_.kind != Token::Kind::kWord && token_.kind != Token::Kind::kName) {
      refuse(token_.offset, "the name of a column is missing here");
      return nullptr;
    }
    node->column = token_.text;
    advance();
    if (take("is")) {
      bool negative = take("not");
      expect("null");
      node->kind = Kind::kIsNull;
      return negative ? negated(node) : node;
    }
    bool negative = take("not");
    if (take("in")) {
      node->kind = Kind::kIn;
      expect("(");
      do literal(*node);
      while (take(","));
      expect(")");
    } else if (take("between")) {
      node->kind = Kind::kBetween;
      literal(*node);
      expect("and");
      literal(*node);
    } else if (negative) {
      refuse(token_.offset, "'in' or 'between' must follow 'not' here");
    } else {
      node->kind = Kind::kCompare;
      comparison(*node);
      literal(*node);
    }
    return negative ? negated(node) : node;
  }

  void comparison(FilterNode& node) {
    static constexpr std::pair<std::string_view, Operator> kOperators[] = {
        {"=", Operator::kEqual},   {"<>", Operator::kNotEqual}, {"!=", Operator::kNotEqual},
        {"<", Operator::kLess},    {"<=", Operator::kAtMost},   {">", Operator::kGreater},
        {">=", Operator::kAtLeast}};
    for (const auto& [text, op] : kOperators)
      if (take(text)) {
        node.op = op;
        return;
      }
    refuse(
        token_.offset,
        fmt::format("a comparison must follow the column '{}': = <> < <= > >=, in, between or is",
                    node.column));
  }

  void literal(FilterNode& node) {
    if (token_.kind != Token::Kind::kNumber && token_.kind != Token::Kind::kText) {
      refuse(token_.offset, "a number, or text in single quotes, is missing here");
      return;
    }
    node.literals.push_back(
        {token_.kind == Token::Kind::kNumber ? LiteralKind::kNumber : LiteralKind::kText,
         token_.text});
    advance();
  }

  std::string_view text_;
  std::size_t at_ = 0;
  Token token_;
  std::optional<FilterError> error_;
};

// "-0012.500" as sign, integer digits without leading zeros, fraction without trailing ones.
struct Decimal {
  bool negative = false;
  std::string_view integer, fraction;
};

std::optional<Decimal> decimal(std::string_view text) {
  Decimal d;
  if (text.starts_with('-') || text.starts_with('+')) {
    d.negative = text[0] == '-';
    text.remove_prefix(1);
  }
  auto point = text.find('.');
  d.integer = text.substr(0, point);
  if (point != std::string_view::npos) d.fraction = text.substr(point + 1);
  if (d.integer.empty() && d.fraction.empty()) return std::nullopt;
  if (!std::all_of(d.integer.begin(), d.integer.end(), is_digit) ||
      !std::all_of(d.fraction.begin(), d.fraction.end(), is_digit))
    return std::nullopt;
  while (d.integer.starts_with('0')) d.integer.remove_prefix(1);
  while (d.fraction.ends_with('0')) d.fraction.remove_suffix(1);
  if (d.integer.empty() && d.fraction.empty()) d.negative = false;
  return d;
}

std::optional<double> floating(std::string_view text) {
  std::string copy(text);
  char* end = nullptr;
  if (copy.empty() || !(is_digit(copy.back()))) return std::nullopt;
  double value = std::strtod(copy.c_str(), &end);
  if (end != copy.c_str() + copy.size() || copy.find_first_of("xXnN") != std::string::npos)
    return std::nullopt;
  return value;
}

bool holds(Operator op, int order) {
  switch (op) {
    case Operator::kEqual:
      return order == 0;
    case Operator::kNotEqual:
      return order != 0;
    case Operator::kLess:
      return order < 0;
    case Operator::kAtMost:
      return order <= 0;
    case Operator::kGreater:
      return order > 0;
    case Operator::kAtLeast:
      return order >= 0;
  }
  return false;
}

std::string_view sql_operator(Operator op) {
  switch (op) {
    case Operator::kEqual:
      return "=";
    case Operator::kNotEqual:
      return "<>";
    case Operator::kLess:
      return "<";
    case Operator::kAtMost:
      return "<=";
    case Operator::kGreater:
      return ">";
    case Operator::kAtLeast:
      return ">=";
  }
  return "=";
}

// Every column that the expression names and cannot use as it does.
void check_node(const FilterNode& node, const std::vector<SourceColumn>& columns,
                std::vector<std::string>& wrong) {
  for (const FilterPtr& part : node.parts) check_node(*part, columns, wrong);
  if (node.column.empty()) return;
  auto found = std::find_if(columns.begin(), columns.end(), [&](const SourceColumn& c) {
    return equal_names(c.name, node.column);
  });
  if (found == columns.end()) {
    wrong.push_back(fmt::format("there is no column '{}'", node.column));
    return;
  }
  if (node.kind == Kind::kIsNull) return;
  if (found->kind == ColumnKind::kOther) {
    wrong.push_back(fmt::format("column '{}' is of a type that takes 'is null' only", found->name));
    return;
  }
  for (const Literal& literal : node.literals) {
    bool number = found->kind == ColumnKind::kNumber;
    if (number && !compare_numbers(literal.text, "0"))
      wrong.push_back(
          fmt::format("column '{}' holds numbers and '{}' is none", found->name, literal.text));
    else if (number && literal.kind == LiteralKind::kText)
      wrong.push_back(fmt::format("column '{}' holds numbers; write {} without quotes", found->name,
                                  literal.text));
    else if (!number && literal.kind == LiteralKind::kNumber)
      wrong.push_back(
          fmt::format("column '{}' holds text; write '{}' in quotes", found->name, literal.text));
  }
}

}  // namespace

ColumnKind column_kind(std::string_view data_type) {
  static constexpr std::string_view kNumbers[] = {"tinyint", "smallint", "mediumint", "int",
                                                  "bigint",  "decimal",  "double"};
  static constexpr std::string_view kTexts[] = {"char",     "varchar",    "tinytext", "text",
                                                "longtext", "mediumtext", "enum",     "date",
                                                "time",     "datetime",   "timestamp"};
  if (std::find(std::begin(kNumbers), std::end(kNumbers), data_type) != std::end(kNumbers))
    return ColumnKind::kNumber;
  if (std::find(std::begin(kTexts), std::end(kTexts), data_type) != std::end(kTexts))
    return ColumnKind::kText;
  return ColumnKind::kOther;
}

std::optional<int> compare_numbers(std::string_view a, std::string_view b) {
  auto x = decimal(a), y = decimal(b);
  if (!x || !y) {
    auto u = floating(a), v = floating(b);
    if (!u || !v) return std::nullopt;
    return *u < *v ? -1 : *u > *v ? 1 : 0;
  }
  if (x->negative != y->negative) return x->negative ? -1 : 1;
  int order = x->integer.size() != y->integer.size()
                  ? (x->integer.size() < y->integer.size() ? -1 : 1)
                  : x->integer.compare(y->integer);
  if (order == 0) order = x->fraction.compare(y->fraction);
  if (order != 0) order = order < 0 ? -1 : 1;
  return x->negative ? -order : order;
}

tl::expected<FilterPtr, FilterError> parse_filter(std::string_view text) {
  return Parser(text).run();
}

Result<RowFilter> RowFilter::bind(FilterPtr expression, const std::vector<SourceColumn>& columns) {
  std::vector<std::string> wrong;
  check_node(*expression, columns, wrong);
  if (!wrong.empty()) return fail(Code::kInvalid, "{}", fmt::join(wrong, "; "));
  return RowFilter(std::move(expression), columns);
}

std::size_t RowFilter::index_of(std::string_view column) const {
  auto found = std::find_if(columns_.begin(), columns_.end(),
                            [&](const SourceColumn& c) { return equal_names(c.name, column); });
  LEEWARD_CHECK(found != columns_.end());  // bind() has seen to it
  return static_cast<std::size_t>(found - columns_.begin());
}

std::optional<bool> RowFilter::evaluate(const FilterNode& node, const RowValues& row) const {
  if (node.kind == Kind::kAnd || node.kind == Kind::kOr) {
    bool decisive = node.kind == Kind::kOr;
    std::optional<bool> result = !decisive;
    for (const FilterPtr& part : node.parts) {
      auto value = evaluate(*part, row);
      if (value == decisive) return decisive;
      if (!value) result = std::nullopt;
    }
    return result;
  }
  if (node.kind == Kind::kNot) {
    auto value = evaluate(*node.parts[0], row);
    if (value) value = !*value;
    return value;
  }
  std::size_t index = index_of(node.column);
  auto value = row(index);
  if (node.kind == Kind::kIsNull) return !value.has_value();
  if (!value) return std::nullopt;
  auto order = [&](const Literal& literal) {
    if (columns_[index].kind == ColumnKind::kNumber)
      return compare_numbers(*value, literal.text).value_or(1);
    return value->compare(literal.text);
  };
  if (node.kind == Kind::kCompare) return holds(node.op, order(node.literals[0]));
  if (node.kind == Kind::kBetween)
    return order(node.literals[0]) >= 0 && order(node.literals[1]) <= 0;
  return std::any_of(node.literals.begin(), node.literals.end(),
                     [&](const Literal& literal) { return order(literal) == 0; });
}

bool RowFilter::matches(const RowValues& row) const { return evaluate(*expression_, row) == true; }

std::string RowFilter::render(const FilterNode& node,
                              const std::function<std::string(std::string_view)>& quote) const {
  if (node.kind == Kind::kAnd || node.kind == Kind::kOr) {
    std::string out;
    for (const FilterPtr& part : node.parts)
      out += (out.empty() ? "" : node.kind == Kind::kAnd ? " AND " : " OR ") + render(*part, quote);
    return "(" + out + ")";
  }
  if (node.kind == Kind::kNot) return "(NOT " + render(*node.parts[0], quote) + ")";
  std::size_t index = index_of(node.column);
  std::string column = mysql::quote_name(columns_[index].name);
  if (node.kind == Kind::kIsNull) return "(" + column + " IS NULL)";
  bool number = columns_[index].kind == ColumnKind::kNumber;
  // Bytes of the UTF-8 form on both sides, so that no collation has a say.
  if (!number) column = "CAST(CONVERT(" + column + " USING utf8mb4) AS BINARY)";
  auto literal = [&](const Literal& l) {
    return number ? l.text : "CAST(" + quote(l.text) + " AS BINARY)";
  };
  if (node.kind == Kind::kCompare)
    return fmt::format("({} {} {})", column, sql_operator(node.op), literal(node.literals[0]));
  if (node.kind == Kind::kBetween)
    return fmt::format("({} BETWEEN {} AND {})", column, literal(node.literals[0]),
                       literal(node.literals[1]));
  std::vector<std::string> list;
  for (const Literal& l : node.literals) list.push_back(literal(l));
  return fmt::format("({} IN ({}))", column, fmt::join(list, ", "));
}

std::string RowFilter::sql(const std::function<std::string(std::string_view)>& quote) const {
  return render(*expression_, quote);
}

}  // namespace leeward::replication

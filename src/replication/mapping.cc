#include "replication/mapping.h"

#include <algorithm>
#include <charconv>

namespace leeward::replication {
namespace {

constexpr std::string_view kOwnSchemas[] = {"mysql", "sys", "information_schema",
                                            "performance_schema", "leeward"};

bool applies(const TableRule& rule, std::string_view schema, std::string_view table) {
  return matches(rule.schema, schema) && matches(rule.table, table);
}

bool any(const std::vector<TableRule>& rules, std::string_view schema, std::string_view table) {
  return std::any_of(rules.begin(), rules.end(),
                     [&](const TableRule& rule) { return applies(rule, schema, table); });
}

bool own_schema(std::string_view schema) {
  return std::find(std::begin(kOwnSchemas), std::end(kOwnSchemas), schema) != std::end(kOwnSchemas);
}

std::optional<long double> number(std::string_view text) {
  long double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

int compare(std::string_view a, std::string_view b) {
  auto left = number(a);
  auto right = number(b);
  if (left && right) return *left < *right ? -1 : *left > *right ? 1 : 0;
  return a.compare(b);
}

bool holds(Comparison comparison, const std::vector<std::string>& values,
           const mysql::Value& value) {
  if (comparison == Comparison::kIsNull) return !value;
  if (!value) return false;
  if (comparison == Comparison::kIsNotNull) return true;
  if (values.empty()) return false;
  int order = compare(*value, values[0]);
  switch (comparison) {
    case Comparison::kEqual:
      return order == 0;
    case Comparison::kNotEqual:
      return order != 0;
    case Comparison::kLess:
      return order < 0;
    case Comparison::kLessOrEqual:
      return order <= 0;
    case Comparison::kGreater:
      return order > 0;
    case Comparison::kGreaterOrEqual:
      return order >= 0;
    case Comparison::kBetween:
      return values.size() > 1 && order >= 0 && compare(*value, values[1]) <= 0;
    default:
      return false;
  }
}

}  // namespace

bool matches(std::string_view pattern, std::string_view text) {
  std::size_t wild = pattern.find('%');
  if (wild == std::string_view::npos) return pattern == text;
  if (text.substr(0, wild) != pattern.substr(0, wild)) return false;
  text.remove_prefix(wild);
  pattern.remove_prefix(wild + 1);
  if (pattern.empty()) return true;
  // The part up to the next wildcard is looked for as early as it occurs; the last part at the end.
  for (;;) {
    std::size_t next = pattern.find('%');
    std::string_view part = pattern.substr(0, next);
    if (next == std::string_view::npos) return text.ends_with(part);
    std::size_t at = text.find(part);
    if (at == std::string_view::npos) return false;
    text.remove_prefix(at + part.size());
    pattern.remove_prefix(next + 1);
  }
}

std::optional<TableRoute> Mapping::route(std::string_view schema, std::string_view table) const {
  if (own_schema(schema) || any(exclude, schema, table)) return std::nullopt;
  if (!include.empty() && !any(include, schema, table)) return std::nullopt;
  TableRoute route{std::string(schema), std::string(table), {}, {}, {}};
  for (const RenameRule& rule : renames) {
    if (!applies(rule.match, schema, table)) continue;
    if (!rule.schema.empty()) route.schema = rule.schema;
    if (!rule.table.empty()) route.table = rule.table;
    break;
  }
  for (const ColumnRule& rule : columns) {
    if (!applies(rule.match, schema, table)) continue;
    route.dropped_columns.insert(rule.dropped.begin(), rule.dropped.end());
    route.renamed_columns.insert(rule.renamed.begin(), rule.renamed.end());
  }
  for (const FilterRule& rule : filters)
    if (applies(rule.match, schema, table))
      route.conditions.insert(route.conditions.end(), rule.conditions.begin(),
                              rule.conditions.end());
  return route;
}

std::optional<std::string> Mapping::route_schema(std::string_view schema) const {
  if (own_schema(schema)) return std::nullopt;
  for (const TableRule& rule : exclude)
    if (rule.table == "%" && matches(rule.schema, schema)) return std::nullopt;
  bool included = include.empty() ||
                  std::any_of(include.begin(), include.end(),
                              [&](const TableRule& rule) { return matches(rule.schema, schema); });
  if (!included) return std::nullopt;
  for (const RenameRule& rule : renames)
    if (matches(rule.match.schema, schema) && rule.match.table == "%" && !rule.schema.empty())
      return rule.schema;
  return std::string(schema);
}

bool passes(const std::vector<RowCondition>& conditions, const mysql::Table& table,
            const mysql::Row& row) {
  return std::all_of(conditions.begin(), conditions.end(), [&](const RowCondition& condition) {
    for (std::size_t i = 0; i < table.columns.size() && i < row.size(); ++i) {
      if (table.columns[i].name != condition.column) continue;
      return std::any_of(condition.any_of.begin(), condition.any_of.end(),
                         [&](const auto& test) { return holds(test.first, test.second, row[i]); });
    }
    return false;  // a condition on a column that is not there passes nothing
  });
}

}  // namespace leeward::replication

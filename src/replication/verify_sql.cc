#include "replication/internal/verify_sql.h"

#include <fmt/ranges.h>

namespace leeward::replication::internal {
namespace {

using mysql::quote_name;

std::string name_at(const TableColumn& column, End end) {
  return quote_name(end == End::kSource ? column.name : column.target);
}

// Types whose text form cannot hold the '#' between two columns.
bool bounded(const TableColumn& column) {
  const std::string& t = column.data_type;
  return t.ends_with("int") || t == "decimal" || t == "float" || t == "double" || t == "year" ||
         t == "bit" || t == "enum" || t == "set" || t == "date" || t == "time" || t == "datetime" ||
         t == "timestamp" || t == "uuid" || t == "inet4" || t == "inet6";
}

// The value as it goes into the checksum.
std::string value_of(const TableColumn& column, End end) {
  std::string name = read_expression(column, name_at(column, end));
  if (bounded(column)) return name;
  return column.charset.empty() ? name : "CAST(" + name + " AS BINARY)";
}

std::string where_of(const CarriedTable& table, const KeyRange& range, End end,
                     const mysql::SqlConnection& sql) {
  auto name = [end](const TableColumn& column) { return name_at(column, end); };
  std::vector<std::string> conditions;
  if (!range.lower.empty()) conditions.push_back(key_condition(table, range.lower, false, name));
  if (!range.upper.empty()) conditions.push_back(key_condition(table, range.upper, true, name));
  if (table.filter && end == End::kSource)
    conditions.push_back(table.filter->sql([&](std::string_view t) { return sql.quote(t); }));
  return conditions.empty() ? "" : fmt::format(" WHERE {}", fmt::join(conditions, " AND "));
}

std::string table_at(const CarriedTable& table, End end) {
  return end == End::kSource ? table.source_name() : table.target_name();
}

}  // namespace

std::string row_checksum(const CarriedTable& table, End end) {
  std::vector<std::string> nulls, values;
  for (std::size_t i : table.carried()) {
    const TableColumn& column = table.columns[i];
    nulls.push_back(name_at(column, end) + " IS NULL");
    std::string value = value_of(column, end);
    if (!bounded(column)) values.push_back("LENGTH(" + value + ")");
    values.push_back(std::move(value));
  }
  return fmt::format("CRC32C(CONCAT_WS('#',CONCAT({}),{}))", fmt::join(nulls, ","),
                     fmt::join(values, ","));
}

std::string chunk_checksum(const CarriedTable& table, const KeyRange& range, End end,
                           const mysql::SqlConnection& sql) {
  // Equal rows take each other out of an XOR; where there is no key, the sum still counts them.
  std::string sum = row_checksum(table, end);
  std::string more = table.primary_key.empty() ? "COALESCE(SUM(" + sum + "),0)" : "0";
  return fmt::format("SELECT COUNT(*), COALESCE(BIT_XOR({}),0), {} FROM {}{}", sum, more,
                     table_at(table, end), where_of(table, range, end, sql));
}

std::string row_checksums(const CarriedTable& table, const KeyRange& range, End end,
                          const mysql::SqlConnection& sql) {
  std::vector<std::string> list;
  for (std::size_t i : table.primary_key)
    list.push_back(read_expression(table.columns[i], name_at(table.columns[i], end)));
  list.push_back(row_checksum(table, end));
  return fmt::format("SELECT {} FROM {}{}", fmt::join(list, ","), table_at(table, end),
                     where_of(table, range, end, sql));
}

std::string key_equals(const CarriedTable& table, const std::vector<std::string>& key, End end) {
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < table.primary_key.size(); ++i) {
    const TableColumn& column = table.columns[table.primary_key[i]];
    parts.push_back(name_at(column, end) + " = " + key_literal(column, key[i]));
  }
  return fmt::format("{}", fmt::join(parts, " AND "));
}

std::string whole_row(const CarriedTable& table, const std::vector<std::string>& key, End end,
                      const mysql::SqlConnection& sql) {
  std::vector<std::string> list;
  for (std::size_t i : table.carried())
    list.push_back(read_expression(table.columns[i], name_at(table.columns[i], end)));
  std::string select = fmt::format("SELECT {} FROM {} WHERE {}", fmt::join(list, ","),
                                   table_at(table, end), key_equals(table, key, end));
  if (table.filter && end == End::kSource)
    select += " AND " + table.filter->sql([&](std::string_view t) { return sql.quote(t); });
  return select;
}

std::string readable_key(const CarriedTable& table, const std::vector<std::string>& key) {
  std::vector<std::string> values;
  for (std::size_t i = 0; i < table.primary_key.size(); ++i) {
    const TableColumn& column = table.columns[table.primary_key[i]];
    std::string literal = key_literal(column, key[i]);
    bool bytes = column.data_type.ends_with("binary") || column.data_type.ends_with("blob");
    values.push_back(bytes ? "CONCAT('0x',HEX(" + literal + "))"
                           : "CONVERT(" + literal + " USING utf8mb4)");
  }
  return fmt::format("SELECT {}", fmt::join(values, ","));
}

std::string shown_key(const CarriedTable& table, const std::vector<mysql::Cell>& values) {
  std::string out;
  for (std::size_t i = 0; i < table.primary_key.size() && i < values.size(); ++i)
    out += fmt::format("{}{}={}", i ? ", " : "", table.columns[table.primary_key[i]].name,
                       values[i].value_or(""));
  return out;
}

}  // namespace leeward::replication::internal

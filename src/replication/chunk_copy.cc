#include "replication/internal/chunk_copy.h"

#include <fmt/ranges.h>

#include <cstring>
#include <span>

#include "mysql/bulk.h"

namespace leeward::replication::internal {
namespace {

using mysql::quote_name;

std::string name_at_source(const TableColumn& column) { return quote_name(column.name); }

std::string select_of(const CarriedTable& table, const KeyRange& range,
                      const mysql::SqlConnection& source) {
  std::vector<std::string> list, conditions;
  for (std::size_t i : table.carried())
    list.push_back(read_expression(table.columns[i], quote_name(table.columns[i].name)));
  if (!range.lower.empty())
    conditions.push_back(key_condition(table, range.lower, false, name_at_source));
  if (!range.upper.empty())
    conditions.push_back(key_condition(table, range.upper, true, name_at_source));
  if (table.filter)
    conditions.push_back(table.filter->sql([&](std::string_view t) { return source.quote(t); }));
  std::string sql = fmt::format("SELECT {} FROM {}", fmt::join(list, ","), table.source_name());
  if (!conditions.empty()) sql += fmt::format(" WHERE {}", fmt::join(conditions, " AND "));
  if (!table.primary_key.empty()) {
    std::vector<std::string> key;
    for (std::size_t i : table.primary_key) key.push_back(quote_name(table.columns[i].name));
    sql += fmt::format(" ORDER BY {}", fmt::join(key, ","));
  }
  return sql;
}

void append_hex(std::string& out, std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  out += "X'";
  for (unsigned char c : bytes) {
    out += kDigits[c >> 4];
    out += kDigits[c & 15];
  }
  out += '\'';
}

// A hexadecimal literal would be a number to these.
bool takes_number(std::string_view type) {
  return type.ends_with("int") || type == "decimal" || type == "float" || type == "double" ||
         type == "year" || type == "bit" || type == "enum" || type == "set";
}

std::string head_of(std::string_view verb, const CarriedTable& table) {
  std::vector<std::string> names;
  for (std::size_t i : table.carried()) names.push_back(quote_name(table.columns[i].target));
  return fmt::format("{} INTO {} ({}) VALUES ", verb, table.target_name(), fmt::join(names, ","));
}

}  // namespace

void append_tuple(std::string& out, const CarriedTable& table,
                  const std::vector<std::size_t>& carried, const mysql::RowView& row) {
  out += '(';
  for (std::size_t i = 0; i < carried.size(); ++i) {
    if (i > 0) out += ',';
    if (row.cells[i] == nullptr) {
      out += "NULL";
      continue;
    }
    const TableColumn& column = table.columns[carried[i]];
    std::string literal;
    if (takes_number(column.data_type))
      literal = row[i];  // digits, a sign, a point, an exponent
    else
      append_hex(literal, row[i]);
    out += write_expression(column, literal).value_or(literal);
  }
  out += ')';
}

std::string insert_head(const CarriedTable& table) { return head_of("INSERT", table); }
std::string replace_head(const CarriedTable& table) { return head_of("REPLACE", table); }

Result<Copied> ChunkCopier::copy(const CarriedTable& table, const KeyRange& range,
                                 BootTime deadline, const OnCopied& on_copied) {
  auto carried = table.carried();
  std::vector<std::string> values;
  for (std::size_t i : carried)
    values.push_back(write_expression(table.columns[i], "?").value_or("?"));
  auto statement = mysql::BulkStatement::prepare(
      target_, fmt::format("{}({})", insert_head(table), fmt::join(values, ",")), carried.size());
  if (!statement) return fail(std::move(statement.error()).wrap(table.target_name()));
  auto rows = source_.stream(select_of(table, range, source_), deadline);
  if (!rows) return fail(std::move(rows.error()).wrap(table.label()));
  Copied total;
  auto flush = [&]() -> Status {
    Copied fresh{statement->rows(), statement->bytes()};
    if (fresh.rows == 0) return {};
    auto stored = statement->execute();
    if (!stored)
      return fail(std::move(stored.error()).wrap("inserting into " + table.target_name()));
    if (*stored != fresh.rows)
      return fail(Code::kConflict, "{}: {} of {} rows were there already or did not fit",
                  table.target_name(), fresh.rows - *stored, fresh.rows);
    total.rows += fresh.rows;
    total.bytes += fresh.bytes;
    return on_copied(fresh);
  };
  for (;;) {
    auto row = rows->next();
    if (!row) return fail(std::move(row.error()).wrap(table.label()));
    if (!*row) break;
    statement->add(**row);
    if (statement->bytes() < kBatchBytes) continue;
    if (auto sent = flush(); !sent) return fail(std::move(sent.error()));
  }
  if (auto sent = flush(); !sent) return fail(std::move(sent.error()));
  return total;
}

Result<std::optional<std::vector<std::string>>> chunk_end(mysql::SqlConnection& source,
                                                          const CarriedTable& table,
                                                          const std::vector<std::string>& lower,
                                                          std::uint64_t rows, BootTime deadline) {
  std::vector<std::string> list, key;
  for (std::size_t i : table.primary_key) {
    key.push_back(quote_name(table.columns[i].name));
    list.push_back(read_expression(table.columns[i], key.back()));
  }
  std::string where =
      lower.empty() ? "" : " WHERE " + key_condition(table, lower, false, name_at_source);
  auto found = source.query(
      fmt::format("SELECT {} FROM {} FORCE INDEX (PRIMARY){} ORDER BY {} LIMIT 1 OFFSET {}",
                  fmt::join(list, ","), table.source_name(), where, fmt::join(key, ","), rows - 1),
      deadline);
  if (!found) return fail(std::move(found.error()).wrap(table.label()));
  if (found->rows.empty()) return std::nullopt;
  std::vector<std::string> values;
  for (const auto& cell : found->rows[0]) values.push_back(cell.value_or(""));
  return std::optional(std::move(values));
}

}  // namespace leeward::replication::internal

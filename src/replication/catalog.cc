#include "replication/internal/catalog.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <set>

namespace leeward::replication::internal {
namespace {

using mysql::quote_name;
using mysql::SqlConnection;
using mysql::SqlRows;

// Columns, oldest question first: what a table is made of in the order of its definition.
constexpr char kColumns[] =
    "SELECT c.table_schema, c.table_name, c.column_name, c.data_type, "
    "COALESCE(c.character_set_name,''), COALESCE(c.collation_name,''), c.is_generated "
    "FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, "
    "table_name) WHERE t.table_type IN ('BASE TABLE','SYSTEM VERSIONED') AND c.table_schema NOT IN "
    "('mysql','sys','information_schema','performance_schema','leeward') "
    "ORDER BY c.table_schema, c.table_name, c.ordinal_position";
constexpr char kTables[] =
    "SELECT table_schema, table_name, COALESCE(engine,''), COALESCE(table_rows,0), "
    "COALESCE(data_length,0), table_type FROM information_schema.tables "
    "WHERE table_type IN ('BASE TABLE','SYSTEM VERSIONED') AND table_schema NOT IN "
    "('mysql','sys','information_schema','performance_schema','leeward') "
    "ORDER BY table_schema, table_name";
constexpr char kIndexes[] =
    "SELECT table_schema, table_name, index_name, column_name FROM information_schema.statistics "
    "WHERE non_unique=0 ORDER BY table_schema, table_name, index_name, seq_in_index";
constexpr char kForeignKeys[] =
    "SELECT constraint_schema, table_name, unique_constraint_schema, referenced_table_name, "
    "delete_rule IN ('CASCADE','SET NULL') OR update_rule IN ('CASCADE','SET NULL') "
    "FROM information_schema.referential_constraints";

using Name = std::pair<std::string, std::string>;

std::string text(const SqlRows& rows, std::size_t row, std::size_t column) {
  return rows.rows[row][column].value_or("");
}
Name name_of(const SqlRows& rows, std::size_t row) {
  return {text(rows, row, 0), text(rows, row, 1)};
}

std::uint64_t number(const std::string& digits) {
  std::uint64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

bool integer_type(std::string_view type) {
  return type == "tinyint" || type == "smallint" || type == "mediumint" || type == "int" ||
         type == "bigint";
}

bool numeric_form(std::string_view type) {
  return type == "bit" || type == "enum" || type == "set";
}
bool text_only_form(std::string_view type) {
  return type == "uuid" || type == "inet6" || type == "inet4";
}

std::string hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (unsigned char c : bytes) {
    out += kDigits[c >> 4];
    out += kDigits[c & 15];
  }
  return out;
}

// What the mapping makes of a table whose columns are known; `wrong` gets what does not fit.
void route_table(CarriedTable& table, const Mapping& mapping, std::vector<std::string>& wrong) {
  std::vector<std::string> names;
  std::vector<SourceColumn> kinds;
  for (const TableColumn& column : table.columns) {
    names.push_back(column.name);
    kinds.push_back({column.name, column_kind(column.data_type)});
  }
  table.route = *mapping.route(table.schema, table.name, names);
  std::map<std::string, std::string> taken;
  for (TableColumn& column : table.columns) {
    auto target = table.route.column(column.name);
    column.carried = target.has_value() && !column.generated;
    column.target = target.value_or("");
    if (!target) continue;
    auto [earlier, added] = taken.emplace(*target, column.name);
    if (!added)
      wrong.push_back(fmt::format("columns {} and {} of table {} would both be called {}",
                                  earlier->second, column.name, table.label(), *target));
  }
  for (std::size_t i : table.primary_key)
    if (!table.columns[i].target.size())
      wrong.push_back(
          fmt::format("column {} of table {} is part of the primary key and cannot be "
                      "left out",
                      table.columns[i].name, table.label()));
  auto filter = bind_filters(table.route, kinds);
  if (filter)
    table.filter = std::move(*filter);
  else
    wrong.push_back(fmt::format("row filter of {}: {}", table.label(), filter.error().message));
}

struct Question {
  SqlRows tables, columns, indexes, foreign_keys;
};

Result<Question> ask(SqlConnection& source, BootTime deadline) {
  Question q;
  for (auto [sql, rows] :
       {std::pair(kTables, &q.tables), std::pair(kColumns, &q.columns),
        std::pair(kIndexes, &q.indexes), std::pair(kForeignKeys, &q.foreign_keys)}) {
    auto answer = source.query(sql, deadline);
    if (!answer) return fail(std::move(answer.error()).wrap("reading the tables"));
    *rows = std::move(*answer);
  }
  return q;
}

// Fills CarriedTable::tied.
void tie(const SqlRows& foreign_keys, std::map<Name, CarriedTable>& tables) {
  std::set<Name> cascading;  // tables that a cascade begins or ends at
  for (std::size_t i = 0; i < foreign_keys.rows.size(); ++i) {
    Name child = name_of(foreign_keys, i);
    Name parent{text(foreign_keys, i, 2), text(foreign_keys, i, 3)};
    if (!tables.contains(child) || !tables.contains(parent)) continue;
    if (text(foreign_keys, i, 4) == "1") cascading.insert({child, parent});
    tables[child].tied.push_back(parent);
    tables[parent].tied.push_back(child);
  }
  std::vector<Name> reach(cascading.begin(), cascading.end());
  for (std::size_t i = 0; i < reach.size(); ++i)
    for (const Name& next : tables[reach[i]].tied)
      if (cascading.insert(next).second) reach.push_back(next);
  for (auto& [name, table] : tables)
    if (!cascading.contains(name)) table.tied.clear();
}

std::map<Name, CarriedTable> assemble(const Question& q, const Mapping& mapping) {
  std::map<Name, CarriedTable> tables;
  for (std::size_t i = 0; i < q.tables.rows.size(); ++i) {
    Name name = name_of(q.tables, i);
    if (!mapping.carries(name.first, name.second)) continue;
    CarriedTable& table = tables[name];
    table.schema = name.first;
    table.name = name.second;
    table.engine = text(q.tables, i, 2);
    table.rows_estimate = number(text(q.tables, i, 3));
    table.bytes_estimate = number(text(q.tables, i, 4));
    table.versioned = text(q.tables, i, 5) == "SYSTEM VERSIONED";
  }
  for (std::size_t i = 0; i < q.columns.rows.size(); ++i) {
    auto found = tables.find(name_of(q.columns, i));
    if (found == tables.end()) continue;
    TableColumn column;
    column.name = text(q.columns, i, 2);
    column.data_type = text(q.columns, i, 3);
    column.charset = text(q.columns, i, 4);
    column.collation = text(q.columns, i, 5);
    column.generated = text(q.columns, i, 6) == "ALWAYS";
    found->second.columns.push_back(std::move(column));
  }
  for (std::size_t i = 0; i < q.indexes.rows.size(); ++i) {
    auto found = tables.find(name_of(q.indexes, i));
    if (found == tables.end()) continue;
    CarriedTable& table = found->second;
    if (text(q.indexes, i, 2) != "PRIMARY") {
      table.unique_besides_primary = true;
      continue;
    }
    auto column =
        std::find_if(table.columns.begin(), table.columns.end(),
                     [&](const TableColumn& c) { return c.name == text(q.indexes, i, 3); });
    if (column != table.columns.end())
      table.primary_key.push_back(static_cast<std::size_t>(column - table.columns.begin()));
  }
  tie(q.foreign_keys, tables);
  return tables;
}

}  // namespace

std::string CarriedTable::source_name() const {
  return quote_name(schema) + "." + quote_name(name);
}
std::string CarriedTable::target_name() const {
  return quote_name(route.schema) + "." + quote_name(route.table);
}

std::vector<std::size_t> CarriedTable::carried() const {
  std::vector<std::size_t> indices;
  for (std::size_t i = 0; i < columns.size(); ++i)
    if (columns[i].carried) indices.push_back(i);
  return indices;
}

bool CarriedTable::integer_key() const {
  return !primary_key.empty() &&
         std::all_of(primary_key.begin(), primary_key.end(),
                     [&](std::size_t i) { return integer_type(columns[i].data_type); });
}

bool CarriedTable::chunkable() const {
  return !primary_key.empty() &&
         std::all_of(primary_key.begin(), primary_key.end(), [&](std::size_t i) {
           const TableColumn& c = columns[i];
           return c.carried && c.data_type != "float" && c.data_type != "double" &&
                  (integer_type(c.data_type) || numeric_form(c.data_type) ||
                   text_only_form(c.data_type) || !c.charset.empty() || c.data_type == "decimal" ||
                   c.data_type == "date" || c.data_type == "datetime" || c.data_type == "time" ||
                   c.data_type == "timestamp" || c.data_type == "year" || c.data_type == "binary" ||
                   c.data_type == "varbinary" || c.data_type.ends_with("blob"));
         });
}

Result<std::vector<CarriedTable>> read_catalog(SqlConnection& source, const Mapping& mapping,
                                               BootTime deadline) {
  auto question = ask(source, deadline);
  if (!question) return fail(std::move(question.error()));
  std::map<Name, CarriedTable> tables = assemble(*question, mapping);
  std::vector<std::string> wrong;
  std::map<Name, std::string> taken;
  std::vector<CarriedTable> all;
  for (auto& [name, table] : tables) {
    route_table(table, mapping, wrong);
    auto [earlier, added] =
        taken.emplace(Name{table.route.schema, table.route.table}, table.label());
    if (!added)
      wrong.push_back(fmt::format("tables {} and {} would both be {}.{}", earlier->second,
                                  table.label(), table.route.schema, table.route.table));
    all.push_back(std::move(table));
  }
  if (!wrong.empty())
    return fail(Code::kInvalid, "the mapping does not fit the source:\n  {}",
                fmt::join(wrong, "\n  "));
  return all;
}

std::string read_expression(const TableColumn& column, const std::string& name) {
  if (column.data_type == "float") return "CAST(" + name + " AS DOUBLE)";
  if (numeric_form(column.data_type)) return name + "+0";
  return name;
}

std::optional<std::string> write_expression(const TableColumn& column, const std::string& value) {
  if (numeric_form(column.data_type)) return "CAST(" + value + " AS UNSIGNED)";
  if (text_only_form(column.data_type)) return "CONVERT(" + value + " USING latin1)";
  return std::nullopt;
}

std::string key_literal(const TableColumn& column, const std::string& value) {
  if (integer_type(column.data_type) || numeric_form(column.data_type) ||
      column.data_type == "decimal" || column.data_type == "year")
    return value;
  if (!column.charset.empty())
    return fmt::format("_{} X'{}' COLLATE {}", column.charset, hex(value), column.collation);
  if (column.data_type.ends_with("binary") || column.data_type.ends_with("blob"))
    return fmt::format("X'{}'", hex(value));
  // Dates, times, UUID and INET: plain characters.
  return fmt::format("_latin1 X'{}'", hex(value));
}

std::string key_condition(const CarriedTable& table, const std::vector<std::string>& values,
                          bool at_most,
                          const std::function<std::string(const TableColumn&)>& name) {
  // (a > x OR (a = x AND (b > y OR …))), which the optimizer turns into one range.
  std::string condition;
  for (std::size_t i = table.primary_key.size(); i-- > 0;) {
    const TableColumn& column = table.columns[table.primary_key[i]];
    bool last = i + 1 == table.primary_key.size();
    std::string left = name(column), right = key_literal(column, values[i]);
    std::string_view compare = at_most ? (last ? "<=" : "<") : ">";
    std::string outer = fmt::format("{} {} {}", left, compare, right);
    condition =
        last ? outer : fmt::format("({} OR ({} = {} AND {}))", outer, left, right, condition);
  }
  return condition;
}

Status prepare_reader(SqlConnection& sql, BootTime deadline) {
  return sql.execute(
      "SET SESSION character_set_results=NULL, time_zone='+00:00', sql_mode='', "
      "net_write_timeout=3600, net_read_timeout=3600, wait_timeout=86400, "
      "tx_isolation='REPEATABLE-READ'",
      deadline);
}

Result<bool> prepare_writer(SqlConnection& sql, bool unlogged, BootTime deadline) {
  // Two tries: without the privilege for sql_log_bin the rows are logged like any other.
  bool possible = unlogged && sql.execute("SET SESSION sql_log_bin=0", deadline).has_value();
  auto set = sql.execute(
      "SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', time_zone='+00:00', "
      "foreign_key_checks=0, unique_checks=0, check_constraint_checks=0, net_write_timeout=3600, "
      "net_read_timeout=3600, wait_timeout=86400",
      deadline);
  if (!set) return fail(std::move(set.error()));
  return possible;
}

Result<mysql::StreamPosition> open_snapshot(SqlConnection& source, BootTime deadline) {
  if (auto begun = source.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT", deadline); !begun)
    return fail(std::move(begun.error()));
  auto status = source.query("SHOW STATUS LIKE 'binlog_snapshot_%'", deadline);
  if (!status) return fail(std::move(status.error()));
  std::string file, offset;
  for (const auto& row : status->rows) {
    std::string key = row[0].value_or("");
    std::transform(key.begin(), key.end(), key.begin(), [](unsigned char c) {
      return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    });
    if (key == "binlog_snapshot_file") file = row[1].value_or("");
    if (key == "binlog_snapshot_position") offset = row[1].value_or("");
  }
  if (file.empty())
    return fail(Code::kUnhealthy,
                "MariaDB at {} tells no position of a snapshot; log_bin must be on", source.peer());
  auto gtid = source.query(
      fmt::format("SELECT BINLOG_GTID_POS({},{})", source.quote(file), number(offset)), deadline);
  if (!gtid) return fail(std::move(gtid.error()));
  auto position = mysql::parse_gtid_position(gtid->scalar());
  if (!position) return fail(std::move(position.error()));
  mysql::StreamPosition at;
  at.gtids = std::move(*position);
  at.log = {file, number(offset)};
  return at;
}

}  // namespace leeward::replication::internal

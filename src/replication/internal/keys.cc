#include "replication/internal/keys.h"

#include <algorithm>
#include <charconv>
#include <functional>

namespace leeward::replication::internal {
namespace {

// One column of a key; rows are ordered by key, then by place in it.
struct KeyRow {
  std::string key;
  std::string column;
  std::string shared;  // what both ends of a foreign key call it: schema.table(columns)
};

std::size_t ordinal(const TargetTable& table, std::string_view column) {
  auto same = [&](const TargetColumn& other) {
    return std::equal(other.name.begin(), other.name.end(), column.begin(), column.end(),
                      [](char a, char b) {
                        return std::tolower(static_cast<unsigned char>(a)) ==
                               std::tolower(static_cast<unsigned char>(b));
                      });
  };
  return static_cast<std::size_t>(std::find_if(table.columns.begin(), table.columns.end(), same) -
                                  table.columns.begin());
}

// Unique keys, and the keys that foreign keys of other tables refer to.
constexpr std::string_view kUnique =
    "SELECT index_name, column_name, CONCAT({0}, '.', {1}) FROM information_schema.statistics "
    "WHERE table_schema = {0} AND table_name = {1} AND non_unique = 0 "
    "ORDER BY index_name, seq_in_index";
// What this table's rows refer to. Both ends are named by the referenced table and the place of the
// column in the key.
constexpr std::string_view kReferences =
    "SELECT constraint_name, column_name, CONCAT(referenced_table_schema, '.', "
    "referenced_table_name, '.', (SELECT GROUP_CONCAT(k2.referenced_column_name ORDER BY "
    "k2.ordinal_position) FROM information_schema.key_column_usage k2 WHERE k2.table_schema = {0} "
    "AND k2.table_name = {1} AND k2.constraint_name = k1.constraint_name)) "
    "FROM information_schema.key_column_usage k1 WHERE table_schema = {0} AND table_name = {1} "
    "AND referenced_table_name IS NOT NULL ORDER BY constraint_name, ordinal_position";

Result<std::vector<std::vector<KeyRow>>> ask(mysql::SqlConnection& sql, const std::string& query,
                                             BootTime deadline) {
  auto rows = sql.query(query, deadline);
  if (!rows) return fail(std::move(rows.error()));
  std::vector<std::vector<KeyRow>> keys;
  for (const auto& row : rows->rows) {
    KeyRow part{row[0].value_or(""), row[1].value_or(""), row[2].value_or("")};
    if (keys.empty() || keys.back()[0].key != part.key) keys.emplace_back();
    keys.back().push_back(std::move(part));
  }
  return keys;
}

}  // namespace

Result<TargetTable> describe_table(mysql::SqlConnection& sql, const std::string& schema,
                                   const std::string& table, BootTime deadline) {
  TargetTable described;
  std::string s = sql.quote(schema);
  std::string t = sql.quote(table);
  auto columns = sql.query(
      fmt::format(
          "SELECT column_name, data_type, character_set_name, generation_expression IS NOT NULL "
          "FROM information_schema.columns WHERE table_schema = {} AND "
          "table_name = {} ORDER BY ordinal_position",
          s, t),
      deadline);
  if (!columns) return fail(std::move(columns.error()));
  for (const auto& row : columns->rows)
    described.columns.push_back(
        {row[0].value_or(""), row[1].value_or(""), row[2].value_or(""), row[3] == "1"});
  described.exists = !described.columns.empty();
  if (!described.exists) return described;

  auto unique = ask(sql, fmt::format(fmt::runtime(kUnique), s, t), deadline);
  if (!unique) return fail(std::move(unique.error()));
  auto references = ask(sql, fmt::format(fmt::runtime(kReferences), s, t), deadline);
  if (!references) return fail(std::move(references.error()));
  std::hash<std::string> hash;
  for (const auto& key : *unique) {
    KeyColumns made;
    std::string name = key[0].shared + '.';
    for (std::size_t i = 0; i < key.size(); ++i) {
      name += (i ? "," : "") + key[i].column;
      made.columns.push_back(ordinal(described, key[i].column));
    }
    made.seed = hash(name);
    if (key[0].key == "PRIMARY") described.primary_key = made.columns;
    described.keys.push_back(std::move(made));
  }
  for (const auto& key : *references) {
    KeyColumns made;
    made.reads = true;
    made.seed = hash(key[0].shared);
    for (const KeyRow& part : key) made.columns.push_back(ordinal(described, part.column));
    described.keys.push_back(std::move(made));
  }
  // Without a key of its own two equal rows cannot be told apart.
  if (unique->empty()) described.keys.clear();
  return described;
}

}  // namespace leeward::replication::internal

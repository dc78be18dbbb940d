// Which tables a task carries and what they are called and made of at the target. Plain data and
// pure functions: the task file (task.h) fills it, seed, verify and apply ask it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "mysql/binlog.h"

namespace leeward::replication {

// One comparison of a row filter. Numbers compare as numbers when both sides are, else the bytes
// of the texts compare. NULL fulfils kIsNull only.
enum class Comparison : std::uint8_t {
  kEqual,
  kNotEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kBetween,  // values[0] ≤ column ≤ values[1]
  kIsNull,
  kIsNotNull,
};

struct RowCondition {
  std::string column;
  std::vector<std::pair<Comparison, std::vector<std::string>>> any_of;  // or-ed
};

// What becomes of one table of the source.
struct TableRoute {
  std::string schema;  // at the target
  std::string table;
  std::map<std::string, std::string> renamed_columns;  // source → target
  std::set<std::string> dropped_columns;               // source
  std::vector<RowCondition> conditions;                // and-ed; empty: every row

  // Whether rows can be copied as they are: only the table's own name may differ.
  bool same_columns() const {
    return renamed_columns.empty() && dropped_columns.empty() && conditions.empty();
  }
};

// First match wins within a list; an exclusion beats every inclusion (as in AWS DMS). Patterns:
// `%` stands for any text, everything else for itself.
struct TableRule {
  std::string schema = "%";
  std::string table = "%";
};

struct RenameRule {
  TableRule match;
  std::string schema;  // new names; empty: unchanged
  std::string table;
};

struct ColumnRule {
  TableRule match;
  std::set<std::string> dropped;
  std::map<std::string, std::string> renamed;
};

struct FilterRule {
  TableRule match;
  std::vector<RowCondition> conditions;
};

struct Mapping {
  std::vector<TableRule> include;  // empty: everything but the server's own schemas
  std::vector<TableRule> exclude;
  std::vector<RenameRule> renames;
  std::vector<ColumnRule> columns;  // all that match are merged
  std::vector<FilterRule> filters;  // all that match are and-ed

  // Where a table of the source goes; nullopt: not carried. The schemas mysql, sys,
  // information_schema, performance_schema and leeward are never carried.
  std::optional<TableRoute> route(std::string_view schema, std::string_view table) const;
  // Whether any table of the schema can be carried, and its name at the target.
  std::optional<std::string> route_schema(std::string_view schema) const;
};

bool matches(std::string_view pattern, std::string_view text);
// Whether a row passes the conditions of its table's route.
bool passes(const std::vector<RowCondition>& conditions, const mysql::Table& table,
            const mysql::Row& row);

}  // namespace leeward::replication

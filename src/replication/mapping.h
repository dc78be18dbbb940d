// Which tables a task carries and what they are called and made of at the target. Plain data and
// pure functions: the task file (task.h) fills it, seed, verify and apply ask it.
//
// Names of schemas and tables are compared as they are; names of columns without regard to the case
// of ASCII letters, as MariaDB does.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "mysql/binlog.h"
#include "replication/row_filter.h"

namespace leeward::replication {

// What becomes of one table of the source.
struct TableRoute {
  std::string schema;  // at the target
  std::string table;
  std::map<std::string, std::string> renamed_columns;  // source → target
  std::set<std::string> dropped_columns;               // source
  std::vector<FilterPtr> filters;                      // and-ed; empty: every row

  // Whether rows can be copied as they are: only the table's own name may differ.
  bool same_columns() const {
    return renamed_columns.empty() && dropped_columns.empty() && filters.empty();
  }
  // Name at the target of a column of the source; nullopt: not carried.
  std::optional<std::string> column(const std::string& source) const;
};

// Patterns: `%` stands for any text, `?` for any one byte, `\` takes what follows for itself.
struct TableRule {
  std::string schema = "%";
  std::string table = "%";
};
bool matches(std::string_view pattern, std::string_view text);
std::string literal_pattern(std::string_view name);  // the pattern that matches only `name`

struct NameChange {
  enum class Action : std::uint8_t {
    kRename,     // to value
    kLowercase,  // ASCII letters
    kUppercase,
    kAddPrefix,      // value
    kRemovePrefix,   // value
    kReplacePrefix,  // old by value
    kAddSuffix,
    kRemoveSuffix,
    kReplaceSuffix,
  };
  Action action = Action::kRename;
  std::string value;
  std::string old;
};
std::string changed(const NameChange& change, std::string name);

enum class NameOf : std::uint8_t { kSchema, kTable, kColumn };

// Changes the name of a schema, of a table or of a column wherever the patterns match the names at
// the source. `match.table` counts for kTable and kColumn, `column` for kColumn. With kSchema and a
// `match.table` other than "%", only these tables move to the other schema.
struct RenameRule {
  NameOf of = NameOf::kTable;
  TableRule match;
  std::string column = "%";
  NameChange change;
};

struct ColumnRule {
  TableRule match;
  std::string column;  // pattern
  bool drop = true;    // false: of a table that such rules match, only these columns are kept
};

struct FilterRule {
  TableRule match;
  FilterPtr filter;
};

struct Mapping {
  std::vector<TableRule> include;   // empty: everything but the server's own schemas
  std::vector<TableRule> exclude;   // beats every inclusion (as in AWS DMS)
  std::vector<RenameRule> renames;  // all that match, one after the other
  std::vector<ColumnRule> columns;  // all that match
  std::vector<FilterRule> filters;  // all that match are and-ed

  // Where a table of the source with these columns goes; nullopt: not carried. The schemas mysql,
  // sys, information_schema, performance_schema and leeward are never carried.
  std::optional<TableRoute> route(std::string_view schema, std::string_view table,
                                  const std::vector<std::string>& source_columns) const;
  std::optional<TableRoute> route(const mysql::Table& table) const;

  bool carries(std::string_view schema, std::string_view table) const;
  // Whether any table of the schema can be carried, and its name at the target.
  std::optional<std::string> route_schema(std::string_view schema) const;
};

// The route's filters bound to the table's columns; nullopt when there are none. Errors as
// RowFilter::bind. Bind once a table, not once a row.
Result<std::optional<RowFilter>> bind_filters(const TableRoute& route,
                                              const std::vector<SourceColumn>& columns);
// The columns of a table as its table map in the binary log tells them.
std::vector<SourceColumn> source_columns(const mysql::Table& table);

// Whether a row of the table that `filter` was bound to takes part.
bool passes(const RowFilter& filter, const mysql::Row& row);

}  // namespace leeward::replication

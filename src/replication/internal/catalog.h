// The tables of a task as the source's information_schema tells them, with what the mapping makes
// of them; and how the value of each column is carried exactly from one server to another.
//
// Exactness. Both ends speak bytes (character_set_results = NULL at the source, CHARACTER SET
// binary at the target), so text is never converted. Where a type's text form would lose something
// the column is read and written in another form (read_expression, write_expression):
//   FLOAT        printed with six digits: read as DOUBLE, whose digits are exact
//   BIT          read and written as a number
//   ENUM, SET    as the number that is stored, which also knows the '' of an invalid value
//   UUID, INET   bytes would be taken for their binary form: the text is given its character set
// Sessions on both ends: prepare_reader, prepare_writer.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "mysql/sql.h"
#include "mysql/stream.h"
#include "replication/mapping.h"

namespace leeward::replication::internal {

struct TableColumn {
  std::string name;
  std::string target;     // its name there
  std::string data_type;  // as information_schema spells it: "varchar"
  std::string charset;    // empty: not text
  std::string collation;
  bool generated = false;  // computed by each server for itself
  bool carried = true;     // by the mapping; a generated one is not
};

struct CarriedTable {
  std::string schema, name;  // at the source
  TableRoute route;
  std::string engine;
  std::vector<TableColumn> columns;      // all, in their order, invisible ones included
  std::vector<std::size_t> primary_key;  // indices into columns, in key order
  bool unique_besides_primary = false;   // has another unique index
  bool target_unique = false;            // so has the table at the target while it is filled (seed)
  bool versioned = false;                // WITH SYSTEM VERSIONING
  std::optional<RowFilter> filter;
  std::uint64_t rows_estimate = 0;
  std::uint64_t bytes_estimate = 0;
  // Tables (schema, name) that foreign keys tie to this one, directly; only where a cascade is
  // among all that are tied together, because then all must be copied in one snapshot.
  std::vector<std::pair<std::string, std::string>> tied;

  std::string source_name() const;  // `schema`.`name`
  std::string target_name() const;
  std::string label() const { return schema + "." + name; }
  std::vector<std::size_t> carried() const;  // indices of the columns that are carried
  bool integer_key() const;
  // Whether ranges of the primary key can be written as literals that compare as the key is
  // ordered; not for FLOAT, DOUBLE and bytes of geometry.
  bool chunkable() const;
};

// Every base table that the mapping carries, by schema and name. kInvalid, all reasons at once,
// when the mapping does not fit: a filter on a column that is not there, two tables or columns with
// the same name at the target, a primary key that is not carried whole.
Result<std::vector<CarriedTable>> read_catalog(mysql::SqlConnection& source, const Mapping& mapping,
                                               BootTime deadline);

// Of a column, for the list of a SELECT at either end.
std::string read_expression(const TableColumn& column, const std::string& name);
// How a value that was read so is stored, where `value` is an SQL expression for its bytes;
// nullopt: as it is.
std::optional<std::string> write_expression(const TableColumn& column, const std::string& value);

// The value of a key column, read with read_expression, as a literal to compare the column with.
std::string key_literal(const TableColumn& column, const std::string& value);
// "`key` is greater than `values`" (or at most, with `at_most`), row by row, in SQL, with the
// columns named by `name`; REQUIRES: chunkable, one value a key column.
std::string key_condition(const CarriedTable& table, const std::vector<std::string>& values,
                          bool at_most, const std::function<std::string(const TableColumn&)>& name);

// Settings of a session that reads rows: no conversion of text, UTC, no quirks of sql_mode.
Status prepare_reader(mysql::SqlConnection& sql, BootTime deadline);
// Of one that writes them exactly as given. With `unlogged` also sql_log_bin=0 where the account
// may; returns whether that was possible.
Result<bool> prepare_writer(mysql::SqlConnection& sql, bool unlogged, BootTime deadline);

// A consistent snapshot and the exact position that it shows, in `gtids` and `log`. The transaction
// is open afterwards.
Result<mysql::StreamPosition> open_snapshot(mysql::SqlConnection& source, BootTime deadline);

}  // namespace leeward::replication::internal

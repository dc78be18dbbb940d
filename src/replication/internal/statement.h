// Statements of the stream: in which session they ran, what kind they are, and which objects they
// change. Pure.
//
// This is not a parser of SQL. It reads as far as it must to know the kind and the objects, and
// says so when it cannot: such a statement stops the stream instead of being guessed at.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "mysql/event.h"

namespace leeward::replication::internal {

// A statement and its session, as far as that matters to what it does (MariaDB: sql/log_event.h,
// status variables of Query_log_event).
struct LoggedQuery {
  std::string schema;  // default schema, may be empty
  std::string sql;
  std::uint32_t time = 0;
  std::uint16_t error = 0;  // that the statement ended with at the source; 0: none
  std::uint64_t sql_mode = 0;
  std::uint32_t option_bits = 0;
  std::uint16_t client_charset = 0;  // ids of collations; 0: not said
  std::uint16_t connection_collation = 0;
  std::uint16_t server_collation = 0;
  std::string time_zone;

  bool foreign_key_checks() const { return !(option_bits & (1u << 26)); }
  bool unique_checks() const { return !(option_bits & (1u << 27)); }
};
Result<LoggedQuery> read_query(const mysql::Event& event);

enum class StatementKind : std::uint8_t {
  kControl,    // BEGIN, COMMIT, SAVEPOINT: says nothing that the events do not
  kRollback,   // ROLLBACK inside a transaction that went on
  kTable,      // CREATE, ALTER, DROP, RENAME, TRUNCATE TABLE; CREATE, DROP INDEX; sequences
  kSchema,     // CREATE, ALTER, DROP DATABASE
  kProgram,    // views, triggers, procedures, functions, events, packages
  kUpkeep,     // ANALYZE, OPTIMIZE, REPAIR, FLUSH: changes no definition
  kTemporary,  // of temporary tables: nobody else sees them
  kAccount,    // users, roles, privileges, plugins: belong to a server, not to its data
  kRows,       // INSERT, UPDATE, DELETE, LOAD … as a statement: binlog_format was not ROW
  kUnknown,
};

struct ObjectName {
  std::string schema;  // never empty for tables when a default schema was known
  std::string name;    // empty: the schema itself
  bool operator==(const ObjectName&) const = default;
};

struct StatementInfo {
  StatementKind kind = StatementKind::kUnknown;
  std::vector<ObjectName> objects;  // that it creates, changes or drops
  std::vector<ObjectName> reads;    // other tables that it names: LIKE, REFERENCES
};
StatementInfo inspect(std::string_view sql, std::string_view default_schema);

}  // namespace leeward::replication::internal

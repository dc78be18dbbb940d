// Rows as SQL statements, for tables that cannot be replayed: chosen or renamed columns, chosen
// rows, a target whose table has another shape. Pure.
//
// Values keep their bytes: text is written as hexadecimal with the character set of the target's
// column, so no client character set, escape or sql_mode can change it. Rows are found by the
// target's primary key, or by all columns when it has none. Source and target are expected to use
// the same character set for a column; precheck says so when they do not.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "mysql/row_image.h"
#include "replication/internal/batch.h"
#include "replication/seed_state.h"

namespace leeward::replication::internal {

// What a seed's copy makes of a row image; null: no seed is being handed over.
using HandoverOf = std::function<Handover(const mysql::RowImage&)>;

// The statements that do at the target what a rows event did at the source, in its order;
// consecutive inserts are one statement up to `statement_bytes_max`. Rows that the table's filter
// does not pass are left out; one that an update moves in or out of it becomes an insert or delete.
// With `handover` each image counts for itself: what the copy holds is dropped, what it may hold is
// merged, and an update whose images differ in that becomes a delete and an insert. Foreign keys
// are then only checked for tables whose cascades must act (`cascades`): the copies of other tables
// are of different moments.
// kRefused: the source's images lack columns (binlog_row_image must be FULL).
// With `conflicts` each row is a statement of its own that compares it with its before-image.
struct RowSqlOptions {
  std::size_t statement_bytes_max = 1u << 20;
  const ConflictSettings* conflicts = nullptr;
  std::string gtid;  // of the transaction, for the log of conflicts
};
Status row_statements(const RoutedTable& table, const mysql::RowsEvent& event,
                      std::string_view rows, const RowSqlOptions& options,
                      const std::function<void(const mysql::RowImage&)>& see,
                      std::vector<Step>& steps, const HandoverOf& handover = {},
                      bool cascades = false);

}  // namespace leeward::replication::internal

// Changes of single rows that are compared with the target before they are made, and what is done
// when somebody else was there first (conflict.h has the policies).
//
// RowChange is built by the scheduler's thread and pure. ConflictResolver runs in the transaction
// of one applying session; its log and its decisions are committed with the data or not at all.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mysql/event.h"
#include "mysql/row_image.h"
#include "mysql/sql.h"
#include "replication/conflict.h"

namespace leeward::replication::internal {

// A value of a row, as literals of SQL.
struct ChangedColumn {
  std::string name;      // quoted
  std::string before;    // empty for an insert
  std::string after;     // empty for a delete
  std::string compare;   // expression over the column that `before` is compared with
  bool key = false;      // of the target's primary key
  bool delta = false;    // differences are added up
  bool decides = false;  // last_writer_column
};

struct RowChange {
  mysql::ChangeKind kind = mysql::ChangeKind::kInsert;
  std::string schema;  // at the target
  std::string table;
  std::string gtid;  // of the source's transaction
  std::vector<ChangedColumn> columns;

  std::string name() const;   // quoted
  std::string shown() const;  // "UPDATE of shop.orders"
};

// The statement that makes the change if the target has what the source had, and nothing else: it
// then changes (or matches) one row.
std::string guarded_statement(const RowChange& change);

// What came of a change that did not fit.
struct Resolution {
  enum class Kind : std::uint8_t {
    kFitted,   // it did fit, at the second look: the row had been locked by somebody
    kApplied,  // the source's row is there now
    kKept,     // the target's row stayed
    kSame,     // both had done the same
    kRefused,  // by the policy kStop, or because no policy can decide; `why`
    kFailed,   // the server refused a statement; see the connection's last error
  } kind = Kind::kFailed;
  std::string why;
};

// REQUIRES: the guarded statement matched no row or met a duplicate key, in the open transaction of
// `sql`. Locks the row, decides, changes it, and logs. A failure leaves the transaction to be
// rolled back. `error` holds the server's message after kFailed.
Resolution resolve(mysql::SqlConnection& sql, const std::string& task,
                   const ConflictSettings& settings, const RowChange& change, Error& error);

// "Rows matched: 1  Changed: 0  Warnings: 0" of the last UPDATE; an update that changes nothing has
// found its row. `affected` for any other statement.
std::uint64_t matched_rows(mysql::SqlConnection& sql, std::uint64_t affected);

// One row a conflict. Images are lists of column=literal, cut at 64 KiB. `kind` is insert_exists,
// update_differs, update_missing, delete_differs or delete_missing; `resolution` says whose row is
// there now: source, target, or same when both had done the same.
inline constexpr std::string_view kConflictsTable =
    "CREATE TABLE IF NOT EXISTS leeward.conflicts ("
    " id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,"
    " task VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,"
    " found_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),"
    " source_gtid VARCHAR(64) CHARACTER SET ascii NOT NULL,"
    " table_schema VARCHAR(64) CHARACTER SET utf8mb4 NOT NULL,"
    " table_name VARCHAR(64) CHARACTER SET utf8mb4 NOT NULL,"
    " kind VARCHAR(32) CHARACTER SET ascii NOT NULL,"
    " resolution VARCHAR(32) CHARACTER SET ascii NOT NULL,"
    " row_key TEXT CHARACTER SET utf8mb4 NOT NULL,"
    " source_before LONGTEXT CHARACTER SET utf8mb4,"
    " source_after LONGTEXT CHARACTER SET utf8mb4,"
    " target_before LONGTEXT CHARACTER SET utf8mb4,"
    " KEY (task, found_at)) ENGINE=InnoDB";

}  // namespace leeward::replication::internal

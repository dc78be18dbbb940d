// Many rows for one prepared statement in one request: MariaDB's bulk execution of
// COM_STMT_BULK_EXECUTE (https://mariadb.com/kb/en/com_stmt_bulk_execute/). Unlike LOAD DATA the
// server takes it for an insert whose number of rows is known, so InnoDB does not hold the table's
// AUTO-INC lock until the transaction ends, and several transactions fill one table at once.
//
// Not thread-safe. The connection must outlive it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "mysql/sql.h"

struct st_mysql_stmt;

namespace leeward::mysql {

class BulkStatement {
 public:
  // `statement` has `columns` parameters. kRefused: the server (MySQL) has no bulk execution.
  static Result<BulkStatement> prepare(SqlConnection& sql, std::string_view statement,
                                       std::size_t columns);

  // Copies the row's cells. Each goes as bytes without a character set, and into a text column as
  // it is.
  void add(const RowView& row);
  std::size_t rows() const { return rows_; }
  std::size_t bytes() const { return bytes_.size(); }

  // Sends the rows added and forgets them; the number that the server stored. Silence ends it, as
  // SqlTarget::stall_max says. REQUIRES: bytes() well below the server's max_allowed_packet.
  Result<std::uint64_t> execute();

 private:
  struct Close {
    void operator()(st_mysql_stmt* statement) const;
  };
  BulkStatement(SqlConnection& sql, std::unique_ptr<st_mysql_stmt, Close> statement,
                std::size_t columns)
      : sql_(&sql), statement_(std::move(statement)), columns_(columns) {}

  SqlConnection* sql_;
  std::unique_ptr<st_mysql_stmt, Close> statement_;
  std::size_t columns_;
  std::size_t rows_ = 0;
  std::string bytes_;
  // Row by row, with the greatest number for NULL.
  std::vector<unsigned long> lengths_;
  // Column by column, as libmariadb takes them.
  std::vector<char*> cells_;
  std::vector<unsigned long> cell_lengths_;
  std::vector<char> indicators_;
};

}  // namespace leeward::mysql

// One SQL connection to a MariaDB server, libmariadb hidden. Not thread-safe; closes itself.
//
// Every call carries a deadline and returns kTimeout when it passes: the request is sent, then the
// socket is polled, so that a stopped server costs the time left and no more. After a timeout or a
// lost connection the object is broken (usable() is false) and must be replaced: the outcome of the
// request is unknown, and it may still run when the server wakes up.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "model/platform.h"
#include "mysql/tls.h"

struct st_mysql;      // MYSQL of libmariadb
struct st_mysql_res;  // MYSQL_RES

namespace leeward::mysql {

using Cell = std::optional<std::string>;  // nullopt: SQL NULL

struct SqlRows {
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;
  std::uint64_t affected = 0;  // rows changed, for statements without a result

  // First cell of the first row; empty text when there is no row or it is NULL.
  std::string scalar() const;
  // Cell of row `row` in the column called `name` (as the server spells it); NULL when there is
  // none.
  Cell cell(std::size_t row, std::string_view name) const;
};

struct SqlTarget {
  Endpoint endpoint;
  std::string user;
  std::string password;
  TlsOptions tls{};  // kVerifyCa checks the name as well
  // Longest silence in the middle of an answer, or while the server takes what is sent.
  Duration stall_max = 30s;
};

// Of one row that is read as it arrives: `lengths[i]` bytes at `cells[i]`, null for SQL NULL. Lives
// until the next row is read.
struct RowView {
  std::span<const char* const> cells;
  const unsigned long* lengths = nullptr;
  std::string_view operator[](std::size_t i) const { return {cells[i], lengths[i]}; }
};

class RowStream;

class SqlConnection {
 public:
  // kUnavailable: nobody listens; kUnauthorized: the server refuses the account;
  // kRefused: TLS (certificate expired, wrong authority or name); kTimeout.
  static Result<SqlConnection> open(const SqlTarget& target, BootTime deadline);

  Result<SqlRows> query(std::string_view sql, BootTime deadline);
  Status execute(std::string_view sql, BootTime deadline);

  // Sends a query whose rows are read as they arrive, never holding more than one. `deadline` is
  // for the first; afterwards only silence ends it (SqlTarget::stall_max). The connection must
  // outlive the stream and cannot be used for anything else until then.
  Result<RowStream> stream(std::string_view sql, BootTime deadline);

  // The server's number of the last failure of query(), 0 after success (mysqld_error.h).
  unsigned last_error() const { return last_error_; }
  bool usable() const { return handle_ != nullptr; }
  std::uint64_t id() const;                        // CONNECTION_ID()
  std::string quote(std::string_view text) const;  // 'text', escaped for this connection
  st_mysql* native() { return handle_.get(); }
  const std::string& peer() const { return peer_; }

 private:
  friend class BulkStatement;
  friend class RowStream;
  struct Close {
    void operator()(st_mysql* handle) const;
  };
  SqlConnection(std::unique_ptr<st_mysql, Close> handle, std::string peer)
      : handle_(std::move(handle)), peer_(std::move(peer)) {}
  Error failure(BootTime deadline);

  std::unique_ptr<st_mysql, Close> handle_;
  std::string peer_;
  unsigned last_error_ = 0;
};

// The rows of one query, in order. Dropped before its end it breaks the connection, because what
// is left would have to be read first. Not thread-safe.
class RowStream {
 public:
  RowStream(RowStream&&) noexcept = default;
  RowStream& operator=(RowStream&&) noexcept = default;
  ~RowStream();

  // The next row, which lives until the next call; nullopt at the end.
  Result<std::optional<RowView>> next();

 private:
  friend class SqlConnection;
  struct Free {
    void operator()(st_mysql_res* result) const;
  };
  RowStream(SqlConnection& sql, st_mysql_res* result) : sql_(&sql), result_(result) {}

  SqlConnection* sql_;
  std::unique_ptr<st_mysql_res, Free> result_;
};

std::string quote_name(std::string_view name);  // `name`, for schemas, tables and columns

}  // namespace leeward::mysql

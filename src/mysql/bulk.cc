#include "mysql/bulk.h"

#include <mysql.h>

#include <limits>

#include "base/check.h"

namespace leeward::mysql {
namespace {

constexpr unsigned long kNull = std::numeric_limits<unsigned long>::max();

}  // namespace

void BulkStatement::Close::operator()(st_mysql_stmt* statement) const {
  mysql_stmt_close(statement);
}

Result<BulkStatement> BulkStatement::prepare(SqlConnection& sql, std::string_view text,
                                             std::size_t columns) {
  if (!sql.usable())
    return fail(Code::kUnavailable, "MariaDB at {}: the connection was lost", sql.peer());
  unsigned long extended = 0;
  mariadb_get_infov(sql.native(), MARIADB_CONNECTION_EXTENDED_SERVER_CAPABILITIES, &extended);
  if ((extended & (MARIADB_CLIENT_STMT_BULK_OPERATIONS >> 32)) == 0)
    return fail(Code::kRefused,
                "MariaDB at {}: the server has no bulk execution, which MariaDB has since 10.2.7",
                sql.peer());
  std::unique_ptr<st_mysql_stmt, Close> statement(mysql_stmt_init(sql.native()));
  if (!statement) return fail(Code::kInternal, "out of memory");
  if (mysql_stmt_prepare(statement.get(), text.data(), text.size()) != 0)
    return fail(sql.failure(BootClock::now()));
  LEEWARD_CHECK(mysql_stmt_param_count(statement.get()) == columns);
  return BulkStatement(sql, std::move(statement), columns);
}

void BulkStatement::add(const RowView& row) {
  for (std::size_t i = 0; i < columns_; ++i) {
    if (row.cells[i] == nullptr) {
      lengths_.push_back(kNull);
      continue;
    }
    bytes_.append(row[i]);
    lengths_.push_back(row.lengths[i]);
  }
  ++rows_;
}

Result<std::uint64_t> BulkStatement::execute() {
  if (rows_ == 0) return 0;
  std::size_t cells = rows_ * columns_;
  cells_.resize(cells);
  cell_lengths_.resize(cells);
  indicators_.resize(cells);
  char* at = bytes_.data();
  for (std::size_t row = 0; row < rows_; ++row)
    for (std::size_t column = 0; column < columns_; ++column) {
      std::size_t to = column * rows_ + row;
      unsigned long length = lengths_[row * columns_ + column];
      bool null = length == kNull;
      cells_[to] = at;
      cell_lengths_[to] = null ? 0 : length;
      indicators_[to] = null ? STMT_INDICATOR_NULL : STMT_INDICATOR_NONE;
      at += cell_lengths_[to];
    }
  std::vector<MYSQL_BIND> binds(columns_);
  for (std::size_t column = 0; column < columns_; ++column) {
    binds[column].buffer_type = MYSQL_TYPE_BLOB;
    binds[column].buffer = &cells_[column * rows_];
    binds[column].length = &cell_lengths_[column * rows_];
    binds[column].u.indicator = &indicators_[column * rows_];
  }
  auto size = static_cast<unsigned>(rows_);
  mysql_stmt_attr_set(statement_.get(), STMT_ATTR_ARRAY_SIZE, &size);
  bool failed = mysql_stmt_bind_param(statement_.get(), binds.data()) != 0 ||
                mysql_stmt_execute(statement_.get()) != 0;
  rows_ = 0;
  bytes_.clear();
  lengths_.clear();
  if (failed && mysql_errno(sql_->native()) == 0)
    return fail(Code::kInternal, "MariaDB at {}: {}", sql_->peer(),
                mysql_stmt_error(statement_.get()));
  if (failed) return fail(sql_->failure(BootClock::now()));
  return mysql_stmt_affected_rows(statement_.get());
}

}  // namespace leeward::mysql

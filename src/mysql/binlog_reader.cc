#include "mysql/binlog_reader.h"

#include <mariadb/mysql.h>
// The header below needs the one above.
#include <mariadb/mariadb_rpl.h>
#include <mariadb/mysqld_error.h>

#include <memory>

namespace leeward::mysql {
namespace {

// The server drops an older reader with the same id; real servers number themselves from 1.
constexpr unsigned kReaderServerId = 0xfffffff0;

struct CloseReader {
  void operator()(MARIADB_RPL* reader) const { mariadb_rpl_close(reader); }
};
struct FreeEvent {
  void operator()(MARIADB_RPL_EVENT* event) const { mariadb_free_rpl_event(event); }
};
using Reader = std::unique_ptr<MARIADB_RPL, CloseReader>;
using Event = std::unique_ptr<MARIADB_RPL_EVENT, FreeEvent>;

Status announce(SqlConnection& sql, const GtidPosition& from, BootTime deadline) {
  const std::string statements[] = {
      "SET @master_binlog_checksum = @@global.binlog_checksum",
      "SET @mariadb_slave_capability = 4",
      "SET @slave_connect_state = " + sql.quote(to_string(from)),
      "SET @slave_gtid_strict_mode = 1",
  };
  for (const std::string& statement : statements)
    if (auto done = sql.execute(statement, deadline); !done) return done;
  return {};
}

}  // namespace

Status read_binlog(const SqlTarget& target, const GtidPosition& from, Duration stall,
                   const std::function<Status(std::string_view event)>& take) {
  BootTime deadline = BootClock::now() + stall;
  auto sql = SqlConnection::open(target, deadline);
  if (!sql) return fail(std::move(sql.error()));
  if (auto announced = announce(*sql, from, deadline); !announced) return announced;

  Reader reader(mariadb_rpl_init(sql->native()));
  if (!reader) return fail(Code::kInternal, "binary log reader: out of memory");
  mariadb_rpl_optionsv(reader.get(), MARIADB_RPL_SERVER_ID, kReaderServerId);
  mariadb_rpl_optionsv(reader.get(), MARIADB_RPL_START, 4ul);
  unsigned flags = MARIADB_RPL_BINLOG_DUMP_NON_BLOCK;  // an end of file instead of waiting for more
  mariadb_rpl_optionsv(reader.get(), MARIADB_RPL_FLAGS, flags);
  if (mariadb_rpl_open(reader.get()) != 0)
    return fail(Code::kUnavailable, "binary log reader: {}", mariadb_rpl_error(reader.get()));

  // Each event is freed at once: one that is handed back to fetch keeps parts of its predecessor.
  while (Event event{mariadb_rpl_fetch(reader.get(), nullptr)}) {
    std::string_view bytes(reinterpret_cast<const char*>(event->raw_data), event->raw_data_size);
    if (event->raw_data_ofs > bytes.size())
      return fail(Code::kCorrupt, "binary log reader: short event");
    if (auto taken = take(bytes.substr(event->raw_data_ofs)); !taken) return taken;
  }
  unsigned number = mysql_errno(sql->native());
  std::string message = mysql_error(sql->native());
  if (number == 0 && mariadb_rpl_errno(reader.get()) != 0) {
    number = mariadb_rpl_errno(reader.get());
    message = mariadb_rpl_error(reader.get());
  }
  if (number == 0) return {};
  if (number == ER_MASTER_FATAL_ERROR_READING_BINLOG)
    return fail(Code::kNotFound, "binary log: {}", message);
  return fail(Code::kTimeout, "binary log reader: {} ({})", message, number);
}

}  // namespace leeward::mysql

#include "database/internal/node.h"

#include <mariadb/mysqld_error.h>

#include <charconv>

namespace leeward::database::internal {
namespace {

template <typename Number>
Number number_or_zero(const mysql::Cell& cell) {
  Number number{};
  if (cell) std::from_chars(cell->data(), cell->data() + cell->size(), number);
  return number;
}

// Ends client sessions: all but replication, the event scheduler, this connection and those that
// `spared` (a condition on information_schema.processlist) names.
Status end_sessions(mysql::SqlConnection& sql, const std::string& spared, BootTime deadline) {
  auto sessions = sql.query(
      "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user NOT IN "
      "('system user', 'event_scheduler') AND command NOT LIKE 'Binlog Dump%' AND NOT " +
          spared,
      deadline);
  if (!sessions) return fail(std::move(sessions.error()));
  for (const auto& row : sessions->rows) {
    auto killed = sql.execute("KILL HARD CONNECTION " + row[0].value_or("0"), deadline);
    if (!killed && sql.last_error() != ER_NO_SUCH_THREAD) return killed;
  }
  return {};
}

}  // namespace

Result<mysql::GtidPosition> read_position(mysql::SqlConnection& sql, BootTime deadline) {
  auto rows = sql.query("SELECT @@gtid_binlog_pos AS b, @@gtid_slave_pos AS s", deadline);
  if (!rows) return fail(std::move(rows.error()));
  auto logged = mysql::parse_gtid_position(rows->cell(0, "b").value_or(""));
  if (!logged) return fail(std::move(logged.error()));
  auto applied = mysql::parse_gtid_position(rows->cell(0, "s").value_or(""));
  if (!applied) return fail(std::move(applied.error()));
  return mysql::later(*logged, *applied);
}

Result<std::optional<std::vector<EpochRow>>> read_epochs(mysql::SqlConnection& sql,
                                                         BootTime deadline) {
  auto rows =
      sql.query("SELECT epoch, site, promoted_gtid, complete FROM leeward.epoch ORDER BY epoch", deadline);
  if (!rows) {
    if (sql.last_error() == ER_NO_SUCH_TABLE || sql.last_error() == ER_BAD_DB_ERROR)
      return std::nullopt;
    return fail(std::move(rows.error()));
  }
  std::vector<EpochRow> epochs;
  for (const auto& row : rows->rows) {
    auto promoted = mysql::parse_gtid_position(row[2].value_or(""));
    if (!promoted) return fail(std::move(promoted.error()));
    epochs.push_back(
        {Epoch{number_or_zero<std::uint64_t>(row[0])}, row[1].value_or(""), *promoted,
                      row[3] == "1"});
  }
  return epochs;
}

Result<History> read_history(mysql::SqlConnection& sql, BootTime deadline) {
  History history;
  auto epochs = read_epochs(sql, deadline);
  if (!epochs) return fail(std::move(epochs.error()));
  history.member = epochs->has_value();
  if (history.member) history.epochs = std::move(**epochs);
  auto position = read_position(sql, deadline);
  if (!position) return fail(std::move(position.error()));
  history.position = std::move(*position);
  auto rows = sql.query("SELECT @@server_id AS id, @@gtid_binlog_state AS state", deadline);
  if (!rows) return fail(std::move(rows.error()));
  history.server = number_or_zero<std::uint32_t>(rows->cell(0, "id"));
  auto state = mysql::parse_gtids(rows->cell(0, "state").value_or(""));
  if (!state) return fail(std::move(state.error()));
  history.state = std::move(*state);
  return history;
}

Status make_read_only(mysql::SqlConnection& sql, const std::string& admin_user, std::uint64_t keep,
                      BootTime deadline) {
  // SET GLOBAL read_only waits for running transactions, so end them first. A session that slips in
  // between, or an administrator with an open transaction, costs one more round of at most a
  // second.
  std::string spared = "user = " + sql.quote(admin_user);
  for (;; spared = fmt::format("id = {}", keep)) {
    if (auto ended = end_sessions(sql, spared, deadline); !ended) return ended;
    auto set =
        sql.execute("SET STATEMENT lock_wait_timeout=1 FOR SET GLOBAL read_only=1", deadline);
    if (set) return end_sessions(sql, spared, deadline);
    bool waited = sql.last_error() == ER_LOCK_WAIT_TIMEOUT;
    if (!waited || BootClock::now() >= deadline) return set;
  }
}

}  // namespace leeward::database::internal

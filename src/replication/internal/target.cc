#include "replication/internal/target.h"

#include <mariadb/errmsg.h>
#include <mariadb/mysql.h>
#include <mariadb/mysqld_error.h>

#include <charconv>

namespace leeward::replication::internal {
namespace {

// A statement may change very many rows of a table without a key. Whoever wants the session to end
// sooner ends it at the server (ApplyPool::stop).
constexpr Duration kStatementLimit = 24h;

// READ COMMITTED takes no gap locks, so that transactions with different rows do not meet. A short
// lock wait is how workers find out that they do.
constexpr std::string_view kSession =
    "SET SESSION tx_isolation = 'READ-COMMITTED', sql_mode = '', innodb_lock_wait_timeout = 1, "
    "lock_wait_timeout = 5, wait_timeout = 86400, net_read_timeout = 600, net_write_timeout = 600, "
    "character_set_client = utf8mb4, collation_connection = utf8mb4_general_ci, "
    "time_zone = '+00:00', timestamp = DEFAULT, foreign_key_checks = 1, unique_checks = 1";

constexpr std::string_view kTables[] = {
    "CREATE DATABASE IF NOT EXISTS leeward",
    "CREATE TABLE IF NOT EXISTS leeward.stream_checkpoint ("
    " task VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,"
    " gtid TEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL,"
    " relay_offset BIGINT UNSIGNED NOT NULL,"
    " applied_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"
    ") ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS leeward.stream_ddl ("
    " task VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,"
    " gtid TEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL,"
    " statement LONGTEXT CHARACTER SET utf8mb4 NOT NULL,"
    " definitions LONGTEXT CHARACTER SET utf8mb4 NOT NULL,"
    " begun_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)"
    ") ENGINE=InnoDB",
    kConflictsTable,
};

// Turns bytes into base64 for BINLOG, which is most of what the replicator itself computes.
void append_base64(std::string& text, std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::size_t at = text.size();
  text.resize(at + (bytes.size() + 2) / 3 * 4);
  char* out = text.data() + at;
  const auto* in = reinterpret_cast<const unsigned char*>(bytes.data());
  std::size_t left = bytes.size();
  for (; left >= 3; left -= 3, in += 3, out += 4) {
    std::uint32_t word = static_cast<std::uint32_t>(in[0] << 16 | in[1] << 8 | in[2]);
    out[0] = kDigits[word >> 18];
    out[1] = kDigits[word >> 12 & 63];
    out[2] = kDigits[word >> 6 & 63];
    out[3] = kDigits[word & 63];
  }
  if (left == 0) return;
  std::uint32_t word = static_cast<std::uint32_t>(in[0] << 16 | (left == 2 ? in[1] << 8 : 0));
  out[0] = kDigits[word >> 18];
  out[1] = kDigits[word >> 12 & 63];
  out[2] = left == 2 ? kDigits[word >> 6 & 63] : '=';
  out[3] = '=';
}

}  // namespace

Status create_stream_tables(mysql::SqlConnection& sql, BootTime deadline) {
  for (std::string_view statement : kTables)
    if (auto done = sql.execute(statement, deadline); !done) return done;
  return {};
}

Result<Checkpoint> read_checkpoint(mysql::SqlConnection& sql, const std::string& task,
                                   BootTime deadline) {
  auto rows = sql.query(
      "SELECT gtid, relay_offset FROM leeward.stream_checkpoint WHERE task = " + sql.quote(task),
      deadline);
  if (!rows) return fail(std::move(rows.error()));
  if (rows->rows.empty())
    return fail(Code::kNotFound, "target {} has no position of task '{}'; seed it first",
                sql.peer(), task);
  auto position = mysql::parse_gtid_position(rows->cell(0, "gtid").value_or(""));
  if (!position) return fail(std::move(position.error()).wrap("leeward.stream_checkpoint"));
  Checkpoint checkpoint{std::move(*position), 0};
  std::string offset = rows->cell(0, "relay_offset").value_or("0");
  std::from_chars(offset.data(), offset.data() + offset.size(), checkpoint.relay_offset);
  return checkpoint;
}

Status write_checkpoint(mysql::SqlConnection& sql, const std::string& task,
                        const Checkpoint& checkpoint, BootTime deadline) {
  return sql.execute(
      fmt::format("REPLACE INTO leeward.stream_checkpoint (task, gtid, relay_offset) "
                  "VALUES ({}, {}, {})",
                  sql.quote(task), sql.quote(to_string(checkpoint.position)),
                  checkpoint.relay_offset),
      deadline);
}

std::string move_checkpoint(const mysql::SqlConnection& sql, const std::string& task,
                            const mysql::GtidPosition& from, const Checkpoint& to) {
  return fmt::format(
      "UPDATE leeward.stream_checkpoint SET gtid = '{}', relay_offset = {} "
      "WHERE task = {} AND gtid = '{}'",
      to_string(to.position), to.relay_offset, sql.quote(task), to_string(from));
}

Trouble trouble_of(const mysql::SqlConnection& sql) {
  if (!sql.usable()) return Trouble::kLost;
  switch (sql.last_error()) {
    case 0:
      return Trouble::kNone;
    case ER_LOCK_WAIT_TIMEOUT:
    case ER_LOCK_DEADLOCK:
    case ER_CHECKREAD:
      return Trouble::kLocked;
    case ER_CONNECTION_KILLED:
    case ER_QUERY_INTERRUPTED:
    case ER_SERVER_SHUTDOWN:
      return Trouble::kLost;
    case ER_DISK_FULL:
    case ER_RECORD_FILE_FULL:
    case ER_OPTION_PREVENTS_STATEMENT:
    case ER_TOO_MANY_CONCURRENT_TRXS:
    case ER_OUT_OF_RESOURCES:
    case ER_ERROR_ON_WRITE:
    case ER_CANT_LOCK:
    case ER_LOCK_TABLE_FULL:
      return Trouble::kBusy;
    default:
      return Trouble::kRejected;
  }
}

Result<ApplySession> ApplySession::open(const mysql::SqlTarget& target, const std::string& task,
                                        const ConflictSettings& conflicts, BootTime deadline) {
  auto sql = mysql::SqlConnection::open(target, deadline);
  if (!sql) return fail(std::move(sql.error()));
  if (auto set = sql->execute(kSession, deadline); !set) return fail(std::move(set.error()));
  return ApplySession(std::move(*sql), task, conflicts);
}

Outcome ApplySession::run(std::string_view statement, std::uint64_t* affected) {
  auto rows = sql_.query(statement, BootClock::now() + kStatementLimit);
  if (!rows) {
    Trouble trouble = trouble_of(sql_);
    return {trouble == Trouble::kNone ? Trouble::kRejected : trouble, std::move(rows.error())};
  }
  if (affected) *affected = rows->affected;
  return {};
}

Outcome ApplySession::begin(std::uint32_t server,
                            const std::shared_ptr<const std::string>& format) {
  conflicts_ = 0;
  if (server != server_) {
    // The target's own log then says where the change was made, which is how a stream in the other
    // direction knows that it need not come back.
    if (Outcome set = run(fmt::format("SET SESSION server_id = {}", server)); !set.ok()) return set;
    server_ = server;
  }
  if (format != format_ && (!format_ || *format != *format_)) {
    statement_ = "BINLOG '";
    append_base64(statement_, *format);
    statement_ += '\'';
    if (Outcome set = run(statement_); !set.ok()) return set;
  }
  format_ = format;
  return run("BEGIN");
}

Outcome ApplySession::replay(std::string_view events) {
  statement_ = "BINLOG '";
  append_base64(statement_, events);
  statement_ += '\'';
  return run(statement_);
}

Outcome ApplySession::execute(const Batch& batch, bool resolve) {
  conflicts_ = 0;
  if (batch.rows == 0) {
    // Not in the target's own log: a stream in the other direction would answer it with the same.
    if (Outcome off = run("SET SESSION sql_log_bin = 0"); !off.ok()) return off;
    quiet_ = true;
    return run("BEGIN");
  }
  if (Outcome begun = begin(batch.server, batch.format); !begun.ok()) return begun;
  return steps(batch.steps, resolve);
}

Outcome ApplySession::steps(const std::vector<Step>& all, bool resolve) {
  for (const Step& step : all) {
    Outcome done;
    if (const auto* rows = std::get_if<ReplayStep>(&step))
      done = replay(rows->events);
    else
      done = run_sql(std::get<SqlStep>(step), resolve);
    if (!done.ok()) return done;
  }
  return {};
}

Outcome ApplySession::restore() {
  server_ = 0;
  return run(kSession);
}

Outcome ApplySession::run_sql(const SqlStep& step, bool resolve) {
  std::uint64_t affected = 0;
  Outcome done = run(step.statement, &affected);
  bool exists = !done.ok() && step.change && sql_.last_error() == ER_DUP_ENTRY;
  if (!done.ok() && !exists) return done;
  if (done.ok() && (step.rows == SqlStep::kAnyRows || matched_rows(sql_, affected) == step.rows))
    return {};
  if (step.change && resolve) return decide(*step.change);
  if (exists) return done;
  return {
      Trouble::kRejected,
      Error{Code::kConflict,
            fmt::format("target {}: {} found {} rows instead of {}: the target has been changed "
                        "by somebody else; compare it with `leeward replication verify`",
                        sql_.peer(), step.what, affected, step.rows)}};
}

Outcome ApplySession::decide(const RowChange& change) {
  Error error;
  Resolution resolution = resolve(sql_, task_, settings_, change, error);
  switch (resolution.kind) {
    case Resolution::Kind::kFailed: {
      Trouble trouble = trouble_of(sql_);
      return {trouble == Trouble::kNone ? Trouble::kRejected : trouble, std::move(error)};
    }
    case Resolution::Kind::kRefused:
      return {Trouble::kRejected, Error{Code::kConflict, fmt::format("target {}: conflict, {}",
                                                                     sql_.peer(), resolution.why)}};
    case Resolution::Kind::kFitted:
      return {};
    case Resolution::Kind::kApplied:
    case Resolution::Kind::kKept:
    case Resolution::Kind::kSame:
      ++conflicts_;
  }
  return {};
}

Outcome ApplySession::commit(const mysql::GtidPosition& from, const Checkpoint& to) {
  std::uint64_t moved = 0;
  if (Outcome done = run(move_checkpoint(sql_, task_, from, to), &moved); !done.ok()) return done;
  if (moved != 1)
    return {
        Trouble::kMoved,
        Error{Code::kConflict,
              fmt::format("target {}: task '{}' is no longer at {}; another process applies it, "
                          "stop one of them",
                          sql_.peer(), task_, to_string(from))}};
  if (Outcome done = run("COMMIT"); !done.ok()) return done;
  return loud();
}

void ApplySession::rollback() {
  if (sql_.usable()) run("ROLLBACK");
  if (sql_.usable()) loud();
}

Outcome ApplySession::loud() {
  if (!quiet_) return {};
  quiet_ = false;
  return run("SET SESSION sql_log_bin = 1");
}

}  // namespace leeward::replication::internal

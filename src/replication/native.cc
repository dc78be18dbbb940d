#include "replication/native.h"

#include <mariadb/mysqld_error.h>

#include <algorithm>
#include <charconv>
#include <thread>

namespace leeward::replication {
namespace {

// As long as the server can count, 584 million years.
constexpr const char* kForEver = "18446744073709551615";
constexpr unsigned kWorkersMin = 2;
constexpr unsigned kWorkersMax = 16;

template <typename Number>
Number number_or_zero(const mysql::Cell& cell) {
  Number number{};
  if (cell) std::from_chars(cell->data(), cell->data() + cell->size(), number);
  return number;
}

ReplicationState state_of(const std::string& io, bool applying, bool failed) {
  if (failed || !applying || io == "No") return ReplicationState::kBroken;
  return io == "Yes" ? ReplicationState::kStreaming : ReplicationState::kConnecting;
}

std::string tls_clauses(mysql::SqlConnection& sql, const TlsFiles& tls) {
  if (tls.ca.empty()) return {};
  std::string text = ", MASTER_SSL = 1, MASTER_SSL_CA = " + sql.quote(tls.ca);
  if (!tls.certificate.empty()) text += ", MASTER_SSL_CERT = " + sql.quote(tls.certificate);
  if (!tls.key.empty()) text += ", MASTER_SSL_KEY = " + sql.quote(tls.key);
  return text + fmt::format(", MASTER_SSL_VERIFY_SERVER_CERT = {}", tls.verify ? 1 : 0);
}

constexpr std::string_view kThreadsLock = "leeward.replication";
constexpr Duration kLockReleaseTimeout = 1s;
constexpr Duration kLockPoll = 5ms;

Status execute_all(mysql::SqlConnection& sql, const std::vector<std::string>& statements,
                   BootTime deadline) {
  for (const std::string& statement : statements)
    if (auto done = sql.execute(statement, deadline); !done) return done;
  return {};
}

std::string status_value(std::string_view name) {
  return fmt::format(
      "(SELECT variable_value FROM information_schema.global_status WHERE "
      "variable_name = 'RPL_SEMI_SYNC_MASTER_{}')",
      name);
}

Status stop_waiting(mysql::SqlConnection& sql, BootTime deadline) {
  auto micros =
      std::chrono::duration_cast<std::chrono::microseconds>(deadline - BootClock::now()).count();
  auto until = sql.query(fmt::format("SELECT UTC_TIMESTAMP(6) + INTERVAL {} MICROSECOND",
                                     std::max<std::int64_t>(micros, 0)),
                         deadline);
  if (!until) return fail(std::move(until.error()));
  auto set = sql.execute("BEGIN NOT ATOMIC IF UTC_TIMESTAMP(6) < " + sql.quote(until->scalar()) +
                             " THEN SET GLOBAL rpl_semi_sync_master_enabled = 0; END IF; END",
                         deadline);
  if (!set) return set;
  auto state = sql.query("SELECT @@global.rpl_semi_sync_master_enabled", deadline);
  if (!state) return fail(std::move(state.error()));
  if (state->scalar() != "0")
    return fail(Code::kTimeout, "to stop waiting for copies came too late");
  return {};
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

mysql::TlsOptions admin_tls(const ReplicationPolicy& policy) {
  mysql::TlsOptions tls;
  if (policy.tls.ca.empty()) return tls;
  tls.mode = policy.tls.verify ? mysql::TlsMode::kVerifyIdentity : mysql::TlsMode::kVerifyCa;
  tls.authority_file = policy.tls.ca;
  tls.certificate_file = policy.tls.certificate;
  tls.key_file = policy.tls.key;
  return tls;
}

unsigned native_workers(unsigned cores) { return std::clamp(cores, kWorkersMin, kWorkersMax); }

Result<ThreadsLock> ThreadsLock::wait(mysql::SqlConnection& sql, BootTime deadline) {
  double left = seconds(std::max<Duration>(deadline - BootClock::now(), 0ns));
  auto got = sql.query(fmt::format("SELECT GET_LOCK('{}', {:.3f})", kThreadsLock, left),
                       deadline + kLockReleaseTimeout);
  if (!got) return fail(std::move(got.error()));
  if (got->scalar() == "1") return ThreadsLock(sql);
  return fail(Code::kConflict,
              "MariaDB at {}: somebody else is working on its replication: another comparison, a "
              "promotion or a rejoin",
              sql.peer());
}

Result<ThreadsLock> ThreadsLock::seize(mysql::SqlConnection& sql, BootTime deadline) {
  for (;;) {
    auto owner = sql.query(fmt::format("SELECT IS_USED_LOCK('{}'), CONNECTION_ID()", kThreadsLock),
                           deadline);
    if (!owner) return fail(std::move(owner.error()));
    std::string id = owner->cell(0, owner->columns[0]).value_or("");
    if (id.empty() || id == owner->cell(0, owner->columns[1])) return wait(sql, deadline);
    auto killed = sql.execute("KILL HARD CONNECTION " + id, deadline);
    if (!killed && sql.last_error() != ER_NO_SUCH_THREAD) return fail(std::move(killed.error()));
    // What it had begun, such as to stop a thread, ends before its session does.
    if (BootClock::now() >= deadline)
      return fail(Code::kTimeout, "MariaDB at {}: session {} does not end", sql.peer(), id);
    std::this_thread::sleep_for(kLockPoll);
  }
}

ThreadsLock::~ThreadsLock() {
  if (sql_ != nullptr && sql_->usable())
    (void)sql_->query(fmt::format("SELECT RELEASE_LOCK('{}')", kThreadsLock),
                      BootClock::now() + kLockReleaseTimeout);
}

bool ThreadsLock::held() const {
  if (sql_ == nullptr || !sql_->usable()) return false;
  auto mine = sql_->query(fmt::format("SELECT IS_USED_LOCK('{}') = CONNECTION_ID()", kThreadsLock),
                          BootClock::now() + kLockReleaseTimeout);
  return mine && mine->scalar() == "1";
}

Result<NativeLink> read_native_link(mysql::SqlConnection& sql, BootTime deadline) {
  auto rows = sql.query("SHOW ALL SLAVES STATUS", deadline);
  if (!rows) return fail(std::move(rows.error()));
  NativeLink link;
  if (rows->rows.empty()) return link;
  auto text = [&](std::string_view column) { return rows->cell(0, column).value_or(""); };
  link.source = {text("Master_Host"), number_or_zero<std::uint16_t>(rows->cell(0, "Master_Port"))};
  if (link.source.host.empty()) return link;
  link.configured = true;
  link.apply_failed = number_or_zero<unsigned>(rows->cell(0, "Last_SQL_Errno")) != 0;
  // A refused connection is retried; what the source itself refuses stops the thread.
  link.denied = number_or_zero<unsigned>(rows->cell(0, "Last_IO_Errno")) == ER_ACCESS_DENIED_ERROR;
  link.applying = text("Slave_SQL_Running") == "Yes";
  bool stands_still = false;  // for a comparison, which lets it go on
  if (!link.applying && !link.apply_failed) {
    auto used = sql.query(fmt::format("SELECT IS_USED_LOCK('{}')", kThreadsLock), deadline);
    if (!used) return fail(std::move(used.error()));
    stands_still = !used->scalar().empty();
  }
  link.state = state_of(text("Slave_IO_Running"), link.applying || stands_still, link.apply_failed);
  link.receiving = text("Slave_IO_Running") != "No";
  link.error = link.apply_failed ? text("Last_SQL_Error") : text("Last_IO_Error");
  auto received = mysql::parse_gtid_position(text("Gtid_IO_Pos"));
  if (!received) return fail(std::move(received.error()));
  link.received = std::move(*received);
  auto acknowledging = sql.query(
      "SELECT variable_value = 'ON' AND @@global.sync_relay_log = 1 AS now, (SELECT COUNT(*) FROM "
      "information_schema.system_variables WHERE variable_name = 'RPL_SEMI_SYNC_SLAVE_ENABLED' AND "
      "global_value = 'ON' AND global_value_origin = 'SQL') AS kept FROM "
      "information_schema.global_status WHERE variable_name = 'RPL_SEMI_SYNC_SLAVE_STATUS'",
      deadline);
  if (!acknowledging) return fail(std::move(acknowledging.error()));
  link.acknowledges =
      acknowledging->cell(0, "now") == "1" && link.state == ReplicationState::kStreaming;
  link.kept = acknowledging->cell(0, "kept") == "1";
  return link;
}

Result<mysql::GtidPosition> read_own_position(mysql::SqlConnection& sql, BootTime deadline) {
  auto rows =
      sql.query("SELECT @@global.gtid_binlog_pos AS b, @@global.gtid_slave_pos AS s", deadline);
  if (!rows) return fail(std::move(rows.error()));
  auto logged = mysql::parse_gtid_position(rows->cell(0, "b").value_or(""));
  if (!logged) return fail(std::move(logged.error()));
  auto applied = mysql::parse_gtid_position(rows->cell(0, "s").value_or(""));
  if (!applied) return fail(std::move(applied.error()));
  return mysql::later(*logged, *applied);
}

Status forget_sources(mysql::SqlConnection& sql, BootTime deadline) {
  auto rows = sql.query("SHOW ALL SLAVES STATUS", deadline);
  if (!rows) return fail(std::move(rows.error()));
  for (std::size_t i = 0; i < rows->rows.size(); ++i) {
    std::string name = sql.quote(rows->cell(i, "Connection_name").value_or(""));
    if (auto stopped = sql.execute("STOP SLAVE " + name, deadline); !stopped) return stopped;
    if (auto reset = sql.execute("RESET SLAVE " + name + " ALL", deadline); !reset) return reset;
  }
  return {};
}

Status connect_native(mysql::SqlConnection& sql, const NativeSource& source,
                      const ReplicationPolicy& policy, const mysql::GtidPosition& position,
                      BootTime deadline) {
  if (auto forgot = forget_sources(sql, deadline); !forgot) return forgot;
  unsigned workers = policy.workers > 0 ? static_cast<unsigned>(policy.workers)
                                        : native_workers(std::thread::hardware_concurrency());
  bool acknowledge = policy.mode != ReplicationMode::kAsync;
  return execute_all(
      sql,
      {
          "SET GLOBAL slave_net_timeout = 2",
          fmt::format("SET GLOBAL slave_parallel_threads = {}", workers),
          "SET GLOBAL slave_parallel_mode = 'optimistic'",
          "SET GLOBAL rpl_semi_sync_master_enabled = 0",
          fmt::format("SET GLOBAL rpl_semi_sync_slave_enabled = {}", acknowledge ? 1 : 0),
          // To stop, an acknowledging thread first connects to its source to end its session there;
          // a source that hangs would cost a promotion 2 s more.
          "SET GLOBAL rpl_semi_sync_slave_kill_conn_timeout = 1",
          fmt::format("SET GLOBAL sync_relay_log = {}", acknowledge ? "1" : "DEFAULT"),
          "SET GLOBAL gtid_slave_pos = " + sql.quote(to_string(position)),
          fmt::format(
              "CHANGE MASTER TO MASTER_HOST = {}, MASTER_PORT = {}, MASTER_USER = {}, "
              "MASTER_PASSWORD = {}, MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, "
              "MASTER_HEARTBEAT_PERIOD = 0.5{}",
              sql.quote(source.endpoint.host), source.endpoint.port, sql.quote(source.user),
              sql.quote(source.password), tls_clauses(sql, policy.tls)),
          "START SLAVE",
      },
      deadline);
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

// The applying thread must be running before the receiving one stops: when it is started while
// neither runs, the server drops the relay log (GTID mode).
Status apply_received(mysql::SqlConnection& sql, BootTime deadline) {
  for (const char* statement : {"START SLAVE SQL_THREAD", "STOP SLAVE IO_THREAD"})
    if (auto done = sql.execute(statement, deadline); !done) return done;
  auto link = read_native_link(sql, deadline);
  if (!link) return fail(std::move(link.error()));
  if (link->apply_failed) return fail(Code::kUnhealthy, "replication is broken: {}", link->error);
  return wait_applied(sql, to_string(link->received), deadline);
}

Status wait_applied(mysql::SqlConnection& sql, const std::string& position, BootTime deadline) {
  double left = seconds(std::max<Duration>(deadline - BootClock::now(), 0ns));
  auto waited = sql.query(fmt::format("SELECT MASTER_GTID_WAIT('{}', {:.3f})", position, left),
                          deadline + 500ms);
  if (!waited) return fail(std::move(waited.error()));
  if (waited->scalar() == "0") return {};
  return fail(Code::kTimeout, "changes up to {} are not applied yet", position);
}

Result<CommitWait> read_commit_wait(mysql::SqlConnection& sql, BootTime deadline) {
  // No aggregate here: beside one MariaDB 10.11 reads system variables as 0.
  auto rows = sql.query(fmt::format("SELECT @@global.rpl_semi_sync_master_enabled AS enabled, "
                                    "@@global.rpl_semi_sync_master_wait_point = 'AFTER_SYNC' AND "
                                    "@@global.rpl_semi_sync_master_wait_no_slave = 1 AND "
                                    "@@global.rpl_semi_sync_master_timeout = {} AS for_ever, "
                                    "{} AS status, {} AS times, {} AS alone",
                                    kForEver, status_value("STATUS"), status_value("NO_TIMES"),
                                    status_value("NO_TX")),
                        deadline);
  if (!rows) return fail(std::move(rows.error()));
  CommitWait wait;
  bool on = rows->cell(0, "status") == "ON";
  if (rows->cell(0, "enabled") == "1") wait.state = on ? SemiSync::kOn : SemiSync::kFallen;
  wait.strict = on && rows->cell(0, "for_ever") == "1";
  wait.fallbacks = number_or_zero<std::uint64_t>(rows->cell(0, "times"));
  wait.alone = number_or_zero<std::uint64_t>(rows->cell(0, "alone"));
  return wait;
}

Status set_commit_wait(mysql::SqlConnection& sql, const ReplicationPolicy& policy, bool alone,
                       BootTime deadline) {
  bool lossless = policy.mode == ReplicationMode::kLossless;
  if (policy.mode == ReplicationMode::kAsync || (lossless && alone))
    return stop_waiting(sql, deadline);
  std::string timeout =
      lossless
          ? std::string(kForEver)
          : fmt::format(
                "{}",
                std::chrono::ceil<std::chrono::milliseconds>(policy.semi_sync_timeout).count());
  return execute_all(sql,
                     {"SET GLOBAL rpl_semi_sync_master_wait_point = 'AFTER_SYNC'",
                      "SET GLOBAL rpl_semi_sync_master_wait_no_slave = 1",
                      "SET GLOBAL rpl_semi_sync_master_timeout = " + timeout,
                      "SET GLOBAL rpl_semi_sync_master_enabled = 1"},
                     deadline);
}

}  // namespace leeward::replication

#include "replication/native_check.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace leeward::replication {
namespace {

constexpr unsigned kVersionMin = 100'500;
constexpr double kClockMax = 1;           // seconds; beyond it, lag in seconds means nothing
constexpr std::size_t kTablesNamed = 20;  // of one kind; the rest is counted

// One setting that native replication relies on.
struct Requirement {
  const char* variable;
  const char* wanted;
  const char* cure;
};
constexpr Requirement kRequirements[] = {
    {"log_bin", "1", "start the server with --log-bin"},
    {"log_slave_updates", "1", "start the server with --log-slave-updates=1"},
    {"binlog_format", "ROW", "SET GLOBAL binlog_format = 'ROW'"},
    {"binlog_row_image", "FULL", "SET GLOBAL binlog_row_image = 'FULL'"},
    {"binlog_row_metadata", "FULL", "SET GLOBAL binlog_row_metadata = 'FULL'"},
    {"gtid_strict_mode", "1", "SET GLOBAL gtid_strict_mode = 1"},
    {"gtid_domain_id", "0", "SET GLOBAL gtid_domain_id = 0"},
    {"sync_binlog", "1", "SET GLOBAL sync_binlog = 1"},
    {"innodb_flush_log_at_trx_commit", "1", "SET GLOBAL innodb_flush_log_at_trx_commit = 1"},
    {"mysql56_temporal_format", "1", "SET GLOBAL mysql56_temporal_format = 1"},
};

// Filters that would make a replica leave things out, unnoticed until a failover.
constexpr const char* kFilters[] = {"replicate_do_db",         "replicate_do_table",
                                    "replicate_wild_do_table", "replicate_ignore_db",
                                    "replicate_ignore_table",  "replicate_wild_ignore_table"};

constexpr const char* kPrivileges[] = {"SELECT",
                                       "INSERT",
                                       "UPDATE",
                                       "DELETE",
                                       "CREATE",
                                       "DROP",
                                       "RELOAD",
                                       "PROCESS",
                                       "CREATE USER",
                                       "SUPER",
                                       "BINLOG ADMIN",
                                       "BINLOG MONITOR",
                                       "BINLOG REPLAY",
                                       "CONNECTION ADMIN",
                                       "READ_ONLY ADMIN",
                                       "REPLICATION SLAVE",
                                       "REPLICATION SLAVE ADMIN",
                                       "REPLICATION MASTER ADMIN"};

unsigned version_of(std::string_view text) {
  unsigned parts[3] = {};
  const char* at = text.data();
  const char* end = at + text.size();
  for (unsigned& part : parts) {
    auto [next, error] = std::from_chars(at, end, part);
    if (error != std::errc{}) return 0;
    at = next < end ? next + 1 : next;
  }
  return parts[0] * 10'000 + parts[1] * 100 + parts[2];
}

class Check {
 public:
  Check(mysql::SqlConnection& sql, std::string where, BootTime deadline)
      : sql_(sql), where_(std::move(where)), deadline_(deadline) {}

  Result<std::vector<Finding>> run(const ReplicationPolicy& policy) {
    for (Status done : {settings(policy), semi_sync(policy), privileges(), tables()})
      if (!done) return fail(std::move(done.error()));
    return std::move(findings_);
  }

 private:
  void add(Severity severity, std::string code, std::string what, std::string cure) {
    findings_.push_back({severity, std::move(code), std::move(what), where_, std::move(cure)});
  }

  Status settings(const ReplicationPolicy& policy) {
    std::string text = "SELECT @@version AS version, @@have_ssl AS have_ssl";
    for (const Requirement& need : kRequirements)
      text += fmt::format(", @@global.{0} AS {0}", need.variable);
    for (const char* filter : kFilters) text += fmt::format(", @@global.{0} AS {0}", filter);
    auto rows = sql_.query(text, deadline_);
    if (!rows) return fail(std::move(rows.error()));
    auto value = [&](const char* name) { return rows->cell(0, name).value_or(""); };
    std::string version = value("version");
    bool mariadb = version.find("MariaDB") != std::string::npos;
    if (!mariadb || version_of(version) < kVersionMin)
      add(Severity::kError, "version",
          fmt::format("the server is {}, native replication needs MariaDB 10.5 or newer", version),
          "upgrade the server, or replicate with a task (docs/guide/replication.md)");
    for (const Requirement& need : kRequirements)
      if (value(need.variable) != need.wanted)
        add(Severity::kError, need.variable,
            fmt::format("{} is {}, must be {}", need.variable, value(need.variable), need.wanted),
            need.cure);
    for (const char* filter : kFilters)
      if (!value(filter).empty())
        add(Severity::kError, "replication_filter",
            fmt::format("{} is {}: a standby would lack what it leaves out", filter, value(filter)),
            fmt::format("SET GLOBAL {} = ''", filter));
    if (!policy.tls.ca.empty() && value("have_ssl") != "YES")
      add(Severity::kError, "tls",
          fmt::format("have_ssl is {}, but replication is to use TLS", value("have_ssl")),
          "start the server with --ssl-ca, --ssl-cert and --ssl-key");
    return read_only_at_start(policy);
  }

  // Where the value came from is known only until a statement sets it.
  Status read_only_at_start(const ReplicationPolicy& policy) {
    auto rows = sql_.query(
        "SELECT global_value_origin AS origin, global_value AS value FROM "
        "information_schema.system_variables WHERE variable_name = 'READ_ONLY'",
        deadline_);
    if (!rows) return fail(std::move(rows.error()));
    std::string origin = rows->cell(0, "origin").value_or("");
    bool configured =
        (origin == "CONFIG" || origin == "COMMAND-LINE") && rows->cell(0, "value") != "OFF";
    // In lossless mode it would acknowledge writes without a copy, because it starts with the
    // semi-sync settings of its configuration as well.
    if (!configured && origin != "SQL")
      add(policy.mode == ReplicationMode::kLossless ? Severity::kError : Severity::kWarning,
          "read_only_at_start",
          "the server accepts writes when it starts, before anyone has said that it may",
          "put read_only = 1 and skip-slave-start into its configuration");
    return {};
  }

  Status semi_sync(const ReplicationPolicy& policy) {
    if (policy.mode == ReplicationMode::kAsync) return {};
    // Built into the server since 10.3.
    auto rows =
        sql_.query("SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync_master_wait_no_slave'", deadline_);
    if (!rows) return fail(std::move(rows.error()));
    if (rows->rows.empty())
      add(Severity::kError, "semi_sync", "the server has no semi-synchronous replication",
          "use MariaDB 10.5 or newer, or replication.mode async");
    return {};
  }

  Status privileges() {
    auto rows = sql_.query(
        "SELECT privilege_type, CURRENT_USER() FROM information_schema.user_privileges WHERE "
        "grantee = "
        "CONCAT('''', SUBSTRING_INDEX(CURRENT_USER(), '@', 1), '''@''', "
        "SUBSTRING_INDEX(CURRENT_USER(), '@', -1), '''')",
        deadline_);
    if (!rows) return fail(std::move(rows.error()));
    auto account = sql_.query("SELECT CURRENT_USER()", deadline_);
    if (!account) return fail(std::move(account.error()));
    std::string missing;
    for (const char* privilege : kPrivileges) {
      bool has = std::any_of(rows->rows.begin(), rows->rows.end(),
                             [&](const auto& row) { return row[0] == privilege; });
      if (!has) missing += (missing.empty() ? "" : ", ") + std::string(privilege);
    }
    if (missing.empty()) return {};
    std::string name = account->scalar();
    std::size_t at = name.rfind('@');
    add(Severity::kError, "privileges", fmt::format("account {} lacks {}", name, missing),
        fmt::format("GRANT ALL PRIVILEGES ON *.* TO {}@{} WITH GRANT OPTION",
                    sql_.quote(name.substr(0, at)), sql_.quote(name.substr(at + 1))));
    return {};
  }

  // Both work: the first slowly when a standby applies, the second until it has to be undone.
  Status tables() {
    constexpr const char* kUser =
        "FROM information_schema.tables t WHERE t.table_type = 'BASE TABLE' AND t.table_schema NOT "
        "IN "
        "('mysql', 'information_schema', 'performance_schema', 'sys', 'leeward') AND ";
    if (auto done = list(
            "no_primary_key",
            std::string(kUser) +
                "NOT EXISTS (SELECT 1 FROM information_schema.table_constraints c WHERE "
                "c.table_schema = t.table_schema AND c.table_name = t.table_name AND "
                "c.constraint_type IN ('PRIMARY KEY', 'UNIQUE'))",
            "has no primary key: a standby searches the whole table for each changed row",
            "ALTER TABLE {} ADD COLUMN id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY INVISIBLE");
        !done)
      return done;
    return list("no_transactions", std::string(kUser) + "t.engine <> 'InnoDB'",
                "is not InnoDB: a lost write to it cannot be undone, so that its site is reseeded",
                "ALTER TABLE {} ENGINE = InnoDB");
  }

  Status list(const char* code, const std::string& from, const char* what, const char* cure) {
    auto rows =
        sql_.query(fmt::format("SELECT t.table_schema, t.table_name, COUNT(*) OVER () {} ORDER BY "
                               "1, 2 LIMIT {}",
                               from, kTablesNamed),
                   deadline_);
    if (!rows) return fail(std::move(rows.error()));
    for (const auto& row : rows->rows) {
      std::string table = mysql::quote_name(*row[0]) + "." + mysql::quote_name(*row[1]);
      add(Severity::kWarning, code, fmt::format("table {}.{} {}", *row[0], *row[1], what),
          fmt::format(fmt::runtime(cure), table));
    }
    std::uint64_t all =
        rows->rows.empty() ? 0 : std::strtoull(rows->rows[0][2].value_or("0").c_str(), nullptr, 10);
    if (all > rows->rows.size())
      add(Severity::kWarning, code, fmt::format("and {} tables more", all - rows->rows.size()), "");
    return {};
  }

  mysql::SqlConnection& sql_;
  const std::string where_;
  const BootTime deadline_;
  std::vector<Finding> findings_;
};

struct Facts {
  std::string server_id, version, table_names;
  std::uint64_t packet = 0;
  double clock = 0;  // its own, seconds since 1970, half a round trip back
};

Result<Facts> facts_of(mysql::SqlConnection& sql, BootTime deadline) {
  auto rows = sql.query(
      "SELECT @@server_id AS id, @@version AS version, @@lower_case_table_names AS names, "
      "@@global.max_allowed_packet AS packet, UNIX_TIMESTAMP(NOW(6)) AS clock",
      deadline);
  if (!rows) return fail(std::move(rows.error()));
  auto text = [&](const char* name) { return rows->cell(0, name).value_or(""); };
  return Facts{text("id"), text("version"), text("names"),
               std::strtoull(text("packet").c_str(), nullptr, 10),
               std::strtod(text("clock").c_str(), nullptr)};
}

}  // namespace

Result<std::vector<Finding>> check_native_server(mysql::SqlConnection& sql,
                                                 const std::string& where,
                                                 const ReplicationPolicy& policy,
                                                 BootTime deadline) {
  return Check(sql, where, deadline).run(policy);
}

Result<std::vector<Finding>> check_native_pair(mysql::SqlConnection& source,
                                               mysql::SqlConnection& target, BootTime deadline) {
  BootTime asked = BootClock::now();
  auto ours = facts_of(source, deadline);
  if (!ours) return fail(std::move(ours.error()));
  auto theirs = facts_of(target, deadline);
  if (!theirs) return fail(std::move(theirs.error()));
  double error = seconds(BootClock::now() - asked);  // the two clocks were not read at once
  std::vector<Finding> findings;
  auto add = [&](Severity severity, const char* code, std::string what, std::string cure) {
    findings.push_back({severity, code, std::move(what), "source and target", std::move(cure)});
  };
  if (ours->server_id == theirs->server_id)
    add(Severity::kError, "server_id", fmt::format("server_id is {} at both ends", ours->server_id),
        "SET GLOBAL server_id to different numbers");
  if (ours->table_names != theirs->table_names)
    add(Severity::kError, "lower_case_table_names",
        fmt::format("lower_case_table_names is {} at the source and {} at the target",
                    ours->table_names, theirs->table_names),
        "start both servers with the same value");
  if (theirs->packet < ours->packet)
    add(Severity::kError, "max_allowed_packet",
        fmt::format("the target takes rows of {} bytes, the source of {}", theirs->packet,
                    ours->packet),
        fmt::format("SET GLOBAL max_allowed_packet = {} at the target", ours->packet));
  if (version_of(theirs->version) / 100 < version_of(ours->version) / 100)
    add(Severity::kError, "version",
        fmt::format("the target is {}, older than the source, {}", theirs->version, ours->version),
        "upgrade the target first");
  double apart = std::fabs(theirs->clock - ours->clock);
  if (apart > kClockMax + error)
    add(Severity::kWarning, "clock",
        fmt::format(
            "the clocks of the two servers are {:.1f} s apart, so lag in seconds is off by that",
            apart),
        "set both by NTP");
  return findings;
}

}  // namespace leeward::replication

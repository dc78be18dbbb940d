// Copying the data afresh from the source: the last resort of a rejoin, and the first load of a
// standby.
#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "database/internal/pipeline.h"
#include "database/internal/rejoin.h"

namespace leeward::database::internal {
namespace {

constexpr Duration kCopyStall = 60s;
constexpr Duration kDropTimeout = 10min;
constexpr const char* kSystemSchemas =
    "('mysql', 'information_schema', 'performance_schema', 'sys')";

// Every account but those that belong to the server itself or to its administrator.
std::string account_query(mysql::SqlConnection& sql, const std::string& admin_user) {
  return "SELECT user, host, COALESCE(JSON_VALUE(priv, '$.is_role'), 'false') IN ('true', '1') AS "
         "role FROM "
         "mysql.global_priv WHERE user NOT IN ('root', 'mysql', 'mariadb.sys', 'PUBLIC', " +
         sql.quote(admin_user) + ") ORDER BY role DESC, user, host";
}

std::string account_name(mysql::SqlConnection& sql, const std::vector<mysql::Cell>& row) {
  bool role = row[2] == "1";
  return sql.quote(row[0].value_or("")) + (role ? "" : "@" + sql.quote(row[1].value_or("")));
}

std::vector<std::string> client_arguments(const char* program, const mysql::SqlTarget& target) {
  std::vector<std::string> arguments{program,
                                     "--no-defaults",
                                     "--host=" + target.endpoint.host,
                                     fmt::format("--port={}", target.endpoint.port),
                                     "--protocol=tcp",
                                     "--user=" + target.user,
                                     "--default-character-set=utf8mb4"};
  const mysql::TlsOptions& tls = target.tls;
  if (tls.mode == mysql::TlsMode::kOff) return arguments;
  arguments.insert(arguments.end(),
                   {"--ssl", "--ssl-ca=" + tls.authority_file, "--ssl-verify-server-cert"});
  if (!tls.certificate_file.empty()) arguments.push_back("--ssl-cert=" + tls.certificate_file);
  if (!tls.key_file.empty()) arguments.push_back("--ssl-key=" + tls.key_file);
  return arguments;
}

}  // namespace

Result<std::vector<std::string>> Rejoin::user_schemas(mysql::SqlConnection& sql) {
  auto rows =
      sql.query(std::string("SELECT schema_name FROM information_schema.schemata WHERE schema_name "
                            "NOT IN ") +
                    kSystemSchemas,
                soon());
  if (!rows) return fail(std::move(rows.error()));
  std::vector<std::string> names;
  for (const auto& row : rows->rows) names.push_back(row[0].value_or(""));
  return names;
}

// How many rows the tables hold, by InnoDB's estimate; 0 when it cannot be asked. For people only.
std::uint64_t Rejoin::rows_in(mysql::SqlConnection& sql, const std::vector<std::string>& schemas) {
  std::string list;
  for (const std::string& schema : schemas) list += (list.empty() ? "" : ", ") + sql.quote(schema);
  auto rows = sql.query(
      "SELECT COALESCE(SUM(table_rows), 0) FROM information_schema.tables WHERE "
      "table_schema IN (" +
          list + ")",
      soon());
  return rows ? std::strtoull(rows->scalar().c_str(), nullptr, 10) : 0;
}

// Rows that the local server has stored since it started; 0 when it cannot be asked. Nobody else
// writes here during a copy.
std::uint64_t Rejoin::rows_stored() {
  auto rows = sql_.query(
      "SELECT variable_value FROM information_schema.global_status WHERE variable_name = "
      "'HANDLER_WRITE'",
      soon());
  return rows ? std::strtoull(rows->scalar().c_str(), nullptr, 10) : 0;
}

Result<bool> Rejoin::holds_tables() {
  auto rows =
      sql_.query(std::string("SELECT 1 FROM information_schema.tables WHERE table_schema NOT IN ") +
                     kSystemSchemas + " LIMIT 1",
                 soon());
  if (!rows) return fail(std::move(rows.error()));
  return !rows->rows.empty();
}

Status Rejoin::reload(const std::string& why) {
  if (auto entered = enter(FollowPhase::kReseed); !entered) return entered;
  options_.logger.warn("copying all data from the source", {{"why", why}});
  outcome_.kind = FollowOutcome::Kind::kReseeded;
  outcome_.why_reseeded = why;
  auto source = mysql::SqlConnection::open(remote(), soon());
  if (!source) return fail(std::move(source.error()));
  if (auto made = make_directories(options_.state_dir); !made) return made;
  auto noted = write_file_durably(
      journal_path(), fmt::format("{{\"phase\":\"reload\",\"epoch\":{}}}\n", epoch_.value));
  if (!noted) return noted;
  if (auto forgot = replication::forget_sources(sql_, soon()); !forgot) return forgot;
  if (auto dropped = drop_schemas(); !dropped) return dropped;
  if (auto copied = copy_schemas(*source); !copied) return copied;
  if (auto copied = copy_accounts(*source); !copied) return copied;
  std::error_code error;
  std::filesystem::remove(journal_path(), error);
  if (error) return fail(Code::kIo, "remove {}: {}", journal_path(), error.message());
  return {};
}

Status Rejoin::drop_schemas() {
  auto schemas = user_schemas(sql_);
  if (!schemas) return fail(std::move(schemas.error()));
  BootTime deadline = BootClock::now() + kDropTimeout;
  if (auto off = sql_.execute("SET SESSION sql_log_bin = 0, foreign_key_checks = 0", deadline);
      !off)
    return off;
  for (const std::string& schema : *schemas)
    if (auto dropped = sql_.execute("DROP DATABASE " + mysql::quote_name(schema), deadline);
        !dropped)
      return dropped;
  if (auto on = sql_.execute("SET SESSION sql_log_bin = 1, foreign_key_checks = 1", deadline); !on)
    return on;
  // The own log tells of data that is gone, and strict mode would hold its ids against the
  // source's.
  return sql_.execute("RESET MASTER", deadline);
}

// One snapshot of everything, with its GTID position as the last statement; nothing of it is logged
// here.
Status Rejoin::copy_schemas(mysql::SqlConnection& source) {
  auto schemas = user_schemas(source);
  if (!schemas) return fail(std::move(schemas.error()));
  Program dump{client_arguments("mariadb-dump", remote()), {}};
  // No lock on the source: the position comes with the snapshot.
  for (const char* argument : {"--single-transaction", "--quick", "--gtid", "--master-data=1",
                               "--routines", "--triggers", "--events", "--hex-blob", "--databases"})
    dump.arguments.emplace_back(argument);
  for (const std::string& schema : *schemas) dump.arguments.push_back(schema);
  Program load{client_arguments("mariadb", local()), {}};
  load.arguments.emplace_back(
      "--init-command=SET SESSION sql_log_bin=0, unique_checks=0, foreign_key_checks=0");
  // The environment of a process is as private as its memory; its arguments are not.
  dump.environment["MYSQL_PWD"] = options_.admin_password;
  load.environment["MYSQL_PWD"] = options_.admin_password;
  at_.rows_total = rows_in(source, *schemas);
  std::uint64_t stored_before = rows_stored();
  auto tell = [&](std::uint64_t bytes) {
    at_.bytes = bytes;
    at_.rows = std::max(rows_stored(), stored_before) - stored_before;
    return !progress_ || progress_(at_);
  };
  if (auto copied = run_pipeline(dump, load, kCopyStall, tell); !copied) return copied;
  if (!tell(at_.bytes)) return fail(Code::kTimeout, "stopped");
  // The list is older than the snapshot: a schema made in between would be in its position, but not
  // in the copy. rejoin.json makes the next call copy again.
  auto still = user_schemas(source);
  if (!still) return fail(std::move(still.error()));
  if (*still != *schemas)
    return fail(Code::kConflict, "schemas were created or dropped at the source during the copy");
  return {};
}

// Accounts lie in the schema `mysql`, which is each server's own; so they are carried over by
// statement.
Status Rejoin::copy_accounts(mysql::SqlConnection& source) {
  auto theirs = source.query(account_query(source, options_.admin_user), soon());
  if (!theirs) return fail(std::move(theirs.error()));
  auto ours = sql_.query(account_query(sql_, options_.admin_user), soon());
  if (!ours) return fail(std::move(ours.error()));
  std::vector<std::string> statements{"SET SESSION sql_log_bin = 0"};
  for (const auto& row : ours->rows)
    statements.push_back((row[2] == "1" ? "DROP ROLE IF EXISTS " : "DROP USER IF EXISTS ") +
                         account_name(sql_, row));
  std::vector<std::string> grants;
  for (const auto& row : theirs->rows) {
    std::string account = account_name(source, row);
    if (row[2] == "1") {
      statements.push_back("CREATE ROLE " + account);
    } else {
      auto created = source.query("SHOW CREATE USER " + account, soon());
      if (!created) return fail(std::move(created.error()));
      statements.push_back(created->scalar());
    }
    auto granted = source.query("SHOW GRANTS FOR " + account, soon());
    if (!granted) return fail(std::move(granted.error()));
    for (const auto& grant : granted->rows) grants.push_back(grant[0].value_or(""));
  }
  statements.insert(statements.end(), grants.begin(), grants.end());
  statements.emplace_back("SET SESSION sql_log_bin = 1");
  for (const std::string& statement : statements)
    if (auto done = sql_.execute(statement, soon()); !done) return done;
  return {};
}

}  // namespace leeward::database::internal

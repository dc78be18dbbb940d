#include "replication/precheck.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "replication/internal/precheck_core.h"
#include "replication/internal/seed_journal.h"
#include "replication/internal/target.h"

namespace leeward::replication {
namespace {

using internal::PrecheckFacts;
using internal::ServerFacts;
using internal::TableFacts;
using internal::TargetFacts;

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

// 'user'@'host' of CURRENT_USER(), which prints user@host.
std::string quoted_account(const mysql::SqlConnection& sql, const std::string& account) {
  auto at = account.rfind('@');
  if (at == std::string::npos) return sql.quote(account);
  return sql.quote(account.substr(0, at)) + "@" + sql.quote(account.substr(at + 1));
}

Status read_clock(mysql::SqlConnection& sql, ServerFacts& facts, BootTime deadline) {
  WallTime before = SystemClock().now().wall;
  auto now = sql.query("SELECT CAST(UNIX_TIMESTAMP(NOW(6))*1000000 AS UNSIGNED)", deadline);
  WallTime after = SystemClock().now().wall;
  if (!now) return fail(std::move(now.error()));
  auto micros = std::strtoll(now->scalar().c_str(), nullptr, 10);
  WallTime theirs{std::chrono::microseconds(micros)};
  facts.clock_error = (after - before) / 2;
  facts.clock_ahead = theirs - (before + facts.clock_error);
  return {};
}

Result<ServerFacts> read_server(mysql::SqlConnection& sql, BootTime deadline) {
  ServerFacts facts;
  auto version = sql.query("SELECT @@version, CURRENT_USER()", deadline);
  if (!version) return fail(std::move(version.error()));
  facts.version = version->rows[0][0].value_or("");
  facts.account = quoted_account(sql, version->rows[0][1].value_or(""));
  auto variables = sql.query(
      "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin','binlog_format','binlog_row_image',"
      "'binlog_row_metadata','binlog_expire_logs_seconds','server_id','gtid_domain_id','read_only',"
      "'max_allowed_packet','lower_case_table_names')",
      deadline);
  if (!variables) return fail(std::move(variables.error()));
  for (const auto& row : variables->rows)
    facts.variables[lower(row[0].value_or(""))] = row[1].value_or("");
  auto grants = sql.query("SHOW GRANTS", deadline);
  if (!grants) return fail(std::move(grants.error()));
  for (const auto& row : grants->rows) facts.grants.push_back(row[0].value_or(""));
  // Without the privilege it is not told; the privilege is complained about anyway.
  if (auto log = sql.query("SHOW MASTER STATUS", deadline); log && !log->rows.empty())
    for (const char* column : {"Binlog_Do_DB", "Binlog_Ignore_DB"})
      if (auto filter = log->cell(0, column); filter && !filter->empty())
        facts.binlog_filter +=
            fmt::format("{}{}={}", facts.binlog_filter.empty() ? "" : ", ", lower(column), *filter);
  if (auto read = read_clock(sql, facts, deadline); !read) return fail(std::move(read.error()));
  return facts;
}

using Name = std::pair<std::string, std::string>;

Status read_source_tables(mysql::SqlConnection& source, const Task& task, PrecheckFacts& facts,
                          BootTime deadline) {
  auto catalog = internal::read_catalog(source, task.mapping, deadline);
  if (!catalog) {
    if (catalog.error().code != Code::kInvalid) return fail(std::move(catalog.error()));
    facts.misfit = catalog.error().message;
    return {};
  }
  if (catalog->empty()) facts.misfit = "the source has no table that the task carries";
  for (auto& table : *catalog) facts.tables.push_back({std::move(table), {}, {}});
  auto keys = source.query(
      "SELECT constraint_schema, table_name, unique_constraint_schema, referenced_table_name FROM "
      "information_schema.referential_constraints",
      deadline);
  if (!keys) return fail(std::move(keys.error()));
  for (const auto& row : keys->rows)
    for (TableFacts& each : facts.tables)
      if (each.table.schema == row[0] && each.table.name == row[1] &&
          !task.mapping.carries(row[2].value_or(""), row[3].value_or("")))
        each.outside.push_back(row[2].value_or("") + "." + row[3].value_or(""));
  auto sequences = source.query(
      "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type='SEQUENCE'",
      deadline);
  if (!sequences) return fail(std::move(sequences.error()));
  for (const auto& row : sequences->rows)
    if (task.mapping.carries(row[0].value_or(""), row[1].value_or("")))
      facts.sequences.push_back(row[0].value_or("") + "." + row[1].value_or(""));
  return {};
}

Status read_target_tables(mysql::SqlConnection& target, const Task& task, PrecheckFacts& facts,
                          BootTime deadline) {
  std::map<Name, TargetFacts> there;
  auto columns = target.query(
      "SELECT table_schema, table_name, column_name, data_type, COALESCE(character_set_name,'') "
      "FROM information_schema.columns WHERE table_schema NOT IN "
      "('mysql','sys','information_schema','performance_schema','leeward')",
      deadline);
  if (!columns) return fail(std::move(columns.error()));
  for (const auto& row : columns->rows) {
    internal::TableColumn column;
    column.name = row[2].value_or("");
    column.data_type = row[3].value_or("");
    column.charset = row[4].value_or("");
    there[{row[0].value_or(""), row[1].value_or("")}].columns[lower(column.name)] = column;
  }
  auto triggers = target.query(
      "SELECT event_object_schema, event_object_table, trigger_name FROM "
      "information_schema.triggers",
      deadline);
  if (!triggers) return fail(std::move(triggers.error()));
  for (const auto& row : triggers->rows)
    if (auto found = there.find({row[0].value_or(""), row[1].value_or("")}); found != there.end())
      found->second.triggers.push_back(row[2].value_or(""));
  auto journal = internal::SeedJournal(target, task.name).read(deadline);
  if (!journal) return fail(std::move(journal.error()));
  // Once it streams, tables also come with the stream. No position, or no table for one: not yet.
  bool streams = internal::read_checkpoint(target, task.name, deadline).has_value();
  for (TableFacts& each : facts.tables) {
    auto found = there.find({each.table.route.schema, each.table.route.table});
    if (found == there.end()) continue;
    each.target = std::move(found->second);
    if (streams || journal->contains({each.table.schema, each.table.name})) continue;
    auto row =
        target.query(fmt::format("SELECT 1 FROM {} LIMIT 1", each.table.target_name()), deadline);
    // An account that may not read it lacks a privilege, which is a finding of its own.
    each.target->taken = row && !row->rows.empty();
  }
  return {};
}

}  // namespace

Result<std::vector<Finding>> precheck(const Task& task, BootTime deadline) {
  PrecheckFacts facts;
  std::optional<mysql::SqlConnection> ends[2];
  for (int i = 0; i < 2; ++i) {
    const char* side = i == 0 ? "source" : "target";
    auto account = sql_target(task, i == 0 ? task.source : task.target);
    if (!account) return fail(std::move(account.error()).wrap(side));
    auto sql = mysql::SqlConnection::open(*account, deadline);
    if (!sql) return fail(std::move(sql.error()).wrap(side));
    auto server = read_server(*sql, deadline);
    if (!server) return fail(std::move(server.error()).wrap(side));
    (i == 0 ? facts.source : facts.target) = std::move(*server);
    ends[i].emplace(std::move(*sql));
  }
  if (auto read = read_source_tables(*ends[0], task, facts, deadline); !read)
    return fail(std::move(read.error()).wrap("source"));
  if (auto read = read_target_tables(*ends[1], task, facts, deadline); !read)
    return fail(std::move(read.error()).wrap("target"));
  return internal::judge(task, facts);
}

}  // namespace leeward::replication

#include "replication/internal/ddl.h"

#include <algorithm>

namespace leeward::replication::internal {
namespace {

// An ALTER of a large table copies it.
constexpr Duration kStatementLimit = 24h;
constexpr Duration kQuestionLimit = 60s;

std::string shown(std::string_view sql) {
  return sql.size() <= 200 ? std::string(sql) : std::string(sql.substr(0, 200)) + " …";
}

std::string called(const ObjectName& object) {
  return object.name.empty() ? object.schema : object.schema + "." + object.name;
}

// One line an object: its name and its definition's hash, "-" when there is none.
std::vector<std::string_view> lines(std::string_view text) {
  std::vector<std::string_view> all;
  while (!text.empty()) {
    std::size_t end = std::min(text.find('\n'), text.size());
    all.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return all;
}

// The counter moves with rows, not with the definition.
constexpr std::string_view kForgetCounter = " AUTO_INCREMENT=";

std::string without_counter(std::string text) {
  std::size_t at = text.find(kForgetCounter);
  if (at == std::string::npos) return text;
  std::size_t end = text.find_first_not_of("0123456789", at + kForgetCounter.size());
  return text.erase(at, std::min(end, text.size()) - at);
}

}  // namespace

Result<DdlAction> decide(const LoggedQuery& query, const StatementInfo& info,
                         const Mapping& mapping) {
  switch (info.kind) {
    case StatementKind::kControl:
    case StatementKind::kUpkeep:
    case StatementKind::kTemporary:
    case StatementKind::kAccount:
      return DdlAction::kSkip;
    case StatementKind::kRollback:
      return fail(Code::kRefused,
                  "a transaction rolled back to a savepoint after changing a table without "
                  "transactions; a stream cannot follow that: use transactional tables");
    case StatementKind::kRows:
      return fail(Code::kRefused,
                  "the source logged a change as a statement, not as rows; set binlog_format=ROW "
                  "for all its sessions and seed again: {}",
                  shown(query.sql));
    case StatementKind::kUnknown:
      return fail(Code::kRefused,
                  "a statement that a stream does not know: {}; exclude its schema, or run it "
                  "at the target by hand and move the task past it",
                  shown(query.sql));
    case StatementKind::kTable:
    case StatementKind::kSchema:
    case StatementKind::kProgram:
      break;
  }
  std::size_t carried = 0;
  std::string renamed;
  auto look = [&](const ObjectName& object, bool counts) {
    bool table = info.kind == StatementKind::kTable;
    if (table && !mapping.carries(object.schema, object.name)) return;
    auto schema = mapping.route_schema(object.schema);
    if (!table && !schema) return;
    carried += counts;
    bool same = schema == object.schema;
    if (table) {
      auto route = mapping.route(object.schema, object.name, {});
      same = route && route->schema == object.schema && route->table == object.name;
    }
    if (!same) renamed = called(object);
  };
  for (const ObjectName& object : info.objects) look(object, true);
  if (carried == 0) return DdlAction::kSkip;
  for (const ObjectName& object : info.reads) look(object, false);
  if (carried != info.objects.size())
    return fail(Code::kRefused,
                "a statement changes tables of the task and others at once: {}; run what concerns "
                "the task's tables at the target and move the task past it",
                shown(query.sql));
  if (!renamed.empty())
    return fail(Code::kRefused,
                "{} has another name at the target, and a statement is not rewritten: {}; run it "
                "there with the new names and move the task past it",
                renamed, shown(query.sql));
  return DdlAction::kRun;
}

Outcome DdlExecutor::failed(Error error) {
  Trouble trouble = trouble_of(session_.sql());
  return {trouble == Trouble::kNone ? Trouble::kRejected : trouble, std::move(error)};
}

Status DdlExecutor::recover(const mysql::GtidPosition& checkpoint, BootTime deadline) {
  auto rows =
      session_.sql().query("SELECT gtid, definitions FROM leeward.stream_ddl WHERE task = " +
                               session_.sql().quote(task_),
                           deadline);
  if (!rows) return fail(std::move(rows.error()));
  if (rows->rows.empty()) return {};
  Intent intent{rows->rows[0][0].value_or(""), rows->rows[0][1].value_or("")};
  auto gtid = mysql::parse_gtids(intent.gtid);
  if (!gtid || gtid->size() != 1) return fail(Code::kCorrupt, "leeward.stream_ddl: no GTID");
  auto seen = checkpoint.domains.find((*gtid)[0].domain);
  bool over = seen != checkpoint.domains.end() && seen->second.sequence >= (*gtid)[0].sequence;
  if (!over) left_ = std::move(intent);
  return {};
}

Result<std::string> DdlExecutor::definitions(const StatementInfo& info) {
  mysql::SqlConnection& sql = session_.sql();
  std::string text;
  for (const ObjectName& object : info.objects) {
    std::string name = mysql::quote_name(object.schema);
    if (!object.name.empty()) name += "." + mysql::quote_name(object.name);
    std::vector<std::string> questions{"SHOW CREATE TABLE " + name};
    if (info.kind == StatementKind::kSchema) questions = {"SHOW CREATE DATABASE " + name};
    if (info.kind == StatementKind::kProgram) {
      questions.clear();
      for (std::string_view type : {"VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT"})
        questions.push_back(fmt::format("SHOW CREATE {} {}", type, name));
    }
    std::string definition;
    for (const std::string& question : questions) {
      auto rows = sql.query(question, BootClock::now() + kQuestionLimit);
      if (!rows && trouble_of(sql) != Trouble::kRejected) return fail(std::move(rows.error()));
      if (!rows || rows->rows.empty()) continue;
      for (const auto& cell : rows->rows[0]) definition += cell.value_or("") + "\n";
    }
    definition = without_counter(std::move(definition));
    text += called(object) + "\t" +
            (definition.empty() ? "-" : std::to_string(std::hash<std::string>{}(definition))) +
            "\n";
  }
  return text;
}

Outcome DdlExecutor::run(const LoggedQuery& query, const StatementInfo& info,
                         const mysql::Gtid& gtid) {
  auto now = definitions(info);
  if (!now) return failed(std::move(now.error()));
  if (left_ && left_->gtid == to_string(gtid)) {
    auto before = lines(left_->definitions);
    auto after = lines(*now);
    std::size_t changed = 0, same = 0;
    for (std::size_t i = 0; i < before.size() && i < after.size(); ++i) {
      bool never_there = before[i] == after[i] && before[i].ends_with("\t-");
      if (!never_there) ++(before[i] == after[i] ? same : changed);
    }
    left_.reset();
    if (changed > 0 && same > 0)
      return {Trouble::kRejected,
              Error{Code::kConflict,
                    fmt::format("a crash interrupted a statement and only a part of it can be "
                                "seen: {} ({}). Bring the target to the state after it, then: "
                                "DELETE FROM leeward.stream_ddl WHERE task = '{}' and move its row "
                                "in leeward.stream_checkpoint past {}",
                                shown(query.sql), to_string(gtid), task_, to_string(gtid))}};
    if (changed > 0) return {};
  } else {
    mysql::SqlConnection& sql = session_.sql();
    auto noted = sql.execute(
        fmt::format("REPLACE INTO leeward.stream_ddl (task, gtid, statement, definitions) VALUES "
                    "({}, '{}', CONVERT({} USING utf8mb4), {})",
                    sql.quote(task_), to_string(gtid), sql.quote(query.sql), sql.quote(*now)),
        BootClock::now() + kQuestionLimit);
    if (!noted) return failed(std::move(noted.error()));
  }
  return execute(query, gtid);
}

Outcome DdlExecutor::execute(const LoggedQuery& query, const mysql::Gtid& gtid) {
  mysql::SqlConnection& sql = session_.sql();
  std::string session = fmt::format(
      "SET SESSION server_id = {}, sql_mode = {}, foreign_key_checks = {}, unique_checks = {}, "
      "timestamp = {}, lock_wait_timeout = 60",
      gtid.server, query.sql_mode, query.foreign_key_checks(), query.unique_checks(), query.time);
  if (query.client_charset != 0)
    session +=
        fmt::format(", character_set_client = {}, collation_connection = {}, collation_server = {}",
                    query.client_charset, query.connection_collation, query.server_collation);
  if (!query.time_zone.empty()) session += ", time_zone = " + sql.quote(query.time_zone);
  std::vector<std::string> statements{session};
  // A default schema that does not exist here matters only to names without one, which then fail.
  if (!query.schema.empty()) statements.push_back("USE " + mysql::quote_name(query.schema));
  statements.push_back(query.sql);
  Outcome outcome;
  for (const std::string& statement : statements) {
    auto done = sql.execute(statement, BootClock::now() + kStatementLimit);
    bool proper = &statement == &statements.back();
    bool schema_gone = !done && !proper && statement.starts_with("USE ") && sql.usable();
    // What failed half-way at the source (DROP TABLE of some that are there) fails here the same.
    bool fails_alike = !done && proper && query.error != 0 && sql.last_error() == query.error;
    if ((done && !(proper && query.error != 0)) || schema_gone || fails_alike) continue;
    outcome = done ? Outcome{Trouble::kRejected,
                             Error{Code::kConflict,
                                   fmt::format("a statement that failed at the source with error "
                                               "{} succeeded at the target",
                                               query.error)}}
                   : failed(std::move(done.error()));
    outcome.error.message +=
        fmt::format("; statement of {}: {}", to_string(gtid), shown(query.sql));
    break;
  }
  if (!sql.usable()) return outcome;
  Outcome restored = session_.restore();
  return outcome.ok() ? restored : outcome;
}

}  // namespace leeward::replication::internal

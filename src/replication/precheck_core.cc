#include "replication/internal/precheck_core.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace leeward::replication::internal {
namespace {

using Strings = std::vector<std::string>;

constexpr Duration kClockMax = 1s;             // beyond it, lag in seconds means nothing
constexpr std::uint64_t kLogKeptMin = 86'400;  // seconds
constexpr unsigned kVersionMin = 100'500;      // the first with BINLOG REPLAY and its like
constexpr unsigned kVersionTested = 101'100;

// Of information_schema.columns.data_type; every one is read from row events and from a SELECT.
const std::set<std::string, std::less<>> kTypes = {"tinyint",      "smallint",
                                                   "mediumint",    "int",
                                                   "bigint",       "decimal",
                                                   "float",        "double",
                                                   "bit",          "year",
                                                   "date",         "time",
                                                   "datetime",     "timestamp",
                                                   "char",         "varchar",
                                                   "binary",       "varbinary",
                                                   "tinyblob",     "blob",
                                                   "mediumblob",   "longblob",
                                                   "tinytext",     "text",
                                                   "mediumtext",   "longtext",
                                                   "enum",         "set",
                                                   "json",         "uuid",
                                                   "inet4",        "inet6",
                                                   "geometry",     "point",
                                                   "linestring",   "polygon",
                                                   "multipoint",   "multilinestring",
                                                   "multipolygon", "geometrycollection"};

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

std::string upper(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

std::string trimmed(std::string text) {
  auto first = text.find_first_not_of(' ');
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

// Names that older servers print for the same privilege.
std::string canonical(const std::string& privilege) {
  static const std::map<std::string, std::string> kNames = {
      {"REPLICATION REPLICA", "REPLICATION SLAVE"},
      {"REPLICATION CLIENT", "BINLOG MONITOR"},
      {"ALL", "ALL PRIVILEGES"},
  };
  auto found = kNames.find(privilege);
  return found == kNames.end() ? privilege : found->second;
}

// The privileges of one line of SHOW GRANTS, without column lists.
Strings privileges_of(std::string_view list) {
  Strings out(1);
  int depth = 0;
  for (char c : list) {
    if (c == '(') ++depth;
    if (depth == 0) {
      if (c == ',')
        out.emplace_back();
      else
        out.back() += c;
    }
    if (c == ')') --depth;
  }
  for (std::string& each : out) each = canonical(upper(trimmed(each)));
  return out;
}

// Everything granted on *.* and, by schema, on `schema`.*.
struct Granted {
  std::set<std::string> everywhere;
  std::map<std::string, std::set<std::string>> in_schema;

  bool has(const std::set<std::string>& where, const std::string& privilege) const {
    return where.contains(privilege) || where.contains("ALL PRIVILEGES");
  }
  bool global(const std::string& privilege) const { return has(everywhere, privilege); }
  bool in(const std::string& schema, const std::string& privilege) const {
    if (global(privilege)) return true;
    auto found = in_schema.find(schema);
    return found != in_schema.end() && has(found->second, privilege);
  }
};

Granted parse_grants(const Strings& lines) {
  Granted granted;
  for (const std::string& line : lines) {
    constexpr std::string_view kGrant = "GRANT ";
    auto on = line.find(" ON ");
    auto to = line.rfind(" TO ");
    if (!line.starts_with(kGrant) || on == std::string::npos || to == std::string::npos || to < on)
      continue;  // a role, or PROXY
    auto list = privileges_of(std::string_view(line).substr(kGrant.size(), on - kGrant.size()));
    std::string object = trimmed(line.substr(on + 4, to - on - 4));
    if (object == "*.*") {
      granted.everywhere.insert(list.begin(), list.end());
    } else if (object.starts_with('`') && object.ends_with("`.*")) {
      std::string schema = object.substr(1, object.size() - 4);
      std::string plain;  // in a GRANT `_` and `%` are patterns, `\_` is the character
      for (std::size_t i = 0; i < schema.size(); ++i)
        if (schema[i] != '\\') plain += schema[i];
      granted.in_schema[plain].insert(list.begin(), list.end());
    }
  }
  return granted;
}

class Judge {
 public:
  Judge(const Task& task, const PrecheckFacts& facts) : task_(task), facts_(facts) {}

  std::vector<Finding> all() {
    source();
    target();
    both();
    if (!facts_.misfit.empty()) error("mapping", facts_.misfit, "source", "correct the task file");
    for (const TableFacts& table : facts_.tables) judge_table(table);
    if (!facts_.sequences.empty())
      warn("sequence",
           fmt::format("sequences are not carried by the first copy: {}",
                       fmt::join(facts_.sequences, ", ")),
           "source", "create them at the target before you promote it");
    return std::move(findings_);
  }

 private:
  void add(Severity severity, std::string code, std::string what, std::string where,
           std::string cure) {
    findings_.push_back(
        {severity, std::move(code), std::move(what), std::move(where), std::move(cure)});
  }
  void error(std::string code, std::string what, std::string where, std::string cure) {
    add(Severity::kError, std::move(code), std::move(what), std::move(where), std::move(cure));
  }
  void warn(std::string code, std::string what, std::string where, std::string cure) {
    add(Severity::kWarning, std::move(code), std::move(what), std::move(where), std::move(cure));
  }

  static std::string variable(const ServerFacts& server, const std::string& name) {
    auto found = server.variables.find(name);
    return found == server.variables.end() ? "" : found->second;
  }
  static std::uint64_t number(const ServerFacts& server, const std::string& name) {
    std::string digits = variable(server, name);
    std::uint64_t value = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return value;
  }

  // Of a variable that must have one value.
  void must_be(const std::string& name, const std::string& wanted, const std::string& why) {
    std::string is = variable(facts_.source, name);
    if (lower(is) == lower(wanted)) return;
    error(name, fmt::format("{} is {}, {}", name, is.empty() ? "not there" : is, why), "source",
          fmt::format("SET GLOBAL {}={}; and {}={} in the server's file; sessions that are open "
                      "keep the old value until they reconnect",
                      name, wanted, name, wanted));
  }

  void version(const ServerFacts& server, const std::string& where) {
    unsigned number = mariadb_version(server.version);
    if (number == 0)
      error("version",
            fmt::format("{} is not MariaDB: its changes can be captured, but not applied or copied",
                        server.version),
            where, "");
    else if (number < kVersionMin)
      error("version", fmt::format("MariaDB {} is too old", server.version), where,
            "upgrade to 10.11 or later");
    else if (number < kVersionTested)
      warn("version", fmt::format("MariaDB {} is older than what is tested, 10.11", server.version),
           where, "");
  }

  void clock(const ServerFacts& server, const std::string& where) {
    Duration off = server.clock_ahead < 0s ? -server.clock_ahead : server.clock_ahead;
    if (off <= kClockMax + server.clock_error) return;
    warn("clock",
         fmt::format("its clock is {:.1f} s {} ours, so lag in seconds is off by as much",
                     seconds(off), server.clock_ahead < 0s ? "behind" : "ahead of"),
         where, "synchronise both with NTP");
  }

  void privileges(const ServerFacts& server, const std::string& where, TaskSide side) {
    std::set<std::string> schemas;
    for (const TableFacts& each : facts_.tables)
      schemas.insert(side == TaskSide::kSource ? each.table.schema : each.table.route.schema);
    Strings missing = missing_privileges(server.grants, side, schemas);
    if (missing.empty()) return;
    error("privileges", fmt::format("the account lacks {}", fmt::join(missing, ", ")), where,
          fmt::format("GRANT {} ON *.* TO {};", fmt::join(missing, ", "), server.account));
  }

  void source() {
    const ServerFacts& server = facts_.source;
    version(server, "source");
    clock(server, "source");
    if (variable(server, "log_bin") != "ON" && variable(server, "log_bin") != "1")
      error("log_bin", "log_bin is OFF, so there is no stream of changes", "source",
            "add log_bin to the server's file and restart it");
    must_be("binlog_format", "ROW",
            "so changes would be logged as statements, which are not "
            "carried");
    must_be("binlog_row_image", "FULL", "so rows would be logged without all their columns");
    must_be("binlog_row_metadata", "FULL",
            "so the log would not tell the names and keys of columns");
    if (!server.binlog_filter.empty())
      error("binlog_filter",
            fmt::format("its binary log is limited by {}, so changes are missing in it",
                        server.binlog_filter),
            "source", "remove binlog_do_db and binlog_ignore_db from the server's file");
    if (std::uint64_t kept = number(server, "binlog_expire_logs_seconds");
        kept > 0 && kept < kLogKeptMin)
      warn("binlog_expire",
           fmt::format("the binary log is kept for {} s: after a longer interruption the task must "
                       "be seeded again",
                       kept),
           "source", "SET GLOBAL binlog_expire_logs_seconds=604800;");
    privileges(server, "source", TaskSide::kSource);
  }

  void target() {
    const ServerFacts& server = facts_.target;
    version(server, "target");
    clock(server, "target");
    privileges(server, "target", TaskSide::kTarget);
    if (variable(server, "read_only") == "ON" &&
        !parse_grants(server.grants).global("READ_ONLY ADMIN"))
      error("read_only", "the target is read_only, and the account may not write then", "target",
            fmt::format("GRANT READ_ONLY ADMIN ON *.* TO {};", server.account));
    std::uint64_t ours = number(server, "max_allowed_packet");
    std::uint64_t theirs = number(facts_.source, "max_allowed_packet");
    if (ours < theirs)
      warn("max_allowed_packet",
           fmt::format("it takes statements up to {} bytes, the source makes rows up to {}", ours,
                       theirs),
           "target", fmt::format("SET GLOBAL max_allowed_packet={};", theirs));
  }

  void both() {
    const ServerFacts &source = facts_.source, &target = facts_.target;
    std::string a = variable(source, "server_id"), b = variable(target, "server_id");
    if (a == b)
      error("server_id",
            fmt::format("source and target both have server_id {}, by which changes that come from "
                        "the other side are known",
                        a),
            "target", "give the target a server_id of its own in its file and restart it");
    for (const auto& [server, where] : {std::pair(a, "source"), std::pair(b, "target")})
      if (server == std::to_string(task_.server_id))
        error("server_id",
              fmt::format("it has server_id {}, which the task wants for itself", server), where,
              "set server_id in the task file to a number that no server has");
    if (task_.conflicts.bidirectional &&
        variable(source, "gtid_domain_id") == variable(target, "gtid_domain_id"))
      warn("gtid_domain",
           fmt::format("both ends write in gtid_domain_id {}, so positions of the two are easily "
                       "mistaken for each other",
                       variable(source, "gtid_domain_id")),
           "target", "SET GLOBAL gtid_domain_id=<another number>; and in the server's file");
    if (mariadb_version(target.version) / 100 < mariadb_version(source.version) / 100)
      warn("version",
           fmt::format("the target ({}) is older than the source ({}); what only the newer one "
                       "knows stops the stream",
                       target.version, source.version),
           "target", "");
    if (variable(source, "lower_case_table_names") != variable(target, "lower_case_table_names"))
      warn("lower_case_table_names", "the two ends treat the case of table names differently",
           "target", "");
  }

  void judge_table(const TableFacts& facts) {
    const CarriedTable& table = facts.table;
    std::string where = "source " + table.label();
    std::string name = table.source_name();
    if (table.primary_key.empty())
      warn("no_primary_key",
           "it has no primary key: each changed row is searched for in the whole table, its first "
           "copy does not resume, and a comparison cannot name rows",
           where,
           fmt::format("ALTER TABLE {} ADD COLUMN leeward_id BIGINT UNSIGNED NOT NULL "
                       "AUTO_INCREMENT INVISIBLE PRIMARY KEY;",
                       name));
    if (table.engine != "InnoDB")
      error("engine",
            fmt::format("its engine is {}: there is no consistent snapshot of it, and no change of "
                        "it is undone",
                        table.engine.empty() ? "unknown" : table.engine),
            where, fmt::format("ALTER TABLE {} ENGINE=InnoDB;", name));
    if (table.versioned)
      warn("system_versioned", "only its present rows are copied, not their history", where, "");
    for (const TableColumn& column : table.columns)
      if (column.carried && !kTypes.contains(column.data_type))
        error("unsupported_type",
              fmt::format("column {} is of type {}, which is not carried", column.name,
                          column.data_type),
              where,
              fmt::format("exclude it: columns: {{exclude: [{}.{}]}}", table.label(), column.name));
    if (!facts.outside.empty())
      warn("foreign_key",
           fmt::format("its foreign keys point at tables that are not carried: {}",
                       fmt::join(facts.outside, ", ")),
           where, "include those tables");
    if (facts.target) judge_target(facts);
  }

  void judge_target(const TableFacts& facts) {
    const CarriedTable& table = facts.table;
    std::string where = fmt::format("target {}.{}", table.route.schema, table.route.table);
    if (facts.target->taken)
      error("target_not_empty", "it has rows that no seed of this task put there", where,
            fmt::format("DROP TABLE {}; or exclude {} from the task", table.target_name(),
                        table.label()));
    for (const std::string& trigger : facts.target->triggers)
      error("trigger",
            fmt::format("trigger {} would act once more on what the source's triggers did already",
                        trigger),
            where,
            fmt::format("DROP TRIGGER {}.{};", mysql::quote_name(table.route.schema),
                        mysql::quote_name(trigger)));
    for (std::size_t i : table.carried()) {
      const TableColumn& column = table.columns[i];
      auto found = facts.target->columns.find(lower(column.target));
      if (found == facts.target->columns.end()) {
        error("target_column", fmt::format("it has no column {}", column.target), where,
              fmt::format("ALTER TABLE {} ADD COLUMN {} …; or drop the table, and the seed makes "
                          "it",
                          table.target_name(), mysql::quote_name(column.target)));
        continue;
      }
      if (found->second.charset != column.charset)
        error("character_set",
              fmt::format("column {} has the character set {}, the source's {}", column.target,
                          found->second.charset.empty() ? "none" : found->second.charset,
                          column.charset.empty() ? "none" : column.charset),
              where, "drop the table, and the seed makes it");
    }
  }

  const Task& task_;
  const PrecheckFacts& facts_;
  std::vector<Finding> findings_;
};

}  // namespace

unsigned mariadb_version(std::string_view version) {
  if (version.find("MariaDB") == std::string_view::npos) return 0;
  unsigned parts[3] = {0, 0, 0};
  const char* at = version.data();
  const char* end = at + version.size();
  for (unsigned& part : parts) {
    auto [next, failed] = std::from_chars(at, end, part);
    if (failed != std::errc()) return 0;
    at = next;
    if (at != end && *at == '.') ++at;
  }
  return parts[0] * 10'000 + parts[1] * 100 + parts[2];
}

std::vector<std::string> missing_privileges(const std::vector<std::string>& grants, TaskSide side,
                                            const std::set<std::string>& schemas) {
  // Global by their nature; what they are for stands in docs/guide/replication.md.
  static const Strings kSourceGlobal = {"REPLICATION SLAVE", "BINLOG MONITOR"};
  static const Strings kTargetGlobal = {"BINLOG REPLAY", "BINLOG ADMIN"};
  static const Strings kSourceSchema = {"SELECT"};
  static const Strings kTargetSchema = {"SELECT", "INSERT", "UPDATE", "DELETE",    "CREATE",
                                        "DROP",   "ALTER",  "INDEX",  "REFERENCES"};
  static const Strings kOwn = {"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE"};
  Granted granted = parse_grants(grants);
  bool source = side == TaskSide::kSource;
  std::set<std::string> missing;
  for (const std::string& each : source ? kSourceGlobal : kTargetGlobal)
    if (!granted.global(each)) missing.insert(each);
  for (const std::string& schema : schemas)
    for (const std::string& each : source ? kSourceSchema : kTargetSchema)
      if (!granted.in(schema, each)) missing.insert(each);
  for (const std::string& each : kOwn)  // the heartbeat, and at the target positions and journals
    if (!granted.in("leeward", each)) missing.insert(each);
  return {missing.begin(), missing.end()};
}

std::vector<Finding> judge(const Task& task, const PrecheckFacts& facts) {
  return Judge(task, facts).all();
}

}  // namespace leeward::replication::internal

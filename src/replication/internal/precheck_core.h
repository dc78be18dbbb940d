// What a precheck makes of the facts. Pure.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "replication/driver.h"
#include "replication/internal/catalog.h"
#include "replication/task.h"

namespace leeward::replication::internal {

struct ServerFacts {
  std::string version;                           // @@version
  std::map<std::string, std::string> variables;  // global ones, by lower-case name
  std::string account;                           // 'user'@'host', as GRANT wants it
  std::vector<std::string> grants;               // lines of SHOW GRANTS
  Duration clock_ahead{};                        // of ours; its error is clock_error
  Duration clock_error{};
  std::string binlog_filter;  // databases that the log leaves out or is limited to; empty: none
};

// A table of the target that one of the task goes to.
struct TargetFacts {
  std::map<std::string, TableColumn> columns;  // by lower-case name
  std::vector<std::string> triggers;
  bool taken = false;  // has rows that no seed of this task put there
};

struct TableFacts {
  CarriedTable table;
  std::vector<std::string> outside;  // tables not carried that its foreign keys point at
  std::optional<TargetFacts> target;
};

struct PrecheckFacts {
  ServerFacts source, target;
  std::vector<TableFacts> tables;
  std::string misfit;                  // why the mapping does not fit; empty: it does
  std::vector<std::string> sequences;  // of the source, in schemas that are carried
};

// Privileges that the account lacks, of those that the task needs at that end.
enum class TaskSide : std::uint8_t { kSource, kTarget };
std::vector<std::string> missing_privileges(const std::vector<std::string>& grants, TaskSide side,
                                            const std::set<std::string>& schemas);

std::vector<Finding> judge(const Task& task, const PrecheckFacts& facts);

// 101106 of "10.11.6-MariaDB-…"; 0 when it is not MariaDB's.
unsigned mariadb_version(std::string_view version);

}  // namespace leeward::replication::internal

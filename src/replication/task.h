// A replication task: one file in YAML that says from where to where, which tables, how they are
// changed on the way, and how fast. Read as strictly as leeward.yaml: every mistake at once, with
// line and column and what was probably meant. docs/guide/replication.md explains the file; the
// reference there is written by task_reference().
//
// `table_mappings: FILE` takes a table mapping of AWS DMS as it is (JSON, selection and
// transformation rules) instead of the sections tables, rename, columns and rows. A rule that is
// not understood is a problem that names its rule-id, never silently ignored.
//
// All functions are thread-safe (no shared state) and never throw.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "config/config.h"
#include "model/platform.h"
#include "mysql/sql.h"
#include "replication/conflict.h"
#include "replication/mapping.h"

namespace leeward::replication {

// One server of the task, and the account that Leeward uses there (precheck.h lists what it needs).
struct TaskEnd {
  std::string host;
  std::uint16_t port = 3306;
  std::string user;
  SecretRef password;
  mysql::TlsOptions tls;  // of `tls`: off, required or verify (authority and name)
};

struct SeedSettings {
  int parallel = 2;  // tables, or chunks of one table, copied at once
  std::uint64_t chunk_rows = 100'000;
  bool objects = true;  // views, routines and (disabled) events too
};

struct ApplySettings {
  int workers = 4;
  int group = 50;  // transactions of the source in one of the target, at most
};

struct ThrottleSettings {  // 0: no limit
  int source_threads_running = 0;
  double megabytes_a_second = 0;
};

struct VerifySettings {
  double rows_a_second = 0;  // of the continuous comparison; 0: only on demand
  std::uint64_t chunk_rows = 10'000;
};

struct Task {
  std::string name;
  TaskEnd source;
  TaskEnd target;
  std::uint32_t server_id = 0;  // of our replication client at the source; unique there
  Mapping mapping;
  ApplySettings apply;
  SeedSettings seed;
  ThrottleSettings throttle;
  ConflictSettings conflicts;
  VerifySettings verify;
  std::string directory;           // of the file, absolute; relative names in it count from here
  std::string state_dir;           // absolute; relay log, control token, pause
  std::uint16_t control_port = 0;  // on 127.0.0.1; 0: any free one
  Duration heartbeat = 250ms;      // the row that lag is measured by; written at the source
};

struct LoadedTask {
  std::optional<Task> task;               // only when there is no problem
  std::vector<config::Problem> problems;  // in file order; those of the DMS file after
};

LoadedTask load_task(const std::string& path);
// For a text. `directory` is where relative names begin; table_mappings is read from there.
LoadedTask load_task_text(std::string_view text, const std::string& file_name,
                          const std::string& directory);

// A table mapping of AWS DMS as a Mapping. Problems name line and column, and the rule-id where the
// rule has one. At most kTextBytesMax bytes and kDmsRulesMax rules.
inline constexpr std::size_t kDmsRulesMax = 10'000;
struct LoadedMapping {
  Mapping mapping;
  std::vector<config::Problem> problems;
};
LoadedMapping load_dms_mapping(std::string_view json, const std::string& file_name);

// How to log in at one end; resolves the password. Errors of config::resolve_secret.
Result<mysql::SqlTarget> sql_target(const Task& task, const TaskEnd& end);

// The settings of a task file in Markdown, for docs/guide/replication.md.
std::string task_reference();

}  // namespace leeward::replication

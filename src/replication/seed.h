// The first copy of a task's tables, without a lock at the source, and resumable at the chunk.
//
// Each table is copied in chunks of its primary key, several at once. A chunk is read in a
// consistent snapshot of its own, whose exact GTID position is kept with it, and written in one
// transaction at the target together with a row in leeward.seed_chunks: after a crash a chunk is
// there with that row, or not at all. seed_state.h tells what the stream makes of the positions.
//
// Where chunks of different snapshots could contradict each other, all are read in one snapshot,
// and such a group begins anew when it was interrupted:
//   - a table with a unique index besides its primary key (a value may have moved between rows)
//   - tables tied by foreign keys of which one cascades (cascades are not in the binary log)
//   - a table without a primary key, or with one that has no order to write down (FLOAT)
//
// Tables are made from the source's definitions with the primary key only; other indexes and
// foreign keys come after the rows. A table that exists already is used as it is, and must be
// empty. With enough privileges the target logs nothing of it (sql_log_bin=0): its own replicas
// do not get the seed.
//
// Views, routines and events follow the rows (SeedSettings::objects); triggers are left out.
//
// Tables of the schema `leeward` at the target, by task: seed_tables (state, indexes still to be
// made), seed_chunks (bounds, position, rows, bytes).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "mysql/sql.h"
#include "replication/driver.h"
#include "replication/seed_state.h"
#include "replication/task.h"

namespace leeward::replication {

struct SeedOptions {
  std::string task;  // its name
  Mapping mapping;
  mysql::SqlTarget source;
  mysql::SqlTarget target;
  SeedSettings settings;
  ThrottleSettings throttle;
};

struct SeedReport {
  std::uint64_t tables = 0;
  std::uint64_t rows = 0;  // in all chunks, those of earlier calls included
  std::uint64_t bytes = 0;
  bool logged = false;             // the target wrote the rows to its binary log
  std::vector<std::string> notes;  // what was left out and why, for people
  SeedState state;
};

// Copies what is not there yet; returns at once when all is. Blocks; `progress` is called about
// five times a second, from one thread at a time; false ends the seed at the chunks being copied,
// which are rolled back (kConflict). A lost connection is opened again, kSeedTriesMax times for one
// chunk.
//   kRefused  a table of the task has rows that no seed of this task put there
//   kInvalid  the mapping does not fit the source, or carries nothing of it
// Memory: `parallel` times a megabyte and a row, and the list of chunks.
inline constexpr int kSeedTriesMax = 5;
Result<SeedReport> seed(const SeedOptions& options, const OnProgress& progress);

// Drops what the seeds of this task made at the target: its tables, its journal and its position,
// so that the next seed begins from nothing. Tables of the task that it did not make are left.
Status forget_seed(const mysql::SqlTarget& target, const std::string& task, const Mapping& mapping);

// What earlier calls have copied completely; nullopt when the seed of this task has not ended.
Result<std::optional<SeedState>> read_seed_state(mysql::SqlConnection& target,
                                                 const std::string& task, BootTime deadline);

}  // namespace leeward::replication

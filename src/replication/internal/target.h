// The target's side of a stream: sessions that apply, and the checkpoint that says how far.
//
// The checkpoint is one row a task in leeward.stream_checkpoint, changed in the same transaction as
// the data that it speaks for. Each change names the position that it expects to find, so that two
// appliers of one task cannot both succeed. What the table says is the truth; nothing else is
// needed to go on after any crash.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "mysql/gtid.h"
#include "mysql/sql.h"
#include "replication/internal/batch.h"

namespace leeward::replication::internal {

struct Checkpoint {
  mysql::GtidPosition position;
  std::uint64_t relay_offset = 0;  // where the relay log goes on; a hint, checked by position
};

// Creates schema leeward and its stream tables when they are missing.
Status create_stream_tables(mysql::SqlConnection& sql, BootTime deadline);

// kNotFound: the task never had one (it was not seeded).
Result<Checkpoint> read_checkpoint(mysql::SqlConnection& sql, const std::string& task,
                                   BootTime deadline);
// Sets it whatever it was, in a transaction of its own: the end of a seed.
Status write_checkpoint(mysql::SqlConnection& sql, const std::string& task,
                        const Checkpoint& checkpoint, BootTime deadline);
// The statement that moves it as part of the open transaction; it must change one row.
std::string move_checkpoint(const mysql::SqlConnection& sql, const std::string& task,
                            const mysql::GtidPosition& from, const Checkpoint& to);

// What went wrong in an applying session, as far as it decides what to do next.
enum class Trouble : std::uint8_t {
  kNone,
  kLost,      // connection: outcome unknown, start again from the checkpoint
  kLocked,    // lock wait or deadlock: somebody else has the row
  kMoved,     // the checkpoint is not where we left it: another applier
  kBusy,      // the target cannot now: disk full, read-only, too many connections
  kRejected,  // the target refuses the change: duplicate key, missing row, unknown column
};

struct Outcome {
  Trouble trouble = Trouble::kNone;
  Error error;
  bool ok() const { return trouble == Trouble::kNone; }
};

// One connection that applies batches. Not thread-safe, but id() may be read from anywhere.
class ApplySession {
 public:
  static Result<ApplySession> open(const mysql::SqlTarget& target, const std::string& task,
                                   const ConflictSettings& conflicts, BootTime deadline);

  // Opens a transaction and executes the batch in it, without committing. A row that somebody else
  // changed is decided about if `resolve`, else an error.
  Outcome execute(const Batch& batch, bool resolve);
  Outcome begin(std::uint32_t server, const std::shared_ptr<const std::string>& format);
  Outcome steps(const std::vector<Step>& all, bool resolve);
  // Moves the checkpoint and commits.
  Outcome commit(const mysql::GtidPosition& from, const Checkpoint& to);
  void rollback();
  // Sets the session up again after a statement ran in another one.
  Outcome restore();

  std::uint64_t conflicts() const { return conflicts_; }  // decided since begin()
  std::uint64_t id() const { return sql_.id(); }
  mysql::SqlConnection& sql() { return sql_; }

 private:
  Outcome replay(std::string_view events);
  ApplySession(mysql::SqlConnection sql, std::string task, const ConflictSettings& conflicts)
      : sql_(std::move(sql)), task_(std::move(task)), settings_(conflicts) {}
  Outcome run(std::string_view statement, std::uint64_t* affected = nullptr);
  Outcome run_sql(const SqlStep& step, bool resolve);
  Outcome decide(const RowChange& change);
  Outcome loud();

  mysql::SqlConnection sql_;
  std::string task_;
  ConflictSettings settings_;
  std::uint64_t conflicts_ = 0;
  std::uint32_t server_ = 0;
  bool quiet_ = false;  // sql_log_bin is off
  std::shared_ptr<const std::string> format_;
  std::string statement_;  // reused
};

// Classifies the last failure of a connection.
Trouble trouble_of(const mysql::SqlConnection& sql);

}  // namespace leeward::replication::internal

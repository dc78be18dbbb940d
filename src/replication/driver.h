// One replication task, whichever way its changes travel. A driver moves the data of a source
// server to a target server, says how far it is, and can turn round.
//
//   native  MariaDB's own GTID replication, configured and supervised (native.h)
//   stream  our change data capture: relay log, parallel apply, checkpoint in the target (stream.h)
//
// Life: precheck → seed → start … (stop, pause, resume) … drain → fence → promote → reverse, or
// after a crash rewind → start. verify may run at any time.
//
// Threading: status() may be called from any thread at any time and never blocks on a server.
// Every other call blocks, belongs on a worker thread, and is one at a time (the caller's duty). A
// call ends at its deadline with kTimeout, or with kConflict when its callback returned false; in
// both cases what is already durable stays, and the same call continues from there. A driver keeps
// nothing in memory that a new one, made for the same task after a crash, could not find again.
//
// Positions are positions in the *source's* history, also those that are read at the target.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "model/status.h"
#include "mysql/gtid.h"

namespace leeward::replication {

// --- what is wrong -------------------------------------------------------------------------------

enum class Severity : std::uint8_t {
  kInfo,     // worth knowing, nothing to do
  kWarning,  // works, with a limit that `what` names
  kError,    // start() would refuse, or data would be lost or wrong
};
std::string_view name(Severity severity);

struct Finding {
  Severity severity = Severity::kError;
  std::string code;   // stable, lower case: "binlog_format", "no_primary_key"
  std::string what;   // a sentence: what is wrong and what comes of it
  std::string where;  // "source", "target", or the thing there: "target shop.orders.note"
  std::string cure;   // the statement or the setting that mends it; empty when there is none
};
bool has_errors(const std::vector<Finding>& findings);

// --- how far it is -------------------------------------------------------------------------------

enum class LinkState : std::uint8_t {
  kStopped,     // not started, or stopped in order
  kConnecting,  // no connection to the source or the target; tries again by itself
  kSeeding,     // the first copy is being made
  kStreaming,   // follows the source
  kPaused,      // by pause(): receives into the relay log, applies nothing
  kBroken,      // an error that trying again does not mend; `error` says what does
};
std::string_view name(LinkState state);

// How far a position is behind the source.
struct LinkLag {
  Duration time = kNever;  // by heartbeat; kNever: unknown
  std::uint64_t transactions = 0;
};

struct LinkStatus {
  LinkState state = LinkState::kStopped;
  std::string error;             // the last one; empty while all is well. Never a secret
  WallTime error_at{};           // when it was first seen; 0: never
  mysql::GtidPosition source;    // the source's last transaction, as last asked for
  mysql::GtidPosition received;  // in this driver's or the target server's memory
  mysql::GtidPosition durable;   // on a disk away from the source
  mysql::GtidPosition applied;   // committed at the target
  std::uint64_t behind = 0;      // transactions between `source` and `applied`, over all domains
  Duration lag = kNever;  // by heartbeat: wall time now − time in the last heartbeat row applied
  LinkLag received_lag;   // of `received` and `durable`; by the time at which the source was there
  LinkLag durable_lag;
  LinkLag applied_lag() const { return {lag, behind}; }
  SemiSync semi_sync = SemiSync::kOff;
  std::uint64_t semi_sync_fallbacks = 0;  // times it went from kOn to kFallen: possible-loss events
  bool throttled = false;                 // applying is held back on purpose
  std::string throttle;                   // by what: "source has 64 running threads, limit 40"
  std::uint64_t transactions = 0;         // applied since this driver was made
  std::uint64_t rows = 0;
  std::uint64_t conflicts = 0;  // rows that two directions changed, see leeward.conflicts
  bool reversed = false;        // runs from the original target to the original source
};

// --- how far a long call is ----------------------------------------------------------------------

struct Progress {
  std::string phase;  // "copying shop.orders"; for people
  std::uint64_t rows = 0;
  std::uint64_t rows_total = 0;  // estimate; 0: unknown
  std::uint64_t bytes = 0;
  double rows_a_second = 0;
  Duration eta = kNever;  // kNever: unknown
};
using OnProgress = std::function<bool(const Progress&)>;  // false: stop at the next safe point

// --- differences ---------------------------------------------------------------------------------

enum class DifferenceKind : std::uint8_t { kMissing, kExtra, kChanged };  // seen from the target
std::string_view name(DifferenceKind kind);

struct RowDifference {
  std::string schema;  // names at the source
  std::string table;
  DifferenceKind kind = DifferenceKind::kChanged;
  std::string key;                   // the primary key as text: "id=42"
  std::vector<std::string> columns;  // that differ, for kChanged
};

struct VerifyOptions {
  std::vector<std::string> tables;  // "schema.table"; empty: every table of the task
  bool repair = false;              // write the source's rows to the target where they differ
  std::uint64_t chunk_rows = 10'000;
  double rows_a_second_max = 0;        // 0: no limit
  std::size_t differences_max = 1000;  // listed; the rest is only counted
};

struct VerifyReport {
  mysql::GtidPosition at;  // both ends were compared at this position
  std::uint64_t tables = 0;
  std::uint64_t rows = 0;
  std::uint64_t different = 0;  // rows
  std::uint64_t repaired = 0;
  std::vector<RowDifference> differences;
  bool equal() const { return different == 0; }
};

// What rewind() had to do to make a diverged server a target again.
enum class RewindMethod : std::uint8_t {
  kNothing,    // its history was a prefix of the other's
  kFlashback,  // row changes undone, newest first, after they were listed
  kTruncated,  // the unacknowledged end of its log was cut off at start (lossless mode)
  kReseed,     // cannot be undone; must be copied anew with seed()
};
std::string_view name(RewindMethod method);

struct RewindReport {
  RewindMethod method = RewindMethod::kNothing;
  std::uint64_t transactions = 0;  // that were ahead, written to the ledger before anything else
  mysql::GtidPosition parted_at;
};

class Driver {
 public:
  virtual ~Driver() = default;  // stops; what is durable stays

  // Everything that is wrong, at once. An error only when an end cannot be asked.
  virtual Result<std::vector<Finding>> precheck(BootTime deadline) = 0;

  // Copies the data once and leaves the target at an exact position from which start() goes on.
  // Resumes where an earlier call ended. kRefused: a table of the task already has rows that no
  // earlier seed of this task put there.
  virtual Status seed(const OnProgress& progress) = 0;

  // Begins to follow, and returns once that is set up; from then on a lost connection is mended by
  // the driver itself. kRefused when nothing was seeded or precheck has errors.
  virtual Status start(BootTime deadline) = 0;
  // Ends following at a transaction boundary. Idempotent.
  virtual Status stop(BootTime deadline) = 0;
  // Stops applying, goes on receiving (so that the copy stays durable).
  virtual Status pause(BootTime deadline) = 0;
  virtual Status resume(BootTime deadline) = 0;

  virtual LinkStatus status() const = 0;

  // Waits until the target has applied `until` (of the source; empty: all that the source had when
  // the call began). The caller has stopped writes when it means to switch over.
  virtual Status drain(const mysql::GtidPosition& until, BootTime deadline) = 0;

  // Makes the source refuse writes: read_only and its sessions ended. Idempotent. Returns the last
  // transaction of the source. kUnavailable: not reachable, so it may still be writing; whether
  // that matters is for the lease to say, not for the driver.
  virtual Result<mysql::GtidPosition> fence(BootTime deadline) = 0;

  // Applies everything that was received, forgets the source, and opens the target for writes.
  virtual Status promote(BootTime deadline) = 0;

  // After a crash of the source: makes it fit to be the target. What it has beyond the common
  // history is written to the ledger before anything is undone.
  virtual Result<RewindReport> rewind(const OnProgress& progress) = 0;

  // Swaps the ends: changes flow from the promoted target back to the old source. REQUIRES:
  // stopped or promoted; the two are equal (after drain and fence, or rewind). start() begins it.
  virtual Status reverse(BootTime deadline) = 0;

  // Compares both ends at one position; see VerifyOptions.
  virtual Result<VerifyReport> verify(const VerifyOptions& options, const OnProgress& progress) = 0;
};

}  // namespace leeward::replication

// Compares the two ends of a replication at one position, row by row where they differ, and writes
// the source's rows to the target if asked.
//
// How one position is had while both ends go on: the target is held, the source opens a consistent
// snapshot whose exact GTID position P is known, the target goes on to exactly P and opens a
// snapshot of its own, and is let go. It stands still for a moment only (Standstill says how);
// everything else is read from the two snapshots. They are kept kWindow at most, so that neither
// server has to keep old row versions for long; the next chunk gets a new pair.
//
// In a pair of snapshots, tables are compared in chunks of the primary key by COUNT and BIT_XOR of
// CRC32C over all carried columns (NULL, '' and the border between columns count). Only of a chunk
// that differs are the rows fetched. A table without a primary key is one chunk (with SUM as well),
// and its rows cannot be told.
//
// A repair holds the target at a new position, reads the rows in question again at both ends, and
// writes what the source has, kRepairRows at a time, in one transaction; logged, it carries the
// source's server id, so that a stream in the other direction does not take it back.
//
// Thread-safe (no shared state). Blocks. Memory: the keys and checksums of one chunk, twice.
#pragma once

#include <memory>

#include "mysql/sql.h"
#include "mysql/stream.h"
#include "replication/driver.h"
#include "replication/mapping.h"

namespace leeward::replication {

// Brings the target to an exact position and keeps it there for a moment.
class Standstill {
 public:
  virtual ~Standstill() = default;
  // From now on nothing new is applied. Idempotent.
  virtual Status hold(BootTime deadline) = 0;
  // Goes on to exactly `at` and stands there. kConflict: it was past that already; try again with a
  // newer one. kTimeout: did not get there.
  virtual Status advance(const mysql::StreamPosition& at, BootTime deadline) = 0;
  // Goes on as before. Idempotent.
  virtual void release() = 0;
  // Whether a repair belongs in the target's binary log: not where the target replicates natively,
  // because there it would be a transaction that the source never had.
  virtual bool logs_repairs() const { return true; }
  // The position that the transaction open on `target` shows.
  virtual Result<mysql::GtidPosition> shown(mysql::SqlConnection& target, BootTime deadline) = 0;
};

// A replica under MariaDB's own replication: STOP SLAVE SQL_THREAD, START SLAVE SQL_THREAD UNTIL
// the source's log position, and the table behind gtid_slave_pos, which a snapshot shows as of its
// own moment. Receiving and acknowledging go on. (UNTIL a GTID is only taken with both threads
// stopped, and starting both drops what was received.) The account needs REPLICATION SLAVE ADMIN
// there. The destructor lets it go on.
std::unique_ptr<Standstill> replica_standstill(mysql::SqlTarget replica);

struct VerifyEnds {
  mysql::SqlTarget source;
  mysql::SqlTarget target;
  Mapping mapping;
  Standstill* standstill = nullptr;  // outlives the call
};

inline constexpr Duration kVerifyWindow = 5s;
inline constexpr Duration kStandstillMax = 10s;  // in which the target must get to the position
inline constexpr int kStandstillTriesMax = 5;
inline constexpr std::size_t kRepairRows = 200;

// `progress` is called after each chunk; false ends the call with kConflict, and what was repaired
// stays. kInvalid: a table of `options` is not carried.
Result<VerifyReport> verify(const VerifyEnds& ends, const VerifyOptions& options,
                            const OnProgress& progress);

}  // namespace leeward::replication

// MariaDB's own GTID replication, as Leeward sets it up and watches it: the one place that knows
// CHANGE MASTER and semi-synchronous replication. Free functions over one SQL connection, which say
// what is there and make it what it should be; whoever calls them decides. Errors are those of
// SqlConnection. docs/internals/lossless.md tells what was measured about MariaDB 10.11.
//
// A standby that acknowledges (semi-sync) does so for each transaction after its relay log is on
// disk: sync_relay_log = 1 makes the receiving thread call fdatasync before it answers. What is
// received and not yet applied is nevertheless dropped when both replication threads start after a
// restart (GTID mode), so it counts only for one life of the link; see DatabaseStatus::link.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/time.h"
#include "model/platform.h"
#include "model/status.h"
#include "mysql/gtid.h"
#include "mysql/sql.h"

namespace leeward::replication {

// The link from the standby's side.
struct NativeLink {
  bool configured = false;
  Endpoint source;
  ReplicationState state = ReplicationState::kNone;  // as if a comparison did not hold it
  bool receiving = false;                            // its two threads run, connected or not
  bool applying = false;
  mysql::GtidPosition received;
  bool acknowledges = false;  // the source waits for this standby, whose relay log is on disk first
  bool kept =
      false;  // set up to acknowledge, and the server has not restarted since: nothing that was
              // received was dropped. True through pauses of the link, unlike `acknowledges`
  bool apply_failed = false;
  bool denied = false;  // the source does not take the user or the password
  std::string error;    // of either thread, empty when fine
};
Result<NativeLink> read_native_link(mysql::SqlConnection& sql, BootTime deadline);

// The right to stop and start a server's replication threads: a lock at the server itself, because
// a comparison (verify.h) is made by another process than a promotion. Without it the end of a
// comparison could start the applying thread after a promotion had stopped the receiving one, and
// the server would drop what it had received. It ends with the connection.
class ThreadsLock {
 public:
  // Waits for it; kConflict when somebody else keeps it until the deadline.
  static Result<ThreadsLock> wait(mysql::SqlConnection& sql, BootTime deadline);
  // Takes it from whoever has it: that session is ended first, and what it had begun with it.
  static Result<ThreadsLock> seize(mysql::SqlConnection& sql, BootTime deadline);

  ThreadsLock(ThreadsLock&& other) noexcept : sql_(std::exchange(other.sql_, nullptr)) {}
  ThreadsLock& operator=(ThreadsLock&&) = delete;
  ~ThreadsLock();
  // False once the connection that took it was lost, or somebody else seized it.
  bool held() const;

 private:
  explicit ThreadsLock(mysql::SqlConnection& sql) : sql_(&sql) {}
  mysql::SqlConnection* sql_;  // outlives this
};

// The last transaction in a server's history, replicated ones included, whether its own log still
// knows it or not: after a rewind the log is empty and only gtid_slave_pos tells, while the log of
// a former writer is ahead of that.
Result<mysql::GtidPosition> read_own_position(mysql::SqlConnection& sql, BootTime deadline);

struct NativeSource {
  Endpoint endpoint;
  std::string user;
  std::string password;
};

// How an administrator's connection is encrypted under the policy: as the replication is.
mysql::TlsOptions admin_tls(const ReplicationPolicy& policy);

// Forgets whatever the server followed and follows `source` from `position` on: GTID mode, TLS when
// the policy names a certificate authority, parallel applying, acknowledging unless the mode is
// async; its own commits wait for nobody. Acknowledging is set by statement: that the server's
// setting stems from one is the mark of NativeLink::kept. A dead link is noticed within 2 s and
// retried every second. Received changes that were not applied are dropped.
Status connect_native(mysql::SqlConnection& sql, const NativeSource& source,
                      const ReplicationPolicy& policy, const mysql::GtidPosition& position,
                      BootTime deadline);

// Stops replication and forgets every source.
Status forget_sources(mysql::SqlConnection& sql, BootTime deadline);

// Applying threads for a server on a machine of `cores`: one a core, at least 2, at most 16. With
// fewer than 2 there is nothing to overlap an fsync with; beyond 16 nothing was gained (ADR 0020).
unsigned native_workers(unsigned cores);

// Read-only, with no client session left: those are ended first, so that nothing waits for an open
// transaction. Replication stays. The sessions of `admin_user` end only when they stand in the way,
// and the one with id `keep` never does. Idempotent.
Status make_read_only(mysql::SqlConnection& sql, const std::string& admin_user, std::uint64_t keep,
                      BootTime deadline);

// Stops receiving and waits until all that was received is applied. kUnhealthy: applying has
// failed; kTimeout: not applied yet, and no longer receiving. REQUIRES: a link.
Status apply_received(mysql::SqlConnection& sql, BootTime deadline);

// Waits until the server has applied `position`; kTimeout. (MASTER_GTID_WAIT)
Status wait_applied(mysql::SqlConnection& sql, const std::string& position, BootTime deadline);

// The writer's side: what a commit waits for.
struct CommitWait {
  SemiSync state = SemiSync::kOff;
  bool strict = false;          // every commit waits for a copy, for ever if need be
  std::uint64_t fallbacks = 0;  // times that it gave up waiting, since the server started
  std::uint64_t alone = 0;      // commits that went on without a copy although waiting was on
};
Result<CommitWait> read_commit_wait(mysql::SqlConnection& sql, BootTime deadline);

// Makes commits wait as the mode says: async never, semi_sync for at most the policy's time,
// lossless for ever, or never when `alone`. To wait no longer is only done before `deadline` on the
// server's own clock (kTimeout otherwise), so that a server that was stopped does not do it late.
Status set_commit_wait(mysql::SqlConnection& sql, const ReplicationPolicy& policy, bool alone,
                       BootTime deadline);

}  // namespace leeward::replication

// One MariaDB server of the service, as the agent of its site sees and steers it: status,
// heartbeat, fencing, promotion, and the way back to being a standby after its history has parted
// from the writer's.
//
// Calls block until they are done or their deadline passes; they are meant for a worker thread.
// status() has a connection of its own and may be called from another thread at any time, also
// during a long follow(). All other calls are one at a time (the caller's duty). Connections are
// opened when needed and again after a failure; no call ever retries inside.
//
// The server stays one that an operator can inspect: plain GTID replication, and one schema,
// `leeward`, with three small tables that replicate like any other (rejoin is written with
// sql_log_bin=0):
//   epoch      one row a promotion: epoch and term, site, the GTID position just before it
//   heartbeat  one row a site: epoch, wall time, counter
//   rejoin     empty, except between the two halves of a rewind (see follow())
// The same administrator account must exist on every site's server, reachable from the other sites:
// a reload reads the source with it. It needs all privileges.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
#include "model/ids.h"
#include "model/platform.h"
#include "model/status.h"
#include "mysql/sql.h"

namespace leeward::database {

class Ledger;

struct MariadbOptions {
  Endpoint local;  // the server
  NodeId node{};   // which of this site's it is
  std::string admin_user;
  std::string admin_password;
  std::string replication_user;
  std::string replication_password;
  SiteId site;
  std::function<std::string(SiteId)> site_name;
  // Every site's servers in the order of their nodes, as the other sites reach them.
  std::map<SiteId, std::vector<Endpoint>> peers;
  ReplicationPolicy replication;
  std::string state_dir;  // rejoin.json lives here; the caller creates the Ledger beside it
  Logger logger;
  Duration status_timeout = 1s;   // of one status() or heartbeat()
  Duration control_timeout = 5s;  // of fence(), prepare() and each step of follow()
};

// Where a follow() is; handed to the caller's callback before each phase begins, every 10,000 lost
// transactions and, while data is being copied, after each megabyte.
enum class FollowPhase : std::uint8_t {
  kCompare,  // own history against the source's
  kExtract,  // reading the lost transactions from the own binary logs
  kLedger,   // writing them to the ledger
  kRewind,   // undoing them in one transaction
  kReset,    // forgetting their GTIDs
  kReseed,   // dropping the own data and copying the source's
  kConnect,  // starting replication
};
std::string_view name(FollowPhase phase);

struct FollowProgress {
  FollowPhase phase = FollowPhase::kCompare;
  std::uint64_t transactions = 0;  // found lost so far, from kExtract on
  std::uint64_t bytes = 0;         // copied so far, kReseed only
  std::uint64_t rows = 0;          // stored so far, kReseed only
  std::uint64_t rows_total = 0;  // the source's own estimate, which may be off by half; 0: unknown
};
// Returns false to stop: follow() then returns kTimeout, and a later call goes on from there.
using FollowCallback = std::function<bool(const FollowProgress&)>;

struct FollowOutcome {
  enum class Kind : std::uint8_t {
    kStreaming,  // nothing was lost; the link is as it should be
    kRewound,    // own transactions were undone
    kReseeded,   // the data was copied afresh from the source
  };
  Kind kind = Kind::kStreaming;
  std::uint32_t ledger_entries = 0;  // lost transactions now in the ledger because of this call
  std::uint32_t unacknowledged = 0;  // entries there that were never acknowledged (lossless mode)
  bool connected = false;            // the link is a new one
  std::string why_reseeded;          // kReseeded: why undoing was not possible, for people
};

class Mariadb {
 public:
  explicit Mariadb(MariadbOptions options);
  Mariadb(Mariadb&&) noexcept;
  ~Mariadb();

  // What the server says of itself, in two round trips. kTimeout within status_timeout (plus up to
  // a second when a connection has to be opened first), also when the process is stopped.
  // heartbeat_age is kNever until a heartbeat row has been seen to change.
  Result<DatabaseStatus> status();

  // The settings Leeward relies on, all wrong ones at once in one kInvalid error, each with the
  // statement or configuration line that mends it. Also looks for an equal server_id at the peers
  // that answer.
  Status precheck();

  // First writer only; idempotent: precheck(), then the schema `leeward` and the replication
  // account.
  Status prepare();

  // Writes the heartbeat row. kRefused when the server is read-only or its epoch is not `epoch`.
  Status heartbeat(Epoch epoch, WallTime now);

  // Makes the server read-only and ends every client session, so that nothing waits for an open
  // transaction: those are rolled back. Replication and the administrator's own sessions stay,
  // unless the latter stand in the way. Returns the last written position. Idempotent. kTimeout
  // after control_timeout, when something is being rolled back for longer than that: call again.
  Result<Position> fence();

  struct Promotion {
    Epoch epoch;
    Term term{};
    bool alone = true;  // commits are acknowledged without a copy elsewhere, see protect()
    std::uint64_t link =
        0;               // 0: with whatever was received; otherwise see Intent::link, and kConflict
                         // when what was received on it may be gone (DatabaseStatus::link)
    bool whole = false;  // kRefused if it is a replica that may have lost what it had received
  };
  // Makes the server the writer of that promotion: stops receiving, applies all that was received
  // (at most `apply_timeout`, then kTimeout with the link stopped and nothing promoted), forgets
  // the source, writes the epoch row and opens for writes. Idempotent; with the epoch row already
  // there it only opens for writes. Returns the written position. kRefused: the data holds a later
  // promotion. kUnhealthy: replication cannot apply what it has. After a kTimeout the server does
  // not open by itself later: the statements carry a deadline.
  Result<Position> promote(const Promotion& promotion, Duration apply_timeout);
  Result<Position> promote(Epoch epoch, Duration apply_timeout) {
    return promote(Promotion{epoch}, apply_timeout);
  }

  // From now on commits wait for a copy (lossless mode: at the standby; with two nodes: on the
  // other one), or no longer (`alone`). Idempotent. A server that is asked to wait no longer does
  // not do so late: half a second at most.
  Status protect(bool alone);

  // Makes the server a standby of `source`, whose newest promotion is `epoch`. Idempotent; a no-op
  // when it streams already. In order:
  //   1. fence; compare epoch rows with the source's to find where the histories part;
  //   2. own transactions after that point are read from the own binary logs and written to
  //   `ledger`,
  //      durably, before anything is undone;
  //   3. they are undone newest first, in one database transaction that also writes leeward.rejoin;
  //   then the
  //      GTID state is set back and that row removed. So a crash at any point leaves either the
  //      diverged data (start again), or the row (only the GTID state is left to do), never half of
  //      an undo;
  //   4. where undoing is not possible (DDL, a table without transactions, a row image that is not
  //   FULL,
  //      cascading foreign keys, XA, too large, binary logs gone) the data is dropped and copied
  //      from the source. rejoin.json remembers that, so an interrupted copy is started again;
  //   5. replication starts; a dead link is noticed within 2 s and retried every second.
  // A server that never belonged to this service is loaded from the source, but only if it holds no
  // tables of its own: kRefused otherwise.
  // kRefused: the source or this server is at another epoch than it should be.
  // kUnavailable: the source cannot be reached. kTimeout: stopped by the callback.
  // With `reseed` the data is copied afresh even if it need not be; what is lost is kept all the
  // same.
  Result<FollowOutcome> follow(SiteId source, Epoch epoch, Ledger& ledger,
                               const FollowCallback& progress = {}, bool reseed = false) {
    return follow(source, kFirstNode, epoch, ledger, progress, reseed);
  }
  // The same of one node of a site. The source may be the other node of this site; then this server
  // acknowledges what it receives.
  Result<FollowOutcome> follow(SiteId source, NodeId node, Epoch epoch, Ledger& ledger,
                               const FollowCallback& progress = {}, bool reseed = false);

  // What another server of the service says of itself, for choosing whom to follow.
  struct Remote {
    bool read_only = true;
    leeward::Promotion promotion;
  };
  static Result<Remote> look_at(const mysql::SqlTarget& server, Duration timeout);

  // SHA1(SHA1(password)) by user name, for every account that logs in with mysql_native_password,
  // is not locked and has a password. Of accounts with the same name, the one for host '%' counts.
  using NativePasswordHash = std::array<std::uint8_t, 20>;
  Result<std::map<std::string, NativePasswordHash>> native_password_hashes();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace leeward::database

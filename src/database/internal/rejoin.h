// The way back to being a standby (Mariadb::follow): see mariadb.h for the order of the steps and
// rejoin_core.h for how the point of parting is found.
//
// What survives a crash, and what the next run makes of it:
//   nothing                     start from the comparison
//   ledger entries              the same ones are found again and are not added twice
//   row in leeward.rejoin       the undo is committed: only the GTID state is left to be set back
//   rejoin.json with "reload"   the data is incomplete: copy it again, whatever it looks like
#pragma once

#include <atomic>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "database/internal/node.h"
#include "database/ledger.h"
#include "database/mariadb.h"
#include "mysql/binlog.h"
#include "mysql/sql.h"
#include "replication/native.h"

namespace leeward::database::internal {

// Transactions of the own log that the source lacks.
struct Lost {
  std::vector<mysql::Transaction> transactions;  // what undoing them needs; none with an obstacle
  std::string obstacle;                          // why they cannot be undone; empty: they can
};

class Rejoin {
 public:
  // References must outlive run(). `sql` is the local server's control connection, already fenced.
  // `near`: the source is the other node of this site, which may wait for this server.
  Rejoin(const MariadbOptions& options, Endpoint source, bool near, Epoch epoch, Ledger& ledger,
         mysql::SqlConnection& sql, const FollowCallback& progress, std::atomic<bool>& diverged)
      : options_(options),
        source_(std::move(source)),
        near_(near),
        epoch_(epoch),
        ledger_(ledger),
        sql_(sql),
        progress_(progress),
        diverged_(diverged) {}

  // With `reload_because` the data is copied afresh even if nothing was lost (what was, is kept in
  // the ledger as ever); empty: only where it must be.
  Result<FollowOutcome> run(const std::string& reload_because);

 private:
  // rejoin.cc
  Status enter(FollowPhase phase);
  BootTime soon() const { return BootClock::now() + options_.control_timeout; }
  mysql::SqlTarget at(const Endpoint& server) const {
    return {server, options_.admin_user, options_.admin_password,
            replication::admin_tls(options_.replication)};
  }
  mysql::SqlTarget local() const { return at(options_.local); }
  mysql::SqlTarget remote() const { return at(source_); }
  Status finish_interrupted_rewind();
  Result<Lost> extract(const Parting& parting, const History& own);
  Status keep(const Parting& parting, Ledger::Addition& addition);
  Result<std::string> obstacle_in_schema(const std::vector<mysql::Transaction>& lost);
  Status rewind(const Lost& lost, const mysql::GtidPosition& shared);
  Status reset_to(const std::string& shared);
  Status undo(const std::vector<std::string>& statements, const mysql::GtidPosition& shared);
  Status connect();
  Status recover(const Parting& parting, const History& own, const std::string& reload_because);
  std::string journal_path() const { return options_.state_dir + "/rejoin.json"; }

  // reload.cc
  Status reload(const std::string& why);
  Result<std::vector<std::string>> user_schemas(mysql::SqlConnection& sql);
  Result<bool> holds_tables();
  std::uint64_t rows_in(mysql::SqlConnection& sql, const std::vector<std::string>& schemas);
  std::uint64_t rows_stored();
  Status drop_schemas();
  Status copy_schemas(mysql::SqlConnection& source);
  Status copy_accounts(mysql::SqlConnection& source);

  const MariadbOptions& options_;
  const Endpoint source_;
  const bool near_;
  const Epoch epoch_;
  Ledger& ledger_;
  mysql::SqlConnection& sql_;
  const FollowCallback& progress_;
  std::atomic<bool>& diverged_;
  FollowProgress at_;
  FollowOutcome outcome_;
};

}  // namespace leeward::database::internal

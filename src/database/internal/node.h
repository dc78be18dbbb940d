// What a MariaDB server tells of itself, and the few statements that steer it. Free functions over
// one connection; errors are those of SqlConnection.
#pragma once

#include <optional>
#include <string>

#include "database/gtid.h"
#include "database/internal/rejoin_core.h"
#include "database/internal/sql.h"
#include "model/status.h"

namespace leeward::database::internal {

// The replication link from the standby's side.
struct Link {
  bool configured = false;
  Endpoint source;
  ReplicationState state = ReplicationState::kNone;
  GtidPosition received;
  bool apply_failed = false;
  std::string error;  // of either thread, empty when fine
};
Result<Link> read_link(SqlConnection& sql, BootTime deadline);

// Last transaction in the server's history, whether its own log still knows it or not (after a
// rewind the log is empty and only @@gtid_slave_pos tells).
Result<GtidPosition> read_position(SqlConnection& sql, BootTime deadline);

// nullopt when the schema `leeward` does not exist.
Result<std::optional<std::vector<EpochRow>>> read_epochs(SqlConnection& sql, BootTime deadline);
Result<History> read_history(SqlConnection& sql, BootTime deadline);

// Read-only, with no client session left (see Mariadb::fence). The sessions of `admin_user` end
// only when they stand in the way, and the one with id `keep` never does.
Status make_read_only(SqlConnection& sql, const std::string& admin_user, std::uint64_t keep,
                      BootTime deadline);

// Stops replication and forgets every source.
Status forget_sources(SqlConnection& sql, BootTime deadline);

}  // namespace leeward::database::internal

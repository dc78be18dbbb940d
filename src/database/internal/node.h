// What a MariaDB server tells of itself, and the few statements that steer it. Free functions over
// one connection; errors are those of SqlConnection.
#pragma once

#include <optional>
#include <string>

#include "database/internal/rejoin_core.h"
#include "model/status.h"
#include "mysql/gtid.h"
#include "mysql/sql.h"

namespace leeward::database::internal {

// 1 when the server's mark is there, as an expression (see keeps_received()).
inline constexpr const char* kKeepsReceived =
    "(SELECT COUNT(*) FROM information_schema.system_variables WHERE variable_name = "
    "'RPL_SEMI_SYNC_SLAVE_ENABLED' AND global_value = 'ON' AND global_value_origin = 'SQL')";

// The replication link from the standby's side.
struct Link {
  bool configured = false;
  Endpoint source;
  ReplicationState state = ReplicationState::kNone;
  mysql::GtidPosition received;
  bool apply_failed = false;
  std::string error;  // of either thread, empty when fine
};
Result<Link> read_link(mysql::SqlConnection& sql, BootTime deadline);

// Last transaction in the server's history, whether its own log still knows it or not (after a
// rewind the log is empty and only @@gtid_slave_pos tells).
Result<mysql::GtidPosition> read_position(mysql::SqlConnection& sql, BootTime deadline);

// nullopt when the schema `leeward` does not exist.
Result<std::optional<std::vector<EpochRow>>> read_epochs(mysql::SqlConnection& sql,
                                                         BootTime deadline);
Result<History> read_history(mysql::SqlConnection& sql, BootTime deadline);

// Read-only, with no client session left (see Mariadb::fence). The sessions of `admin_user` end
// only when they stand in the way, and the one with id `keep` never does.
Status make_read_only(mysql::SqlConnection& sql, const std::string& admin_user, std::uint64_t keep,
                      BootTime deadline);

// As a primary: no commit is answered before a replica has it, and never falls back by itself; or no
// such wait. AFTER_SYNC, so that nobody reads what is not acknowledged.
Status set_semi_sync_source(mysql::SqlConnection& sql, bool on, BootTime deadline);
// As a replica: acknowledges what it receives. The setting made by statement is also the mark that the
// server has not restarted since: after a restart it is gone, with all that was received and not applied.
Status set_semi_sync_replica(mysql::SqlConnection& sql, bool on, BootTime deadline);
// The mark.
Result<bool> keeps_received(mysql::SqlConnection& sql, BootTime deadline);

// Stops replication and forgets every source.
Status forget_sources(mysql::SqlConnection& sql, BootTime deadline);

}  // namespace leeward::database::internal

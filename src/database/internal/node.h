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

}  // namespace leeward::database::internal

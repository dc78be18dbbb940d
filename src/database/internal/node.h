// What a MariaDB server tells of itself, and the few statements that steer it. Free functions over
// one connection; errors are those of SqlConnection.
#pragma once

#include <optional>
#include <string>

#include "database/internal/rejoin_core.h"
#include "model/platform.h"
#include "model/status.h"
#include "mysql/gtid.h"
#include "mysql/sql.h"

namespace leeward::database::internal {

// nullopt when the schema `leeward` does not exist.
Result<std::optional<std::vector<EpochRow>>> read_epochs(mysql::SqlConnection& sql,
                                                         BootTime deadline);
Result<History> read_history(mysql::SqlConnection& sql, BootTime deadline);

// Between the two nodes of a site a commit waits for its copy for as long as it takes.
ReplicationPolicy between_nodes(ReplicationPolicy of_sites);

}  // namespace leeward::database::internal

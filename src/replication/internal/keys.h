// The keys of a table at the target, for write sets.
#pragma once

#include "mysql/sql.h"
#include "replication/internal/table_cache.h"

namespace leeward::replication::internal {

// Columns, primary and unique keys, and both ends of foreign keys of schema.table.
Result<TargetTable> describe_table(mysql::SqlConnection& sql, const std::string& schema,
                                   const std::string& table, BootTime deadline);

}  // namespace leeward::replication::internal

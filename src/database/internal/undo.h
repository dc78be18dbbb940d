// Turns transactions round: from the row images of a transaction, statements that change every row
// back. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "mysql/binlog.h"

namespace leeward::database::internal {

// BINLOG statements that undo `lost` (oldest first, none with an obstacle) when they are executed
// in the returned order inside one database transaction. The first one declares the event format.
// kRefused when a single one would be larger than `statement_bytes_max` (the server's
// max_allowed_packet).
Result<std::vector<std::string>> undo_statements(const std::vector<mysql::Transaction>& lost,
                                                 std::size_t statement_bytes_max);

}  // namespace leeward::database::internal

// From transactions of the binary log to entries of the ledger. Pure.
#pragma once

#include <optional>

#include "database/internal/rejoin_core.h"
#include "database/ledger.h"
#include "mysql/binlog.h"

namespace leeward::database::internal {

// The entry for a lost transaction; nullopt when it touched nothing but Leeward's own schema.
std::optional<LedgerEntry> ledger_entry(const mysql::Transaction& transaction,
                                        const std::string& site,
                                        const std::vector<EpochRow>& epochs);

}  // namespace leeward::database::internal

// What one MariaDB server, or two together, lack for native replication: everything at once, each
// with the statement or the line of configuration that mends it. Reads only. Free functions over
// SQL connections; errors are those of SqlConnection.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "model/platform.h"
#include "mysql/sql.h"
#include "replication/driver.h"

namespace leeward::replication {

// Of one server, which may be either end: both become the writer some day. `where` goes into the
// findings. The codes: the variable's name for a setting, and version, tls, semi_sync, privileges,
// read_only_at_start, replication_filter, no_primary_key, no_transactions.
//
// Whether a server comes up read-only can be told until somebody sets read_only by statement, as
// Leeward does; after that nothing is said about it. skip-slave-start cannot be asked at all in
// MariaDB 10.11, so it is named with read_only.
Result<std::vector<Finding>> check_native_server(mysql::SqlConnection& sql,
                                                 const std::string& where,
                                                 const ReplicationPolicy& policy,
                                                 BootTime deadline);

// Of both: server_id, clock, lower_case_table_names, max_allowed_packet, version (the target must
// not be the older one).
Result<std::vector<Finding>> check_native_pair(mysql::SqlConnection& source,
                                               mysql::SqlConnection& target, BootTime deadline);

}  // namespace leeward::replication

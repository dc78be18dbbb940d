// Views, routines and events of the schemas that a seed copies, as SHOW CREATE tells them. Triggers
// are not among them: what they did at the source comes with the rows, and at the target they would
// do it once more.
#pragma once

#include <string>
#include <vector>

#include "mysql/sql.h"
#include "replication/mapping.h"

namespace leeward::replication::internal {

// Makes those that are not there yet; events stay disabled (DISABLE ON SLAVE). Returns a note for
// each that could not be made: that never ends a seed, because the data does not depend on it. With
// renames none is made, because they would name the old names. An error only for a lost connection.
Result<std::vector<std::string>> copy_objects(const mysql::SqlTarget& source,
                                              const mysql::SqlTarget& target,
                                              const Mapping& mapping);

// An event's definition with its status replaced.
std::string disabled_event(std::string definition);

}  // namespace leeward::replication::internal

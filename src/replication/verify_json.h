// Findings and reports as JSON, the same in the CLI and on a task's control port. Pure.
#pragma once

#include <string>
#include <vector>

#include "replication/driver.h"

namespace leeward::replication {

// {"at":…,"tables":…,"rows":…,"different":…,"repaired":…,"differences":[{"table","kind","key",
// "columns"}]}
std::string to_json(const VerifyReport& report);
// [{"severity","code","where","what","cure"}]
std::string to_json(const std::vector<Finding>& findings);

}  // namespace leeward::replication

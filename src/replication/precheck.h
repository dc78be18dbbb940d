// Everything that stands in the way of a task, at once, each with the statement that mends it.
//
// Asked of both servers: version, clock, binary log (format, images, metadata, filters, how long it
// is kept), GTIDs and server ids, the account's privileges, and of every table that the task
// carries: primary key, engine, column types, triggers, and whether the target's table of that name
// fits and is free.
//
// Errors are what start() refuses; warnings work with the limit that they name. The findings' codes
// are stable. Read-only; thread-safe.
#pragma once

#include <vector>

#include "replication/driver.h"
#include "replication/task.h"

namespace leeward::replication {

// In the order source, target, tables. An error only when an end cannot be asked at all.
Result<std::vector<Finding>> precheck(const Task& task, BootTime deadline);

}  // namespace leeward::replication

// A task file as a driver that runs: its servers and secrets, its parts (precheck, first copy,
// comparison), and where a running task can be reached.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "base/metrics.h"
#include "replication/driver.h"
#include "replication/task.h"
#include "replication/verify.h"

namespace leeward::replication {

// The driver of the task, not started. `metrics` outlives it. Errors of config::resolve_secret.
Result<std::unique_ptr<Driver>> make_driver(const Task& task, Logger logger, Registry* metrics);

// Compares the ends of a task that does not run: they must be at the same position, so the source
// must be quiet. Errors as verify().
Result<VerifyReport> verify_stopped(const Task& task, const VerifyOptions& options,
                                    const OnProgress& progress);

// For a target that has the data already: the task will follow its source from `from` on, a GTID
// position or "now" (the source's present one). kConflict: the task has a position already;
// kInvalid: no position. REQUIRES: the task does not run.
Status begin_task(const Task& task, const std::string& from);

// Forgets the first copy and the position, and drops the tables that the copy made at the target
// (seed.h, forget_seed). REQUIRES: the task does not run.
Status forget_task(const Task& task);

// How a running task is reached: a file in its state directory, readable by its user only.
struct ControlPort {
  std::uint16_t port = 0;  // on 127.0.0.1
  std::string token;       // bearer
};
std::string control_file(const Task& task);
Status write_control(const Task& task, const ControlPort& control);
// kUnavailable: the task does not run here.
Result<ControlPort> read_control(const Task& task);

}  // namespace leeward::replication

// What a replication task tells about itself, as JSON: the body of GET /v1/status and /v1/verify on
// its control port (docs/internals/api.md). Pure.
#pragma once

#include <string>
#include <vector>

#include "app/replicate_runner.h"

namespace leeward::app {

std::string status_json(const replication::Task& task, const ReplicateSnapshot& now,
                        const std::vector<LagSample>& history);
std::string verify_json(const VerifyState& state);

// One line for a terminal, without a line break.
std::string status_line(const ReplicateSnapshot& now, const ReplicateSnapshot& before,
                        Duration between);

}  // namespace leeward::app

// What `replication verify` and `db verify` share: progress on a terminal, Ctrl-C, the report.
#pragma once

#include <functional>

#include "cli/internal/api.h"
#include "replication/driver.h"

namespace leeward::cli {

// One line of a terminal, rewritten; `progress` as in GET /v1/verify. Elsewhere nothing is said.
void show_progress(Io& io, const Json& progress);
void end_progress(Io& io);

// Runs a comparison in this process, ended in order by Ctrl-C.
using Comparison =
    std::function<Result<replication::VerifyReport>(const replication::OnProgress& progress)>;
Result<Json> compare_here(Io& io, const Comparison& comparison);

// Prints it; exit status 4 when rows differ that were not repaired.
int print_report(const Globals& globals, const Json& report, Io& io);

}  // namespace leeward::cli

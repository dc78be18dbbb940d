// What the API answers, as text for people. Pure: JSON in, text out; nothing here fails on JSON of
// another shape, it shows what it can.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/internal/api.h"

namespace leeward::cli {

// Answer of GET /v1/status: who serves, a row a site, and whether a failover is possible now.
std::string render_status(const Json& status, bool color);
// Why the platform is not healthy or could not fail over now; empty: it is fine.
std::vector<std::string> complaints(const Json& status);

// One line of GET /v1/events.
std::string render_event(const Json& event);

// What a person is asked before a move: from where to where, and what it would cost.
// `verb` is "Fail over", "Switch over" or "Fail back"; `to` may be empty.
std::string render_question(const Json& status, std::string_view verb, const std::string& to);

// The line for the `index`-th entry of a plan's history, with the time since the plan began.
std::string render_step(const Json& plan, std::size_t index);
// The end of a plan, or where it stands: "switchover gcp → aws: done in 2.4 s".
std::string render_plan(const Json& plan);

// One answer of an agent's GET /v1/ledger for each reachable site.
std::string render_ledger(const std::vector<Json>& answers);
std::string render_ledger_entry(const Json& entry);

// Of a replication task: findings of a precheck, GET /v1/status, a comparison, conflicts.
std::string render_findings(const Json& answer, bool color);
std::string render_task_status(const Json& status);
std::string render_verify(const Json& report);
std::string render_conflicts(const Json& answer);

// What GET /v1/status says of the databases: {"platform", "writer", "epoch", "protection", "sites":
// [{"name", "role", "reachable", "written", "received", "durable", "applied", "lag_seconds",
// "transactions_behind", "semi_sync", …}]}; what does not apply to a site is null.
Json databases_of(const Json& status);
std::string render_databases(const Json& databases);
std::string render_lag(const Json& lag);  // answer of GET /v1/lag
// One line on where an agent's GET /v1/rejoin is.
std::string render_rejoin(const Json& rejoin);

std::string format_seconds(double seconds);  // "0.3 s", "2 min 5 s"

// Seconds from one RFC 3339 UTC time to another; nullopt when either is none.
std::optional<double> seconds_between(const std::string& from, const std::string& to);

}  // namespace leeward::cli

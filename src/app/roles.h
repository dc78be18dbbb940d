// The daemons: each wires the rooms of one role together and runs until SIGINT or SIGTERM. They
// return the exit status of the process; what went wrong is on stderr.
#pragma once

#include "cli/cli.h"

namespace leeward::app {

int run_control(const cli::RoleOptions& options);
int run_agent(const cli::RoleOptions& options);
int run_dns(const cli::RoleOptions& options);
int run_edge(const cli::RoleOptions& options);
// All roles of one site and the database processes that the configuration starts, as children.
int run_up(const cli::RoleOptions& options);

// One replication task, from precheck to stream.
int run_replicate(const cli::ReplicateOptions& options);

// Functions on demand behind the Lambda API, on one host.
int run_functions(const cli::FunctionsOptions& options);
// One HTTP application as a function, at an address.
int run_function_serve(const cli::FunctionServeOptions& options);
// The firewall behind another proxy.
int run_waf_serve(const cli::WafServeOptions& options);

}  // namespace leeward::app

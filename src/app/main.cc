// The one binary. Each daemon is a subcommand and its own process.
#include <cstring>

#include "app/roles.h"
#include "cli/cli.h"
#include "compute/keeper.h"

int main(int argc, char** argv) {
  // The keeper must run before any thread exists, and knows nothing of the rest.
  if (argc > 1 && std::strcmp(argv[1], "keep") == 0)
    return leeward::compute::keeper_main(argc, argv);
  leeward::cli::Roles roles;
  roles.up = leeward::app::run_up;
  roles.control = leeward::app::run_control;
  roles.agent = leeward::app::run_agent;
  roles.dns = leeward::app::run_dns;
  roles.edge = leeward::app::run_edge;
  roles.replicate = leeward::app::run_replicate;
  roles.functions = leeward::app::run_functions;
  roles.function_serve = leeward::app::run_function_serve;
  roles.waf_serve = leeward::app::run_waf_serve;
  return leeward::cli::run(argc, argv, roles);
}

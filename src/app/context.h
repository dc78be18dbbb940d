// What every role starts from: the configuration, which site this is, secrets, a logger and a
// directory for state.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "base/metrics.h"
#include "cli/cli.h"
#include "console/auth.h"
#include "model/platform.h"
#include "net/loop.h"

namespace leeward::app {

struct Context {
  std::string config_path;  // absolute
  Platform platform;
  SiteId self;
  console::Tokens tokens;
  std::string state;  // directory of this role at this site; exists
  Logger logger;

  const Site& site() const { return platform.site(self); }
};

// Loads and checks; problems of the configuration go to stderr, one a line. `role` names the state
// directory and the log component. `operator_token`: whether this role serves operators.
Result<Context> make_context(const cli::RoleOptions& options, const std::string& role,
                             bool operator_token);

// Prints the error and returns its exit status.
int report_failure(const Error& error);

// Stops the loop on SIGINT and SIGTERM, after `before` (which may be empty).
Status stop_on_signals(net::EventLoop& loop,
                       std::function<void(std::function<void()> stop)> before = {});

}  // namespace leeward::app

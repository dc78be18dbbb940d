#include "app/context.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>

#include "base/file.h"
#include "config/config.h"

namespace leeward::app {

Result<Context> make_context(const cli::RoleOptions& options, const std::string& role,
                             bool operator_token) {
  Context context;
  config::Loaded loaded = config::load_file(options.config_path);
  if (!loaded.platform) {
    for (const config::Problem& problem : loaded.problems)
      std::fprintf(stderr, "%s\n", config::to_string(problem).c_str());
    return fail(Code::kInvalid, "{} has {} mistake{}; nothing was started", options.config_path,
                loaded.problems.size(), loaded.problems.size() == 1 ? "" : "s");
  }
  context.config_path = std::filesystem::absolute(options.config_path).string();
  context.platform = std::move(*loaded.platform);
  auto site = context.platform.find_site(options.site);
  if (!site) {
    std::string known;
    for (const Site& s : context.platform.sites) known += (known.empty() ? "" : ", ") + s.name;
    return fail(Code::kInvalid, "--site {}: {} has the sites {}",
                options.site.empty() ? "is missing" : "'" + options.site + "'", options.config_path,
                known);
  }
  context.self = *site;
  context.logger = Logger(STDERR_FILENO, options.log_level, options.log_format)
                       .with(context.site().name + "/" + role);
  auto agent_token =
      config::resolve_secret(context.platform.agent_token, context.platform.directory);
  if (!agent_token) return fail(std::move(agent_token.error()).wrap("access.agent_token"));
  context.tokens.agent = *agent_token;
  if (operator_token) {
    auto token =
        config::resolve_secret(context.platform.operator_token, context.platform.directory);
    if (!token) return fail(std::move(token.error()).wrap("access.operator_token"));
    context.tokens.operator_ = *token;
  }
  std::filesystem::path state(context.platform.state_dir);
  if (state.is_relative()) state = std::filesystem::path(context.platform.directory) / state;
  context.state = (state / context.site().name / role).string();
  if (auto made = make_directories(context.state); !made) return fail(made.error());
  return context;
}

int report_failure(const Error& error) {
  std::fprintf(stderr, "leeward: %s\n", error.message.c_str());
  return exit_status(error.code);
}

Status stop_on_signals(net::EventLoop& loop, std::function<void(std::function<void()>)> before) {
  return loop.on_signals({SIGINT, SIGTERM},
                         [&loop, before = std::move(before), asked = false](int) mutable {
                           if (asked || !before)
                             return loop.stop();  // a second signal does not wait
                           asked = true;
                           before([&loop] { loop.stop(); });
                         });
}

}  // namespace leeward::app

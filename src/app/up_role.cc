// leeward up: every role of one site, and the database processes that the configuration names, as
// supervised children. A child that dies is started again; when `up` dies, so do they all.
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <filesystem>

#include "app/context.h"
#include "app/roles.h"
#include "base/file.h"
#include "compute/supervisor.h"

namespace leeward::app {
namespace {

compute::TierSpec child(const std::string& name, compute::ExpandedProcess process, bool capture) {
  compute::TierSpec tier;
  tier.name = name;
  tier.capture = capture;
  tier.instances.push_back({std::move(process)});
  return tier;
}

Result<std::vector<compute::TierSpec>> children(const Context& context,
                                                const cli::RoleOptions& options) {
  std::vector<compute::TierSpec> tiers;
  const Platform& platform = context.platform;
  compute::PlaceholderValues values{
      {"site", context.site().name}, {"address", context.site().address}, {"state", context.state}};
  for (const Database& database : platform.databases) {
    auto own = database.sites.find(context.self);
    if (own == database.sites.end()) continue;
    for (std::size_t n = 0; n < own->second.nodes.size(); ++n) {
      const DatabaseNode& node = own->second.nodes[n];
      if (!node.process.started()) continue;
      values["port"] = fmt::format("{}", node.address.port);
      auto process = compute::expand(node.process, values);
      if (!process) return fail(std::move(process.error()).wrap("databases." + database.name));
      if (process->directory.empty()) process->directory = platform.directory;
      std::string second = n == 0 ? "" : fmt::format("-{}", n + 1);
      tiers.push_back(child("database-" + database.name + second, std::move(*process), true));
    }
  }
  std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  constexpr std::string_view kLevels[] = {"debug", "info", "warn", "error"};
  auto role = [&](const std::string& name) {
    compute::ExpandedProcess process;
    process.argv = {self,           name,
                    "--config",     std::filesystem::absolute(options.config_path).string(),
                    "--site",       context.site().name,
                    "--log-level",  std::string(kLevels[static_cast<int>(options.log_level)]),
                    "--log-format", options.log_format == LogFormat::kJson ? "json" : "text"};
    tiers.push_back(child(name, std::move(process), false));
  };
  if (platform.control.site == context.self) role("control");
  if (context.site().role != SiteRole::kWitness) role("agent");
  role("dns");
  if (platform.edge && context.site().role != SiteRole::kWitness) role("edge");
  return tiers;
}

}  // namespace

int run_up(const cli::RoleOptions& options) {
  auto context = make_context(options, "up", false);
  if (!context) return report_failure(context.error());
  auto lock = lock_file(context->state + "/lock");
  if (!lock) return report_failure(lock.error());
  auto tiers = children(*context, options);
  if (!tiers) return report_failure(tiers.error());
  net::EventLoop loop;
  compute::SupervisorOptions supervisor_options;
  supervisor_options.tiers = std::move(*tiers);
  supervisor_options.log_directory = context->state + "/log";
  supervisor_options.logger = context->logger;
  auto supervisor = compute::Supervisor::create(loop, std::move(supervisor_options));
  if (!supervisor) return report_failure(supervisor.error());
  auto signals = stop_on_signals(loop, [&](std::function<void()> stop) {
    context->logger.info("stopping");
    (*supervisor)->stop_all(10s, [stop, logger = context->logger](Status stopped) {
      if (!stopped) logger.warn("not all processes ended", {{"why", stopped.error().message}});
      stop();
    });
  });
  if (!signals) return report_failure(signals.error());
  (*supervisor)->set_active(true);
  loop.run();
  return 0;
}

}  // namespace leeward::app

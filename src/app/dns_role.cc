// leeward dns: answers for the zone, with what control last said or, without control, what is on
// disk.
#include <ctime>

#include "app/context.h"
#include "app/roles.h"
#include "app/state_feed.h"
#include "dns/server.h"
#include "net/http.h"

namespace leeward::app {

int run_dns(const cli::RoleOptions& options) {
  auto context = make_context(options, "dns", false);
  if (!context) return report_failure(context.error());
  const Platform& platform = context->platform;
  auto zone = dns::compile(platform.dns, static_cast<std::uint32_t>(std::time(nullptr)));
  if (!zone) return report_failure(zone.error());
  Registry registry;
  dns::ServerOptions server_options;
  server_options.listen = {context->site().address, platform.dns.port};
  for (const Site& site : platform.sites) server_options.sites.push_back(site.name);
  server_options.primary = platform.configured_primary();
  server_options.state_path = context->state + "/state";
  server_options.logger = context->logger;
  server_options.registry = &registry;
  auto server = dns::Server::start(std::move(server_options), *zone);
  if (!server) return report_failure(server.error());
  net::EventLoop loop;
  net::HttpClient http(loop);
  if (auto signals = stop_on_signals(loop); !signals) return report_failure(signals.error());
  StateFeed feed(
      loop, http, *context,
      [&](const ServiceRecord& record) {
        // Before the first writer is open there is nothing to say but the configured primary.
        if (record.active == kNoSite || record.active_epoch.value == 0) return;
        auto published = (*server)->publish(record.active, record.active_epoch, record.version);
        if (!published && published.error().code != Code::kRefused)
          context->logger.error("could not publish", {{"why", published.error().message}});
      },
      [&] { return (*server)->epoch(); });
  context->logger.info("dns answers",
                       {{"listen", to_string((*server)->local())}, {"zone", platform.dns.name}});
  loop.run();
  return 0;
}

}  // namespace leeward::app

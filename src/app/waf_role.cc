// leeward waf serve: the firewall behind somebody else's proxy: HAProxy by SPOE, nginx and others
// by a sub-request for each request (auth_request).
#include <csignal>

#include "app/context.h"
#include "app/roles.h"
#include "app/waf_judge.h"
#include "app/waf_spoe.h"
#include "config/config.h"
#include "net/http.h"
#include "waf/load_rules.h"

namespace leeward::app {
namespace {

struct Setup {
  EdgeWaf settings;
  std::string directory;  // that a relative rules_file begins in
};

Result<Setup> setup_of(const cli::WafServeOptions& options) {
  Setup setup;
  if (!options.rules.empty()) {
    setup.settings.rules_file = options.rules;
    setup.settings.mode = options.detect ? WafMode::kDetect : WafMode::kBlock;
    return setup;
  }
  config::Loaded loaded = config::load_file(options.config_path);
  if (!loaded.platform)
    return fail(Code::kInvalid, "{} cannot be used; `leeward validate` tells why",
                options.config_path);
  if (!loaded.platform->edge || (!loaded.platform->edge->firewall.waf.policy &&
                                 loaded.platform->edge->firewall.waf.rules_file.empty()))
    return fail(Code::kInvalid, "{}: edge.firewall has neither policy nor rules_file",
                options.config_path);
  setup.settings = loaded.platform->edge->firewall.waf;
  setup.directory = loaded.platform->directory;
  if (options.detect) setup.settings.mode = WafMode::kDetect;
  return setup;
}

bool begins_without_case(std::string_view name, std::string_view prefix) {
  if (name.size() < prefix.size()) return false;
  for (std::size_t i = 0; i < prefix.size(); ++i)
    if ((name[i] | 0x20) != (prefix[i] | 0x20)) return false;
  return true;
}

// A sub-request says in X-Original-… what it stands for; its other fields are the client's.
OfferedRequest offered(const net::HttpRequest& request) {
  OfferedRequest out;
  out.address = request.header("x-original-address");
  if (out.address.empty()) out.address = request.header("x-real-ip");
  if (out.address.empty()) out.address = request.peer.host;
  out.method = request.header("x-original-method");
  if (out.method.empty()) out.method = request.method;
  out.target = request.header("x-original-uri");
  if (out.target.empty()) out.target = request.target;
  for (const auto& [name, value] : request.headers)
    if (!begins_without_case(name, "x-original-")) out.fields.emplace_back(name, value);
  out.body = request.body;
  return out;
}

net::HttpResponse answer(const Judgement& j) {
  net::HttpResponse response;
  response.status = j.enforced ? 403 : 204;
  response.content_type.clear();
  response.headers["X-Waf-Verdict"] = j.enforced ? "block" : j.refused ? "detect" : "pass";
  if (j.refused) response.headers["X-Waf-Rule"] = std::to_string(j.rule);
  return response;
}

}  // namespace

int run_waf_serve(const cli::WafServeOptions& options) {
  Logger logger = Logger(STDERR_FILENO, options.log_level, options.log_format).with("waf");
  auto setup = setup_of(options);
  if (!setup) return report_failure(setup.error());
  auto rules = waf::load_rules(setup->settings, setup->directory);
  if (!rules) return report_failure(rules.error());
  Registry registry;
  WafJudge judge(*rules, setup->settings.mode == WafMode::kBlock,
                 edge::SecretMask(setup->settings.mask), logger, registry);
  net::EventLoop loop;
  std::optional<waf::Workspace> workspace;  // of the loop's thread
  std::unique_ptr<net::HttpServer> http;
  std::unique_ptr<SpoeAgent> spoe;
  if (options.http) {
    auto server = net::HttpServer::start(
        loop, *options.http, [&](net::HttpRequest request, net::Responder respond) {
          if (request.path == "/metrics" && request.header("x-original-uri").empty()) {
            net::HttpResponse metrics;
            metrics.content_type = "text/plain; version=0.0.4";
            metrics.body = registry.prometheus_text();
            return respond(std::move(metrics));
          }
          respond(answer(judge.judge(offered(request), workspace)));
        });
    if (!server) return report_failure(server.error());
    http = std::move(*server);
    logger.info("answers sub-requests", {{"listen", to_string(http->local())}});
  }
  if (options.spoe) {
    auto agent = SpoeAgent::start(*options.spoe, judge, logger);
    if (!agent) return report_failure(agent.error());
    spoe = std::move(*agent);
    logger.info("serves HAProxy", {{"listen", to_string(spoe->local())}});
  }
  logger.info("rules in force",
              {{"rules", (*rules)->rules()},
               {"mode", setup->settings.mode == WafMode::kBlock ? "block" : "detect"}});
  auto signals = loop.on_signals({SIGINT, SIGTERM, SIGHUP}, [&](int signal) {
    if (signal != SIGHUP) return loop.stop();
    auto again = setup_of(options);
    auto reloaded = again ? waf::load_rules(again->settings, again->directory)
                          : Result<WafJudge::Rules>(fail(std::move(again.error())));
    if (!reloaded) {
      logger.error("the old rules stay", {{"why", reloaded.error().message}});
      return;
    }
    judge.use(*reloaded);
    logger.info("reloaded", {{"rules", (*reloaded)->rules()}});
  });
  if (!signals) return report_failure(signals.error());
  loop.run();
  return 0;
}

}  // namespace leeward::app

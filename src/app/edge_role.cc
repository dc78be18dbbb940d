// leeward edge: the HTTP proxy of a workload site, with what control last said or, without control,
// what is on disk.
#include <csignal>

#include "app/context.h"
#include "app/edge_admin.h"
#include "app/edge_config.h"
#include "app/edge_handover.h"
#include "app/edge_memory.h"
#include "app/edge_rules.h"
#include "app/edge_waf.h"
#include "app/instance_feed.h"
#include "app/roles.h"
#include "app/state_feed.h"
#include "config/config.h"
#include "edge/edge.h"
#include "edge/grpc_health.h"
#include "health/prober.h"
#include "model/edge.h"
#include "net/http.h"

namespace leeward::app {
namespace {

// Checks every origin of every group that has a check, and tells the edge. An instance of a tier
// that scales is up only while its agent says that it is ready: the slots that do not run are never
// asked, and one that drains gets nothing new. A tier's functions are up while no instance beside
// them is.
class OriginChecks {
 public:
  OriginChecks(net::EventLoop& loop, edge::Edge& edge, const Logger& logger)
      : loop_(loop), edge_(edge), logger_(logger) {}

  Status start(const Platform& platform, const edge::EdgeConfig& config) {
    probers_.clear();
    groups_ = config.groups;
    tiers_.clear();
    falls_.clear();
    for (const EdgeOrigins& o : platform.edge->origins) {
      tiers_.push_back(o.tier);
      falls_.push_back(o.check.fall);
    }
    for (std::size_t g = 0; g < config.groups.size(); ++g) {
      const EdgeCheck& check = platform.edge->origins[g].check;
      if (check.path.empty() && !check.grpc) continue;
      for (std::size_t o = 0; o < config.groups[g].origins.size(); ++o) {
        if (auto started = start_one(g, o, check, config.groups[g].origins[o].name); !started)
          return started;
      }
    }
    return {};
  }

  // Which origins of a tier are ready at a site, in their order. Those that are come first, so that
  // the edge has one at every moment.
  void set_ready(SiteId site, const Tier& tier, const std::vector<bool>& ready) {
    for (const bool which : {true, false}) set_some_ready(site, tier, ready, which);
  }

 private:
  struct Opinion {
    bool up = true;     // by the active check
    bool ready = true;  // by the agent
    int on_trust = 0;   // failed checks until its word for a new instance counts no more
  };

  void set_some_ready(SiteId site, const Tier& tier, const std::vector<bool>& ready, bool which) {
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      if (tiers_[g] != tier.name) continue;
      std::size_t number = 0;
      for (std::size_t o = 0; o < groups_[g].origins.size(); ++o) {
        const edge::OriginSpec& origin = groups_[g].origins[o];
        if (origin.site != site || origin.edge) continue;
        bool now = number < ready.size() && ready[number];
        ++number;
        if (now != which) continue;
        Opinion& opinion = opinions_[{g, o}];
        // Our check failed while nothing ran there, and would take its time to be convinced again,
        // in which the tier may end the instances that this one replaces.
        if (now && !opinion.ready) {
          opinion.up = true;
          opinion.on_trust = falls_[g];
        }
        opinion.ready = now;
        edge_.check(g, o, now, now && opinion.up);
      }
    }
  }

  Status start_one(std::size_t group, std::size_t origin, const EdgeCheck& check,
                   const std::string& name) {
    health::ProberOptions options;
    options.vantage = SiteId{0};
    options.policy.interval = check.interval;
    options.policy.timeout = check.timeout;
    options.policy.fall = check.fall;
    options.policy.rise = check.rise;
    options.policy.path = check.grpc ? std::string(edge::kGrpcHealthPath) : check.path;
    options.targets = {{SiteId{0}, name, Endpoint{}}};
    // By the edge itself, so that a check meets what a request would meet.
    const auto service = check.grpc ? std::optional(check.grpc_service) : std::nullopt;
    options.ask = [this, group, origin, path = check.path, service](const health::ProbeTarget&,
                                                                    Duration timeout, auto answer) {
      edge_.probe(group, origin, {path, timeout, service},
                  [this, answer](Result<edge::ProbeReply> reply) {
                    loop_.post([answer, reply = std::move(reply)] { answer(as_response(reply)); });
                  });
    };
    options.logger = logger_.with("check");
    opinions_[{group, origin}].up = true;
    options.on_result = [this, group, origin](SiteId, const health::ProbeResult& result) {
      Opinion& o = opinions_[{group, origin}];
      if (result.ok) o.on_trust = 0;
      if (!result.ok && o.on_trust > 0 && --o.on_trust == 0) o.up = false;
      edge_.check(group, origin, result.ok && o.ready, o.up && o.ready);
    };
    options.on_change = [this, group, origin](SiteId, Health health) {
      Opinion& o = opinions_[{group, origin}];
      o.up = health != Health::kDown;
      edge_.check(group, origin, health == Health::kUp && o.ready, o.up && o.ready);
    };
    auto prober = health::Prober::start(loop_, std::move(options));
    if (!prober) return fail(std::move(prober.error()));
    probers_.push_back(std::move(*prober));
    return {};
  }

  static Result<net::HttpResponse> as_response(const Result<edge::ProbeReply>& reply) {
    if (!reply) return fail(reply.error());
    net::HttpResponse response;
    response.status = reply->status;
    response.body = reply->body;
    return response;
  }

  net::EventLoop& loop_;
  edge::Edge& edge_;
  Logger logger_;
  std::vector<edge::GroupSpec> groups_;
  std::vector<std::string> tiers_;  // by group; empty: its origins are no tier
  std::vector<int> falls_;          // by group: failed checks in a row that count
  std::map<std::pair<std::size_t, std::size_t>, Opinion> opinions_;  // by group and origin
  std::vector<std::unique_ptr<health::Prober>> probers_;
};

// The file again, as far as the running edge can follow it.
Status reload(const cli::RoleOptions& options, const Context& context, edge::Edge& edge,
              EdgeRules& rules, EdgeWafRules& waf_rules, OriginChecks& checks) {
  config::Loaded loaded = config::load_file(options.config_path);
  if (!loaded.platform || !loaded.platform->edge)
    return fail(Code::kInvalid,
                "{} cannot be used; the edge goes on as before. `leeward validate {}` tells why",
                options.config_path, options.config_path);
  edge::EdgeConfig config = edge_config(*loaded.platform, context.self);
  config.hop_key = edge_hop_key(context.tokens.agent);
  if (auto read = read_signing_keys(*loaded.platform, config); !read) return read;
  auto challenge = edge_challenge(*loaded.platform);
  if (!challenge) return fail(std::move(challenge.error()));
  auto firewall = rules.made_of(edge_firewall(*loaded.platform), std::move(*challenge));
  if (!firewall) return fail(std::move(firewall.error()));
  config.firewall = *firewall;
  config.challenge = (*firewall)->challenge();
  auto waf = waf_rules.made_of(edge_waf(*loaded.platform));
  if (!waf) return fail(std::move(waf.error()));
  config.waf = *waf;
  if (auto taken = edge.reload(config); !taken) return taken;
  rules.use(std::move(*firewall));
  waf_rules.use(std::move(*waf));
  return checks.start(*loaded.platform, config);
}

edge::CacheOptions cache_options(const Context& context) {
  const EdgeCache& spec = context.platform.edge->cache;
  edge::CacheOptions options;
  options.name = context.site().name + "-edge";
  options.memory_bytes_max = spec.memory_bytes_max;
  options.disk_bytes_max = spec.disk_bytes_max;
  if (spec.disk_bytes_max > 0) options.disk_directory = context.state + "/cache";
  options.logger = context.logger.with("cache");
  return options;
}

edge::WriterState writer_state(const ServiceRecord& record) {
  edge::WriterState state;
  state.active = record.active;
  state.epoch = record.intent.epoch;
  state.version = record.version;
  state.moving = record.intent.draining() || record.active != record.intent.writer ||
                 record.active_epoch != record.intent.epoch;
  return state;
}

}  // namespace

int run_edge(const cli::RoleOptions& options) {
  auto context = make_context(options, "edge", true);
  if (!context) return report_failure(context.error());
  const Platform& platform = context->platform;
  if (!platform.edge)
    return report_failure({Code::kInvalid, options.config_path + " has no section 'edge'"});
  if (context->site().role == SiteRole::kWitness)
    return report_failure({Code::kInvalid, "a witness has no edge; its site runs no workload"});
  edge::EdgeOptions edge_options;
  edge_options.threads = static_cast<unsigned>(platform.edge->threads);
  edge_options.access_log = platform.edge->access_log;
  edge_options.access_log_path = context->state + "/access.log";
  edge_options.audit_log_path = context->state + "/audit.log";
  edge_options.audit_bytes_max = platform.edge->firewall.waf.audit_bytes_max;
  edge_options.audit_files = platform.edge->firewall.waf.audit_files;
  edge_options.logger = context->logger;
  Predecessor predecessor;
  if (options.takeover) {
    auto asked = Predecessor::ask(context->state);
    if (!asked) return report_failure(asked.error());
    predecessor = std::move(*asked);
    edge_options.sockets = predecessor.take_sockets();
  }
  auto cache = std::make_shared<edge::HttpCache>(cache_options(*context));
  edge_options.cache = cache;
  net::EventLoop loop;
  auto challenge = edge_challenge(platform);
  if (!challenge) return report_failure(challenge.error());
  auto firewall = edge::AccessRules::load(
      edge_firewall(platform), context->logger,
      *challenge ? std::make_shared<const edge::Challenge>(std::move(**challenge)) : nullptr);
  if (!firewall) return report_failure(firewall.error());
  EdgeRules rules(loop, *firewall, context->logger);
  edge::EdgeConfig config = edge_config(platform, context->self);
  config.hop_key = edge_hop_key(context->tokens.agent);
  if (auto read = read_signing_keys(platform, config); !read) return report_failure(read.error());
  config.firewall = *firewall;
  config.challenge = (*firewall)->challenge();
  EdgeWafRules waf_rules(loop, context->logger, context->state + "/firewall-patterns");
  auto waf = waf_rules.made_of(edge_waf(platform));
  if (!waf) return report_failure(waf.error());
  config.waf = *waf;
  waf_rules.use(std::move(*waf));
  auto edge = edge::Edge::start(std::move(edge_options), config);
  if (!edge) return report_failure(edge.error());
  EdgeMemory memory(context->state + "/writer", platform, context->logger);
  if (auto published = (*edge)->publish(memory.load()); !published)
    return report_failure(published.error());

  net::HttpClient http(loop);
  OriginChecks checks(loop, **edge, context->logger);
  if (auto started = checks.start(platform, config); !started)
    return report_failure(started.error());
  InstanceFeed instances(loop, http, *context,
                         [&](SiteId site, const Tier& tier, const std::vector<bool>& ready) {
                           checks.set_ready(site, tier, ready);
                         });
  EdgeAdmin answers(*context, **edge, *cache, rules, waf_rules);
  std::unique_ptr<net::HttpServer> admin;
  auto open_admin = [&]() -> Status {
    auto opened =
        net::HttpServer::start(loop, {context->site().address, platform.edge->admin_port},
                               [&](const net::HttpRequest& request, net::Responder respond) {
                                 respond(answers.answer(request));
                               });
    if (!opened) return fail(std::move(opened.error()));
    admin = std::move(*opened);
    return {};
  };
  if (auto opened = open_admin(); !opened) return report_failure(opened.error());
  auto signals = loop.on_signals({SIGINT, SIGTERM, SIGHUP}, [&](int signal) {
    if (signal != SIGHUP) return loop.stop();
    const Status reloaded = reload(options, *context, **edge, rules, waf_rules, checks);
    answers.note_reload(reloaded);
    if (!reloaded)
      context->logger.error("could not reload", {{"why", reloaded.error().message}});
    else
      instances.repeat(), context->logger.info("reloaded");
  });
  if (!signals) return report_failure(signals.error());
  StateFeed feed(loop, http, *context, [&](const ServiceRecord& record) {
    // Before the first writer is open there is nobody to wait for.
    if (record.active == kNoSite || record.active_epoch.value == 0) return;
    const edge::WriterState state = writer_state(record);
    if (state == (*edge)->state()) return;
    memory.save(state);
    if (auto published = (*edge)->publish(state); !published)
      context->logger.warn("an old record was not followed", {{"why", published.error().message}});
  });
  Handover::Steps steps;
  steps.sockets = [&] { return (*edge)->sockets(); };
  steps.release = [&] {
    admin.reset();
    cache->release_disk();
  };
  steps.take_back = [&] {
    context->logger.warn("the cache's disk tier stays off until a restart");
    if (auto opened = open_admin(); !opened)
      context->logger.error("no admin port", {{"why", opened.error().message}});
  };
  steps.done = [&] { loop.stop(); };
  auto handover = Handover::start(loop, context->state, std::move(steps), context->logger);
  if (!handover) return report_failure(handover.error());
  if (options.takeover)
    if (auto told = predecessor.serving(); !told) return report_failure(told.error());
  context->logger.info("edge serves",
                       {{"listen", fmt::format("{}", fmt::join((*edge)->listening(), " "))}});
  loop.run();
  context->logger.info("draining");
  if (!(*edge)->drain(platform.edge->timeouts.drain))
    context->logger.warn("requests were still under way at the end of timeouts.drain");
  cache->flush_disk();
  return 0;
}

}  // namespace leeward::app

// leeward agent: the agent core of one site, with its databases, gateways, application processes
// and probes around it.
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>
#include <tuple>

#include "app/agent_api.h"
#include "app/agent_databases.h"
#include "app/agent_memory.h"
#include "app/context.h"
#include "app/roles.h"
#include "app/state_feed.h"
#include "app/tier_deployer.h"
#include "app/tier_functions.h"
#include "app/tier_scaler.h"
#include "base/cgroup.h"
#include "base/file.h"
#include "compute/supervisor.h"
#include "control/agent_core.h"
#include "health/prober.h"
#include "model/json.h"

namespace leeward::app {
namespace {

constexpr Duration kReportEvery = 400ms;
constexpr Duration kReportTimeout = 1s;
constexpr Duration kStopLimit = 12s;

// The applications inherit the agent's environment, and the platform's secrets are none of theirs.
void forget_secrets(const Platform& platform) {
  auto forget = [](const SecretRef& secret) {
    if (secret.kind == SecretRef::Kind::kEnv) ::unsetenv(secret.where.c_str());
  };
  forget(platform.agent_token);
  forget(platform.operator_token);
  for (const Database& database : platform.databases) {
    forget(database.admin_password);
    forget(database.replication_password);
    forget(database.redis_password);
  }
}

class AgentNode {
 public:
  AgentNode(Context& context, net::EventLoop& loop)
      : context_(context),
        loop_(loop),
        logger_(context.logger),
        http_(loop),
        core_(config_of(context)),
        memory_path_(context.state + "/agent.json") {}

  Status start();
  void stop(std::function<void()> done);

 private:
  static control::AgentConfig config_of(const Context& context);

  template <typename Input>
  void step(Input&& input) {
    control::AgentEffects effects;
    input(effects);
    carry_out(effects);
  }
  void carry_out(const control::AgentEffects& effects);
  void send(const control::SendLease& effect);
  void send(const control::SendPromiseRequest& effect);
  void persist(const control::AgentMemory& memory);
  void answer_promise(SiteId from, Epoch epoch, std::function<void(bool)> answer);
  void wake();
  void report();
  void report_if_changed();
  Status start_tiers();
  void tell_functions();
  net::HttpRequest post(std::string path, std::string body) const;

  Context& context_;
  net::EventLoop& loop_;
  Logger logger_;
  net::HttpClient http_;
  SystemClock clock_;
  Registry registry_;
  control::AgentCore core_;
  std::string memory_path_;
  std::unique_ptr<AgentDatabases> databases_;
  std::unique_ptr<AgentApi> api_;
  std::unique_ptr<net::HttpServer> server_;
  std::unique_ptr<StateFeed> feed_;
  std::unique_ptr<health::Prober> prober_;
  CgroupTree groups_;
  std::unique_ptr<TierFunctions> functions_;
  std::unique_ptr<compute::Supervisor> tiers_;
  std::unique_ptr<TierScaler> scaler_;
  std::unique_ptr<TierDeployer> deployer_;
  net::TimerId wake_timer_{};
  net::TimerId report_timer_{};
  std::uint64_t next_promise_ = 1;
  std::map<std::uint64_t, std::function<void(bool)>> promise_answers_;
  using Signature = std::tuple<GatewayMode, Epoch, Epoch, PlanId, bool, bool, Epoch,
                               ReplicationState, bool, std::uint32_t, Position>;
  Signature reported_{};
  bool report_running_ = false;
  bool report_again_ = false;
};

control::AgentConfig AgentNode::config_of(const Context& context) {
  control::AgentConfig config;
  config.self = context.self;
  for (SiteId site : context.platform.workload_sites())
    if (site != context.self) config.peers.push_back(site);
  if (const Database* database = context.platform.find_database(Engine::kMariadb))
    for (const auto& [site, own] : database->sites) {
      auto nodes = static_cast<std::uint8_t>(own.nodes.size());
      config.nodes.site_nodes[site] = nodes;
      if (site == context.self) config.nodes.nodes = nodes;
    }
  config.lease = context.platform.lease;
  if (const Database* database = context.platform.find_database(Engine::kMariadb))
    config.lossless = database->replication.mode == ReplicationMode::kLossless;
  config.drain_patience = context.platform.failover.drain_timeout / 2;
  return config;
}

Status AgentNode::start() {
  auto memory = load_memory(context_.platform, memory_path_, clock_.now());
  if (!memory) return fail(memory.error());
  AgentDatabases::Events events;
  events.status = [this](NodeId node, const DatabaseStatus& status) {
    step([&](auto& out) { core_.on_database(clock_.now(), node, status, out); });
  };
  events.remote = [this](SiteId site, NodeId node, const control::NodeCore::RemoteLook& look) {
    step([&](auto& out) { core_.on_remote_node(clock_.now(), site, node, look, out); });
  };
  events.writer = [this] { return core_.memory().intent.writer; };
  events.done = [this](control::RequestId request, bool ok, Position position) {
    step([&](auto& out) { core_.on_database_done(clock_.now(), request, ok, position, out); });
  };
  events.drained = [this] { step([&](auto& out) { core_.on_gateway(clock_.now(), true, out); }); };
  auto databases = AgentDatabases::start(loop_, context_, registry_, std::move(events));
  if (!databases) return fail(databases.error());
  databases_ = std::move(*databases);

  health::ProberOptions probes;
  probes.vantage = context_.self;
  probes.policy = context_.platform.probes;
  probes.targets = health::probe_targets(context_.platform);
  probes.logger = logger_;
  probes.registry = &registry_;
  probes.on_change = [this](SiteId, Health) { report(); };
  auto prober = health::Prober::start(loop_, std::move(probes));
  if (!prober) return fail(prober.error());
  prober_ = std::move(*prober);

  api_ = std::make_unique<AgentApi>(
      context_, *databases_, registry_,
      [this](SiteId from, Epoch epoch, std::function<void(bool)> answer) {
        answer_promise(from, epoch, std::move(answer));
      },
      [this](control::Rejoin how) {
        Status asked;
        step([&](auto& out) { asked = core_.on_rejoin_request(clock_.now(), how, out); });
        if (asked)
          logger_.info("an operator asks for a rejoin",
                       {{"reseed", how == control::Rejoin::kReseed}});
        return asked;
      },
      [this](NodeId node) {
        std::string why;
        step([&](auto& out) { why = core_.switch_node(clock_.now(), node, out); });
        return why;
      });
  auto server =
      net::HttpServer::start(loop_, {context_.site().address, context_.platform.agent_port},
                             [this](net::HttpRequest request, net::Responder respond) {
                               if (deployer_ && TierDeployer::answers(request))
                                 return deployer_->handle(request, respond);
                               if (scaler_ && TierScaler::answers(request))
                                 return scaler_->handle(std::move(request), std::move(respond));
                               api_->handle(request, std::move(respond));
                             });
  if (!server) return fail(server.error());
  server_ = std::move(*server);
  forget_secrets(context_.platform);
  if (auto tiers = start_tiers(); !tiers) return tiers;

  step([&](auto& out) { core_.start(clock_.now(), *memory, out); });
  feed_ = std::make_unique<StateFeed>(loop_, http_, context_, [this](const ServiceRecord& record) {
    step([&](auto& out) { core_.on_record(clock_.now(), record, out); });
  });
  report();
  logger_.info("agent is ready", {{"listen", to_string(server_->local())}});
  return {};
}

Status AgentNode::start_tiers() {
  compute::PlaceholderValues values{{"site", context_.site().name},
                                    {"address", context_.site().address},
                                    {"state", context_.state}};
  for (const auto& [name, endpoint] : databases_->gateways())
    values["gateway." + name] = to_string(endpoint);
  functions_ =
      std::make_unique<TierFunctions>(context_.platform, context_.site(), values, context_.state);
  compute::SupervisorOptions options;
  auto deployer = TierDeployer::open(loop_, context_, std::move(values), *functions_);
  if (!deployer) return fail(std::move(deployer.error()));
  auto specs = (*deployer)->tiers();
  if (!specs) return fail(std::move(specs.error()));
  options.tiers = std::move(*specs);
  for (const Tier& tier : context_.platform.tiers) {
    if (!tier.process.started() || !tier.functions_at(context_.site())) continue;
    auto functions = functions_->spec_of(tier);
    if (!functions) return fail(functions.error());
    options.tiers.push_back(std::move(*functions));
  }
  groups_ = CgroupTree::detect(
      fmt::format("leeward-{}-{}", context_.platform.name, context_.site().name));
  logger_.debug("control groups", {{"kind", name(groups_.kind())}, {"why", groups_.why()}});
  options.cgroups = &groups_;
  options.log_directory = context_.state + "/log";
  options.logger = logger_;
  options.registry = &registry_;
  options.on_change = [this] {
    if (scaler_) scaler_->instances_changed();
    tell_functions();
  };
  options.on_rollout = [this](const std::string& tier, compute::RolloutEvent event) {
    if (deployer_) deployer_->changed(tier, event);
    if (scaler_) scaler_->instances_changed();  // others may be offered
    tell_functions();
  };
  auto supervisor = compute::Supervisor::create(loop_, std::move(options));
  if (!supervisor) return fail(supervisor.error());
  tiers_ = std::move(*supervisor);
  scaler_ = std::make_unique<TierScaler>(loop_, http_, context_, *tiers_, registry_);
  deployer_ = std::move(*deployer);
  deployer_->attach(*tiers_);
  tiers_->set_active(false);
  return {};
}

void AgentNode::tell_functions() {
  if (!tiers_) return;
  if (Status told = functions_->set_ready(tiers_->ready_instances()); !told)
    logger_.error("functions are not told which instances are ready",
                  {{"why", told.error().message}});
}

void AgentNode::stop(std::function<void()> done) {
  logger_.info("agent stops");
  // A database call may still run when its worker is joined; the keepers end the applications
  // anyway.
  std::thread([] {
    std::this_thread::sleep_for(kStopLimit);
    std::_Exit(0);
  }).detach();
  server_.reset();
  feed_.reset();
  databases_.reset();  // closes the gateways first
  tiers_->stop_all(8s, [done](Status) { done(); });
}

// ----------------------------------------------------------------------------------- effects

void AgentNode::carry_out(const control::AgentEffects& effects) {
  if (!databases_) return;  // stopping
  for (const control::AgentEffect& effect : effects) {
    if (auto* lease = std::get_if<control::SendLease>(&effect)) {
      send(*lease);
    } else if (auto* ask = std::get_if<control::SendPromiseRequest>(&effect)) {
      send(*ask);
    } else if (auto* reply = std::get_if<control::SendPromiseReply>(&effect)) {
      if (auto waiting = promise_answers_.extract(reply->request.value))
        waiting.mapped()(reply->granted);
    } else if (auto* memory = std::get_if<control::Persist>(&effect)) {
      persist(memory->memory);
    } else if (auto* gateway = std::get_if<control::SetGateway>(&effect)) {
      databases_->carry_out(*gateway);
    } else if (auto* extend = std::get_if<control::ExtendLease>(&effect)) {
      databases_->carry_out(*extend);
    } else if (auto* op = std::get_if<control::StartDatabase>(&effect)) {
      databases_->carry_out(*op);
    } else if (auto* end = std::get_if<control::EndTransactions>(&effect)) {
      databases_->carry_out(*end);
    }
  }
  databases_->compare(core_.only_follows(clock_.now()));
  if (scaler_) scaler_->follow(core_.should_serve(), core_.memory().intent.epoch);
  if (tiers_) tiers_->set_active(core_.should_serve());
  report_if_changed();
  wake();
}

void AgentNode::wake() {
  loop_.cancel(wake_timer_);
  Now now = clock_.now();
  wake_timer_ = loop_.call_after(core_.next_tick(now) - now.boot, [this] {
    step([&](auto& out) { core_.tick(clock_.now(), out); });
  });
}

net::HttpRequest AgentNode::post(std::string path, std::string body) const {
  net::HttpRequest request;
  request.method = "POST";
  request.path = std::move(path);
  request.body = std::move(body);
  request.headers["Authorization"] = "Bearer " + context_.tokens.agent;
  request.headers["Content-Type"] = "application/json";
  return request;
}

void AgentNode::send(const control::SendLease& effect) {
  constexpr std::string_view kOps[] = {"acquire", "renew", "release"};
  std::string_view op = kOps[static_cast<int>(effect.op)];
  auto body =
      nlohmann::json{{"site", context_.site().name}, {"op", op}, {"epoch", effect.epoch.value}};
  http_.send(
      context_.platform.control.listen, post("/v1/lease", body.dump()),
      control::AgentConfig{}.request_timeout,
      [this, effect, op](Result<net::HttpResponse> response) {
        auto outcome = control::LeaseOutcome::kUnreachable;
        if (response && response->status == 200) {
          auto json = nlohmann::json::parse(response->body, nullptr, false);
          bool named = json.is_object() && json.contains("outcome") && json["outcome"].is_string();
          std::string text = named ? json["outcome"].get<std::string>() : "";
          if (text == "granted") outcome = control::LeaseOutcome::kGranted;
          if (text == "superseded") outcome = control::LeaseOutcome::kSuperseded;
          if (text == "not_yet") outcome = control::LeaseOutcome::kNotYet;
        }
        if (outcome == control::LeaseOutcome::kSuperseded)
          logger_.warn("the lease is superseded", {{"op", op}, {"epoch", effect.epoch.value}});
        registry_
            .counter("leeward_lease_requests_total", "Lease requests by operation and outcome",
                     {{"op", std::string(op)},
                      {"outcome", fmt::format("{}", static_cast<int>(outcome))}})
            .add();
        step([&](auto& out) { core_.on_lease_reply(clock_.now(), effect.request, outcome, out); });
      });
}

void AgentNode::send(const control::SendPromiseRequest& effect) {
  auto body = nlohmann::json{{"from", context_.site().name}, {"epoch", effect.epoch.value}};
  Endpoint peer{context_.platform.site(effect.to).address, context_.platform.agent_port};
  http_.send(peer, post("/v1/promise", body.dump()), control::AgentConfig{}.request_timeout,
             [this, effect](Result<net::HttpResponse> response) {
               if (!response || response->status != 200) return;
               auto json = nlohmann::json::parse(response->body, nullptr, false);
               bool granted =
                   json.is_object() && json.contains("granted") && json["granted"] == true;
               step([&](auto& out) {
                 core_.on_promise_reply(clock_.now(), effect.to, effect.request, granted, out);
               });
             });
}

void AgentNode::answer_promise(SiteId from, Epoch epoch, std::function<void(bool)> answer) {
  std::uint64_t id = next_promise_++;
  promise_answers_[id] = std::move(answer);
  step([&](auto& out) {
    core_.on_promise_request(clock_.now(), from, epoch, control::RequestId{id}, out);
  });
}

void AgentNode::persist(const control::AgentMemory& memory) {
  auto saved = save_memory(context_.platform, memory_path_, memory);
  if (saved) return;
  // Going on could break a promise after a crash. Dead, this site has no way to write.
  logger_.error("the agent's memory cannot be saved; stopping", {{"why", saved.error().message}});
  std::_Exit(1);
}

// ------------------------------------------------------------------------------------ reports

void AgentNode::report_if_changed() {
  AgentReport r = core_.report(clock_.now());
  // While the writer moves, how far this database has applied is what control waits for.
  bool moving = core_.memory().intent.draining();
  Signature now{r.gateway,
                r.lease_epoch,
                r.writing_epoch,
                r.drained_plan,
                r.rejoining,
                r.by_promise,
                r.database.epoch,
                r.database.replication,
                r.database.read_only,
                databases_->ledger_open(),
                moving ? r.database.applied : Position{}};
  if (now == reported_) return;
  reported_ = now;
  report();
}

void AgentNode::report() {
  if (report_running_) {
    report_again_ = true;
    return;
  }
  if (!databases_ || !prober_ || !tiers_) return;
  AgentReport r = core_.report(clock_.now());
  r.tiers_ready = static_cast<std::uint16_t>(tiers_->ready_count());
  r.tiers_wanted = static_cast<std::uint16_t>(tiers_->wanted_count());
  if (deployer_) {
    r.deployments = deployer_->successes();
    r.rollbacks = deployer_->rollbacks();
    r.deployment = deployer_->last();
  }
  r.ledger_open = databases_->ledger_open();
  r.redis = databases_->redis();
  r.comparison = databases_->comparison();
  VantageReport vantage = prober_->report();
  vantage.life = r.life;
  vantage.sequence = r.sequence;
  nlohmann::json body{{"agent", encode_json(context_.platform, r)},
                      {"vantage", encode_json(context_.platform, vantage)}};
  report_running_ = true;
  report_again_ = false;
  http_.send(context_.platform.control.listen, post("/v1/reports", body.dump()), kReportTimeout,
             [this](Result<net::HttpResponse> response) {
               report_running_ = false;
               if (response && response->status != 200)
                 logger_.warn("control did not take a report",
                              {{"why", net::error_from_response(*response).message}});
               if (report_again_ && response) return report();
               loop_.cancel(report_timer_);
               report_timer_ =
                   loop_.call_after(response ? kReportEvery : 100ms, [this] { report(); });
             });
}

}  // namespace

int run_agent(const cli::RoleOptions& options) {
  auto context = make_context(options, "agent", true);
  if (!context) return report_failure(context.error());
  if (context->site().role == SiteRole::kWitness)
    return report_failure({Code::kInvalid, "a witness runs no workload and needs no agent"});
  auto lock = lock_file(context->state + "/lock");
  if (!lock) return report_failure(lock.error());
  net::EventLoop loop;
  AgentNode node(*context, loop);
  if (auto started = node.start(); !started) return report_failure(started.error());
  auto signals =
      stop_on_signals(loop, [&](std::function<void()> stop) { node.stop(std::move(stop)); });
  if (!signals) return report_failure(signals.error());
  loop.run();
  return 0;
}

}  // namespace leeward::app

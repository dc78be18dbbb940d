#include "app/agent_databases.h"

#include "base/file.h"
#include "config/config.h"
#include "replication/native.h"

namespace leeward::app {
namespace {

constexpr Duration kStatusEvery = 200ms;
constexpr Duration kStatusEveryMoving = 25ms;  // while a planned move waits for what is seen
constexpr Duration kDrainLook = 5ms;
constexpr Duration kAccountsEvery = 5s;
constexpr Duration kApplyTimeout = 10s;
constexpr Duration kTellEvery = 10s;  // of a long rejoin, in the log
constexpr Duration kRemoteEvery = 500ms;
constexpr Duration kRemoteTimeout = 800ms;

std::string_view name(control::DatabaseOp op) {
  constexpr std::string_view kNames[] = {"fence", "promote", "follow", "protect"};
  return kNames[static_cast<std::size_t>(op)];
}

}  // namespace

AgentDatabases::AgentDatabases(net::EventLoop& loop, const Context& context, Registry& registry,
                               Events events)
    : loop_(loop),
      context_(context),
      registry_(registry),
      logger_(context.logger),
      events_(std::move(events)) {}

AgentDatabases::~AgentDatabases() {
  *alive_ = false;
  stopping_ = true;
  // No path first, then everything else.
  for (NamedGateway& g : gateways_) g.gateway->refuse("the agent stops");
}

Result<std::unique_ptr<AgentDatabases>> AgentDatabases::start(net::EventLoop& loop,
                                                              const Context& context,
                                                              Registry& registry, Events events) {
  std::unique_ptr<AgentDatabases> databases(
      new AgentDatabases(loop, context, registry, std::move(events)));
  if (auto opened = databases->open(); !opened) return fail(opened.error());
  for (auto& node : databases->nodes_) databases->read_status(*node);
  databases->look_at_remote();
  databases->beat();
  databases->watch_drain();
  return databases;
}

Status AgentDatabases::open() {
  const Platform& platform = context_.platform;
  mariadb_spec_ = platform.find_database(Engine::kMariadb);
  if (!mariadb_spec_) return fail(Code::kInvalid, "the configuration names no MariaDB database");
  const Database& spec = *mariadb_spec_;
  auto own = spec.sites.find(context_.self);
  if (own == spec.sites.end())
    return fail(Code::kInvalid, "databases.{}: site {} has no database", spec.name,
                context_.site().name);
  auto admin = config::resolve_secret(spec.admin_password, platform.directory);
  if (!admin)
    return fail(std::move(admin.error()).wrap("databases." + spec.name + ".admin.password"));
  auto replication = config::resolve_secret(spec.replication_password, platform.directory);
  if (!replication)
    return fail(
        std::move(replication.error()).wrap("databases." + spec.name + ".replication.password"));
  admin_password_ = *admin;

  database::MariadbOptions options;
  options.admin_user = spec.admin_user;
  options.admin_password = *admin;
  options.replication_user = spec.replication_user;
  options.replication_password = *replication;
  options.site = context_.self;
  options.site_name = [&platform](SiteId site) { return platform.site(site).name; };
  for (const auto& [site, peer] : spec.sites)
    for (const DatabaseNode& node : peer.nodes) options.peers[site].push_back(node.address);
  options.replication = spec.replication;
  options.logger = logger_;
  if (auto opened = open_nodes(options); !opened) return opened;
  auto ledger = database::Ledger::open(context_.state + "/ledger");
  if (!ledger) return fail(ledger.error());
  ledger_.emplace(std::move(*ledger));
  ledger_open_ = static_cast<std::uint32_t>(ledger_->open_count());

  for (const Database& database : platform.databases) {
    if (auto opened = open_gateway(database); !opened) return opened;
    if (database.engine != Engine::kRedis || !database.sites.count(context_.self)) continue;
    auto redis = AgentRedis::start(loop_, context_, registry_, database, *gateways_.back().gateway);
    if (!redis) return fail(std::move(redis.error()));
    redis_ = std::move(*redis);
  }
  check_ = std::make_unique<StandbyCheck>(
      loop_, context_, registry_, spec.replication.verify_rows_a_second,
      [this](const Endpoint& server) { return admin_at(server); });
  remote_worker_ = std::make_unique<net::WorkerPool>(1, 4);
  ledger_worker_ = std::make_unique<net::WorkerPool>(1, 16);
  return {};
}

Status AgentDatabases::open_nodes(const database::MariadbOptions& shared) {
  const SiteDatabase& own = mariadb_spec_->sites.at(context_.self);
  for (std::size_t n = 0; n < own.nodes.size(); ++n) {
    database::MariadbOptions options = shared;
    options.node = NodeId{static_cast<std::uint8_t>(n)};
    options.local = own.nodes[n].address;
    options.state_dir = n == 0 ? context_.state : fmt::format("{}/node-{}", context_.state, n + 1);
    if (auto made = make_directories(options.state_dir); !made) return made;
    auto node = std::make_unique<Node>(options.node, std::move(options));
    node->status_worker = std::make_unique<net::WorkerPool>(1, 4);
    node->op_worker = std::make_unique<net::WorkerPool>(1, 64);
    nodes_.push_back(std::move(node));
  }
  return {};
}

Status AgentDatabases::open_gateway(const Database& database) {
  auto node = database.sites.find(context_.self);
  if (node == database.sites.end()) return {};
  gateway::Options options;
  options.name = database.name;
  options.engine = database.engine;
  options.site_name = context_.site().name;
  options.listen = database.gateway;
  if (options.listen.host == "{address}") options.listen.host = context_.site().address;
  options.peer_listen = {context_.site().address, database.peer_port};
  options.local_database = node->second.address();
  options.hold_timeout = context_.platform.failover.hold_timeout;
  options.logger = logger_;
  options.registry = &registry_;
  if (database.engine == Engine::kMariadb)
    options.account_lookup = [this](std::string_view user, std::string_view) {
      return verifier(user);
    };
  auto started = gateway::Gateway::start(std::move(options));
  if (!started)
    return fail(std::move(started.error()).wrap("databases." + database.name + ".gateway"));
  gateways_.push_back({&database, std::move(*started)});
  return {};
}

std::map<std::string, Endpoint> AgentDatabases::gateways() const {
  std::map<std::string, Endpoint> endpoints;
  for (const NamedGateway& g : gateways_)
    endpoints[g.database->name] = g.gateway->listen_endpoint();
  return endpoints;
}

// ---------------------------------------------------------------------------------- gateways

void AgentDatabases::carry_out(const control::SetGateway& effect) {
  mode_ = effect;
  logger_.info("gateway", {{"mode", leeward::name(effect.mode)}, {"epoch", effect.epoch.value}});
  if (redis_) redis_->carry_out(effect);
  for (NamedGateway& g : gateways_) {
    if (g.database->engine == Engine::kRedis) continue;
    switch (effect.mode) {
      case GatewayMode::kRefuse:
        g.gateway->refuse("it does not hold the writer lease and cannot reach control");
        break;
      case GatewayMode::kHold:
        g.gateway->hold();
        // Without a lease nothing in flight may be acknowledged any more.
        if (effect.epoch.value == 0 && !effect.finish) g.gateway->give_up_lease();
        break;
      case GatewayMode::kLocal:
        g.gateway->serve_local(effect.epoch, effect.deadline, local_server(*g.database));
        break;
      case GatewayMode::kRemote:
        g.gateway->serve_remote(
            {context_.platform.site(effect.site).address, g.database->peer_port});
        break;
    }
  }
  look_again();
}

// The server that this site's gateway leads to.
const Endpoint& AgentDatabases::local_server(const Database& database) const {
  const SiteDatabase& own = database.sites.at(context_.self);
  return own.address(mode_.node);
}

void AgentDatabases::carry_out(const control::ExtendLease& effect) {
  mode_.deadline = effect.deadline;
  if (redis_) redis_->carry_out(effect);
  for (NamedGateway& g : gateways_) {
    if (g.database->engine == Engine::kRedis) continue;
    // Too late by its own clock, the gateway has fenced itself although the lease goes on: open it
    // anew.
    if (!g.gateway->extend(effect.epoch, effect.deadline) && mode_.mode == GatewayMode::kLocal)
      g.gateway->serve_local(effect.epoch, effect.deadline, local_server(*g.database));
  }
}

void AgentDatabases::carry_out(const control::EndTransactions&) {
  logger_.warn("transactions take too long to end; they are ended for the planned move");
  for (NamedGateway& g : gateways_) g.gateway->end_transactions("the writer moves to another site");
}

void AgentDatabases::watch_drain() {
  bool draining = mode_.mode == GatewayMode::kHold && mode_.epoch.value != 0;
  if (draining) {
    bool drained = true;
    for (NamedGateway& g : gateways_) drained &= g.gateway->drained();
    if (redis_) drained &= redis_->drained();
    if (drained) events_.drained();
  }
  loop_.call_after(draining ? kDrainLook : 20ms, [this, alive = alive_] {
    if (*alive) watch_drain();
  });
}

// ---------------------------------------------------------------------------------- accounts

std::optional<gateway::AccountVerifier> AgentDatabases::verifier(std::string_view user) {
  std::lock_guard lock(verifiers_mutex_);
  auto it = verifiers_.find(user);
  if (it != verifiers_.end()) return it->second;
  accounts_wanted_ = true;  // perhaps a new account
  return std::nullopt;
}

void AgentDatabases::refresh_accounts(Node& node) {
  Now now = SystemClock{}.now();
  bool due = accounts_wanted_ || now.boot - accounts_read_ >= kAccountsEvery;
  if (!due || node.ops_running > 0) return;
  accounts_read_ = now.boot;
  accounts_wanted_ = false;
  ++node.ops_running;
  auto submitted = node.op_worker->submit([this, &node, alive = alive_] {
    auto hashes = node.driver.native_password_hashes();
    if (hashes) {
      std::lock_guard lock(verifiers_mutex_);
      verifiers_ = Verifiers(hashes->begin(), hashes->end());
    }
    loop_.post([&node, alive] {
      if (*alive) --node.ops_running;
    });
  });
  if (!submitted) --node.ops_running;
}

// ------------------------------------------------------------------------------------- status

void AgentDatabases::read_status(Node& node) {
  if (node.status_running) return;
  node.status_running = true;
  node.status_again = false;
  auto submitted = node.status_worker->submit([this, &node, alive = alive_,
                                               ended = node.ops_ended] {
    auto status = node.driver.status();
    DatabaseStatus seen = status ? *status : DatabaseStatus{};
    seen.refused = !status && status.error().code == Code::kUnavailable;
    std::string why = status ? "" : status.error().message;
    loop_.post([this, &node, alive, seen, why, ended] {
      if (!*alive) return;
      if (seen.reachable == node.said_unreachable) {
        if (seen.reachable)
          logger_.info("the database answers", {{"node", node.id.value + 1}});
        else
          logger_.warn("the database does not answer", {{"node", node.id.value + 1}, {"why", why}});
        node.said_unreachable = !seen.reachable;
      }
      // What was asked before an operation ended says nothing about now.
      node.status_again |= ended != node.ops_ended;
      if (ended == node.ops_ended || !seen.reachable) events_.status(node.id, seen);
      status_read(node, seen);
    });
  });
  if (submitted) return;
  node.status_running = false;
  read_status_after(node, kStatusEvery);
}

void AgentDatabases::status_read(Node& node, const DatabaseStatus& status) {
  node.status_running = false;
  bool serves = mode_.mode != GatewayMode::kLocal || mode_.node == node.id;
  if (status.reachable && serves) refresh_accounts(node);
  bool moving = mode_.mode == GatewayMode::kHold;
  read_status_after(node, node.status_again ? 0ms : moving ? kStatusEveryMoving : kStatusEvery);
}

mysql::SqlTarget AgentDatabases::admin_at(const Endpoint& server) const {
  return {server, mariadb_spec_->admin_user, admin_password_,
          replication::admin_tls(mariadb_spec_->replication)};
}

void AgentDatabases::compare(const std::optional<control::AgentCore::Followed>& followed) {
  if (!followed) return check_->allow(std::nullopt);
  check_->allow(
      StandbyCheck::Ends{mariadb_spec_->sites.at(followed->source).address(followed->source_node),
                         mariadb_spec_->sites.at(context_.self).address(followed->node)});
}

void AgentDatabases::read_status_after(Node& node, Duration delay) {
  loop_.cancel(node.status_timer);
  node.status_timer = loop_.call_after(delay, [this, &node, alive = alive_] {
    if (*alive) read_status(node);
  });
}

void AgentDatabases::look_again() {
  for (auto& node : nodes_) {
    node->status_again = true;
    read_status(*node);
  }
}

// Which of its two nodes the writer's site writes on, also while control is away.
void AgentDatabases::look_at_remote() {
  loop_.call_after(kRemoteEvery, [this, alive = alive_] {
    if (*alive) look_at_remote();
  });
  SiteId writer = events_.writer();
  if (writer == kNoSite || writer == context_.self) return;
  auto site = mariadb_spec_->sites.find(writer);
  if (site == mariadb_spec_->sites.end() || site->second.nodes.size() < kNodesMax) return;
  (void)remote_worker_->submit([this, alive = alive_, writer, &nodes = site->second.nodes] {
    for (std::size_t n = 0; n < nodes.size(); ++n) {
      auto seen = database::Mariadb::look_at(admin_at(nodes[n].address), kRemoteTimeout);
      control::NodeCore::RemoteLook look;
      if (seen) look = {true, seen->read_only, seen->promotion};
      loop_.post([this, alive, writer, n, look] {
        if (*alive) events_.remote(writer, NodeId{static_cast<std::uint8_t>(n)}, look);
      });
    }
  });  // refused while the last round still runs: the next one comes anyway
}

void AgentDatabases::beat() {
  bool writing = mode_.mode == GatewayMode::kLocal && BootClock::now() < mode_.deadline;
  Node& primary = node(mode_.node);
  if (writing && primary.ops_running == 0) {
    ++primary.ops_running;
    auto submitted = primary.op_worker->submit([this, &primary, alive = alive_,
                                                epoch = mode_.epoch] {
      auto beaten = primary.driver.heartbeat(epoch, SystemClock{}.now().wall);
      loop_.post([this, &primary, alive, ok = beaten.has_value()] {
        if (!*alive) return;
        --primary.ops_running;
        registry_
            .counter("leeward_heartbeats_total", "Heartbeat rows written", {{"ok", ok ? "1" : "0"}})
            .add();
      });
    });
    if (!submitted) --primary.ops_running;
  }
  loop_.call_after(context_.platform.heartbeat, [this, alive = alive_] {
    if (*alive) beat();
  });
}

// --------------------------------------------------------------------------------- operations

void AgentDatabases::carry_out(const control::StartDatabase& op) {
  logger_.info("database operation begins", {{"op", name(op.op)},
                                             {"node", op.node.value + 1},
                                             {"epoch", op.epoch.value},
                                             {"term", op.term.value},
                                             {"alone", op.alone}});
  bool rejoin = op.op == control::DatabaseOp::kFollow && op.site != context_.self;
  if (rejoin) {
    remote_node_ = op.source_node;
    rejoin_.begin(BootClock::now(), op.reseed);
  }
  Node& on = node(op.node);
  ++on.ops_running;
  auto submitted = on.op_worker->submit([this, &on, alive = alive_, op] {
    OpResult result = run_op(on.driver, op);
    loop_.post([this, &on, alive, op, result] {
      if (!*alive) return;
      --on.ops_running;
      ++on.ops_ended;
      logger_.info("database operation ends",
                   {{"op", name(op.op)}, {"node", op.node.value + 1}, {"ok", result.ok}});
      events_.done(op.request, result.ok, result.position);
      on.status_again = true;
      read_status(on);
    });
  });
  if (!submitted) {
    --on.ops_running;
    if (rejoin)
      rejoin_.end(BootClock::now(),
                  fail(Code::kUnavailable, "too much waits for the database already"));
    loop_.post([this, alive = alive_, op] {
      if (*alive) events_.done(op.request, false, {});
    });
  }
}

AgentDatabases::OpResult AgentDatabases::run_op(database::Mariadb& mariadb,
                                                const control::StartDatabase& op) {
  OpResult result;
  auto keep = [&](Result<Position> position) {
    result.ok = position.has_value();
    if (position)
      result.position = *position;
    else
      logger_.error("database operation failed",
                    {{"op", name(op.op)}, {"why", position.error().message}});
  };
  switch (op.op) {
    case control::DatabaseOp::kFence:
      keep(mariadb.fence());
      break;
    case control::DatabaseOp::kPromote: {
      auto status = mariadb.status();
      if (status && status->epoch.value == 0) {  // the first writer ever
        if (auto prepared = mariadb.prepare(); !prepared) {
          keep(fail(prepared.error()));
          break;
        }
      }
      keep(mariadb.promote({op.epoch, op.term, op.alone, op.link, op.whole}, kApplyTimeout));
      break;
    }
    case control::DatabaseOp::kProtect: {
      auto done = mariadb.protect(op.alone);
      keep(done ? Result<Position>(Position{}) : fail(done.error()));
      if (done)
        logger_.info(op.alone ? "commits are acknowledged without a copy elsewhere"
                              : "commits wait for a copy elsewhere");
      break;
    }
    case control::DatabaseOp::kFollow:
      follow(mariadb, op, result);
      break;
  }
  return result;
}

void AgentDatabases::follow(database::Mariadb& mariadb, const control::StartDatabase& op,
                            OpResult& result) {
  auto outcome = try_to_follow(mariadb, op);
  if (op.site != context_.self) rejoin_.end(BootClock::now(), outcome);
  if (!outcome) {
    logger_.warn("could not become a standby; trying again", {{"why", outcome.error().message}});
    return;
  }
  result.ok = true;
  constexpr std::string_view kKinds[] = {"streaming", "rewound", "reseeded"};
  logger_.info("is a standby", {{"how", kKinds[static_cast<int>(outcome->kind)]},
                                {"ledger_entries", outcome->ledger_entries},
                                {"never_acknowledged", outcome->unacknowledged},
                                {"why_reseeded", outcome->why_reseeded}});
}

Result<database::FollowOutcome> AgentDatabases::try_to_follow(database::Mariadb& mariadb,
                                                              const control::StartDatabase& op) {
  // A standby that could not be the writer is none; what is wrong is said all at once.
  if (auto fit = mariadb.precheck(); !fit && fit.error().code == Code::kInvalid)
    return fail(fit.error());
  std::lock_guard lock(ledger_mutex_);
  BootTime told{};
  auto phase = database::FollowPhase::kConnect;
  auto outcome = mariadb.follow(
      op.site, op.source_node, op.epoch, *ledger_,
      [&](const database::FollowProgress& p) {
        BootTime now = BootClock::now();
        if (op.site != context_.self) rejoin_.progress(now, p);
        if (p.phase != phase || now - told >= kTellEvery) {
          phase = p.phase;
          told = now;
          logger_.info("rejoining", {{"phase", database::name(p.phase)},
                                     {"bytes", p.bytes},
                                     {"rows", p.rows},
                                     {"lost_transactions", p.transactions}});
        }
        return !stopping_.load();
      },
      op.reseed);
  ledger_open_ = static_cast<std::uint32_t>(ledger_->open_count());
  return outcome;
}

// -------------------------------------------------------------------------------------- ledger

void AgentDatabases::with_ledger(
    std::function<Result<std::string>(database::Ledger&, const database::ReplayTarget&)> work,
    std::function<void(Result<std::string>)> done) {
  SiteId writer = mode_.mode == GatewayMode::kRemote ? mode_.site : context_.self;
  NodeId on = mode_.mode == GatewayMode::kRemote ? remote_node_ : mode_.node;
  database::ReplayTarget target{mariadb_spec_->sites.at(writer).address(on),
                                mariadb_spec_->admin_user, admin_password_,
                                replication::admin_tls(mariadb_spec_->replication)};
  auto submitted = ledger_worker_->submit([this, alive = alive_, work, done, target] {
    std::lock_guard lock(ledger_mutex_);
    Result<std::string> result = work(*ledger_, target);
    ledger_open_ = static_cast<std::uint32_t>(ledger_->open_count());
    loop_.post([alive, done, result] {
      if (*alive) done(result);
    });
  });
  if (!submitted) done(fail(Code::kUnavailable, "the agent is busy with the ledger; try again"));
}

}  // namespace leeward::app

#include "app/agent_databases.h"

#include "base/file.h"
#include "config/config.h"
#include "replication/native.h"

namespace leeward::app {
namespace {

constexpr Duration kStatusEvery = 200ms;
constexpr Duration kStatusEveryMoving = 25ms;  // while a planned move waits for what is seen
constexpr Duration kDrainLook = 5ms;
constexpr Duration kRedisEvery = 500ms;
constexpr Duration kAccountsEvery = 5s;
constexpr Duration kApplyTimeout = 10s;
constexpr Duration kTellEvery = 10s;  // of a long rejoin, in the log

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
  databases->read_status();
  databases->beat();
  databases->watch_drain();
  databases->steer_redis();
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
  options.local = own->second.address;
  options.admin_user = spec.admin_user;
  options.admin_password = *admin;
  options.replication_user = spec.replication_user;
  options.replication_password = *replication;
  options.site = context_.self;
  options.site_name = [&platform](SiteId site) { return platform.site(site).name; };
  for (const auto& [site, node] : spec.sites) options.peers[site] = node.address;
  options.replication = spec.replication;
  options.state_dir = context_.state;
  options.logger = logger_;
  mariadb_.emplace(std::move(options));
  auto ledger = database::Ledger::open(context_.state + "/ledger");
  if (!ledger) return fail(ledger.error());
  ledger_.emplace(std::move(*ledger));
  ledger_open_ = static_cast<std::uint32_t>(ledger_->open_count());

  for (const Database& database : platform.databases) {
    if (auto opened = open_gateway(database); !opened) return opened;
    if (database.engine == Engine::kRedis && database.sites.count(context_.self))
      redis_.push_back(
          {&database, database::Redis({database.sites.at(context_.self).address, "", 1s})});
  }
  status_worker_ = std::make_unique<net::WorkerPool>(1, 4);
  op_worker_ = std::make_unique<net::WorkerPool>(1, 64);
  redis_worker_ = std::make_unique<net::WorkerPool>(1, 4);
  ledger_worker_ = std::make_unique<net::WorkerPool>(1, 16);
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
  options.local_database = node->second.address;
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
  for (NamedGateway& g : gateways_) {
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
        g.gateway->serve_local(effect.epoch, effect.deadline);
        break;
      case GatewayMode::kRemote:
        g.gateway->serve_remote(
            {context_.platform.site(effect.site).address, g.database->peer_port});
        break;
    }
  }
  status_again_ = true;
  read_status();
  steer_redis();
}

void AgentDatabases::carry_out(const control::ExtendLease& effect) {
  mode_.deadline = effect.deadline;
  for (NamedGateway& g : gateways_) {
    // Too late by its own clock, the gateway has fenced itself although the lease goes on: open it
    // anew.
    if (!g.gateway->extend(effect.epoch, effect.deadline) && mode_.mode == GatewayMode::kLocal)
      g.gateway->serve_local(effect.epoch, effect.deadline);
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

void AgentDatabases::refresh_accounts() {
  Now now = SystemClock{}.now();
  bool due = accounts_wanted_ || now.boot - accounts_read_ >= kAccountsEvery;
  if (!due || ops_running_ > 0) return;
  accounts_read_ = now.boot;
  accounts_wanted_ = false;
  ++ops_running_;
  auto submitted = op_worker_->submit([this, alive = alive_] {
    auto hashes = mariadb_->native_password_hashes();
    if (hashes) {
      std::lock_guard lock(verifiers_mutex_);
      verifiers_ = Verifiers(hashes->begin(), hashes->end());
    }
    loop_.post([this, alive] {
      if (*alive) --ops_running_;
    });
  });
  if (!submitted) --ops_running_;
}

// ------------------------------------------------------------------------------------- status

void AgentDatabases::read_status() {
  if (status_running_) return;
  status_running_ = true;
  status_again_ = false;
  auto submitted = status_worker_->submit([this, alive = alive_] {
    auto status = mariadb_->status();
    DatabaseStatus seen = status ? *status : DatabaseStatus{};
    std::string why = status ? "" : status.error().message;
    loop_.post([this, alive, seen, why] {
      if (!*alive) return;
      if (seen.reachable == said_unreachable_) {
        if (seen.reachable)
          logger_.info("the database answers");
        else
          logger_.warn("the database does not answer", {{"why", why}});
        said_unreachable_ = !seen.reachable;
      }
      status_read(seen);
    });
  });
  if (submitted) return;
  status_running_ = false;
  read_status_after(kStatusEvery);
}

void AgentDatabases::status_read(DatabaseStatus status) {
  status_running_ = false;
  events_.status(status);
  if (status.reachable) refresh_accounts();
  bool moving = mode_.mode == GatewayMode::kHold;
  read_status_after(status_again_ ? 0ms : moving ? kStatusEveryMoving : kStatusEvery);
}

void AgentDatabases::read_status_after(Duration delay) {
  loop_.cancel(status_timer_);
  status_timer_ = loop_.call_after(delay, [this, alive = alive_] {
    if (*alive) read_status();
  });
}

void AgentDatabases::beat() {
  bool writing = mode_.mode == GatewayMode::kLocal && BootClock::now() < mode_.deadline;
  if (writing && ops_running_ == 0) {
    ++ops_running_;
    auto submitted = op_worker_->submit([this, alive = alive_, epoch = mode_.epoch] {
      auto beaten = mariadb_->heartbeat(epoch, SystemClock{}.now().wall);
      loop_.post([this, alive, ok = beaten.has_value()] {
        if (!*alive) return;
        --ops_running_;
        registry_
            .counter("leeward_heartbeats_total", "Heartbeat rows written", {{"ok", ok ? "1" : "0"}})
            .add();
      });
    });
    if (!submitted) --ops_running_;
  }
  loop_.call_after(context_.platform.heartbeat, [this, alive = alive_] {
    if (*alive) beat();
  });
}

// --------------------------------------------------------------------------------- operations

void AgentDatabases::carry_out(const control::StartDatabase& op) {
  logger_.info("database operation begins", {{"op", name(op.op)}, {"epoch", op.epoch.value}});
  if (op.op == control::DatabaseOp::kFollow) rejoin_.begin(BootClock::now(), op.reseed);
  ++ops_running_;
  auto submitted = op_worker_->submit([this, alive = alive_, op] {
    OpResult result = run_op(op);
    loop_.post([this, alive, op, result] {
      if (!*alive) return;
      --ops_running_;
      logger_.info("database operation ends", {{"op", name(op.op)}, {"ok", result.ok}});
      events_.done(op.request, result.ok, result.position);
      status_again_ = true;
      read_status();
    });
  });
  if (!submitted) {
    --ops_running_;
    if (op.op == control::DatabaseOp::kFollow)
      rejoin_.end(BootClock::now(),
                  fail(Code::kUnavailable, "too much waits for the database already"));
    loop_.post([this, alive = alive_, op] {
      if (*alive) events_.done(op.request, false, {});
    });
  }
}

AgentDatabases::OpResult AgentDatabases::run_op(const control::StartDatabase& op) {
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
      keep(mariadb_->fence());
      break;
    case control::DatabaseOp::kPromote: {
      auto status = mariadb_->status();
      if (status && status->epoch.value == 0) {  // the first writer ever
        if (auto prepared = mariadb_->prepare(); !prepared) {
          keep(fail(prepared.error()));
          break;
        }
      }
      keep(mariadb_->promote(op.epoch, kApplyTimeout, {op.alone, op.link}));
      break;
    }
    case control::DatabaseOp::kProtect: {
      auto done = mariadb_->protect(op.alone);
      keep(done ? Result<Position>(Position{}) : fail(done.error()));
      if (done)
        logger_.info(op.alone ? "commits are acknowledged without a copy at the standby"
                              : "commits wait for a copy at the standby");
      break;
    }
    case control::DatabaseOp::kFollow:
      follow(op, result);
      break;
  }
  return result;
}

void AgentDatabases::follow(const control::StartDatabase& op, OpResult& result) {
  auto outcome = try_to_follow(op);
  rejoin_.end(BootClock::now(), outcome);
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

Result<database::FollowOutcome> AgentDatabases::try_to_follow(const control::StartDatabase& op) {
  // A standby that could not be the writer is none; what is wrong is said all at once.
  if (auto fit = mariadb_->precheck(); !fit && fit.error().code == Code::kInvalid)
    return fail(fit.error());
  std::lock_guard lock(ledger_mutex_);
  BootTime told{};
  auto phase = database::FollowPhase::kConnect;
  auto outcome = mariadb_->follow(
      op.site, op.epoch, *ledger_,
      [&](const database::FollowProgress& p) {
        BootTime now = BootClock::now();
        rejoin_.progress(now, p);
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

// --------------------------------------------------------------------------------------- Redis

void AgentDatabases::steer_redis() {
  if (!redis_running_ && !redis_.empty() &&
      (mode_.mode == GatewayMode::kLocal || mode_.mode == GatewayMode::kRemote)) {
    redis_running_ = true;
    auto submitted = redis_worker_->submit([this, alive = alive_, mode = mode_] {
      for (RedisNode& node : redis_) {
        Status done = mode.mode == GatewayMode::kLocal
                          ? node.driver.promote()
                          : node.driver.follow(node.database->sites.at(mode.site).address);
        if (!done)
          logger_.debug("redis",
                        {{"database", node.database->name}, {"why", done.error().message}});
      }
      loop_.post([this, alive] {
        if (!*alive) return;
        redis_running_ = false;
      });
    });
    if (!submitted) redis_running_ = false;
  }
  loop_.cancel(redis_timer_);
  redis_timer_ = loop_.call_after(kRedisEvery, [this, alive = alive_] {
    if (*alive) steer_redis();
  });
}

// -------------------------------------------------------------------------------------- ledger

void AgentDatabases::with_ledger(
    std::function<Result<std::string>(database::Ledger&, const database::ReplayTarget&)> work,
    std::function<void(Result<std::string>)> done) {
  SiteId writer = mode_.mode == GatewayMode::kRemote ? mode_.site : context_.self;
  database::ReplayTarget target{mariadb_spec_->sites.at(writer).address, mariadb_spec_->admin_user,
                                admin_password_,
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

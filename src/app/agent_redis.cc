#include "app/agent_redis.h"

#include "config/config.h"

namespace leeward::app {
namespace {

constexpr Duration kLookEvery = 200ms;
constexpr Duration kLookEveryMoving = 25ms;  // while clients wait for what is seen
constexpr std::size_t kWaitingMax = 4;       // calls of one server

std::string_view name(database::RedisCore::Kind kind) {
  constexpr std::string_view kNames[] = {"promote", "follow", "fence"};
  return kNames[static_cast<std::size_t>(kind)];
}

database::RedisConfig config_of(const Context& context, const Database& database) {
  database::RedisConfig config;
  config.self = context.self;
  for (const auto& [site, own] : database.sites)
    for (const DatabaseNode& node : own.nodes) config.servers[site].push_back(node.address);
  return config;
}

}  // namespace

AgentRedis::AgentRedis(net::EventLoop& loop, const Context& context, Registry& registry,
                       const Database& database, gateway::Gateway& gateway)
    : loop_(loop),
      context_(context),
      registry_(registry),
      logger_(context.logger),
      database_(database),
      gateway_(gateway),
      core_(config_of(context, database)) {}

AgentRedis::~AgentRedis() { *alive_ = false; }

Result<std::unique_ptr<AgentRedis>> AgentRedis::start(net::EventLoop& loop, const Context& context,
                                                      Registry& registry, const Database& database,
                                                      gateway::Gateway& gateway) {
  std::unique_ptr<AgentRedis> redis(new AgentRedis(loop, context, registry, database, gateway));
  if (auto opened = redis->open(); !opened) return fail(opened.error());
  redis->look();
  return redis;
}

Status AgentRedis::open() {
  std::string password;
  if (database_.redis_password.kind != SecretRef::Kind::kNone) {
    auto secret = config::resolve_secret(database_.redis_password, context_.platform.directory);
    if (!secret)
      return fail(std::move(secret.error()).wrap("databases." + database_.name + ".auth.password"));
    password = *secret;
  }
  net::WorkerPool* remote = nullptr;
  for (const auto& [site, own] : database_.sites)
    for (std::size_t n = 0; n < own.nodes.size(); ++n) {
      auto server = std::make_unique<Server>(
          site, NodeId{static_cast<std::uint8_t>(n)},
          database::RedisOptions{own.nodes[n].address, password, 1s, database_.redis_user});
      bool near = site == context_.self;
      if (near || !remote) workers_.push_back(std::make_unique<net::WorkerPool>(1, kWaitingMax));
      server->worker = near || !remote ? workers_.back().get() : remote;
      if (!near) remote = server->worker;
      servers_.push_back(std::move(server));
    }
  return {};
}

// ---------------------------------------------------------------------------------- the gateway

void AgentRedis::carry_out(const control::SetGateway& effect) {
  mode_ = effect;
  switch (effect.mode) {
    case GatewayMode::kRefuse:
      leading_ = false;
      gateway_.refuse("it does not hold the writer lease and cannot reach control");
      break;
    case GatewayMode::kHold:
      leading_ = false;
      gateway_.hold();
      // Without a lease nothing in flight may be acknowledged any more.
      if (effect.epoch.value == 0 && !effect.finish) gateway_.give_up_lease();
      break;
    case GatewayMode::kLocal:
      if (!leading_) gateway_.hold();
      break;
    case GatewayMode::kRemote:
      leading_ = false;
      gateway_.serve_remote({context_.platform.site(effect.site).address, database_.peer_port});
      break;
  }
  steer();
}

void AgentRedis::carry_out(const control::ExtendLease& effect) {
  mode_.deadline = effect.deadline;
  // Too late by its own clock, the gateway has fenced itself although the lease goes on: open it
  // anew.
  if (!leading_ || gateway_.extend(effect.epoch, effect.deadline)) return;
  leading_ = false;
  lead();
}

// Clients are led to the chosen primary while it is promoted; else they wait, and those of another
// server are dropped.
void AgentRedis::lead() {
  bool right = leading_ && leads_to_ == core_.primary();
  if (core_.open() && right) return;
  if (leading_) close();
  if (!core_.open()) return;
  leads_to_ = core_.primary();
  leading_ = true;
  logger_.info("redis primary", {{"database", database_.name}, {"node", leads_to_.value + 1}});
  gateway_.serve_local(mode_.epoch, mode_.deadline,
                       database_.sites.at(context_.self).address(leads_to_));
}

void AgentRedis::close() {
  leading_ = false;
  gateway_.hold();
  gateway_.give_up_lease();
}

bool AgentRedis::drained() { return gateway_.drained() && core_.settled(); }

// ------------------------------------------------------------------------------------- looks

void AgentRedis::look() {
  BootTime now = BootClock::now();
  bool waiting =
      mode_.mode == GatewayMode::kHold || (mode_.mode == GatewayMode::kLocal && !leading_);
  for (auto& server : servers_) {
    bool wanted = server->site == context_.self ||
                  (mode_.mode == GatewayMode::kRemote && server->site == mode_.site);
    // A look at the primary that failed is soon done again: it is to be replaced before it is
    // restarted.
    bool failed =
        server->node == core_.primary() && !core_.look(server->site, server->node).reachable;
    bool soon = server->site == context_.self && (waiting || failed);
    Duration every = soon ? kLookEveryMoving : kLookEvery;
    if (wanted && !server->looking && now - server->looked >= every) look_at(*server);
  }
  steer();
  loop_.call_after(kLookEveryMoving, [this, alive = alive_] {
    if (*alive) look();
  });
}

void AgentRedis::look_at(Server& server) {
  server.looking = true;
  server.looked = BootClock::now();
  auto submitted = server.worker->submit([this, &server, alive = alive_] {
    auto status = server.driver.status();
    database::RedisLook seen;
    seen.reachable = status.has_value();
    seen.refused = !status && status.error().code == Code::kUnavailable;
    if (status) seen.status = *status;
    std::string why = status ? "" : status.error().message;
    loop_.post([this, &server, alive, seen, why] {
      if (!*alive) return;
      server.looking = false;
      bool was = core_.look(server.site, server.node).reachable;
      if (was && !seen.reachable) logger_.warn("redis does not answer", {{"why", why}});
      core_.on_look(SystemClock{}.now(), server.site, server.node, seen);
      steer();
      publish();
    });
  });
  if (!submitted) server.looking = false;  // the next round looks again
}

void AgentRedis::publish() const {
  for (const auto& server : servers_) {
    if (server->site != context_.self) continue;
    const database::RedisLook& seen = core_.look(server->site, server->node);
    Labels labels{{"database", database_.name},
                  {"node", fmt::format("{}", server->node.value + 1)}};
    registry_.gauge("leeward_redis_up", "1 when the server answers", labels).set(seen.reachable);
    registry_.gauge("leeward_redis_offset_bytes", "Replication stream written or applied", labels)
        .set(static_cast<double>(seen.status.offset));
  }
  if (auto lag = core_.lag())
    registry_
        .gauge("leeward_redis_lag_bytes", "Of the writer's stream, not yet received here",
               {{"database", database_.name}})
        .set(static_cast<double>(*lag));
}

// --------------------------------------------------------------------------------- operations

void AgentRedis::steer() {
  database::RedisCore::Wanted wanted;
  wanted.mode = mode_.mode;
  wanted.epoch = mode_.epoch;
  wanted.writer = mode_.site;
  wanted.drained = mode_.mode == GatewayMode::kHold && gateway_.drained();
  auto step = core_.step(SystemClock{}.now(), wanted);
  for (const database::RedisLoss& loss : step.lost) note_loss(loss);
  if (mode_.mode == GatewayMode::kLocal) lead();
  for (const database::RedisCore::Op& op : step.ops) begin(op);
}

void AgentRedis::begin(const database::RedisCore::Op& op) {
  Server* server = nullptr;
  for (auto& candidate : servers_)
    if (candidate->site == context_.self && candidate->node == op.node) server = candidate.get();
  logger_.info("redis operation begins", {{"op", name(op.kind)},
                                          {"node", op.node.value + 1},
                                          {"epoch", op.promotion.epoch.value},
                                          {"source", to_string(op.source)}});
  auto submitted = server->worker->submit([this, server, alive = alive_, op] {
    Status done;
    switch (op.kind) {
      case database::RedisCore::Kind::kPromote:
        done = server->driver.promote(op.promotion);
        break;
      case database::RedisCore::Kind::kFollow:
        done = server->driver.follow(op.source);
        break;
      case database::RedisCore::Kind::kFence:
        done = server->driver.fence(op.confirm);
        break;
    }
    loop_.post([this, alive, op, done] {
      if (!*alive) return;
      if (!done)
        logger_.warn("redis operation failed",
                     {{"op", name(op.kind)}, {"why", done.error().message}});
      core_.on_done(SystemClock{}.now(), op.node, done.has_value());
    });
  });
  if (!submitted) core_.on_done(SystemClock{}.now(), op.node, false);
}

void AgentRedis::note_loss(const database::RedisLoss& loss) {
  ++losses_;
  lost_bytes_ += loss.bytes;
  lost_exactly_ = loss.exact;
  logger_.warn("redis had acknowledged writes that its new primary does not have",
               {{"database", database_.name},
                {"of", context_.platform.site(loss.site).name},
                {"node", loss.node.value + 1},
                {"bytes", loss.bytes},
                {"exact", loss.exact}});
  registry_
      .counter("leeward_redis_lost_bytes_total", "Acknowledged writes lost by failovers, as stream",
               {{"database", database_.name}})
      .add(loss.bytes);
}

RedisReport AgentRedis::report() const {
  RedisReport r;
  for (const auto& server : servers_) {
    if (server->site != context_.self) continue;
    const database::RedisLook& seen = core_.look(server->site, server->node);
    r.nodes.push_back(
        {seen.reachable, seen.status.primary, seen.status.link_up, seen.status.offset});
  }
  r.primary = core_.primary().value + 1u;
  r.open = leading_;
  r.lag_bytes = core_.lag();
  r.losses = losses_;
  r.lost_bytes = lost_bytes_;
  r.lost_exactly = lost_exactly_;
  return r;
}

}  // namespace leeward::app

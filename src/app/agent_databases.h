// The databases of a site as its agent drives them: one gateway each, the MariaDB driver on a
// worker thread, Redis following along. Decides nothing but how: what to do comes from the agent
// core as effects, and what was seen goes back to it.
//
// Loop thread only; blocking work runs on workers (one for operations, one for status, one for
// Redis, one for people looking at the ledger) and posts its result back.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "app/context.h"
#include "app/rejoin_watch.h"
#include "control/agent_core.h"
#include "database/ledger.h"
#include "database/mariadb.h"
#include "database/redis.h"
#include "gateway/gateway.h"

namespace leeward::app {

class AgentDatabases {
 public:
  struct Events {
    std::function<void(const DatabaseStatus&)> status;
    std::function<void(control::RequestId, bool ok, Position)> done;
    std::function<void()> drained;  // every gateway is in hold with nothing in flight
  };

  static Result<std::unique_ptr<AgentDatabases>> start(net::EventLoop& loop, const Context& context,
                                                       Registry& registry, Events events);
  ~AgentDatabases();

  void carry_out(const control::SetGateway& effect);
  void carry_out(const control::ExtendLease& effect);
  void carry_out(const control::StartDatabase& effect);
  void carry_out(const control::EndTransactions&);

  // Runs `work` with the ledger and the writer's database, then `done` on the loop with its result.
  // kUnavailable when too much waits already.
  void with_ledger(
      std::function<Result<std::string>(database::Ledger&, const database::ReplayTarget&)> work,
      std::function<void(Result<std::string>)> done);
  std::uint32_t ledger_open() const { return ledger_open_; }
  const RejoinWatch& rejoin() const { return rejoin_; }
  // Host and port of each gateway by database name, for the applications' {gateway.NAME}.
  std::map<std::string, Endpoint> gateways() const;

 private:
  struct RedisNode {
    const Database* database;
    database::Redis driver;
  };
  using Verifiers = std::map<std::string, gateway::AccountVerifier, std::less<>>;

  AgentDatabases(net::EventLoop& loop, const Context& context, Registry& registry, Events events);
  Status open();
  Status open_gateway(const Database& database);
  void read_status();
  void read_status_after(Duration delay);
  void status_read(DatabaseStatus status);
  void beat();
  void watch_drain();
  void steer_redis();
  void refresh_accounts();
  std::optional<gateway::AccountVerifier> verifier(std::string_view user);
  struct OpResult {
    bool ok = false;
    Position position;
  };
  OpResult run_op(const control::StartDatabase& op);
  void follow(const control::StartDatabase& op, OpResult& result);
  Result<database::FollowOutcome> try_to_follow(const control::StartDatabase& op);

  net::EventLoop& loop_;
  const Context& context_;
  Registry& registry_;
  Logger logger_;
  Events events_;
  const Database* mariadb_spec_ = nullptr;
  std::optional<database::Mariadb> mariadb_;
  std::optional<database::Ledger> ledger_;
  std::mutex ledger_mutex_;  // a rejoin writes it, people read it
  std::atomic<std::uint32_t> ledger_open_{0};
  RejoinWatch rejoin_;
  std::vector<RedisNode> redis_;
  struct NamedGateway {
    const Database* database;
    std::unique_ptr<gateway::Gateway> gateway;
  };
  std::vector<NamedGateway> gateways_;
  control::SetGateway mode_{GatewayMode::kRefuse, {}, {}, kNoSite};
  std::string admin_password_;

  std::mutex verifiers_mutex_;
  Verifiers verifiers_;
  std::atomic<bool> accounts_wanted_{true};
  BootTime accounts_read_{};

  net::TimerId status_timer_{};
  net::TimerId redis_timer_{};
  bool status_running_ = false;
  bool status_again_ = false;
  bool said_unreachable_ = false;
  int ops_running_ = 0;
  bool redis_running_ = false;
  std::atomic<bool> stopping_{false};
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  // Last, so that they are joined before what they use is gone.
  std::unique_ptr<net::WorkerPool> status_worker_, op_worker_, redis_worker_, ledger_worker_;
};

}  // namespace leeward::app

// The databases of a site as its agent drives them: one gateway each, the MariaDB drivers on worker
// threads, and Redis (agent_redis.h). Decides nothing but how: what to do comes from the agent
// core as effects, and what was seen goes back to it.
//
// Loop thread only; blocking work runs on workers and posts its result back: for each MariaDB node
// one for operations and one for looks, so that a node that hangs delays no other; one for looks at
// the nodes of the writer's site, one for people looking at the ledger.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "app/agent_redis.h"
#include "app/context.h"
#include "app/rejoin_watch.h"
#include "app/standby_check.h"
#include "control/agent_core.h"
#include "database/ledger.h"
#include "database/mariadb.h"
#include "gateway/gateway.h"

namespace leeward::app {

class AgentDatabases {
 public:
  struct Events {
    std::function<void(NodeId, const DatabaseStatus&)> status;
    std::function<void(SiteId, NodeId, const control::NodeCore::RemoteLook&)> remote;
    std::function<SiteId()> writer;  // as the agent knows it
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
  std::optional<RedisReport> redis() const {
    return redis_ ? std::optional(redis_->report()) : std::nullopt;
  }
  // The standby compares itself with what it follows from now on; nullopt: it has other things to
  // do.
  void compare(const std::optional<control::AgentCore::Followed>& followed);
  std::optional<ComparisonReport> comparison() const { return check_->report(); }
  // Host and port of each gateway by database name, for the applications' {gateway.NAME}.
  std::map<std::string, Endpoint> gateways() const;

 private:
  // One MariaDB server of this site.
  struct Node {
    Node(NodeId node, database::MariadbOptions options) : id(node), driver(std::move(options)) {}
    NodeId id;
    database::Mariadb driver;
    net::TimerId status_timer{};
    bool status_running = false;
    bool status_again = false;
    bool said_unreachable = false;
    int ops_running = 0;
    std::uint64_t ops_ended = 0;
    // Last, so that they are joined before what they use is gone.
    std::unique_ptr<net::WorkerPool> status_worker, op_worker;
  };
  using Verifiers = std::map<std::string, gateway::AccountVerifier, std::less<>>;

  AgentDatabases(net::EventLoop& loop, const Context& context, Registry& registry, Events events);
  Status open();
  Status open_gateway(const Database& database);
  const Endpoint& local_server(const Database& database) const;
  Status open_nodes(const database::MariadbOptions& shared);
  void read_status(Node& node);
  void read_status_after(Node& node, Duration delay);
  void status_read(Node& node, const DatabaseStatus& status);
  mysql::SqlTarget admin_at(const Endpoint& server) const;
  void look_again();
  void look_at_remote();
  Node& node(NodeId id) { return *nodes_[id.value]; }
  void beat();
  void watch_drain();
  void refresh_accounts(Node& node);
  std::optional<gateway::AccountVerifier> verifier(std::string_view user);
  struct OpResult {
    bool ok = false;
    Position position;
  };
  OpResult run_op(database::Mariadb& mariadb, const control::StartDatabase& op);
  void follow(database::Mariadb& mariadb, const control::StartDatabase& op, OpResult& result);
  Result<database::FollowOutcome> try_to_follow(database::Mariadb& mariadb,
                                                const control::StartDatabase& op);

  net::EventLoop& loop_;
  const Context& context_;
  Registry& registry_;
  Logger logger_;
  Events events_;
  const Database* mariadb_spec_ = nullptr;
  std::optional<database::Ledger> ledger_;
  std::mutex ledger_mutex_;  // a rejoin writes it, people read it
  std::atomic<std::uint32_t> ledger_open_{0};
  RejoinWatch rejoin_;
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

  NodeId remote_node_{};  // of the writer's site, followed last
  std::atomic<bool> stopping_{false};
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  // Last, so that they are joined before what they use is gone.
  std::vector<std::unique_ptr<Node>> nodes_;
  std::unique_ptr<net::WorkerPool> remote_worker_, ledger_worker_;
  std::unique_ptr<AgentRedis> redis_;
  std::unique_ptr<StandbyCheck> check_;
};

}  // namespace leeward::app

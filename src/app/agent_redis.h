// The Redis of a site as its agent drives it: looks at its own servers and at those of the writer's
// site, the core that decides (database/redis_core.h), its operations on workers, and the gateway,
// which leads to the primary only once that is promoted for the lease's epoch.
//
// Loop thread only; blocking calls run on workers, one for each own server and one for the other
// site's, so that a server that hangs delays no other.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "app/context.h"
#include "base/metrics.h"
#include "control/agent_core.h"
#include "database/redis_core.h"
#include "gateway/gateway.h"
#include "net/loop.h"

namespace leeward::app {

class AgentRedis {
 public:
  // The gateway must outlive this object. kInvalid: the password cannot be read.
  static Result<std::unique_ptr<AgentRedis>> start(net::EventLoop& loop, const Context& context,
                                                   Registry& registry, const Database& database,
                                                   gateway::Gateway& gateway);
  ~AgentRedis();

  void carry_out(const control::SetGateway& effect);
  void carry_out(const control::ExtendLease& effect);
  // In hold under the lease: nothing is in flight, and the replicas have everything or had their
  // time for it.
  bool drained();
  RedisReport report() const;

 private:
  struct Server {
    Server(SiteId s, NodeId n, database::RedisOptions options)
        : site(s), node(n), driver(std::move(options)) {}
    SiteId site;
    NodeId node;
    database::Redis driver;
    net::WorkerPool* worker = nullptr;
    bool looking = false;
    BootTime looked{};
  };

  AgentRedis(net::EventLoop& loop, const Context& context, Registry& registry,
             const Database& database, gateway::Gateway& gateway);
  Status open();
  void look();
  void look_at(Server& server);
  void steer();
  void lead();
  void close();
  void begin(const database::RedisCore::Op& op);
  void note_loss(const database::RedisLoss& loss);
  void publish() const;

  net::EventLoop& loop_;
  const Context& context_;
  Registry& registry_;
  Logger logger_;
  const Database& database_;
  gateway::Gateway& gateway_;
  database::RedisCore core_;
  control::SetGateway mode_{GatewayMode::kRefuse, {}, {}, kNoSite};
  bool leading_ = false;  // the gateway is open to `leads_to_`
  NodeId leads_to_;
  std::uint64_t losses_ = 0;
  std::uint64_t lost_bytes_ = 0;
  bool lost_exactly_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::vector<std::unique_ptr<Server>> servers_;
  // Last, so that they are joined before what they use is gone.
  std::vector<std::unique_ptr<net::WorkerPool>> workers_;
};

}  // namespace leeward::app

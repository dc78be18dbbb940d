// What an agent answers over HTTP:
//   other agents  POST /v1/promise {from, epoch} → {granted}
//   operators     GET /v1/ledger, GET /v1/ledger/ID, POST /v1/ledger/ID/replay {force}|discard
//                 GET /v1/rejoin; POST /v1/rejoin {how: rewind|reseed}
//                 POST /v1/node/primary {node}: makes that node (1 or 2) of this site the primary,
//                 planned
//   anybody       GET /healthz, /metrics
#pragma once

#include <functional>

#include "app/agent_databases.h"
#include "app/context.h"
#include "net/http.h"

namespace leeward::app {

class AgentApi {
 public:
  using PromiseHandler =
      std::function<void(SiteId from, Epoch epoch, std::function<void(bool)> answer)>;
  using RejoinHandler = std::function<Status(control::Rejoin how)>;
  // Empty when the change has begun, else why not.
  using NodeHandler = std::function<std::string(NodeId node)>;
  AgentApi(const Context& context, AgentDatabases& databases, Registry& registry,
           PromiseHandler promise, RejoinHandler rejoin, NodeHandler node)
      : context_(context),
        databases_(databases),
        registry_(registry),
        promise_(std::move(promise)),
        rejoin_(std::move(rejoin)),
        node_(std::move(node)) {}
  void handle(const net::HttpRequest& request, net::Responder respond);

 private:
  void post_promise(const net::HttpRequest& request, net::Responder respond);
  void post_node(const net::HttpRequest& request, net::Responder respond);
  void ledger(const net::HttpRequest& request, net::Responder respond);
  void rejoin(const net::HttpRequest& request, net::Responder respond);

  const Context& context_;
  AgentDatabases& databases_;
  Registry& registry_;
  PromiseHandler promise_;
  RejoinHandler rejoin_;
  NodeHandler node_;
};

}  // namespace leeward::app

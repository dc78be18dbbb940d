// What an agent answers over HTTP:
//   other agents  POST /v1/promise {from, epoch} → {granted}
//   operators     GET /v1/ledger, GET /v1/ledger/ID, POST /v1/ledger/ID/replay {force}|discard
//                 GET /v1/rejoin; POST /v1/rejoin {how: rewind|reseed}
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
  AgentApi(const Context& context, AgentDatabases& databases, Registry& registry,
           PromiseHandler promise, RejoinHandler rejoin)
      : context_(context),
        databases_(databases),
        registry_(registry),
        promise_(std::move(promise)),
        rejoin_(std::move(rejoin)) {}
  void handle(const net::HttpRequest& request, net::Responder respond);

 private:
  void post_promise(const net::HttpRequest& request, net::Responder respond);
  void ledger(const net::HttpRequest& request, net::Responder respond);
  void rejoin(const net::HttpRequest& request, net::Responder respond);

  const Context& context_;
  AgentDatabases& databases_;
  Registry& registry_;
  PromiseHandler promise_;
  RejoinHandler rejoin_;
};

}  // namespace leeward::app

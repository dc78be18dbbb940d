// The control API: HTTP and JSON, bearer tokens, long polls.
//
//   agents     GET  /v1/state?after=V&wait_ms=N[&site=S&dns_epoch=E]   record, as soon as newer
//   than V
//              POST /v1/lease    {site, op: acquire|renew|release, epoch} → {outcome}
//              POST /v1/reports  {agent: {…}|null, vantage: {…}|null}
//   operators  GET  /v1/status, /v1/plan, /v1/lag, /v1/events?after=N&limit=N&wait_ms=N
//              POST /v1/failover, /v1/switchover, /v1/failback, /v1/maintenance, /v1/degrade
//   anybody    GET  /healthz, /metrics (nothing secret in them)
//
// Errors are {"error": {"code", "message"}} with the status of base/error.h. Waits are at most 30
// s. The API decides nothing: it parses, asks ControlService and prints. Loop thread only.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "console/auth.h"
#include "console/lag_history.h"
#include "control/control_core.h"
#include "net/http.h"

namespace leeward::console {

class ControlService {
 public:
  virtual ~ControlService() = default;
  virtual const control::ControlCore& core() const = 0;
  virtual Now now() const = 0;
  virtual const LagHistory& lag() const = 0;
  virtual void lease(SiteId site, control::LeaseOp op, Epoch epoch,
                     std::function<void(control::LeaseOutcome)> done) = 0;
  virtual void agent_report(const AgentReport& report) = 0;
  virtual void vantage_report(const VantageReport& report) = 0;
  virtual void dns_answers(SiteId site, Epoch epoch) = 0;
  virtual void operate(control::OperatorRequest request,
                       std::function<void(Result<std::string>)> done) = 0;
  // Calls `done` when the record's version is above `after`, or after `wait`.
  virtual void wait_for_record(std::uint64_t after, Duration wait, std::function<void()> done) = 0;
  // The events after `after`, as soon as there is one, or none after `wait`.
  virtual void wait_for_events(std::uint64_t after, std::size_t limit, Duration wait,
                               std::function<void(Result<std::vector<EventRecord>>)> done) = 0;
};

class Api {
 public:
  Api(const Platform& platform, Tokens tokens, ControlService& service, Registry& registry);
  void handle(const net::HttpRequest& request, net::Responder respond);

 private:
  void route(const net::HttpRequest& request, net::Responder& respond);
  void get_state(const net::HttpRequest& request, net::Responder respond);
  void get_events(const net::HttpRequest& request, net::Responder respond);
  void post_lease(const net::HttpRequest& request, net::Responder respond);
  void post_reports(const net::HttpRequest& request, net::Responder respond);
  void post_move(const net::HttpRequest& request, control::OperatorRequest::Kind kind,
                 net::Responder respond);
  void post_maintenance(const net::HttpRequest& request, net::Responder respond);
  void operate(control::OperatorRequest request, net::Responder respond);

  const Platform& platform_;
  Tokens tokens_;
  ControlService& service_;
  Registry& registry_;
};

}  // namespace leeward::console

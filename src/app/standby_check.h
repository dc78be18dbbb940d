// A standby compares itself with the writer while nothing else is to do: every table at one
// position on both ends, at the configured rate, pass after pass (replication/verify.h). It never
// repairs.
//
// It ends at the next chunk when the site is to do anything else; a promotion or a rejoin does not
// wait for that, but takes the replication threads away from it (replication::ThreadsLock).
//
// Loop thread only; the comparison runs on a worker of its own.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "app/context.h"
#include "base/metrics.h"
#include "model/status.h"
#include "mysql/sql.h"
#include "net/loop.h"
#include "replication/verify.h"

namespace leeward::app {

class StandbyCheck {
 public:
  // Both servers' administrator accounts; `account` makes one for a server's address.
  StandbyCheck(net::EventLoop& loop, const Context& context, Registry& registry,
               double rows_a_second, std::function<mysql::SqlTarget(const Endpoint&)> account);
  ~StandbyCheck();

  // What the site does now: its standby server, and the writer's that it follows. Called often; the
  // same again changes nothing. nullopt: it has other things to do.
  struct Ends {
    Endpoint source;
    Endpoint target;
    bool operator==(const Ends&) const = default;
  };
  void allow(std::optional<Ends> ends);
  std::optional<ComparisonReport> report() const;  // nullopt: it may not compare now

 private:
  void begin(const Ends& ends);
  void pass(const Ends& ends);
  void ended(const Result<replication::VerifyReport>& report);
  bool progressed(const replication::Progress& at, std::uint64_t& counted);

  net::EventLoop& loop_;
  Logger logger_;
  Counter& rows_;
  Counter& passes_;
  Gauge& different_;
  const double rows_a_second_;
  std::function<mysql::SqlTarget(const Endpoint&)> account_;
  std::optional<Ends> ends_;
  bool running_ = false;
  BootTime next_{};
  std::string said_;  // last failure that was logged
  std::atomic<bool> stop_{false};
  mutable std::mutex mutex_;
  ComparisonReport report_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  net::WorkerPool worker_{1, 1};  // last, so that it is joined before what it uses is gone
};

}  // namespace leeward::app

// The native driver: MariaDB's own GTID replication of a whole server, set up and watched. It
// carries everything (DDL, triggers' effects, accounts in no case), needs no process of ours
// between the two servers, and goes on when ours is gone: stop() and the destructor leave the
// servers as they are, apart from what stop() says.
//
// All that is durable lies in the servers: the target's gtid_slave_pos is the position. The link is
// that of native.h; how commits wait at the source is ReplicationPolicy::mode, and switched on by
// start() (lossless mode belongs to a platform's record and is refused here).
//
// One thread of its own from start() to stop(), which looks at both servers twice a second.
#pragma once

#include <memory>

#include "base/log.h"
#include "model/platform.h"
#include "mysql/sql.h"
#include "replication/driver.h"

namespace leeward::replication {

struct NativeOptions {
  std::string task;
  mysql::SqlTarget source;  // administrators
  mysql::SqlTarget target;
  std::string replication_user;  // at either end, with REPLICATION SLAVE
  std::string replication_password;
  ReplicationPolicy policy;
  Logger logger;
};

// What belongs to a task but not to the link.
struct NativeParts {
  // Copies the whole server and returns the position that the copy is at.
  std::function<Result<mysql::GtidPosition>(const OnProgress&)> seed;
  // Undoes at the first end what the second one lacks, listing it first (database/mariadb.h).
  std::function<Result<RewindReport>(const mysql::SqlTarget& diverged,
                                     const mysql::SqlTarget& other, const OnProgress&)>
      rewind;
  std::function<Result<VerifyReport>(const VerifyOptions&, const OnProgress&)> verify;
};

class NativeDriver final : public Driver {
 public:
  NativeDriver(NativeOptions options, NativeParts parts);
  ~NativeDriver() override;

  Result<std::vector<Finding>> precheck(BootTime deadline) override;
  Status seed(const OnProgress& progress) override;
  Status start(BootTime deadline) override;
  Status stop(BootTime deadline) override;
  Status pause(BootTime deadline) override;
  Status resume(BootTime deadline) override;
  LinkStatus status() const override;
  Status drain(const mysql::GtidPosition& until, BootTime deadline) override;
  Result<mysql::GtidPosition> fence(BootTime deadline) override;
  Status promote(BootTime deadline) override;
  Result<RewindReport> rewind(const OnProgress& progress) override;
  Status reverse(BootTime deadline) override;
  Result<VerifyReport> verify(const VerifyOptions& options, const OnProgress& progress) override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace leeward::replication

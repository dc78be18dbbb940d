#include "replication/verify.h"

#include <algorithm>
#include <charconv>
#include <thread>

#include "replication/internal/verify_run.h"
#include "replication/native.h"

namespace leeward::replication {
namespace {

constexpr Duration kPollEvery = 20ms;
constexpr Duration kLockMax = 5s;

// STOP SLAVE SQL_THREAD, START SLAVE … UNTIL, and the reader thread is left alone.
class ReplicaStandstill final : public Standstill {
 public:
  explicit ReplicaStandstill(mysql::SqlTarget replica) : replica_(std::move(replica)) {}
  ~ReplicaStandstill() override { release(); }

  Status hold(BootTime deadline) override {
    if (auto ready = ensure(deadline); !ready) return ready;
    if (!lock_) {
      auto lock = ThreadsLock::wait(*sql_, std::min(deadline, BootClock::now() + kLockMax));
      if (!lock) return fail(std::move(lock.error()));
      lock_.emplace(std::move(*lock));
    }
    // A thread that is only just starting is not stopped by the first one.
    for (;;) {
      if (auto stopped = sql_->execute("STOP SLAVE SQL_THREAD", deadline); !stopped) return stopped;
      auto status = sql_->query("SHOW SLAVE STATUS", deadline);
      if (!status) return fail(std::move(status.error()));
      if (status->rows.empty())
        return fail(Code::kRefused, "MariaDB at {} is no replica", sql_->peer());
      if (status->cell(0, "Slave_SQL_Running").value_or("") == "No") return {};
      if (BootClock::now() >= deadline)
        return fail(Code::kTimeout, "MariaDB at {}: replication does not stop", sql_->peer());
      std::this_thread::sleep_for(kPollEvery);
    }
  }

  Status advance(const mysql::StreamPosition& at, BootTime deadline) override {
    if (auto ready = ensure(deadline); !ready) return ready;
    if (!lock_)
      return fail(Code::kConflict, "MariaDB at {}: a promotion or a rejoin ended the comparison",
                  sql_->peer());
    auto position = ask("SELECT @@global.gtid_slave_pos", deadline);
    if (!position) return fail(std::move(position.error()));
    if (*position == at.gtids) return {};
    auto started = sql_->execute(
        fmt::format("START SLAVE SQL_THREAD UNTIL MASTER_LOG_FILE={}, MASTER_LOG_POS={}",
                    sql_->quote(at.log.file), at.log.offset),
        deadline);
    constexpr unsigned kRunning = 1254;  // somebody else, an agent, started it
    if (!started && sql_->last_error() == kRunning) started.error().code = Code::kConflict;
    if (!started) return started;
    for (;;) {
      position = ask("SELECT @@global.gtid_slave_pos", deadline);
      if (!position) return fail(std::move(position.error()));
      auto status = sql_->query("SHOW SLAVE STATUS", deadline);
      if (!status) return fail(std::move(status.error()));
      bool running = status->cell(0, "Slave_SQL_Running").value_or("No") != "No";
      if (!running && *position == at.gtids) return {};
      if (!running)
        return fail(Code::kConflict, "MariaDB at {}: replication is at {} instead of {}: {}",
                    sql_->peer(), to_string(*position), to_string(at.gtids),
                    status->cell(0, "Last_SQL_Error").value_or(""));
      if (BootClock::now() >= deadline)
        return fail(Code::kTimeout, "MariaDB at {}: replication did not reach {}, it is at {}",
                    sql_->peer(), to_string(at.gtids), to_string(*position));
      std::this_thread::sleep_for(kPollEvery);
    }
  }

  void release() override {
    if (!lock_) return;
    BootTime deadline = BootClock::now() + kStandstillMax;
    if (lock_->held()) {
      // UNTIL may still run: it would stop at its position.
      (void)sql_->execute("STOP SLAVE SQL_THREAD", deadline);
      start_applying(deadline);
      lock_.reset();
      return;
    }
    // The connection was lost, or a promotion ended it and does what it does. Whoever stopped the
    // thread starts it again, unless somebody else is at it.
    lock_.reset();
    sql_.reset();
    if (!ensure(deadline)) return;
    if (auto lock = ThreadsLock::wait(*sql_, BootClock::now()); lock) start_applying(deadline);
  }

  bool logs_repairs() const override { return false; }

  Result<mysql::GtidPosition> shown(mysql::SqlConnection& target, BootTime deadline) override {
    // The variable is not part of a snapshot, the table behind it is: the greatest sub_id of each
    // domain is its position.
    auto rows = target.query(
        "SELECT GROUP_CONCAT(CONCAT(p.domain_id,'-',p.server_id,'-',p.seq_no)) FROM "
        "mysql.gtid_slave_pos p JOIN (SELECT domain_id, MAX(sub_id) AS sub_id FROM "
        "mysql.gtid_slave_pos GROUP BY domain_id) newest USING (domain_id, sub_id)",
        deadline);
    if (!rows) return fail(std::move(rows.error()));
    return mysql::parse_gtid_position(rows->scalar());
  }

 private:
  // Only while the receiving thread runs: started without it, the server would drop what it has
  // received. Where that thread ended by itself, the agent mends the link.
  void start_applying(BootTime deadline) {
    auto link = read_native_link(*sql_, deadline);
    if (link && link->configured && link->receiving && !link->applying && !link->apply_failed)
      (void)sql_->execute("START SLAVE SQL_THREAD", deadline);
  }
  Status ensure(BootTime deadline) {
    if (sql_ && sql_->usable()) return {};
    lock_.reset();
    auto opened = mysql::SqlConnection::open(replica_, deadline);
    if (!opened) return fail(std::move(opened.error()));
    sql_.emplace(std::move(*opened));
    return {};
  }
  Result<mysql::GtidPosition> ask(std::string_view question, BootTime deadline) {
    auto rows = sql_->query(question, deadline);
    if (!rows) return fail(std::move(rows.error()));
    return mysql::parse_gtid_position(rows->scalar());
  }

  const mysql::SqlTarget replica_;
  std::optional<mysql::SqlConnection> sql_;
  std::optional<ThreadsLock> lock_;  // while the target is held; after sql_, which it uses
};

}  // namespace

std::unique_ptr<Standstill> replica_standstill(mysql::SqlTarget replica) {
  return std::make_unique<ReplicaStandstill>(std::move(replica));
}

Result<VerifyReport> verify(const VerifyEnds& ends, const VerifyOptions& options,
                            const OnProgress& progress) {
  return internal::VerifyRun(ends, options, progress).run();
}

}  // namespace leeward::replication

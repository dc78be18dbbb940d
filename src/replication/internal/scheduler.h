// Makes batches of the source's transactions and hands them to the workers: the applying half of a
// stream, from the relay log to the target. Runs on one thread, its own loop; blocks in it.
//
// A batch is closed when it has `transactions_max` transactions or `batch_bytes_max` bytes, when a
// worker is idle and nothing more is to be read at once, and at the latest `flush_after` after it
// was begun. So a lone transaction is applied at once, and under load batches grow by themselves.
//
// What does not fit a batch is applied alone, when everything before it is committed:
//   a statement (DDL)      ddl.h, with an intent that survives a crash
//   a huge transaction     above large_bytes, streamed into one transaction of the target while it
//                          is read; never in memory as a whole
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "base/log.h"
#include "replication/internal/apply_pool.h"
#include "replication/internal/ddl.h"
#include "replication/internal/row_sql.h"
#include "replication/internal/write_set.h"
#include "replication/relay_log.h"
#include "replication/seed_state.h"

namespace leeward::replication::internal {

struct SchedulerOptions {
  mysql::SqlTarget target;
  std::string task;
  Mapping mapping;
  int workers = 3;
  std::uint64_t transactions_max = 50;
  std::size_t batch_bytes_max = 1u << 20;
  std::size_t large_bytes = 8u << 20;
  std::size_t memory_bytes_max = 48u << 20;
  Duration flush_after = 10ms;
  bool always_sql = false;  // never BINLOG: a source or target that is not MariaDB
  ConflictSettings conflicts;
  std::set<std::uint32_t> own_servers;  // changes first made at the target: not brought back
  Logger logger;
  // After each commit at the target; on a worker's thread, in order.
  std::function<void(const Batch&)> on_commit;
  // Asked before each transaction, with the position that it begins at; true: apply what was begun,
  // and wait there.
  std::function<bool(const mysql::GtidPosition&)> hold;
  // What a seed copied and at which positions; null, or behind us: nothing is handed over any more.
  std::shared_ptr<const SeedState> seed;
};

class Scheduler {
 public:
  // Opens the sessions at the target and reads where the task is.
  static Result<std::unique_ptr<Scheduler>> start(SchedulerOptions options, BootTime deadline);
  ~Scheduler();

  const Checkpoint& checkpoint() const { return checkpoint_; }

  // Applies what comes until stop() or an error. The events must begin at or before the
  // checkpoint; transactions that it includes are passed over.
  Outcome run(RelayCursor& source);
  // Makes run() return at the end of the transaction that is being read. Any thread.
  void stop() { stopping_.store(true); }
  std::uint64_t retries() const { return pool_->retries(); }

 private:
  explicit Scheduler(SchedulerOptions options);

  std::string why_sql() const;  // as TableCache wants it
  bool held() const;
  // The next event, or none when there is none yet, or none before what was begun is due.
  Result<std::optional<RelayEvent>> await(RelayCursor& source);
  Outcome take(RelayCursor& source, const RelayEvent& event);
  Outcome begin_transaction(RelayCursor& source, const mysql::Event& event);
  Outcome take_rows(const mysql::Event& event);
  Outcome add_rows(const RoutedTable& table, const mysql::RowsEvent& event, std::string_view rows);
  Outcome take_query(const mysql::Event& event);
  void end_handover();
  HandoverOf handover_of(const RoutedTable& table) const;
  Outcome end_transaction(const RelayEvent& event);
  void see_heartbeat(const RoutedTable& table, const mysql::RowsEvent& event);
  void collect_replay();
  void begin_batch();
  Outcome flush();
  bool due(bool more) const;
  // A huge transaction: from memory to an open transaction at the target.
  Outcome begin_large();
  Outcome feed_large();
  Outcome end_large();
  Outcome failed(Error error);
  Result<TargetTable> describe(const std::string& schema, const std::string& table);

  const SchedulerOptions options_;
  std::unique_ptr<ApplyPool> pool_;
  std::optional<ApplySession> alone_;  // for what is applied alone
  Checkpoint checkpoint_;              // as read at start
  TableCache tables_;
  std::optional<DdlExecutor> ddl_;
  DependencyTracker tracker_;
  std::atomic<bool> stopping_{false};

  Batch batch_;  // being made
  ReplayBuilder replay_;
  BootTime begun_{};              // of batch_
  mysql::GtidPosition position_;  // after the last transaction read
  std::uint64_t next_id_ = 1;

  bool handing_over_ = false;  // rows may be in the seed's copy already

  // The transaction being read.
  std::optional<mysql::GtidEvent> open_;
  bool skip_ = false;   // already applied, or made at the target
  bool large_ = false;  // being streamed by alone_
  bool has_rows_ = false;
  WriteSet write_set_;
};

}  // namespace leeward::replication::internal

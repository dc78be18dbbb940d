// The stream driver: our own change data capture. docs/internals/replication.md tells the life of a
// change; docs/adr/0011 why it is built so.
//
//   source ──► capture ──► relay log (durable, acknowledged) ──► scheduler ──► workers ──► target
//
// The target holds the checkpoint, in the same transactions as the data
// (leeward.stream_checkpoint). Whatever is killed, the next start() goes on there: nothing twice,
// nothing left out.
//
// Threads: three of its own (capture, scheduler, watch) and one a worker, from start() to stop().
// Memory: at most memory_bytes_max of batches, a few buffers of 8 MiB, and the largest single row
// event. Disk: relay_bytes_max in state_dir; a full relay log stops reading from the source.
//
// What cannot be applied stops the stream at that transaction, with the reason in status().error,
// and is tried again every few seconds: mended at either end, the stream goes on by itself. Nothing
// is ever skipped. Only a checkpoint that somebody else moves twice ends the applying for good: two
// processes have the same task, and start() is for whom of them is to go on.
#pragma once

#include <memory>

#include "base/log.h"
#include "base/metrics.h"
#include "mysql/replication_client.h"
#include "mysql/sql.h"
#include "replication/conflict.h"
#include "replication/driver.h"
#include "replication/mapping.h"

namespace leeward::replication {

struct StreamOptions {
  std::string task;  // at most 64 bytes; names the checkpoint in the target
  mysql::ReplicationSource source;
  mysql::SqlTarget source_sql;  // the same server, for questions, heartbeats and fence()
  mysql::SqlTarget target;
  std::uint32_t server_id = 0;  // of our replication client; unique among the source's replicas
  Mapping mapping;
  std::string state_dir;  // the relay log lives here; one process at a time
  std::uint64_t relay_bytes_max = 4ull << 30;

  int workers = 3;
  std::uint64_t group = 50;  // transactions of the source in one of the target, at most
  Duration flush_after = 10ms;
  std::size_t memory_bytes_max = 48u << 20;
  // From this size on a transaction of the source is streamed instead of collected.
  std::size_t large_bytes = 8u << 20;
  bool always_sql = false;  // statements instead of BINLOG events

  ConflictSettings conflicts;  // both directions at once; see conflict.h

  bool semi_sync = true;               // acknowledge what is durable in the relay log
  Duration heartbeat = 250ms;          // a row in leeward.stream_heartbeat of the source; 0: none
  int source_threads_running_max = 0;  // above it nothing is applied; 0: no limit
  // Changes that these servers made are not carried: they came from the target's side. The target's
  // own server id is always one of them.
  std::vector<std::uint32_t> ignore_servers;

  Logger logger;
  Registry* metrics = nullptr;  // outlives the driver; null: none
};

// What belongs to a task but not to the stream itself.
struct StreamParts {
  std::function<Result<std::vector<Finding>>(BootTime deadline)> precheck;
  // Copies the data and returns the position that the copy is at.
  std::function<Result<mysql::GtidPosition>(const OnProgress&)> seed;
  std::function<Result<VerifyReport>(const VerifyOptions&, const OnProgress&)> verify;
};

class StreamDriver final : public Driver {
 public:
  StreamDriver(StreamOptions options, StreamParts parts);
  ~StreamDriver() override;

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
  // Either there is nothing to do, or the answer is kReseed: a stream does not undo.
  Result<RewindReport> rewind(const OnProgress& progress) override;
  Status reverse(BootTime deadline) override;
  Result<VerifyReport> verify(const VerifyOptions& options, const OnProgress& progress) override;

  // For a comparison of both ends (verify.h). Nothing more is applied from the next transaction on;
  // what is running is finished.
  void hold();
  // Goes on to exactly `at` and stands there. kConflict: it was past that already.
  Status advance(const mysql::GtidPosition& at, BootTime deadline);
  void release();

  // Says where the target is: what a seed ends with. REQUIRES: stopped.
  Status begin_at(const mysql::GtidPosition& position, BootTime deadline);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace leeward::replication

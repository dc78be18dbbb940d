// Workers that apply batches in parallel and commit them in order, so that the target is at every
// moment a prefix of the source's history.
//
// A batch runs as soon as the batches that it depends on are committed, beside others, and waits
// for its turn to commit. The dependencies are a guess from write sets. When it was wrong, the
// later batch fails or stands in the way of an earlier one; both show as an error of the server.
// Then the later one is rolled back and runs again when everything before it is committed. Only an
// error of a batch that is first in line is an error of the stream.
//
// Threads: one submits (submit, wait_idle), any may ask; on_commit is called by workers, one at a
// time and in order. Memory: the batches in flight, at most bytes_max unless a single one is
// larger.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "replication/internal/target.h"

namespace leeward::replication::internal {

struct ApplyPoolOptions {
  mysql::SqlTarget target;
  std::string task;
  ConflictSettings conflicts;
  int workers = 3;
  std::size_t bytes_max = 48u << 20;
  // How long the first batch in line tries to get a lock that nobody of us has.
  Duration lock_patience = 60s;
  std::function<void(const Batch&)> on_commit;
};

class ApplyPool {
 public:
  // Opens the sessions; an error when the target does not let it.
  static Result<std::unique_ptr<ApplyPool>> start(ApplyPoolOptions options, BootTime deadline);
  // Ends running statements at the server, rolls back, joins.
  ~ApplyPool();

  // Takes the next batch (its id is one more than the last one's); waits while memory is full.
  // An error once a batch has failed, which ends the pool: start anew from the checkpoint.
  Status submit(Batch batch);
  // Waits until everything submitted is committed.
  Status wait_idle();
  // False once a batch has failed.
  bool healthy() const;
  // Whether a worker has nothing to do.
  bool has_idle() const;
  std::uint64_t committed() const;
  // Why it is not healthy: what the first batch in line met.
  Outcome failure() const;
  std::uint64_t retries() const;

 private:
  explicit ApplyPool(ApplyPoolOptions options) : options_(std::move(options)) {}
  void work(std::size_t index);
  // False: the pool ends.
  bool apply(ApplySession& session, Batch& batch);
  bool wait_for_commits(std::uint64_t id);
  enum class Turn : std::uint8_t { kCommit, kAgain, kEnd };
  Turn wait_for_turn(std::uint64_t id, std::uint64_t wave);
  bool first_in_line(std::uint64_t id) const;
  void make_way(std::uint64_t id);
  void fail_with(Outcome outcome);

  const ApplyPoolOptions options_;
  std::vector<ApplySession> sessions_;
  std::vector<std::thread> threads_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> queue_;
  std::size_t bytes_ = 0;
  std::size_t busy_ = 0;
  std::uint64_t submitted_ = 0;
  std::uint64_t committed_ = 0;
  std::uint64_t wave_ = 0;     // grows when later batches have to make way
  std::uint64_t way_for_ = 0;  // for this one
  std::uint64_t retries_ = 0;
  bool ending_ = false;
  std::optional<Outcome> failure_;
};

}  // namespace leeward::replication::internal

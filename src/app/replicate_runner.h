// The work of `leeward replication start`: precheck, first copy, stream, continuous comparison, on
// a thread of its own; and what is known about it, for whoever asks.
//
// A pause outlives the process: it is a file in the task's state directory. Paused in the first
// copy, the copy ends at the chunks under way and goes on with the same ones afterwards.
//
// Threading: start() once; everything else from any thread, never blocking on a server. The
// destructor and stop() end the stream at a transaction boundary and join.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "app/replicate_history.h"
#include "base/log.h"
#include "base/metrics.h"
#include "replication/driver.h"
#include "replication/task.h"

namespace leeward::app {

// A comparison that runs or ran, on demand or by itself.
struct VerifyState {
  bool running = false;
  bool on_demand = false;
  replication::Progress progress;
  std::optional<replication::VerifyReport> report;  // of the last that ended well
  WallTime ended_at{};
  std::string error;  // of the last, if it did not
};

struct ReplicateSnapshot {
  replication::LinkStatus link;
  std::optional<replication::Progress> seed;  // while it runs
  VerifyState verify;
  bool paused = false;
  std::string error;  // why the task cannot run; the driver's own is in `link`
};

class ReplicateRunner {
 public:
  // `on_end` is called once, on the runner's thread, when the work ends by itself.
  ReplicateRunner(replication::Task task, Logger logger, Registry& metrics,
                  std::function<void(Status)> on_end);
  ~ReplicateRunner();

  Status start();
  void stop();

  ReplicateSnapshot snapshot() const;
  std::vector<LagSample> history(Duration back) const;
  // Takes a sample for the history and the metrics; the owner's timer calls it every kSampleEvery.
  void sample();

  Status pause();
  Status resume();
  // kConflict: one on demand runs already, or nothing has been copied yet.
  Status begin_verify(replication::VerifyOptions options);
  void cancel_verify();

 private:
  void run();
  Status work();
  Status check();
  Status seed();
  void publish(const char* position, const replication::LinkLag& lag);
  bool wait_while_paused();  // false: ending
  void verify_loop();
  void verify_once(const replication::VerifyOptions& options, bool on_demand);
  std::string pause_file() const { return task_.state_dir + "/paused"; }

  const replication::Task task_;
  const Logger logger_;
  Registry& metrics_;
  const std::function<void(Status)> on_end_;
  std::unique_ptr<replication::Driver> driver_;
  std::thread thread_, verifier_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_ = false;
  bool paused_ = false;
  bool streaming_ = false;
  std::optional<replication::Progress> seed_;
  std::string error_;
  VerifyState verify_;
  std::optional<replication::VerifyOptions> wanted_verify_;
  bool cancel_verify_ = false;
  LagHistory history_;
};

}  // namespace leeward::app

// Keeps the application's processes running on one site: starts them, watches their readiness,
// restarts what exits, stops the cold tiers while the site is not the writer. `leeward up` uses it
// as well, for the roles and databases of a site.
//
// The rules are in supervisor_core.h. Every process runs under a keeper (keeper.h), so that all of
// them end when this process ends, however it ends, and so that output is written to files without
// passing through this process's event loop.
//
// Left-overs: an earlier life of this supervisor, or an instance whose keeper was killed, may have
// left processes that hold the ports. Before the first start of an instance, and after its keeper
// was killed, processes marked with its name in the environment
// (LEEWARD_INSTANCE=DIRECTORY/TIER-NUMBER) get the stop signal, after stop_timeout SIGKILL, and
// only then it starts. What escapes even this: a process that cleared its environment and whose
// keeper was killed by SIGKILL.
//
// Threading: lives on the loop's thread, which must live as long as the process (keeper.h).
#pragma once

#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/time.h"
#include "compute/expand.h"
#include "compute/instance_log.h"
#include "compute/supervisor_core.h"
#include "model/platform.h"
#include "net/loop.h"

namespace leeward::compute {

// GET on it answers 200 when the instance can do its work.
struct ReadyCheck {
  Endpoint endpoint;
  std::string path;
};

struct InstanceSpec {
  ExpandedProcess process;
  std::optional<ReadyCheck> ready;  // none: ready as soon as it runs
};

struct TierSpec {
  std::string name;
  std::vector<InstanceSpec> instances;
  bool cold = false;    // runs only while the site is active
  bool capture = true;  // output to log_directory/NAME-NUMBER.log; false: to our own stdout, stderr
  int stop_signal = SIGTERM;
  Duration stop_timeout = 5s;  // from the stop signal to SIGKILL; counted in whole milliseconds
};

// The instances of a configured tier at one site. `values` holds what all of them share (site,
// address, state, gateway.NAME); {port}, and {address} of a local tier, are added here. A relative
// or empty working directory starts at `directory`. Errors as expand(), prefixed by the tier's
// name; kInvalid also for a tier without a command.
Result<TierSpec> expand_tier(const Tier& tier, const PlaceholderValues& values,
                             const std::string& directory);

struct SupervisorOptions {
  std::vector<TierSpec> tiers;
  std::string log_directory;                 // created if missing
  std::size_t log_bytes_max = kLogBytesMax;  // of one file; each instance has at most two
  SupervisionPolicy policy;
  Duration check_interval = 1s;              // of an instance that was ready
  Duration check_interval_starting = 100ms;  // until it is ready: a cold standby is waited for
  Duration check_timeout = 2s;
  std::vector<std::string> keeper = {"/proc/self/exe", "keep"};  // how to run keeper_main()
  Logger logger;
  Registry* registry = nullptr;     // outlives the supervisor; may be null
  std::function<void()> on_change;  // after any change of state or of a count; may be empty
};

struct InstanceStatus {
  std::string tier;
  int number = 0;
  InstanceState state = InstanceState::kStopped;
  pid_t pid = 0;           // of the application's process; 0: none
  int restarts = 0;        // since this supervisor was made
  std::string last_exit;   // "exit status 1 after 2.5s"; empty: has not exited yet
  std::string last_check;  // error of the last ready check; empty: passed or not made
  std::string log;         // its log file; empty: not captured
};

class Supervisor {
 public:
  // Starts nothing yet. kInvalid for an instance without a command or two tiers of one name, kIo
  // when the log directory cannot be made.
  static Result<std::unique_ptr<Supervisor>> create(net::EventLoop& loop,
                                                    SupervisorOptions options);

  // Ends what still runs, without waiting for it: the keepers see to it. Use stop_all() to wait.
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // The first call starts the warm tiers, and the cold ones when `active`. Later calls start or
  // stop the cold tiers. Ignored after stop_all().
  void set_active(bool active);

  int ready_count() const;
  int wanted_count() const;  // instances that should run now
  std::vector<InstanceStatus> status() const;

  // The last lines that the instance wrote, for error reports. kNotFound: no such instance or no
  // log.
  Result<std::vector<std::string>> last_output(const std::string& tier, int number,
                                               std::size_t lines_max = 20) const;

  // Stops every instance; what still runs after `limit` is killed at once. `done` is called once,
  // on the loop, not from inside this function: with success when every process is gone, or with
  // kTimeout naming the rest when some cannot be killed within another two seconds.
  // REQUIRES: called at most once.
  void stop_all(Duration limit, std::function<void(Status)> done);

 private:
  class Impl;
  explicit Supervisor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace leeward::compute

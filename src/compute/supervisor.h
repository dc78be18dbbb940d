// Keeps the application's processes running on one site: starts them, watches their readiness,
// restarts what exits, stops the cold tiers while the site is not the writer. `leeward up` uses it
// as well, for the roles and databases of a site.
//
// The rules are in supervisor_core.h. Every process runs under a keeper (keeper.h), so that all of
// them end when this process ends, however it ends, and so that output is written to files without
// passing through this process's event loop.
//
// Elastic tiers: a tier has as many slots as it may ever have instances, each with its own port.
// scale() says how many of them run; which ones is decided in rollout_core.h. An instance that is
// to end leaves the ready set first and gets its stop signal after the drain time.
//
// Revisions: deploy() replaces what a tier's instances are made of, a few at a time or beside each
// other, and takes it back by itself when the new ones do not get ready or crash. The rules are in
// rollout_core.h. A slot takes a new revision only between two processes.
//
// Limits: with a CgroupTree each instance gets a group of its own, with the tier's limits. Where
// the machine offers no groups, the memory limit becomes RLIMIT_DATA of each process, the others
// cannot be kept, and the log says so once a tier.
//
// Readiness comes from an HTTP check, or from the process itself (`notify`: READY=1 to
// NOTIFY_SOCKET, sd_notify(3)), or from its running at all. With `listen` the supervisor listens on
// the instance's address and hands the socket over (sd_listen_fds(3)), so that a restart refuses no
// connection: they wait in the socket's queue.
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
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/cgroup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/time.h"
#include "compute/expand.h"
#include "compute/instance_log.h"
#include "compute/rollout_core.h"
#include "compute/supervisor_core.h"
#include "model/platform.h"
#include "net/loop.h"

namespace leeward::compute {

struct Image;  // image.h

// GET on it answers 200 when the instance can do its work.
struct ReadyCheck {
  Endpoint endpoint;
  std::string path;
};

struct InstanceSpec {
  ExpandedProcess process;
  std::optional<ReadyCheck> ready{};  // none: ready as soon as it runs
  std::optional<Endpoint> listen{};   // listened on by the supervisor, handed to the process
};

struct TierSpec {
  std::string name;
  std::vector<InstanceSpec> instances;
  bool cold = false;    // runs only while the site is active
  bool notify = false;  // ready when the process says so
  int running = -1;     // so many of `instances` run at first; −1: all but the spare ones
  int spare = 0;        // of `instances`, so many are for deployments only
  DeploySpec deploy;
  CgroupLimits limits;
  Duration drain{};     // from leaving the ready set to the stop signal
  bool capture = true;  // output to log_directory/NAME-NUMBER.log; false: to our own stdout, stderr
  int stop_signal = SIGTERM;
  Duration stop_timeout = 5s;  // from the stop signal to SIGKILL; counted in whole milliseconds
};

// The instances of a configured tier at one site. `values` holds what all of them share (site,
// address, state, gateway.NAME); {port}, and {address} of a local tier, are added here. A relative
// or empty working directory starts at `directory`. `image`: the tier's, unpacked; null without
// one. Errors as expand(), prefixed by the tier's name; kInvalid also for a tier without a command.
Result<TierSpec> expand_tier(const Tier& tier, const PlaceholderValues& values,
                             const std::string& directory, const Image* image = nullptr);

struct SupervisorOptions {
  std::vector<TierSpec> tiers;
  const CgroupTree* cgroups = nullptr;       // outlives the supervisor; null: no groups
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
  // After any change of a tier's rollout: what is worth keeping has changed. May be empty.
  std::function<void(const std::string& tier, RolloutEvent event)> on_rollout{};
};

struct InstanceStatus {
  std::string tier;
  int number = 0;
  InstanceState state = InstanceState::kStopped;
  pid_t pid = 0;           // of the application's process; 0: none
  int restarts = 0;        // since this supervisor was made
  std::string last_exit;   // "exit status 1 after 2.5s"; empty: has not exited yet
  std::string last_check;  // error of the last ready check; empty: passed or not made
  std::string said;        // its last STATUS= (notify)
  std::string log;         // its log file; empty: not captured
  bool wanted = false;
  bool is_protected = false;       // from scaling in
  RevisionNumber revision;         // of its process, or of its next one
  bool offered = true;             // to the edges, while it is ready
  BootTime ready_since;            // while ready
  std::uint64_t memory_kills = 0;  // processes killed at its memory limit
  CgroupUsage usage;  // of its group; from /proc, for the process and its descendants, without one
};

using RevisionSpecs = std::vector<InstanceSpec>;  // one a slot

// How a tier is made up.
struct TierRollout {
  std::string tier;
  RolloutMemory memory;
  std::vector<SlotPlace> places;  // one a slot
  bool active = false;            // it runs at this site; where it does not, nothing can be tried
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

  // How many instances of a tier run; no effect on a cold tier while the site is not active, until
  // it is. `connections`: requests under way by instance number, if known. kNotFound: no such tier;
  // kInvalid: more than it has slots.
  Status scale(const std::string& tier, int count,
               const std::map<int, std::uint64_t>& connections = {});

  // Begins to replace the instances of a tier by those of `revision`, whose number must be new.
  // kNotFound: no such tier; kInvalid: not as many specs as slots, or one without a command;
  // kConflict: another revision is being deployed.
  Status deploy(const std::string& tier, RevisionNumber revision, RevisionSpecs specs);
  // Takes back the revision that is being deployed, or deploys the one before. kNotFound;
  // kConflict.
  Status roll_back(const std::string& tier, const std::string& reason);
  // What TierRollout said in an earlier life; `specs` of each revision that it names. Slots that it
  // does not know do not run. kNotFound: no such tier; kInvalid: a revision without its specs.
  // REQUIRES: before the first set_active().
  Status restore(const TierRollout& rollout, const std::map<RevisionNumber, RevisionSpecs>& specs);
  std::vector<TierRollout> rollouts() const;

  // kNotFound: no such instance.
  Status protect(const std::string& tier, int number, bool on);

  // Those that are ready and offered, by tier and number. Costs no system call.
  std::vector<std::pair<std::string, int>> ready_instances() const;
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

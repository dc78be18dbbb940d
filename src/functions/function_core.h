// Who runs which invocation where: the state machine of functions' execution environments.
//
// An environment is one sandboxed process tree that serves one invocation at a time:
//
//              Start            first poll                    Deliver
//   (nothing) ───────▶ kStarting ─────────▶ kIdle ◀─────────┐ ───────▶ kBusy
//                          │                 │ ▲  next poll │            │ its answer
//                          │    freeze_after ▼ │ Thaw       └── kAnswered ◀┘
//                          │               kFrozen
//                          ▼                 │ reap_after, or its place is needed
//                      kStopping ◀───────────┴───── time-out, failed init, retired pool
//
// A *pool* is the environments of one version of one function. The versions of a function share its
// concurrency (a *family*, which AWS calls reserved concurrency). Nothing runs before the first
// invocation, and nothing is left once all have been idle for reap_after: idle cost is zero.
//
// An invocation takes an idle environment (the one used last, so that the others grow old and are
// reaped), or waits in the pool's queue, and a start is asked for as long as more wait than are
// starting or have answered just now: those poll again within poll_grace, which is far less than a
// start takes, and if they do not they are no longer counted on. Bounds: environments per family
// and per host, starts at once (a stampede of cold starts makes each of them slow), and the queue,
// by length and by time; at the last two the invocation is throttled. When a bound on environments
// is met by idle ones of other pools, the one idle longest gives way.
//
// *Prepared* environments are the second way to start, between a frozen one and a cold one: an
// environment that has been through its init and never served. Once a pool has served, up to
// rule.prepared of them are made, one at a time, when the host has nothing else to start, and each
// is taken only when no used one is idle. They stay prepared_for after the pool's last invocation,
// are the first to give way, and one that fails is not tried again before the pool has served.
//
// A failed start or init costs the invocation that has waited longest, which gets the error; so
// something broken is reported once per invocation and never restarted in circles.
//
// Pure: no clock, no I/O. Each event takes `now` and returns what the shell must do, in order.
// Source of the life cycle: AWS Lambda's execution environment (init, invoke, freeze, shutdown) and
// its Runtime API, version 2018-06-01.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/strong.h"
#include "base/time.h"

namespace leeward::functions {

using EnvironmentId = Strong<struct EnvironmentTag, std::uint64_t>;
using InvocationId = Strong<struct InvocationTag, std::uint64_t>;
using PoolId = Strong<struct PoolTag, std::uint64_t>;
using FamilyId = Strong<struct FamilyTag, std::uint64_t>;

struct PoolRule {
  FamilyId family;
  Duration timeout = 3s;        // from delivery to the poll after the answer
  Duration init_timeout = 10s;  // from the start to the first poll; AWS's own bound
  Duration freeze_after = 50ms;
  Duration reap_after = 300s;    // since the last invocation
  Duration poll_grace = 10ms;    // from an answer to the next poll, as it normally is
  std::size_t queue_max = 2048;  // invocations that wait
  Duration queue_timeout = 30s;  // how long one waits
  std::size_t prepared = 0;      // environments kept ready beside those in use
  Duration prepared_for = 30min;
  Duration prepare_after = 1s;  // since the last start: a burst of requests has the processor first
};

struct HostRule {
  std::size_t environments_max = 64;
  std::size_t starts_max = 4;
  std::size_t family_max = 10;  // environments of a family that has no limit of its own
};

enum class EnvironmentState : std::uint8_t {
  kStarting,
  kIdle,
  kFrozen,
  kBusy,
  kAnswered,  // the answer is out; it has not polled again yet
  kStopping,  // told to end; still uses memory
};
std::string_view name(EnvironmentState s);

enum class Failure : std::uint8_t {
  kThrottled,    // the family's limit is 0, the queue is full, or it waited queue_timeout
  kStartFailed,  // no environment could be made
  kInitFailed,   // the runtime reported so, or ended before its first poll
  kInitTimedOut,
  kTimedOut,
  kExited,   // the runtime ended during the invocation
  kRetired,  // the function was deleted meanwhile
};

enum class StopReason : std::uint8_t { kIdle, kEvicted, kTimedOut, kInitFailed, kRetired };

struct Start {
  EnvironmentId environment;
  PoolId pool;
  bool prepares = false;  // for later; no invocation waits for it
  bool operator==(const Start&) const = default;
};
struct Deliver {
  EnvironmentId environment;
  InvocationId invocation;
  BootTime deadline;
  bool was_prepared = false;  // its first one, and it had been waiting for it
  bool operator==(const Deliver&) const = default;
};
struct Freeze {
  EnvironmentId environment;
  bool operator==(const Freeze&) const = default;
};
struct Thaw {
  EnvironmentId environment;
  bool operator==(const Thaw&) const = default;
};
// End it; then report exited(). An invocation of it that failed was reported by Fail before.
struct Stop {
  EnvironmentId environment;
  StopReason reason;
  bool operator==(const Stop&) const = default;
};
struct Fail {
  InvocationId invocation;
  Failure failure;
  std::optional<EnvironmentId> environment;  // whose fault, where it was one's
  bool operator==(const Fail&) const = default;
};
using Effect = std::variant<Start, Deliver, Freeze, Thaw, Stop, Fail>;
using Effects = std::vector<Effect>;

struct PoolCounts {
  std::size_t starting = 0, idle = 0, frozen = 0, busy = 0, stopping = 0, queued = 0;
  std::size_t prepared = 0;  // idle or frozen, and never used; not counted among those
  std::size_t live() const { return starting + idle + frozen + busy; }
  bool operator==(const PoolCounts&) const = default;
};

class FunctionCore {
 public:
  explicit FunctionCore(const HostRule& rule) : rule_(rule) {}

  // A new pool, or a new rule for one that exists (applies from now on).
  void set_pool(PoolId pool, const PoolRule& rule);
  // Takes no invocation any more: those that wait fail, idle environments stop, busy ones stop when
  // they are done. The pool is forgotten with its last environment.
  [[nodiscard]] Effects retire(BootTime now, PoolId pool);
  // At most `environments` of the family; 0 throttles every invocation; nullopt: the host's rule.
  [[nodiscard]] Effects limit_family(BootTime now, FamilyId family,
                                     std::optional<std::size_t> environments);

  // REQUIRES: `pool` was set and is not retired; `invocation` is new.
  [[nodiscard]] Effects invoke(BootTime now, PoolId pool, InvocationId invocation);
  // The one who asked is gone. One that waits is dropped; one that runs goes on.
  void forget(InvocationId invocation);

  // The runtime asks for the next invocation. Ignored while one is under way and unanswered.
  [[nodiscard]] Effects polled(BootTime now, EnvironmentId environment);
  // Response or error arrived. False if `invocation` is not the one that runs there.
  [[nodiscard]] bool answered(BootTime now, EnvironmentId environment, InvocationId invocation);
  // Init is over without success: reported by the runtime, or the sandbox could not be made.
  [[nodiscard]] Effects init_failed(BootTime now, EnvironmentId environment, Failure why);
  // The process tree has ended, asked or not.
  [[nodiscard]] Effects exited(BootTime now, EnvironmentId environment);

  [[nodiscard]] Effects tick(BootTime now);  // call at (or after) deadline()
  std::optional<BootTime> deadline() const;

  PoolCounts counts(PoolId pool) const;
  std::optional<EnvironmentState> state(EnvironmentId environment) const;
  std::optional<InvocationId> running(EnvironmentId environment) const;
  std::size_t environments() const { return environments_.size(); }

 private:
  struct Environment {
    PoolId pool;
    EnvironmentState state = EnvironmentState::kStarting;
    BootTime since;  // the state began; for kIdle and kFrozen: the last use ended
    std::optional<InvocationId> invocation;
    std::optional<BootTime> deadline;
    std::optional<BootTime> answered;  // kAnswered
    bool looked_again = false;         // its poll_grace has passed, and the queue was served
    bool prepared = false;             // it was not started for an invocation, and has had none
  };
  struct Waiting {
    InvocationId invocation;
    BootTime since;
  };
  struct Pool {
    PoolRule rule;
    std::deque<Waiting> queue;
    std::vector<EnvironmentId> idle;  // kIdle and kFrozen, the one used last at the back
    std::size_t starting = 0;
    std::size_t live = 0;  // environments in any state
    bool retired = false;
    BootTime last_invocation;
    std::optional<BootTime> prepare_at;  // when another environment may be prepared
  };
  struct Family {
    std::optional<std::size_t> limit;
    std::size_t live = 0;  // environments that are not kStopping
  };

  void dispatch(BootTime now, Effects& out);
  void serve(BootTime now, PoolId id, Pool& pool, Effects& out);
  bool start(BootTime now, PoolId id, Pool& pool, Effects& out);
  void begin(BootTime now, PoolId id, Pool& pool, bool prepares, Effects& out);
  void prepare(BootTime now, Effects& out);
  bool make_room(BootTime now, const Pool& wanting, bool family_is_full, Effects& out);
  void deliver(BootTime now, Pool& pool, EnvironmentId id, Effects& out);
  void stop(BootTime now, EnvironmentId id, StopReason reason, Effects& out);
  void fail_oldest(Pool& pool, Failure why, EnvironmentId environment, Effects& out);
  std::size_t family_max(const Family& family) const {
    return family.limit.value_or(rule_.family_max);
  }
  std::size_t about_to_poll(BootTime now, PoolId id, const Pool& pool) const;
  std::optional<BootTime> deadline_of(const Environment& environment) const;

  HostRule rule_;
  std::map<PoolId, Pool> pools_;
  std::map<FamilyId, Family> families_;
  std::map<EnvironmentId, Environment> environments_;
  std::size_t starting_ = 0;
  std::uint64_t last_environment_ = 0;
  PoolId turn_{};  // whose queue was served last, so that no pool starves another
};

}  // namespace leeward::functions

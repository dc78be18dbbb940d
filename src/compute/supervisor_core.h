// The life of one supervised process instance, as a state machine.
//
//             want(true)            ready check passes
//   kStopped ───────────▶ kStarting ─────────────────▶ kReady ◀──────────▶ kUnready
//      ▲                      │  ▲                       │   checks fail/pass  │
//      │ exited,              │  │ back-off over         │                     │
//      │ not wanted           ▼  │                       ▼                     │
//   kStopping              kBackoff ◀──────── the process exits ◀──────────────┘
//
// With a drain time, an instance that is no longer wanted leaves the ready set first (kDraining),
// so that nobody sends it new work, and is stopped when that time has passed.
//
// A process that exits is started again after an exponential back-off; the first time at once in
// human terms (250 ms). A process that was ready for a while is forgiven its past. A process
// without a ready check is ready as soon as it runs.
//
// Overload is not death (design §5.7): an instance that stops answering leaves the ready count
// after a few failed checks, but is only restarted when it has not answered for a whole minute. One
// that never became ready gets the same patience, counted from its start.
//
// Pure: no clock, no I/O. Events go in with `now`; each returns the action that the shell must
// take.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/time.h"

namespace leeward::compute {

enum class InstanceState : std::uint8_t {
  kStopped,
  kStarting,
  kReady,
  kUnready,
  kDraining,
  kStopping,
  kBackoff,
};
std::string_view name(InstanceState s);

struct SupervisionPolicy {
  Duration backoff_first = 250ms;  // before the first restart; doubles with each further one
  Duration backoff_max = 15s;
  Duration forgive_after = 30s;  // ready this long: the next back-off is the first again
  int unready_after_checks = 3;  // failed checks in a row until it no longer counts as ready
  Duration restart_unready_after = 60s;  // not ready this long (or never since start): restart
  Duration kill_margin = 2s;  // over stop_timeout, until the keeper is told to kill at once
};

struct InstanceRule {
  bool has_check = false;
  Duration stop_timeout = 5s;  // from the stop signal to SIGKILL; carried out by the keeper
  Duration drain{};            // from leaving the ready set to the stop signal
  SupervisionPolicy policy;
};

enum class Action : std::uint8_t {
  kNone,
  kStart,  // start the process; then report started(), or exited() when it cannot be started
  kStop,   // ask it to stop (stop signal, SIGKILL after stop_timeout)
  kKill,   // end it and all its descendants now
};

class InstanceCore {
 public:
  explicit InstanceCore(const InstanceRule& rule) : rule_(rule) {}

  // Idempotent. `at_once`: without draining.
  [[nodiscard]] Action want(BootTime now, bool running, bool at_once = false);
  void started(BootTime now);
  [[nodiscard]] Action exited(BootTime now);
  [[nodiscard]] Action tick(BootTime now);  // call at (or after) deadline()
  void checked(BootTime now, bool ok);      // result of one ready check
  void leaving(BootTime now);               // it says that it ends; not ready from now on

  // When tick() has something to do, if ever.
  std::optional<BootTime> deadline() const { return deadline_; }

  InstanceState state() const { return state_; }
  bool wanted() const { return wanted_; }
  bool ready() const { return state_ == InstanceState::kReady; }
  BootTime ready_since() const { return ready_since_; }
  // A process exists, or is about to.
  bool alive() const {
    return state_ != InstanceState::kStopped && state_ != InstanceState::kBackoff;
  }
  // Checks are worth making.
  bool checkable() const;

 private:
  Action start(BootTime now);
  Action stop(BootTime now);
  void become_ready(BootTime now);
  void forgive(BootTime now);
  Duration next_backoff();

  InstanceRule rule_;
  InstanceState state_ = InstanceState::kStopped;
  bool wanted_ = false;
  bool restarting_ = false;  // kStopping because it did not answer, not because it is unwanted
  int attempts_ = 0;         // restarts since it was last forgiven
  int failed_checks_ = 0;    // in a row
  BootTime ready_since_;     // of kReady
  std::optional<BootTime> deadline_;
};

}  // namespace leeward::compute

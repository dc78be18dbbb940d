#include "compute/supervisor_core.h"

#include <algorithm>

namespace leeward::compute {

std::string_view name(InstanceState s) {
  switch (s) {
    case InstanceState::kStopped:
      return "stopped";
    case InstanceState::kStarting:
      return "starting";
    case InstanceState::kReady:
      return "ready";
    case InstanceState::kUnready:
      return "unready";
    case InstanceState::kDraining:
      return "draining";
    case InstanceState::kStopping:
      return "stopping";
    case InstanceState::kBackoff:
      return "backoff";
  }
  return "unknown";
}

bool InstanceCore::checkable() const {
  return rule_.has_check && (state_ == InstanceState::kStarting ||
                             state_ == InstanceState::kReady || state_ == InstanceState::kUnready);
}

Action InstanceCore::want(BootTime now, bool running, bool at_once) {
  if (wanted_ == running)
    return at_once && state_ == InstanceState::kDraining ? stop(now) : Action::kNone;
  wanted_ = running;
  restarting_ = false;
  attempts_ = 0;
  if (running && state_ == InstanceState::kDraining) {
    become_ready(now);
    return Action::kNone;
  }
  // kStopping is left by exited(), which looks at what is wanted by then.
  if (running) return state_ == InstanceState::kStopped ? start(now) : Action::kNone;
  if (state_ == InstanceState::kBackoff) {
    state_ = InstanceState::kStopped;
    deadline_.reset();
  }
  if (!alive() || state_ == InstanceState::kStopping) return Action::kNone;
  if (at_once || !ready() || rule_.drain <= Duration{}) return stop(now);
  forgive(now);
  state_ = InstanceState::kDraining;
  deadline_ = now + rule_.drain;
  return Action::kNone;
}

Action InstanceCore::start(BootTime now) {
  failed_checks_ = 0;
  state_ = InstanceState::kStarting;
  deadline_ = now + rule_.policy.restart_unready_after;
  return Action::kStart;
}

void InstanceCore::started(BootTime now) {
  if (state_ == InstanceState::kStarting && !rule_.has_check) become_ready(now);
}

Action InstanceCore::stop(BootTime now) {
  state_ = InstanceState::kStopping;
  deadline_ = now + rule_.stop_timeout + rule_.policy.kill_margin;
  return Action::kStop;
}

void InstanceCore::become_ready(BootTime now) {
  state_ = InstanceState::kReady;
  failed_checks_ = 0;
  ready_since_ = now;
  deadline_.reset();
}

Action InstanceCore::exited(BootTime now) {
  if (!alive()) return Action::kNone;
  bool stopped_by_request =
      (state_ == InstanceState::kStopping && !restarting_) || state_ == InstanceState::kDraining;
  forgive(now);
  restarting_ = false;
  deadline_.reset();
  state_ = InstanceState::kStopped;
  if (!wanted_) return Action::kNone;
  if (stopped_by_request) return start(now);  // wanted again meanwhile: no reason to wait
  state_ = InstanceState::kBackoff;
  deadline_ = now + next_backoff();
  return Action::kNone;
}

void InstanceCore::forgive(BootTime now) {
  if (ready() && now - ready_since_ >= rule_.policy.forgive_after) attempts_ = 0;
}

Duration InstanceCore::next_backoff() {
  const SupervisionPolicy& p = rule_.policy;
  Duration wait = p.backoff_first;
  for (int i = 0; i < attempts_ && wait < p.backoff_max; ++i) wait *= 2;
  if (wait < p.backoff_max) ++attempts_;
  return std::min(wait, p.backoff_max);
}

void InstanceCore::checked(BootTime now, bool ok) {
  if (!checkable()) return;
  if (ok) {
    if (!ready()) become_ready(now);
    failed_checks_ = 0;
    return;
  }
  ++failed_checks_;
  if (ready() && failed_checks_ >= rule_.policy.unready_after_checks) {
    forgive(now);
    state_ = InstanceState::kUnready;
    deadline_ = now + rule_.policy.restart_unready_after;
  }
}

void InstanceCore::leaving(BootTime now) {
  if (!ready()) return;
  forgive(now);
  state_ = InstanceState::kUnready;
  deadline_ = now + rule_.policy.restart_unready_after;
}

Action InstanceCore::tick(BootTime now) {
  if (!deadline_ || now < *deadline_) return Action::kNone;
  switch (state_) {
    case InstanceState::kBackoff:
      return start(now);
    case InstanceState::kStarting:
    case InstanceState::kUnready:
      restarting_ = true;
      return stop(now);
    case InstanceState::kDraining:
      return stop(now);
    case InstanceState::kStopping:
      deadline_ = now + rule_.policy.kill_margin;  // again, until exited() comes
      return Action::kKill;
    case InstanceState::kStopped:
    case InstanceState::kReady:
      deadline_.reset();
      return Action::kNone;
  }
  return Action::kNone;
}

}  // namespace leeward::compute

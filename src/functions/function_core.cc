#include "functions/function_core.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace leeward::functions {

std::string_view name(EnvironmentState s) {
  switch (s) {
    case EnvironmentState::kStarting:
      return "starting";
    case EnvironmentState::kIdle:
      return "idle";
    case EnvironmentState::kFrozen:
      return "frozen";
    case EnvironmentState::kBusy:
      return "busy";
    case EnvironmentState::kAnswered:
      return "answered";
    case EnvironmentState::kStopping:
      return "stopping";
  }
  return "?";
}

void FunctionCore::set_pool(PoolId pool, const PoolRule& rule) {
  families_[rule.family];
  pools_[pool].rule = rule;
}

Effects FunctionCore::retire(BootTime now, PoolId id) {
  Effects out;
  auto found = pools_.find(id);
  if (found == pools_.end()) return out;
  Pool& pool = found->second;
  pool.retired = true;
  for (const Waiting& w : pool.queue) out.push_back(Fail{w.invocation, Failure::kRetired, {}});
  pool.queue.clear();
  std::vector<EnvironmentId> unused = pool.idle;
  for (const auto& [environment, e] : environments_)
    if (e.pool == id && e.state == EnvironmentState::kStarting) unused.push_back(environment);
  for (EnvironmentId environment : unused) stop(now, environment, StopReason::kRetired, out);
  if (pool.live == 0) pools_.erase(found);
  dispatch(now, out);
  return out;
}

Effects FunctionCore::limit_family(BootTime now, FamilyId family,
                                   std::optional<std::size_t> environments) {
  families_[family].limit = environments;
  Effects out;
  if (environments == 0u)
    for (auto& [id, pool] : pools_)
      if (pool.rule.family == family) {
        for (const Waiting& w : pool.queue)
          out.push_back(Fail{w.invocation, Failure::kThrottled, {}});
        pool.queue.clear();
      }
  dispatch(now, out);
  return out;
}

Effects FunctionCore::invoke(BootTime now, PoolId id, InvocationId invocation) {
  Effects out;
  auto found = pools_.find(id);
  LEEWARD_CHECK(found != pools_.end() && !found->second.retired);
  Pool& pool = found->second;
  if (family_max(families_[pool.rule.family]) == 0 || pool.queue.size() >= pool.rule.queue_max) {
    out.push_back(Fail{invocation, Failure::kThrottled, {}});
    return out;
  }
  pool.queue.push_back({invocation, now});
  pool.last_invocation = now;
  dispatch(now, out);
  return out;
}

void FunctionCore::forget(InvocationId invocation) {
  for (auto& [id, pool] : pools_)
    std::erase_if(pool.queue, [&](const Waiting& w) { return w.invocation == invocation; });
}

Effects FunctionCore::polled(BootTime now, EnvironmentId id) {
  Effects out;
  auto found = environments_.find(id);
  if (found == environments_.end()) return out;
  Environment& e = found->second;
  const bool ready =
      e.state == EnvironmentState::kStarting || e.state == EnvironmentState::kAnswered;
  if (!ready) return out;
  Pool& pool = pools_.at(e.pool);
  if (e.state == EnvironmentState::kStarting) {
    --pool.starting;
    --starting_;
  }
  e.state = EnvironmentState::kIdle;
  e.since = now;
  e.deadline.reset();
  e.invocation.reset();
  // Prepared ones are used last.
  pool.idle.insert(e.prepared ? pool.idle.begin() : pool.idle.end(), id);
  const Family& family = families_[pool.rule.family];
  if (pool.retired) {
    stop(now, id, StopReason::kRetired, out);
  } else if (family.live > family_max(family)) {  // the limit was lowered meanwhile
    stop(now, id, StopReason::kEvicted, out);
  }
  dispatch(now, out);
  return out;
}

bool FunctionCore::answered(BootTime now, EnvironmentId id, InvocationId invocation) {
  auto found = environments_.find(id);
  if (found == environments_.end()) return false;
  Environment& e = found->second;
  if (e.state != EnvironmentState::kBusy || e.invocation != invocation) return false;
  e.state = EnvironmentState::kAnswered;
  e.answered = now;
  e.looked_again = false;
  e.invocation.reset();
  // The pool works, so that it is worth having one more.
  Pool& pool = pools_.at(e.pool);
  if (!pool.prepare_at && pool.rule.prepared > 0) pool.prepare_at = now + pool.rule.prepare_after;
  return true;
}

Effects FunctionCore::init_failed(BootTime now, EnvironmentId id, Failure why) {
  Effects out;
  auto found = environments_.find(id);
  if (found == environments_.end() || found->second.state != EnvironmentState::kStarting)
    return out;
  pools_.at(found->second.pool).prepare_at.reset();
  fail_oldest(pools_.at(found->second.pool), why, id, out);
  stop(now, id, StopReason::kInitFailed, out);
  dispatch(now, out);
  return out;
}

Effects FunctionCore::exited(BootTime now, EnvironmentId id) {
  Effects out;
  auto found = environments_.find(id);
  if (found == environments_.end()) return out;
  const Environment e = found->second;
  Pool& pool = pools_.at(e.pool);
  if (e.state == EnvironmentState::kStarting) {
    pool.prepare_at.reset();
    fail_oldest(pool, Failure::kInitFailed, id, out);
  }
  if (e.state == EnvironmentState::kBusy) out.push_back(Fail{*e.invocation, Failure::kExited, id});
  Effects own_stop;  // it has ended already: only the counts follow
  if (e.state != EnvironmentState::kStopping) stop(now, id, StopReason::kIdle, own_stop);
  --pool.live;
  environments_.erase(id);
  if (pool.retired && pool.live == 0) pools_.erase(e.pool);
  dispatch(now, out);
  return out;
}

Effects FunctionCore::tick(BootTime now) {
  Effects out;
  for (auto& [id, pool] : pools_)
    while (!pool.queue.empty() && pool.queue.front().since + pool.rule.queue_timeout <= now) {
      out.push_back(Fail{pool.queue.front().invocation, Failure::kThrottled, {}});
      pool.queue.pop_front();
    }
  std::vector<EnvironmentId> due;
  for (const auto& [id, e] : environments_) {
    const auto at = deadline_of(e);
    if (at && *at <= now) due.push_back(id);
  }
  for (EnvironmentId id : due) {
    Environment& e = environments_.at(id);
    switch (e.state) {
      case EnvironmentState::kStarting:
        pools_.at(e.pool).prepare_at.reset();
        fail_oldest(pools_.at(e.pool), Failure::kInitTimedOut, id, out);
        stop(now, id, StopReason::kInitFailed, out);
        break;
      case EnvironmentState::kIdle:
        e.state = EnvironmentState::kFrozen;
        out.push_back(Freeze{id});
        break;
      case EnvironmentState::kFrozen:
        stop(now, id, StopReason::kIdle, out);
        break;
      case EnvironmentState::kBusy:
        out.push_back(Fail{*e.invocation, Failure::kTimedOut, id});
        stop(now, id, StopReason::kTimedOut, out);
        break;
      case EnvironmentState::kAnswered:
        stop(now, id, StopReason::kTimedOut, out);
        break;
      case EnvironmentState::kStopping:
        break;
    }
  }
  for (auto& [id, e] : environments_)
    if (e.state == EnvironmentState::kAnswered &&
        *e.answered + pools_.at(e.pool).rule.poll_grace <= now)
      e.looked_again = true;
  dispatch(now, out);
  prepare(now, out);
  return out;
}

std::optional<BootTime> FunctionCore::deadline_of(const Environment& e) const {
  const PoolRule& rule = pools_.at(e.pool).rule;
  switch (e.state) {
    case EnvironmentState::kStarting:
      return e.since + rule.init_timeout;
    case EnvironmentState::kIdle:
      return e.since + rule.freeze_after;
    case EnvironmentState::kFrozen:
      if (e.prepared)
        return std::max(pools_.at(e.pool).last_invocation + rule.prepared_for,
                        e.since + rule.freeze_after);
      return e.since + std::max(rule.reap_after, rule.freeze_after);
    case EnvironmentState::kBusy:
    case EnvironmentState::kAnswered:
      return e.deadline;
    case EnvironmentState::kStopping:
      break;
  }
  return std::nullopt;
}

std::optional<BootTime> FunctionCore::deadline() const {
  std::optional<BootTime> first;
  auto consider = [&](BootTime at) { first = first ? std::min(*first, at) : at; };
  for (const auto& [id, pool] : pools_) {
    if (!pool.queue.empty()) consider(pool.queue.front().since + pool.rule.queue_timeout);
    if (pool.prepare_at) consider(*pool.prepare_at);
  }
  for (const auto& [id, e] : environments_) {
    if (auto at = deadline_of(e)) consider(*at);
    // When one that was counted on has not polled, what waits needs another look; that happens
    // once, because the time has passed then.
    const Pool& pool = pools_.at(e.pool);
    if (e.state == EnvironmentState::kAnswered && !pool.queue.empty() && !e.looked_again)
      consider(*e.answered + pool.rule.poll_grace);
  }
  return first;
}

// Serves every queue once, beginning behind the pool that was first the last time.
void FunctionCore::dispatch(BootTime now, Effects& out) {
  if (pools_.empty()) return;
  auto first = pools_.upper_bound(turn_);
  if (first == pools_.end()) first = pools_.begin();
  turn_ = first->first;
  for (auto at = first; at != pools_.end(); ++at) serve(now, at->first, at->second, out);
  for (auto at = pools_.begin(); at != first; ++at) serve(now, at->first, at->second, out);
}

void FunctionCore::serve(BootTime now, PoolId id, Pool& pool, Effects& out) {
  while (!pool.queue.empty() && !pool.idle.empty()) deliver(now, pool, pool.idle.back(), out);
  const std::size_t polling = pool.queue.empty() ? 0 : about_to_poll(now, id, pool);
  while (pool.queue.size() > pool.starting + polling && start(now, id, pool, out)) {
  }
}

std::size_t FunctionCore::about_to_poll(BootTime now, PoolId id, const Pool& pool) const {
  return static_cast<std::size_t>(
      std::count_if(environments_.begin(), environments_.end(), [&](const auto& entry) {
        const Environment& e = entry.second;
        return e.pool == id && e.state == EnvironmentState::kAnswered &&
               *e.answered + pool.rule.poll_grace > now;
      }));
}

bool FunctionCore::start(BootTime now, PoolId id, Pool& pool, Effects& out) {
  if (starting_ >= rule_.starts_max) return false;
  Family& family = families_[pool.rule.family];
  if (family.live >= family_max(family) && !make_room(now, pool, true, out)) return false;
  if (environments_.size() >= rule_.environments_max) {
    // What is stopping still uses memory; its end brings us back here.
    make_room(now, pool, false, out);
    return false;
  }
  begin(now, id, pool, false, out);
  return true;
}

void FunctionCore::begin(BootTime now, PoolId id, Pool& pool, bool prepares, Effects& out) {
  const EnvironmentId environment{++last_environment_};
  Environment& made = environments_[environment];
  made.pool = id;
  made.since = now;
  made.prepared = prepares;
  ++pool.starting;
  ++pool.live;
  ++starting_;
  ++families_[pool.rule.family].live;
  // The next one to prepare waits until this one has had the processor.
  if (pool.prepare_at) pool.prepare_at = now + pool.rule.prepare_after;
  out.push_back(Start{environment, id, prepares});
}

// Begins to prepare one environment where that is due, and nothing else wants to start. A pool that
// has enough, or finds no room, asks again when it has served again.
void FunctionCore::prepare(BootTime now, Effects& out) {
  for (auto& [id, pool] : pools_) {
    if (!pool.prepare_at || *pool.prepare_at > now) continue;
    const bool busy = starting_ > 0 || std::any_of(pools_.begin(), pools_.end(), [](const auto& p) {
                        return !p.second.queue.empty();
                      });
    if (busy) {
      pool.prepare_at = now + pool.rule.prepare_after;
      continue;
    }
    pool.prepare_at.reset();
    const Family& family = families_[pool.rule.family];
    const bool room = environments_.size() < rule_.environments_max &&
                      family.live < family_max(family) && !pool.retired;
    const bool wanted = now < pool.last_invocation + pool.rule.prepared_for &&
                        counts(id).prepared < pool.rule.prepared;
    if (!room || !wanted) continue;
    begin(now, id, pool, true, out);
    pool.prepare_at = now + pool.rule.prepare_after;
  }
}

// Stops the environment that has been idle longest, of the same family where that one is full.
bool FunctionCore::make_room(BootTime now, const Pool& wanting, bool family_is_full, Effects& out) {
  const bool stops_already =
      !family_is_full && std::any_of(environments_.begin(), environments_.end(), [](const auto& e) {
        return e.second.state == EnvironmentState::kStopping;
      });
  if (stops_already) return true;
  std::optional<EnvironmentId> oldest;
  const auto goes_first = [this](const Environment& e, EnvironmentId other) {
    const Environment& o = environments_.at(other);
    return e.prepared != o.prepared ? e.prepared : e.since < o.since;
  };
  for (const auto& [id, e] : environments_) {
    const bool idle = e.state == EnvironmentState::kIdle || e.state == EnvironmentState::kFrozen;
    const bool counts = !family_is_full || pools_.at(e.pool).rule.family == wanting.rule.family;
    if (idle && counts && (!oldest || goes_first(e, *oldest))) oldest = id;
  }
  if (!oldest) return false;
  stop(now, *oldest, StopReason::kEvicted, out);
  return true;
}

void FunctionCore::deliver(BootTime now, Pool& pool, EnvironmentId id, Effects& out) {
  Environment& e = environments_.at(id);
  std::erase(pool.idle, id);
  if (e.state == EnvironmentState::kFrozen) out.push_back(Thaw{id});
  e.state = EnvironmentState::kBusy;
  e.since = now;
  e.invocation = pool.queue.front().invocation;
  e.deadline = now + pool.rule.timeout;
  pool.queue.pop_front();
  out.push_back(Deliver{id, *e.invocation, *e.deadline, std::exchange(e.prepared, false)});
}

void FunctionCore::stop(BootTime now, EnvironmentId id, StopReason reason, Effects& out) {
  Environment& e = environments_.at(id);
  LEEWARD_CHECK(e.state != EnvironmentState::kStopping);
  Pool& pool = pools_.at(e.pool);
  if (e.state == EnvironmentState::kStarting) {
    --pool.starting;
    --starting_;
  }
  std::erase(pool.idle, id);
  --families_[pool.rule.family].live;
  e.state = EnvironmentState::kStopping;
  e.since = now;
  e.invocation.reset();
  e.deadline.reset();
  out.push_back(Stop{id, reason});
}

void FunctionCore::fail_oldest(Pool& pool, Failure why, EnvironmentId environment, Effects& out) {
  if (pool.queue.empty()) return;
  out.push_back(Fail{pool.queue.front().invocation, why, environment});
  pool.queue.pop_front();
}

PoolCounts FunctionCore::counts(PoolId id) const {
  PoolCounts counts;
  if (auto pool = pools_.find(id); pool != pools_.end()) counts.queued = pool->second.queue.size();
  for (const auto& [environment, e] : environments_) {
    if (e.pool != id) continue;
    const bool idle = e.state == EnvironmentState::kIdle || e.state == EnvironmentState::kFrozen;
    if (e.prepared && idle) {
      ++counts.prepared;
      continue;
    }
    switch (e.state) {
      case EnvironmentState::kStarting:
        ++counts.starting;
        break;
      case EnvironmentState::kIdle:
        ++counts.idle;
        break;
      case EnvironmentState::kFrozen:
        ++counts.frozen;
        break;
      case EnvironmentState::kBusy:
      case EnvironmentState::kAnswered:
        ++counts.busy;
        break;
      case EnvironmentState::kStopping:
        ++counts.stopping;
        break;
    }
  }
  return counts;
}

std::optional<EnvironmentState> FunctionCore::state(EnvironmentId id) const {
  auto found = environments_.find(id);
  if (found == environments_.end()) return std::nullopt;
  return found->second.state;
}

std::optional<InvocationId> FunctionCore::running(EnvironmentId id) const {
  auto found = environments_.find(id);
  return found == environments_.end() ? std::nullopt : found->second.invocation;
}

}  // namespace leeward::functions

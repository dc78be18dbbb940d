#include "replication/internal/link_state.h"

#include <algorithm>

namespace leeward::replication::internal {
namespace {

WallTime wall_now() { return SystemClock().now().wall; }

std::uint64_t distance(const mysql::GtidPosition& from, const mysql::GtidPosition& to) {
  std::uint64_t sum = 0;
  for (const auto& [domain, gtid] : to.domains) {
    auto found = from.domains.find(domain);
    std::uint64_t at = found == from.domains.end() ? 0 : found->second.sequence;
    if (gtid.sequence > at) sum += gtid.sequence - at;
  }
  return sum;
}

}  // namespace

bool reached(const mysql::GtidPosition& position, const mysql::GtidPosition& until) {
  return distance(position, until) == 0;
}

LinkBoard::LinkBoard(Registry* metrics, const std::string& task) {
  if (!metrics) return;
  Labels labels{{"task", task}};
  series_ = Series{
      &metrics->counter("leeward_stream_transactions_total", "Source transactions applied", labels),
      &metrics->counter("leeward_stream_rows_total", "Rows applied", labels),
      &metrics->counter("leeward_stream_conflicts_total",
                        "Rows that both directions changed, see leeward.conflicts", labels),
      &metrics->counter("leeward_stream_errors_total", "Errors that interrupted a stream", labels),
      &metrics->gauge("leeward_stream_lag_seconds", "Age of the last heartbeat applied", labels),
      &metrics->gauge("leeward_stream_behind_transactions", "Source transactions not yet applied",
                      labels),
      &metrics->gauge("leeward_stream_throttled", "1 while applying is held back", labels)};
}

void LinkBoard::set_running(bool running) {
  std::lock_guard lock(mutex_);
  running_ = running;
  for (bool& connected : connected_) connected = false;
  for (Trouble& trouble : trouble_) trouble = {};
  changed_.notify_all();
}

void LinkBoard::set_paused(bool paused) {
  std::lock_guard lock(mutex_);
  paused_ = paused;
}

void LinkBoard::hold_at(std::optional<mysql::GtidPosition> at) {
  std::lock_guard lock(mutex_);
  held_ = true;
  hold_at_ = std::move(at);
}

void LinkBoard::let_go() {
  std::lock_guard lock(mutex_);
  held_ = false;
  hold_at_.reset();
}

bool LinkBoard::waits(const mysql::GtidPosition& position) const {
  std::lock_guard lock(mutex_);
  if (held_) return !hold_at_ || reached(position, *hold_at_);
  return paused_ || status_.throttled;
}

void LinkBoard::beat(const mysql::Gtid& gtid, WallTime at) {
  std::lock_guard lock(mutex_);
  beats_.push_back({gtid, at});
  auto passed = [&](const Beat& beat) {
    auto found = status_.durable.domains.find(beat.gtid.domain);
    return found != status_.durable.domains.end() && found->second.sequence >= beat.gtid.sequence;
  };
  while (beats_.size() > kBeatsMax || (beats_.size() > 1 && passed(beats_[1]))) beats_.pop_front();
}

Duration LinkBoard::lag_of(const mysql::GtidPosition& position) const {
  Duration lag = kNever;
  for (const Beat& beat : beats_) {
    auto found = position.domains.find(beat.gtid.domain);
    if (found == position.domains.end() || found->second.sequence < beat.gtid.sequence) break;
    lag = wall_now() - beat.at;
  }
  return lag;
}

void LinkBoard::set_reversed(bool reversed) {
  std::lock_guard lock(mutex_);
  status_.reversed = reversed;
}

void LinkBoard::set_connected(Part part, bool connected) {
  std::lock_guard lock(mutex_);
  connected_[static_cast<std::size_t>(part)] = connected;
}

void LinkBoard::set_error(Part part, const Error& error, bool fatal) {
  std::lock_guard lock(mutex_);
  Trouble& trouble = trouble_[static_cast<std::size_t>(part)];
  bool same = trouble.set && trouble.error.message == error.message;
  trouble = {error, same ? trouble.at : wall_now(), true, fatal};
  connected_[static_cast<std::size_t>(part)] = false;
  if (series_) series_->errors->add();
  changed_.notify_all();
}

void LinkBoard::clear_error(Part part) {
  std::lock_guard lock(mutex_);
  trouble_[static_cast<std::size_t>(part)] = {};
}

void LinkBoard::set_throttle(std::string why) {
  std::lock_guard lock(mutex_);
  status_.throttled = !why.empty();
  status_.throttle = std::move(why);
  if (series_) series_->throttled->set(status_.throttled);
}

void LinkBoard::set_source(const mysql::GtidPosition& position) {
  std::lock_guard lock(mutex_);
  status_.source = position;
  LinkStatus now = status_locked();
  if (!series_) return;
  series_->behind->set(static_cast<double>(now.behind));
  if (now.lag != kNever) series_->lag->set(seconds(now.lag));
}

void LinkBoard::set_semi_sync(SemiSync state, std::uint64_t fallbacks) {
  std::lock_guard lock(mutex_);
  status_.semi_sync = state;
  status_.semi_sync_fallbacks = fallbacks;
}

void LinkBoard::set_received(const mysql::GtidPosition& received,
                             const mysql::GtidPosition& durable) {
  std::lock_guard lock(mutex_);
  status_.received = received;
  status_.durable = durable;
}

void LinkBoard::set_applied(const mysql::GtidPosition& applied) {
  std::lock_guard lock(mutex_);
  status_.applied = applied;
  changed_.notify_all();
}

void LinkBoard::committed(const Batch& batch) {
  std::lock_guard lock(mutex_);
  status_.applied = batch.end;
  status_.transactions += batch.transactions;
  status_.rows += batch.rows;
  status_.conflicts += batch.conflicts;
  if (batch.heartbeat) heartbeat_ = *batch.heartbeat;
  trouble_[static_cast<std::size_t>(Part::kApply)] = {};
  if (series_) {
    series_->transactions->add(batch.transactions);
    series_->rows->add(batch.rows);
    series_->conflicts->add(batch.conflicts);
  }
  changed_.notify_all();
}

LinkStatus LinkBoard::status_locked() const {
  LinkStatus status = status_;
  status.behind = distance(status.applied, status.source);
  if (heartbeat_ != WallTime{}) status.lag = wall_now() - heartbeat_;
  status.received_lag = {lag_of(status.received), distance(status.received, status.source)};
  status.durable_lag = {lag_of(status.durable), distance(status.durable, status.source)};
  const Trouble* worst = nullptr;
  for (const Trouble& trouble : trouble_)
    if (trouble.set && (!worst || (trouble.fatal && !worst->fatal))) worst = &trouble;
  if (worst) {
    status.error = worst->error.message;
    status.error_at = worst->at;
  }
  if (!running_)
    status.state = LinkState::kStopped;
  else if (worst)
    status.state = worst->fatal ? LinkState::kBroken : LinkState::kConnecting;
  else if (!connected_[0] || !connected_[1])
    status.state = LinkState::kConnecting;
  else
    status.state = paused_ ? LinkState::kPaused : LinkState::kStreaming;
  return status;
}

LinkStatus LinkBoard::status() const {
  std::lock_guard lock(mutex_);
  return status_locked();
}

Status LinkBoard::wait_applied(const mysql::GtidPosition& until, BootTime deadline) const {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (reached(status_.applied, until)) return {};
    LinkStatus now = status_locked();
    if (now.state == LinkState::kBroken) return fail(Code::kUnhealthy, "{}", now.error);
    if (now.state == LinkState::kStopped)
      return fail(Code::kConflict, "the stream is stopped at {}", to_string(now.applied));
    if (BootClock::now() >= deadline)
      return fail(Code::kTimeout, "applied {}, not yet {}; {}", to_string(now.applied),
                  to_string(until), now.error.empty() ? "still working" : now.error);
    changed_.wait_for(lock, std::min<Duration>(100ms, deadline - BootClock::now()));
  }
}

}  // namespace leeward::replication::internal

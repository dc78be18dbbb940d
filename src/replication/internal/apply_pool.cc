#include "replication/internal/apply_pool.h"

#include <algorithm>

namespace leeward::replication::internal {

Result<std::unique_ptr<ApplyPool>> ApplyPool::start(ApplyPoolOptions options, BootTime deadline) {
  std::unique_ptr<ApplyPool> pool(new ApplyPool(std::move(options)));
  for (int i = 0; i < pool->options_.workers; ++i) {
    auto session = ApplySession::open(pool->options_.target, pool->options_.task,
                                      pool->options_.conflicts, deadline);
    if (!session) return fail(std::move(session.error()));
    pool->sessions_.push_back(std::move(*session));
  }
  for (std::size_t i = 0; i < pool->sessions_.size(); ++i)
    pool->threads_.emplace_back([&pool = *pool, i] { pool.work(i); });
  return pool;
}

ApplyPool::~ApplyPool() {
  bool running = false;
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
    running = busy_ > 0;
  }
  changed_.notify_all();
  if (running) {
    // A statement that waits for a lock or changes a great many rows must not hold us up.
    auto sql = mysql::SqlConnection::open(options_.target, BootClock::now() + 2s);
    for (const ApplySession& session : sessions_)
      if (sql && sql->usable())
        (void)sql->execute(fmt::format("KILL {}", session.id()), BootClock::now() + 2s);
  }
  for (std::thread& thread : threads_) thread.join();
}

Status ApplyPool::submit(Batch batch) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    return failure_ || ending_ || bytes_ == 0 || bytes_ + batch.bytes <= options_.bytes_max;
  });
  if (failure_) return fail(failure_->error);
  bytes_ += batch.bytes;
  submitted_ = batch.id;
  queue_.push_back(std::move(batch));
  changed_.notify_all();
  return {};
}

Status ApplyPool::wait_idle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return failure_ || ending_ || committed_ == submitted_; });
  if (failure_) return fail(failure_->error);
  return {};
}

bool ApplyPool::healthy() const {
  std::lock_guard lock(mutex_);
  return !failure_;
}

bool ApplyPool::has_idle() const {
  std::lock_guard lock(mutex_);
  return queue_.empty() && busy_ < sessions_.size();
}

std::uint64_t ApplyPool::committed() const {
  std::lock_guard lock(mutex_);
  return committed_;
}

Outcome ApplyPool::failure() const {
  std::lock_guard lock(mutex_);
  return failure_.value_or(Outcome{});
}

std::uint64_t ApplyPool::retries() const {
  std::lock_guard lock(mutex_);
  return retries_;
}

void ApplyPool::fail_with(Outcome outcome) {
  std::lock_guard lock(mutex_);
  if (!failure_) failure_ = std::move(outcome);
  changed_.notify_all();
}

bool ApplyPool::wait_for_commits(std::uint64_t id) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ending_ || failure_ || committed_ >= id; });
  return !ending_ && !failure_;
}

bool ApplyPool::first_in_line(std::uint64_t id) const {
  std::lock_guard lock(mutex_);
  return committed_ + 1 == id;
}

ApplyPool::Turn ApplyPool::wait_for_turn(std::uint64_t id, std::uint64_t wave) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    return ending_ || failure_ || committed_ + 1 == id || (wave_ > wave && way_for_ < id);
  });
  if (ending_ || failure_) return Turn::kEnd;
  return committed_ + 1 == id ? Turn::kCommit : Turn::kAgain;
}

void ApplyPool::make_way(std::uint64_t id) {
  std::lock_guard lock(mutex_);
  ++wave_;
  ++retries_;
  way_for_ = id;
  changed_.notify_all();
}

void ApplyPool::work(std::size_t index) {
  ApplySession& session = sessions_[index];
  for (;;) {
    Batch batch;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return ending_ || failure_ || !queue_.empty(); });
      if (ending_ || failure_) return;
      batch = std::move(queue_.front());
      queue_.pop_front();
      ++busy_;
    }
    bool applied = apply(session, batch);
    if (!applied) session.rollback();
    if (applied && options_.on_commit) options_.on_commit(batch);
    std::lock_guard lock(mutex_);
    --busy_;
    bytes_ -= batch.bytes;
    if (applied) committed_ = batch.id;
    changed_.notify_all();
    if (!applied) return;
  }
}

bool ApplyPool::apply(ApplySession& session, Batch& batch) {
  if (!wait_for_commits(batch.depends_on)) return false;
  BootTime patience = BootTime::max();
  for (int refusals = 0;;) {
    std::uint64_t wave = 0;
    {
      std::lock_guard lock(mutex_);
      wave = wave_;
    }
    bool first = first_in_line(batch.id);
    // A row that differs may only wait for a batch before this one; first in line it does not.
    Outcome outcome = session.execute(batch, first);
    if (outcome.ok()) {
      Turn turn = wait_for_turn(batch.id, wave);
      if (turn == Turn::kEnd) return false;
      if (turn == Turn::kCommit) {
        first = true;
        outcome = session.commit(batch.before, {batch.end, batch.relay_end});
        if (outcome.ok()) {
          batch.conflicts = session.conflicts();
          return true;
        }
      }
    }
    if (outcome.trouble == Trouble::kLost || outcome.trouble == Trouble::kMoved) {
      fail_with(std::move(outcome));
      return false;
    }
    session.rollback();
    if (!first) {
      // Perhaps only because something before it is missing.
      {
        std::lock_guard lock(mutex_);
        ++retries_;
      }
      if (!wait_for_commits(batch.id - 1)) return false;
      continue;
    }
    if (outcome.trouble == Trouble::kLocked) {
      if (patience == BootTime::max()) patience = BootClock::now() + options_.lock_patience;
    } else if (refusals++ > 0) {
      fail_with(std::move(outcome));
      return false;
    }
    if (BootClock::now() > patience) {
      fail_with(std::move(outcome));
      return false;
    }
    make_way(batch.id);
  }
}

}  // namespace leeward::replication::internal

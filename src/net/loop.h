// The event loop that a daemon's control side lives on, and a pool for work that blocks.
//
// One thread calls EventLoop::run(); every callback runs on that thread, one at a time, so state
// that only callbacks touch needs no lock. A callback must not block: hand such work to a
// WorkerPool and post its result back. (The hot data paths of dns and the gateways have loops of
// their own.)
//
// Threading: post() and stop() may be called from any thread. Everything else is for the loop's
// thread, or for the owner while nobody runs the loop; the loop checks this and aborts otherwise.
// Destroy the loop last: servers and clients built on it must be gone before it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/strong.h"
#include "base/time.h"

namespace leeward::net {

using TimerId = Strong<struct TimerTag, std::uint64_t>;  // 0 is never given out
using WatchId = Strong<struct WatchTag, std::uint64_t>;  // 0 is never given out

class EventLoop {
 public:
  using Callback = std::function<void()>;

  EventLoop();
  ~EventLoop();  // callbacks that did not run are destroyed uncalled
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Runs callbacks on the calling thread until stop(). A stop() that came before run() lets it
  // return at once. May be called again afterwards.
  void run();

  // Makes run() return after the callback that is running now. Any thread.
  void stop();

  // Runs `fn` on the loop's thread, after the current callback; in order for one posting thread.
  // Any thread. The queue has no bound of its own: whoever posts from outside must be bounded
  // (WorkerPool is: at most its threads and queue).
  void post(Callback fn);

  // Runs `fn` once, `delay` from now (at once when not positive). Delays are counted on
  // CLOCK_BOOTTIME: time in suspend counts, so a timer that came due in a suspended machine runs
  // when it wakes. A timer may be late under load; a safety deadline is therefore still compared
  // with BootClock::now() where it matters.
  TimerId call_after(Duration delay, Callback fn);

  // True if the timer had not run and now never will.
  bool cancel(TimerId timer);

  // Runs `fn` with the signal's number each time one of `signals` arrives, for the life of the
  // loop, in place of the signal's default action. kInvalid for a number that cannot be caught.
  Status on_signals(const std::vector<int>& signals, std::function<void(int)> fn);

  // Runs `fn` whenever `fd` (pidfd, eventfd, pipe, socket …) is readable or at its end, and again
  // as long as it stays so. The descriptor remains the caller's, is made non-blocking, may be
  // watched once at a time, and must be unwatched before it is closed. kInvalid for a descriptor
  // that cannot be waited for, as a regular file.
  Result<WatchId> watch_readable(int fd, Callback fn);

  // After it the watch's callback does not run again. Allowed inside that callback.
  void unwatch(WatchId watch);

  // Whether the caller is on the loop's thread (or nobody runs the loop).
  bool on_loop() const;

  struct Impl;  // the rest of this room reaches the io_context through internal/loop_impl.h
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

// Threads for work that blocks: fsync, a database's reply, a child process.
class WorkerPool {
 public:
  // At most `queue_max` accepted jobs wait for one of `threads` threads.
  WorkerPool(int threads, std::size_t queue_max);
  // Joins: running jobs end first, jobs that wait are destroyed unrun.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Queues `job`; kUnavailable when the queue is full. Any thread. Jobs start in order.
  Status submit(std::function<void()> job);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace leeward::net

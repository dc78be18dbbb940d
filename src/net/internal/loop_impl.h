// What the files of this room know of EventLoop beyond its header.
#pragma once

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "net/loop.h"

namespace leeward::net {

// A way to post that outlives the loop: what is posted after the loop's end is dropped. For handles
// that other threads keep, as a Responder.
class LoopMailbox {
 public:
  explicit LoopMailbox(boost::asio::io_context& context) : context_(&context) {}

  void post(EventLoop::Callback fn) {
    std::lock_guard lock(mutex_);
    if (context_ != nullptr) boost::asio::post(*context_, std::move(fn));
  }
  void close() {
    std::lock_guard lock(mutex_);
    context_ = nullptr;
  }

 private:
  std::mutex mutex_;
  boost::asio::io_context* context_;
};

struct EventLoop::Impl {
  struct Watch {
    Watch(boost::asio::io_context& context, int fd, Callback f)
        : descriptor(context, fd), fn(std::move(f)) {}
    boost::asio::posix::stream_descriptor descriptor;
    Callback fn;
    bool active = true;
  };
  struct Signals {
    Signals(boost::asio::io_context& context, std::function<void(int)> f)
        : set(context), fn(std::move(f)) {}
    boost::asio::signal_set set;
    std::function<void(int)> fn;
  };

  Impl();
  void check_thread() const;
  void wait_for_timers();
  void run_due_timers();
  void arm_timer();
  void wait_for_readable(const std::shared_ptr<Watch>& watch);
  void wait_for_signal(Signals& signals);

  // One thread runs the context (the hint lets Asio skip wake-ups); posting stays thread-safe.
  boost::asio::io_context context{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{
      context.get_executor()};
  std::shared_ptr<LoopMailbox> mailbox = std::make_shared<LoopMailbox>(context);
  std::atomic<std::thread::id> runner{};

  // All timers share one timerfd that is armed for the earliest.
  boost::asio::posix::stream_descriptor timer_fd;
  std::map<std::pair<BootTime, std::uint64_t>, Callback> timers;
  std::unordered_map<std::uint64_t, BootTime> timer_due;
  BootTime armed_for{};
  std::uint64_t last_id = 0;
  std::map<std::uint64_t, std::shared_ptr<Watch>> watches;
  std::list<Signals> signals;
};

}  // namespace leeward::net

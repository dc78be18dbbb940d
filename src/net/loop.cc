#include "net/loop.h"

#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <deque>

#include "base/check.h"
#include "net/internal/loop_impl.h"

namespace leeward::net {
namespace asio = boost::asio;

namespace {

// Far enough never to come, near enough that adding it to now cannot overflow.
constexpr Duration kDelayMax = std::chrono::hours(24 * 365 * 50);

int make_timer_fd() {
  int fd = ::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
  LEEWARD_CHECK(fd >= 0);
  return fd;
}

}  // namespace

EventLoop::Impl::Impl() : timer_fd(context, make_timer_fd()) { wait_for_timers(); }

void EventLoop::Impl::check_thread() const {
  std::thread::id running = runner.load();
  LEEWARD_CHECK(running == std::thread::id{} || running == std::this_thread::get_id());
}

void EventLoop::Impl::wait_for_timers() {
  timer_fd.async_wait(asio::posix::stream_descriptor::wait_read,
                      [this](const boost::system::error_code& error) {
                        if (error) return;
                        std::uint64_t expirations = 0;
                        [[maybe_unused]] ssize_t n =
                            ::read(timer_fd.native_handle(), &expirations, sizeof expirations);
                        run_due_timers();
                        wait_for_timers();
                      });
}

void EventLoop::Impl::run_due_timers() {
  armed_for = {};
  const BootTime now =
      BootClock::now();  // taken once, so that a timer set by a timer waits its turn
  while (!timers.empty() && timers.begin()->first.first <= now && !context.stopped()) {
    auto node = timers.extract(timers.begin());
    timer_due.erase(node.key().second);
    node.mapped()();
  }
  arm_timer();
}

void EventLoop::Impl::arm_timer() {
  if (timers.empty()) return;  // a wake-up for nothing is cheaper than disarming each time
  const BootTime due = timers.begin()->first.first;
  if (armed_for == due) return;
  armed_for = due;
  const auto since_boot = due.time_since_epoch();
  const auto whole = std::chrono::floor<std::chrono::seconds>(since_boot);
  itimerspec spec{};
  spec.it_value.tv_sec = whole.count();
  spec.it_value.tv_nsec = (since_boot - whole).count();
  LEEWARD_CHECK(::timerfd_settime(timer_fd.native_handle(), TFD_TIMER_ABSTIME, &spec, nullptr) ==
                0);
}

void EventLoop::Impl::wait_for_readable(const std::shared_ptr<Watch>& watch) {
  watch->descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                               [this, watch](const boost::system::error_code& error) {
                                 if (error || !watch->active) return;
                                 watch->fn();
                                 if (watch->active) wait_for_readable(watch);
                               });
}

void EventLoop::Impl::wait_for_signal(Signals& entry) {
  entry.set.async_wait([this, &entry](const boost::system::error_code& error, int number) {
    if (error) return;
    entry.fn(number);
    wait_for_signal(entry);
  });
}

EventLoop::EventLoop() : impl_(std::make_unique<Impl>()) {}

EventLoop::~EventLoop() {
  LEEWARD_CHECK(impl_->runner.load() == std::thread::id{});
  impl_->mailbox->close();
  for (auto& [id, watch] : impl_->watches) {
    watch->active = false;
    watch->descriptor.release();
  }
}

void EventLoop::run() {
  std::thread::id nobody{};
  LEEWARD_CHECK(impl_->runner.compare_exchange_strong(nobody, std::this_thread::get_id()));
  impl_->context.run();
  impl_->context.restart();
  impl_->runner.store(std::thread::id{});
}

void EventLoop::stop() { impl_->context.stop(); }

void EventLoop::post(Callback fn) { asio::post(impl_->context, std::move(fn)); }

TimerId EventLoop::call_after(Duration delay, Callback fn) {
  impl_->check_thread();
  const BootTime due = BootClock::now() + std::clamp(delay, Duration{0}, kDelayMax);
  const std::uint64_t id = ++impl_->last_id;
  impl_->timers.emplace(std::pair(due, id), std::move(fn));
  impl_->timer_due.emplace(id, due);
  impl_->arm_timer();
  return TimerId{id};
}

bool EventLoop::cancel(TimerId timer) {
  impl_->check_thread();
  auto found = impl_->timer_due.find(timer.value);
  if (found == impl_->timer_due.end()) return false;
  // The callback dies last: its destructor may come back to this loop.
  auto node = impl_->timers.extract({found->second, timer.value});
  impl_->timer_due.erase(found);
  return true;
}

Status EventLoop::on_signals(const std::vector<int>& signals, std::function<void(int)> fn) {
  impl_->check_thread();
  auto& entry = impl_->signals.emplace_back(impl_->context, std::move(fn));
  for (int number : signals) {
    boost::system::error_code error;
    entry.set.add(number, error);
    if (!error) continue;
    impl_->signals.pop_back();
    return fail(Code::kInvalid, "signal {} cannot be caught: {}", number, error.message());
  }
  impl_->wait_for_signal(entry);
  return {};
}

Result<WatchId> EventLoop::watch_readable(int fd, Callback fn) {
  impl_->check_thread();
  struct stat info {};
  if (::fstat(fd, &info) != 0) return fail(os_error(errno, fmt::format("watch descriptor {}", fd)));
  if (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode))
    return fail(Code::kInvalid, "descriptor {} is a file, which cannot be waited for", fd);
  for (const auto& [id, watch] : impl_->watches)
    if (watch->descriptor.native_handle() == fd)
      return fail(Code::kInvalid, "descriptor {} is watched already", fd);
  auto watch = std::make_shared<Impl::Watch>(impl_->context, fd, std::move(fn));
  const std::uint64_t id = ++impl_->last_id;
  impl_->watches.emplace(id, watch);
  impl_->wait_for_readable(watch);
  return WatchId{id};
}

void EventLoop::unwatch(WatchId id) {
  impl_->check_thread();
  auto node = impl_->watches.extract(id.value);
  if (node.empty()) return;
  node.mapped()->active = false;
  node.mapped()->descriptor.release();
}

bool EventLoop::on_loop() const {
  std::thread::id running = impl_->runner.load();
  return running == std::thread::id{} || running == std::this_thread::get_id();
}

struct WorkerPool::Impl {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> queue;
  std::size_t queue_max = 0;
  bool stopping = false;
  std::vector<std::thread> threads;

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return stopping || !queue.empty(); });
      if (stopping) return;
      auto job = std::move(queue.front());
      queue.pop_front();
      lock.unlock();
      job();
      job = nullptr;  // what it owns is let go outside the lock
      lock.lock();
    }
  }
};

WorkerPool::WorkerPool(int threads, std::size_t queue_max) : impl_(std::make_unique<Impl>()) {
  impl_->queue_max = queue_max;
  for (int i = 0; i < threads; ++i) impl_->threads.emplace_back([this] { impl_->work(); });
}

WorkerPool::~WorkerPool() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->changed.notify_all();
  for (std::thread& thread : impl_->threads) thread.join();
}

Status WorkerPool::submit(std::function<void()> job) {
  {
    std::lock_guard lock(impl_->mutex);
    if (impl_->queue.size() >= impl_->queue_max)
      return fail(Code::kUnavailable, "{} jobs wait already", impl_->queue_max);
    impl_->queue.push_back(std::move(job));
  }
  impl_->changed.notify_one();
  return {};
}

}  // namespace leeward::net

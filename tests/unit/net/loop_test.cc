#include "net/loop.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <future>
#include <thread>

#include "base/file.h"

namespace leeward::net {
namespace {

// Ends the loop when a test goes wrong, so that it fails instead of hanging.
void guard(EventLoop& loop) {
  loop.call_after(20s, [&loop] {
    ADD_FAILURE() << "deadline";
    loop.stop();
  });
}

TEST(EventLoop, RunsPostedCallbacksInOrderOnItsThread) {
  EventLoop loop;
  std::vector<int> order;
  std::thread other([&] {
    for (int i = 0; i < 100; ++i) loop.post([&order, i] { order.push_back(i); });
    loop.post([&] { loop.stop(); });
  });
  guard(loop);
  loop.run();
  other.join();
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(EventLoop, StopsBeforeAndAfterAndRunsAgain) {
  EventLoop loop;
  int runs = 0;
  loop.stop();
  loop.run();  // returns at once
  for (int i = 0; i < 2; ++i) {
    loop.post([&] {
      ++runs;
      loop.stop();
    });
    loop.run();
  }
  EXPECT_EQ(runs, 2);
}

TEST(EventLoop, FiresTimersByDueTimeNotByOrderOfSetting) {
  EventLoop loop;
  std::vector<int> fired;
  const BootTime start = BootClock::now();
  loop.call_after(30ms, [&] {
    fired.push_back(2);
    EXPECT_GE(BootClock::now() - start, 30ms);
    loop.stop();
  });
  loop.call_after(10ms, [&] { fired.push_back(1); });
  loop.call_after(-5s, [&] { fired.push_back(0); });
  loop.call_after(Duration::max(), [&] { fired.push_back(3); });
  guard(loop);
  loop.run();
  EXPECT_EQ(fired, (std::vector<int>{0, 1, 2}));
}

TEST(EventLoop, ACancelledTimerNeverRuns) {
  EventLoop loop;
  bool ran = false;
  TimerId victim = loop.call_after(5ms, [&] { ran = true; });
  loop.call_after(1ms, [&] { EXPECT_TRUE(loop.cancel(victim)); });
  loop.call_after(20ms, [&] {
    EXPECT_FALSE(loop.cancel(victim));
    loop.stop();
  });
  guard(loop);
  loop.run();
  EXPECT_FALSE(ran);
}

TEST(EventLoop, ATimerThatSetsItselfAgainDoesNotStarveOthers) {
  EventLoop loop;
  int ticks = 0;
  std::function<void()> tick = [&] {
    ++ticks;
    loop.call_after(0s, tick);
  };
  tick();
  loop.call_after(20ms, [&] { loop.stop(); });
  guard(loop);
  loop.run();
  EXPECT_GT(ticks, 2);
}

TEST(EventLoop, WatchesADescriptorAsLongAsItIsReadable) {
  EventLoop loop;
  UniqueFd event(::eventfd(0, EFD_CLOEXEC));
  int calls = 0;
  WatchId watch;
  auto watching = loop.watch_readable(event.get(), [&] {
    if (++calls < 3) return;  // not drained yet: must be called again
    std::uint64_t value = 0;
    EXPECT_EQ(::read(event.get(), &value, sizeof value), 8);
    EXPECT_EQ(value, 7u);
    loop.unwatch(watch);
    const std::uint64_t more = 1;
    EXPECT_EQ(::write(event.get(), &more, sizeof more), 8);
    loop.call_after(10ms, [&] { loop.stop(); });
  });
  ASSERT_TRUE(watching) << watching.error().message;
  watch = *watching;
  EXPECT_FALSE(loop.watch_readable(event.get(), [] {}));  // once at a time
  loop.post([&] {
    const std::uint64_t value = 7;
    EXPECT_EQ(::write(event.get(), &value, sizeof value), 8);
  });
  guard(loop);
  loop.run();
  EXPECT_EQ(calls, 3);
  EXPECT_TRUE(loop.watch_readable(event.get(), [] {}));  // the descriptor is still ours
}

TEST(EventLoop, RefusesToWatchAFile) {
  EventLoop loop;
  FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  auto watching = loop.watch_readable(fileno(file), [] {});
  ASSERT_FALSE(watching);
  EXPECT_EQ(watching.error().code, Code::kInvalid);
  std::fclose(file);
  EXPECT_EQ(loop.watch_readable(-1, [] {}).error().code, Code::kIo);
}

TEST(EventLoop, HandlesASignalEachTimeItComes) {
  EventLoop loop;
  int seen = 0;
  ASSERT_TRUE(loop.on_signals({SIGUSR1, SIGUSR2}, [&](int number) {
    if (++seen == 1) {
      EXPECT_EQ(number, SIGUSR1);
      ::kill(::getpid(), SIGUSR2);
      return;
    }
    EXPECT_EQ(number, SIGUSR2);
    loop.stop();
  }));
  EXPECT_EQ(loop.on_signals({SIGKILL}, [](int) {}).error().code, Code::kInvalid);
  ::kill(::getpid(), SIGUSR1);
  guard(loop);
  loop.run();
  EXPECT_EQ(seen, 2);
}

TEST(WorkerPool, RunsJobsAndRefusesWhenFull) {
  std::promise<void> started, release;
  std::shared_future<void> gate = release.get_future().share();
  std::atomic<int> ran{0};
  {
    WorkerPool pool(1, 2);
    ASSERT_TRUE(pool.submit([&, gate] {
      started.set_value();
      gate.wait();
      ++ran;
    }));
    started.get_future().wait();
    std::promise<void> last;
    ASSERT_TRUE(pool.submit([&] { ++ran; }));
    ASSERT_TRUE(pool.submit([&] { last.set_value(); }));
    auto refused = pool.submit([] {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kUnavailable);
    release.set_value();
    last.get_future().wait();
  }
  EXPECT_EQ(ran, 2);
}

TEST(WorkerPool, EndsTheRunningJobBeforeItIsGone) {
  std::promise<void> started;
  std::atomic<bool> finished{false};
  auto owned = std::make_shared<int>(0);
  {
    WorkerPool pool(1, 4);
    ASSERT_TRUE(pool.submit([&] {
      started.set_value();
      for (int i = 0; i < 1000; ++i) std::this_thread::yield();
      finished = true;
    }));
    started.get_future().wait();
    ASSERT_TRUE(pool.submit([owned] {}));
  }
  EXPECT_TRUE(finished);
  EXPECT_EQ(owned.use_count(), 1);  // run or not, a waiting job is not leaked
}

}  // namespace
}  // namespace leeward::net

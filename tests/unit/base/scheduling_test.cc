#include "base/scheduling.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <optional>
#include <string>
#include <thread>

namespace leeward {
namespace {

using namespace std::chrono_literals;

// Nanoseconds, by the kernel's own account of the calling thread; nothing: it does not tell.
std::optional<double> slice_in_force() {
  std::ifstream account("/proc/thread-self/sched");
  for (std::string line; std::getline(account, line);)
    if (line.starts_with("se.slice")) return std::stod(line.substr(line.find(':') + 1));
  return std::nullopt;
}

bool has_slices() {
  utsname system{};
  int major = 0, minor = 0;
  ::uname(&system);
  std::sscanf(system.release, "%d.%d", &major, &minor);
  return major > 6 || (major == 6 && minor >= 12);
}

TEST(TimeSlice, IsOfTheThreadThatAskedAndLeavesItsPriority) {
  const int nice = ::getpriority(PRIO_PROCESS, 0);
  const auto before = slice_in_force();
  std::thread([&] {
    ASSERT_TRUE(set_time_slice(300us).has_value());
    EXPECT_EQ(::sched_getscheduler(0), SCHED_OTHER);
    EXPECT_EQ(::getpriority(PRIO_PROCESS, 0), nice);
    if (has_slices() && before) EXPECT_EQ(slice_in_force(), 300'000);
  }).join();
  EXPECT_EQ(slice_in_force(), before);
}

}  // namespace
}  // namespace leeward

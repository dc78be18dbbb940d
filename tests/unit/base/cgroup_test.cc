// Real groups where this user may make them (kHybrid or kUnified), files that look like groups for
// what this machine is not.
#include "base/cgroup.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

namespace leeward {
namespace {

using ::testing::HasSubstr;

bool eventually(Duration limit, const std::function<bool()>& condition) {
  BootTime end = BootClock::now() + limit;
  while (!condition()) {
    if (BootClock::now() >= end) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

std::string content(const std::filesystem::path& path) {
  return read_file(path.string()).value_or("(missing)");
}

class Groups : public ::testing::Test {
 protected:
  void SetUp() override {
    tree = CgroupTree::detect("leeward-test-" + std::to_string(::getpid()));
    if (tree.kind() == CgroupKind::kNone)
      GTEST_SKIP() << "no control groups for this user: " << tree.why();
    auto made = tree.create("one");
    ASSERT_TRUE(made.has_value()) << made.error().message;
    group = std::move(*made);
  }
  // Runs `body` in the group; returns its pid.
  template <typename Body>
  pid_t start(Body body) {
    UniqueFd pidfd;
    auto pid = fork_into(group.directory(), pidfd);
    if (!pid) {
      ADD_FAILURE() << pid.error().message;
      return -1;
    }
    if (*pid == 0) {
      if (!join_groups(group.joins())) ::_exit(99);
      body();
      ::_exit(0);
    }
    EXPECT_TRUE(pidfd.valid());
    return *pid;
  }
  int wait_for(pid_t pid) {
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return status;
  }

  CgroupTree tree;
  Cgroup group;
};

TEST_F(Groups, KillEndsWhatLeftItsSession) {
  pid_t first = start([] {
    for (int i = 0; i < 3; ++i)
      if (::fork() == 0) {
        ::setsid();
        for (;;) ::pause();
      }
    for (;;) ::pause();
  });
  ASSERT_TRUE(eventually(5s, [&] { return group.populated(); }));
  ASSERT_TRUE(group.kill().has_value());
  EXPECT_TRUE(WIFSIGNALED(wait_for(first)));
  EXPECT_TRUE(eventually(5s, [&] { return !group.populated(); }));
}

TEST_F(Groups, CountsProcessorTime) {
  pid_t pid = start([] {
    BootTime begun = BootClock::now();
    while (BootClock::now() - begun < 200ms) {
    }
  });
  wait_for(pid);
  auto usage = group.usage();
  ASSERT_TRUE(usage.has_value()) << usage.error().message;
  ASSERT_TRUE(usage->processor_time.has_value());
  EXPECT_GT(*usage->processor_time, 20ms) << "on a busy machine it has not got all of it";
  EXPECT_LT(*usage->processor_time, 2s);
}

TEST_F(Groups, AProcessOverTheMemoryLimitIsKilledAndCounted) {
  auto limited = group.limit({.memory_bytes = 64u << 20});
  if (!limited && limited.error().code == Code::kUnavailable)
    GTEST_SKIP() << limited.error().message;
  ASSERT_TRUE(limited.has_value()) << limited.error().message;
  pid_t pid = start([] {
    constexpr std::size_t kStep = 1u << 20;
    for (int i = 0; i < 512; ++i) {  // fresh pages, past the allocator
      auto* block = static_cast<volatile char*>(::sbrk(static_cast<std::intptr_t>(kStep)));
      for (std::size_t at = 0; at < kStep; at += 4096) block[at] = 1;
    }
  });
  int status = wait_for(pid);
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  EXPECT_GE(group.usage()->memory_kills, 1u);
}

TEST_F(Groups, AForkBombStopsAtTheLimitOfProcesses) {
  auto limited = group.limit({.processes = 10});
  if (!limited && limited.error().code == Code::kUnavailable)
    GTEST_SKIP() << limited.error().message;
  ASSERT_TRUE(limited.has_value()) << limited.error().message;
  pid_t pid = start([] {
    int born = 0;
    for (int i = 0; i < 50; ++i) {
      pid_t child = ::fork();
      if (child == 0)
        for (;;) ::pause();
      born += child > 0;
    }
    ::_exit(born);
  });
  int status = wait_for(pid);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 9) << "itself and nine more";
  EXPECT_TRUE(group.kill().has_value());
  EXPECT_TRUE(eventually(5s, [&] { return !group.populated(); }));
}

TEST_F(Groups, FrozenProcessesStandStillAndGoOn) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_NONBLOCK), 0);
  pid_t pid = start([&] {
    for (;;) {
      if (::write(ends[1], "x", 1) != 1 && errno != EAGAIN) ::_exit(1);
      ::usleep(2000);
    }
  });
  char byte = 0;
  auto hears = [&] { return ::read(ends[0], &byte, 1) == 1; };
  ASSERT_TRUE(eventually(5s, hears));
  auto frozen = group.freeze(true);
  ASSERT_TRUE(frozen.has_value()) << frozen.error().message;
  // Freezing takes effect within a moment: from some time on there is silence.
  EXPECT_TRUE(eventually(5s, [&] {
    while (hears()) {
    }
    std::this_thread::sleep_for(100ms);
    return !hears();
  }));
  ASSERT_TRUE(group.freeze(false).has_value());
  EXPECT_TRUE(eventually(5s, hears));
  EXPECT_TRUE(group.kill().has_value());
  wait_for(pid);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(Groups, AGroupOfAnEarlierLifeIsEmptied) {
  pid_t pid = start([] {
    for (;;) ::pause();
  });
  ASSERT_TRUE(eventually(5s, [&] { return group.populated(); }));
  auto again = tree.create("one");
  ASSERT_TRUE(again.has_value()) << again.error().message;
  EXPECT_FALSE(again->populated());
  EXPECT_TRUE(WIFSIGNALED(wait_for(pid)));
  // And what begins in it lives, which it does not in a group that was once killed as a whole.
  group = std::move(*again);
  EXPECT_EQ(wait_for(start([] {})), 0);
}

TEST_F(Groups, NothingIsLeftBehind) {
  std::string directory = group.directory();
  std::vector<std::string> joins = group.joins();
  ASSERT_FALSE(directory.empty() && joins.empty());
  group = Cgroup{};
  tree = CgroupTree{};
  if (!directory.empty()) {
    EXPECT_FALSE(std::filesystem::exists(directory));
  }
  for (const std::string& file : joins) EXPECT_FALSE(std::filesystem::exists(file)) << file;
}

TEST_F(Groups, AnotherUsersGroupIsNone) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs a second user";
  const CgroupTree ours = CgroupTree::detect("leeward-test-other");
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    constexpr int kNobody = 65534;
    if (::setgid(kNobody) != 0 || ::setuid(kNobody) != 0) ::_exit(3);
    ::_exit(CgroupTree::detect("leeward-test-other").kind() == CgroupKind::kNone ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(Groups, ANameIsNoPath) {
  for (const char* bad : {"", "..", "a/b", ".hidden"})
    EXPECT_EQ(tree.create(bad).error().code, Code::kInvalid);
}

// A machine with the unified hierarchy only, as files: what would be written to the kernel.
class FakeUnified : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "leeward.XXXXXX").string();
    root = ::mkdtemp(pattern.data());
    base = root / "fs/system.slice/leeward.service";
    write(root / "proc/self/cgroup", "0::/system.slice/leeward.service\n");
    write(root / "proc/self/mountinfo", "25 30 0:23 / " + (root / "fs").string() +
                                            " rw,nosuid - cgroup2 cgroup2 rw\n" +
                                            "26 30 0:24 / /proc rw - proc proc rw\ngarbage\n");
    write(base / "cgroup.controllers", "cpuset cpu io memory pids\n");
    write(base / "cgroup.subtree_control", "memory cpu pids\n");
    write(base / "agent/cgroup.controllers", "cpu memory pids\n");
    write(base / "agent/cgroup.subtree_control", "cpu memory pids\n");
    for (const char* file : {"cgroup.procs", "memory.max", "memory.swap.max", "memory.oom.group",
                             "cpu.max", "pids.max", "cgroup.kill", "cgroup.freeze"})
      write(base / "agent/app-0" / file, "");
    write(base / "agent/app-0/cgroup.controllers", "cpu memory pids\n");
    write(base / "agent/app-0/cpu.stat", "usage_usec 1500000\nuser_usec 1\n");
    write(base / "agent/app-0/memory.current", "1000000\n");
    write(base / "agent/app-0/memory.stat", "anon 1\ninactive_file 400000\n");
    write(base / "agent/app-0/memory.events", "low 0\noom 2\noom_kill 1\n");
  }
  void TearDown() override { std::filesystem::remove_all(root); }

  std::filesystem::path root;
  std::filesystem::path base;
};

TEST_F(FakeUnified, WritesItsLimitsAndReadsItsUsage) {
  CgroupTree tree = CgroupTree::detect("agent", (root / "proc").string());
  ASSERT_EQ(tree.kind(), CgroupKind::kUnified) << tree.why();
  auto group = tree.create("app-0");
  ASSERT_TRUE(group.has_value()) << group.error().message;
  EXPECT_EQ(group->directory(), (base / "agent/app-0").string());
  EXPECT_TRUE(group->joins().empty());
  ASSERT_TRUE(group->limit({512u << 20, 1.5, 64}).has_value());
  EXPECT_EQ(content(base / "agent/app-0/memory.max"), "536870912");
  EXPECT_EQ(content(base / "agent/app-0/memory.swap.max"), "0");
  EXPECT_EQ(content(base / "agent/app-0/memory.oom.group"), "1");
  EXPECT_EQ(content(base / "agent/app-0/cpu.max"), "150000 100000");
  EXPECT_EQ(content(base / "agent/app-0/pids.max"), "64");
  auto usage = group->usage();
  ASSERT_TRUE(usage.has_value());
  EXPECT_EQ(usage->processor_time, 1500ms);
  EXPECT_EQ(usage->memory_bytes, 600'000u);
  EXPECT_EQ(usage->memory_kills, 1u);
  ASSERT_TRUE(group->kill().has_value());
  EXPECT_EQ(content(base / "agent/app-0/cgroup.kill"), "1");
}

TEST_F(FakeUnified, MovesItsProcessesOutOfTheWayOfControllers) {
  // A file that cannot be written stands for the kernel's EBUSY.
  std::filesystem::remove(base / "cgroup.subtree_control");
  write(base / "cgroup.procs", "4242\n");
  write(base / "leeward-self/cgroup.procs", "");
  CgroupTree tree = CgroupTree::detect("agent", (root / "proc").string());
  EXPECT_EQ(content(base / "leeward-self/cgroup.procs"), "4242");
  EXPECT_EQ(tree.kind(), CgroupKind::kNone) << "and still not possible here";
  EXPECT_THAT(tree.why(), HasSubstr("cgroup.subtree_control"));
}

TEST_F(FakeUnified, WhoIsOutOfTheWayAlreadyGoesNoFurtherDown) {
  write(base / "leeward-self/cgroup.procs", "");
  write(root / "proc/self/cgroup", "0::/system.slice/leeward.service/leeward-self\n");
  CgroupTree tree = CgroupTree::detect("agent", (root / "proc").string());
  ASSERT_EQ(tree.kind(), CgroupKind::kUnified) << tree.why();
  auto group = tree.create("app-0");
  ASSERT_TRUE(group.has_value()) << group.error().message;
  EXPECT_EQ(group->directory(), (base / "agent/app-0").string());
}

TEST_F(FakeUnified, WithoutGroupsALimitSaysWhatIsMissing) {
  CgroupTree tree = CgroupTree::detect("agent", (root / "nothing").string());
  EXPECT_EQ(tree.kind(), CgroupKind::kNone);
  EXPECT_FALSE(tree.why().empty());
  auto group = tree.create("app-0");
  ASSERT_TRUE(group.has_value());
  auto limited = group->limit({.memory_bytes = 1u << 20});
  ASSERT_FALSE(limited.has_value());
  EXPECT_EQ(limited.error().code, Code::kUnavailable);
  EXPECT_THAT(limited.error().message, HasSubstr("memory"));
  EXPECT_TRUE(group->limit({}).has_value());
  EXPECT_TRUE(group->kill().has_value());
}

}  // namespace
}  // namespace leeward

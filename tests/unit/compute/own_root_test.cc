// Processes in a root of their own, under a real keeper: what they see, what they may, and how they
// end. As root, and as a user without rights. The root is busybox, which needs nothing else.
#include "compute/internal/own_root.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "compute/instance_log.h"
#include "compute/internal/spawn.h"
#include "compute/keeper.h"
#include "processes.h"

namespace leeward::compute {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kBusybox = "/bin/busybox";

class OwnRootTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0 && !GetParam()) GTEST_SKIP() << "needs root";
    ASSERT_TRUE(std::filesystem::exists(kBusybox)) << "install busybox-static (./dev setup)";
    for (const char* name : {"bin", "dev", "proc", "run", "sys", "tmp", "etc", "srv"})
      std::filesystem::create_directories(root() + "/" + name);
    std::filesystem::copy_file(kBusybox, root() + "/bin/busybox");
    for (const char* applet : {"sh", "cat", "env", "grep", "id", "ls", "sleep", "sort", "touch"})
      std::filesystem::create_symlink("busybox", root() + "/bin/" + applet);
    std::ofstream(root() + "/etc/hosts");
    std::ofstream(root() + "/etc/motd") << "of the image\n";
    // A checkout need not be reachable for a user without rights.
    std::filesystem::copy_file("/proc/self/exe", directory.path() + "/keeper");
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory.path()))
      if (entry.is_directory()) ::chmod(entry.path().c_str(), 0755);
    ::chmod(directory.path().c_str(), 0777);
    process.env = {{"PATH", "/bin"}, {"MARKER", marker.text()}};
    process.root = OwnRoot{root(), "/srv", 77, 78, {}};
  }
  void start(const std::string& script, int listener = -1) {
    process.argv = {"sh", "-c", script, marker.text()};
    std::vector<std::string> command{directory.path() + "/keeper", "keep"};
    if (without_rights())
      command.insert(command.begin(), {"/usr/bin/setpriv", "--reuid=65534", "--regid=65534",
                                       "--clear-groups", "--"});
    auto started =
        spawn_keeper(command, {"--log", log()}, process, {"LEEWARD_INSTANCE=x"}, listener);
    ASSERT_TRUE(started.has_value()) << started.error().message;
    keeper = std::move(*started);
  }
  int wait_for_end() {
    int status = 0;
    if (!eventually(20s, [&] { return ::waitpid(keeper.pid, &status, WNOHANG) == keeper.pid; }))
      return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
  }
  std::vector<std::string> run(const std::string& script) {
    start(script);
    EXPECT_EQ(wait_for_end(), 0);
    return output();
  }
  std::vector<std::string> output() const {
    return tail_of_log(log(), 100).value_or(std::vector<std::string>{});
  }
  bool says(const std::string& line) {
    return eventually(10s, [&] {
      auto lines = output();
      return std::find(lines.begin(), lines.end(), line) != lines.end();
    });
  }
  bool without_rights() const { return GetParam() && ::geteuid() == 0; }
  std::string root() const { return directory.path() + "/root"; }
  std::string log() const { return directory.path() + "/out.log"; }

  TemporaryDirectory directory;
  Marker marker;
  ExpandedProcess process;
  KeeperProcess keeper;
};
INSTANTIATE_TEST_SUITE_P(AsRoot, OwnRootTest, ::testing::Values(false));
INSTANTIATE_TEST_SUITE_P(WithoutRights, OwnRootTest, ::testing::Values(true));

TEST_P(OwnRootTest, SeesTheImageAndNotTheMachine) {
  EXPECT_THAT(
      run("ls /; cat /etc/motd; pwd"),
      ElementsAre("bin", "dev", "etc", "proc", "run", "srv", "sys", "tmp", "of the image", "/srv"));
}

TEST_P(OwnRootTest, CanWriteToMemoryOnly) {
  auto lines = run(
      "for d in / /etc /srv /sys /proc/sys/kernel; do (echo x >$d/x) 2>/dev/null && echo wrote $d; "
      "done; for d in /tmp /run /dev/shm; do echo x >$d/x && cat $d/x; done; "
      "echo x >/dev/null; echo again >/dev/stdout; exit 0");
  EXPECT_THAT(lines, ElementsAre("x", "x", "x", "again"));
  EXPECT_FALSE(std::filesystem::exists("/run/x"));
  EXPECT_TRUE(std::filesystem::is_empty(root() + "/tmp"));
}

TEST_P(OwnRootTest, HasItsVariablesAndNoOthers) {
  ::setenv("SECRET_OF_THE_AGENT", "x", 1);
  process.env["LD_PRELOAD"] = "/no/such/library";  // and it is none of the keeper's
  auto lines = run("env | grep -v -e PWD -e SHLVL | sort");
  ::unsetenv("SECRET_OF_THE_AGENT");
  EXPECT_THAT(lines, ElementsAre("LD_PRELOAD=/no/such/library", "LEEWARD_INSTANCE=x",
                                 "MARKER=" + marker.text(), "PATH=/bin"));
}

TEST_P(OwnRootTest, IsTheImagesUserWithoutRights) {
  process.root->groups = {79, 80};
  auto lines = run("id -u; id -g; grep -e CapEff -e CapPrm -e NoNewPrivs /proc/self/status");
  EXPECT_THAT(lines, ElementsAre("77", "78", "CapPrm:\t0000000000000000",
                                 "CapEff:\t0000000000000000", "NoNewPrivs:\t1"));
}

TEST_P(OwnRootTest, SeesNoProcessesButItsOwn) {
  auto lines = run("ls -d /proc/[0-9]* | grep -c .; echo $$");
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_LE(std::stoi(lines[0]), 4);
  EXPECT_EQ(lines[1], "2") << "the first one reaps what is orphaned";
}

TEST_P(OwnRootTest, IsToldToStopLikeAnyOther) {
  start("trap 'echo stopping; exit 3' TERM; echo runs; while :; do sleep 0.1; done");
  ASSERT_TRUE(says("runs"));
  ::kill(keeper.pid, SIGTERM);
  EXPECT_EQ(wait_for_end(), 3);
  EXPECT_THAT(output(), Contains("stopping"));
}

TEST_P(OwnRootTest, ItsEndIsTheEndOfAllOfIt) {
  start("(trap '' TERM; sleep 60 & while :; do sleep 1; done) & echo runs; kill -SEGV $$");
  EXPECT_EQ(wait_for_end(), 128 + SIGSEGV);
  EXPECT_TRUE(marker.processes().empty());
}

TEST_P(OwnRootTest, DiesWithItsKeeper) {
  start("sleep 60 & echo runs; while :; do sleep 1; done");
  ASSERT_TRUE(says("runs"));
  ASSERT_FALSE(marker.processes().empty());
  ::kill(keeper.pid, SIGKILL);
  EXPECT_EQ(wait_for_end(), -2);
  EXPECT_TRUE(eventually(5s, [&] { return marker.processes().empty(); }));
}

TEST_P(OwnRootTest, GetsItsListener) {
  UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  start("echo $LISTEN_FDS; test $LISTEN_PID = $$ && ls -l /proc/$$/fd/3 | grep -c socket",
        listener.get());
  EXPECT_EQ(wait_for_end(), 0);
  EXPECT_THAT(output(), ElementsAre("1", "1"));
}

TEST_P(OwnRootTest, SaysWhatIsWrongWithARoot) {
  std::filesystem::remove(root() + "/dev");
  std::filesystem::create_directory_symlink("/etc", root() + "/dev");
  start("true");
  EXPECT_EQ(wait_for_end(), 125);
  EXPECT_THAT(output(), Contains(HasSubstr("cannot enter the image: " + root() + "/dev is no")));
}

TEST_P(OwnRootTest, RootOfAnImageMayStepDownAndOpenLowPortsAndNoMore) {
  if (GetParam()) GTEST_SKIP() << "a user without rights has none to keep";
  process.root->uid = process.root->gid = 0;
  auto lines = run(
      "grep -e CapEff /proc/self/status; (echo x >/proc/sys/kernel/domainname) 2>/dev/null && echo "
      "wrote; cat /proc/kcore 2>/dev/null | grep -c .; busybox mount -t tmpfs x /srv 2>/dev/null "
      "&& echo "
      "mounted; "
      "busybox mount -o remount,rw / 2>/dev/null && echo mounted; exit 0");
  EXPECT_THAT(lines, ElementsAre("CapEff:\t00000000000004eb", "0"));
}

}  // namespace
}  // namespace leeward::compute

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "keep")
    return leeward::compute::keeper_main(argc, argv);
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}

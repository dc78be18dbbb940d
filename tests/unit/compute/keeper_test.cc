// The keeper, run as the small process that it is: this executable is its own `leeward keep`.
#include "compute/keeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compute/instance_log.h"
#include "compute/internal/spawn.h"
#include "processes.h"

namespace leeward::compute {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Keeper : public ::testing::Test {
 protected:
  void start(std::vector<std::string> command, std::vector<std::string> options = {}) {
    options.insert(options.end(), {"--log", log()});
    auto started = spawn_keeper({"/proc/self/exe", "keep"}, options, {std::move(command), {}, ""},
                                {"LEEWARD_INSTANCE=" + log()});
    ASSERT_TRUE(started.has_value()) << started.error().message;
    keeper = std::move(*started);
  }
  // The keeper's exit status; −1 when it does not end in time, −2 when a signal ended it.
  int wait_for_end(Duration limit) {
    int status = 0;
    if (!eventually(limit, [&] { return ::waitpid(keeper.pid, &status, WNOHANG) == keeper.pid; }))
      return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
  }
  bool says(const std::string& line) {
    return eventually(10s, [&] {
      auto lines = tail_of_log(log());
      return lines && std::find(lines->begin(), lines->end(), line) != lines->end();
    });
  }
  std::string log() const { return directory.path() + "/out.log"; }

  TemporaryDirectory directory;
  Marker marker;
  KeeperProcess keeper;
};

TEST_F(Keeper, PassesOnOutputAndExitStatus) {
  start({"sh", "-c", "echo to stdout; echo to stderr >&2; exit 7"});
  EXPECT_EQ(wait_for_end(10s), 7);
  EXPECT_THAT(*tail_of_log(log()), ElementsAre("to stdout", "to stderr"));
}

TEST_F(Keeper, ReportsASignalAsShellsDo) {
  start({"sh", "-c", "kill -SEGV $$"});
  EXPECT_EQ(wait_for_end(10s), 128 + SIGSEGV);
}

TEST_F(Keeper, SaysWhyACommandCannotRun) {
  start({"/no/such/program"});
  EXPECT_EQ(wait_for_end(10s), 127);
  EXPECT_THAT(*tail_of_log(log()),
              ElementsAre("cannot run '/no/such/program': No such file or directory"));
}

TEST_F(Keeper, RefusesAWrongCommandLine) {
  for (std::vector<std::string> options : {std::vector<std::string>{"--stop-timeout", "soon"},
                                           {"--stop-signal", "0"},
                                           {"--colour", "1"}}) {
    start({"true"}, options);
    EXPECT_EQ(wait_for_end(10s), 125);
  }
}

TEST_F(Keeper, GivesTheChildACleanStart) {
  start({"sh", "-c",
         "ls /proc/self/fd | wc -l; grep SigBlk /proc/self/status; "
         "readlink /proc/self/fd/0; echo $LEEWARD_INSTANCE"});
  EXPECT_EQ(wait_for_end(10s), 0);
  // ls has the standard three and its directory.
  EXPECT_THAT(*tail_of_log(log()),
              ElementsAre("4", "SigBlk:\t0000000000000000", "/dev/null", log()));
}

TEST_F(Keeper, StopsGentlyFirst) {
  start(
      {"sh", "-c", "trap 'echo cleaning up; exit 3' TERM; echo up; while :; do sleep 0.05; done"});
  ASSERT_TRUE(says("up"));
  ::kill(keeper.pid, SIGTERM);
  EXPECT_EQ(wait_for_end(4s), 3) << "well before the stop timeout of 5 s";
  EXPECT_THAT(*tail_of_log(log()), Contains("cleaning up"));
}

TEST_F(Keeper, SendsTheConfiguredStopSignal) {
  start({"sh", "-c", "trap 'exit 4' INT; trap '' TERM; echo up; while :; do sleep 0.05; done"},
        {"--stop-signal", std::to_string(SIGINT)});
  ASSERT_TRUE(says("up"));
  ::kill(keeper.pid, SIGTERM);
  EXPECT_EQ(wait_for_end(4s), 4);
}

TEST_F(Keeper, KillsAfterTheStopTimeout) {
  start({"sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"},
        {"--stop-timeout", "300"});
  ASSERT_TRUE(says("up"));
  BootTime asked = BootClock::now();
  ::kill(keeper.pid, SIGTERM);
  EXPECT_EQ(wait_for_end(5s), 128 + SIGKILL);
  EXPECT_GE(BootClock::now() - asked, 300ms);
}

TEST_F(Keeper, KillsAtOnceOnRequest) {
  start({"sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"},
        {"--stop-timeout", "60000"});
  ASSERT_TRUE(says("up"));
  ::kill(keeper.pid, SIGTERM);
  ::kill(keeper.pid, SIGUSR1);
  EXPECT_EQ(wait_for_end(5s), 128 + SIGKILL);
}

TEST_F(Keeper, StopsAProcessThatIsItselfStopped) {
  start({"sh", "-c", "echo up; kill -STOP $$; echo went on"});
  ASSERT_TRUE(says("up"));
  ::kill(keeper.pid, SIGTERM);
  EXPECT_EQ(wait_for_end(4s), 128 + SIGTERM);
}

TEST_F(Keeper, EndsTheTreeWhenItsSupervisorIsGone) {
  start({"python3", "-c", kDaemons, marker.text()}, {"--stop-timeout", "300"});
  ASSERT_TRUE(says("daemons run"));
  // Keeper, parent, twenty daemons.
  ASSERT_TRUE(eventually(10s, [&] { return marker.processes().size() == 22; }));
  keeper.lifeline.reset();
  EXPECT_EQ(wait_for_end(5s), 128 + SIGKILL);
  EXPECT_THAT(marker.processes(), IsEmpty());
}

TEST_F(Keeper, CatchesAProcessThatChangesItsPidAllTheTime) {
  start({"python3", "-c", kHopper, marker.text()}, {"--stop-timeout", "300"});
  ASSERT_TRUE(says("hopper runs"));
  EXPECT_TRUE(eventually(10s, [&] { return marker.processes().size() > 8; }))
      << "it leaves sleepers";
  keeper.lifeline.reset();
  EXPECT_EQ(wait_for_end(10s), 128 + SIGKILL);
  EXPECT_THAT(marker.processes(), IsEmpty());
}

TEST_F(Keeper, ClearsAwayWhatACrashedProcessLeft) {
  start({"python3", "-c", kDaemons, marker.text()});
  ASSERT_TRUE(says("daemons run"));
  std::vector<pid_t> all = marker.processes();
  auto child = eventually(1s, [&] {
    for (pid_t pid : all) {
      auto stat = read_file(fmt::format("/proc/{}/stat", pid));
      if (stat && stat->find(fmt::format(") S {} ", keeper.pid)) != std::string::npos &&
          ::getsid(pid) == keeper.pid)
        return ::kill(pid, SIGKILL) == 0;
    }
    return false;
  });
  ASSERT_TRUE(child);
  EXPECT_EQ(wait_for_end(4s), 128 + SIGKILL) << "the daemons ignore SIGTERM and get one second";
  EXPECT_THAT(marker.processes(), IsEmpty());
}

TEST_F(Keeper, TakesItsChildAlongWhenItIsKilled) {
  start({"sh", "-c", "echo up; while :; do sleep 0.05; done", marker.text()});
  ASSERT_TRUE(says("up"));
  ::kill(keeper.pid, SIGKILL);
  EXPECT_EQ(wait_for_end(1s), -2);
  EXPECT_TRUE(eventually(1s, [&] { return marker.processes().empty(); }));
}

TEST_F(Keeper, CapsTheLogAndNeverBlocksTheChild) {
  start({"sh", "-c", "seq 1 200000; echo done >&2"}, {"--log-bytes-max", "100000"});
  EXPECT_EQ(wait_for_end(20s), 0);
  EXPECT_LE(std::filesystem::file_size(log()), 100000u);
  EXPECT_LE(std::filesystem::file_size(log() + ".1"), 100000u);
  EXPECT_THAT(*tail_of_log(log(), 2), ElementsAre("200000", "done"));
}

TEST_F(Keeper, RunsTheCommandAlsoWhenTheLogCannotBeWritten) {
  std::filesystem::create_directory(log());
  start({"sh", "-c", "seq 1 200000; exit 5"});
  EXPECT_EQ(wait_for_end(20s), 5);
}

}  // namespace
}  // namespace leeward::compute

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "keep")
    return leeward::compute::keeper_main(argc, argv);
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}

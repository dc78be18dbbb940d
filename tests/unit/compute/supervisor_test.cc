// The supervisor with real processes. This executable is its own `leeward keep`, and, as "agent", a
// small supervising process that a test can kill.
#include "compute/supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>

#include "compute/internal/process_tree.h"
#include "compute/keeper.h"
#include "processes.h"

namespace leeward::compute {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::uint16_t free_port() {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

TierSpec tier(std::string name, std::vector<std::string> command, int instances = 1) {
  TierSpec spec;
  spec.name = std::move(name);
  spec.stop_timeout = 500ms;
  for (int i = 0; i < instances; ++i) spec.instances.push_back({{command, {}, ""}, std::nullopt});
  return spec;
}

class Supervision : public ::testing::Test {
 protected:
  void make(std::vector<TierSpec> tiers, SupervisionPolicy policy = {}) {
    SupervisorOptions options;
    options.tiers = std::move(tiers);
    options.log_directory = directory.path() + "/logs";
    options.policy = policy;
    options.registry = &registry;
    options.on_change = [this] { ++changes; };
    auto made = Supervisor::create(loop, std::move(options));
    ASSERT_TRUE(made.has_value()) << made.error().message;
    supervisor = std::move(*made);
  }

  // Runs the loop until `condition` holds; false after `limit`.
  bool run_until(Duration limit, const std::function<bool()>& condition) {
    BootTime end = BootClock::now() + limit;
    bool held = false;
    std::function<void()> look = [&] {
      held = condition();
      if (held || BootClock::now() >= end) return loop.stop();
      timer = loop.call_after(5ms, look);
    };
    loop.post(look);
    loop.run();
    return held;
  }

  Status stop_all(Duration limit) {
    std::optional<Status> result;
    supervisor->stop_all(limit, [&](Status s) { result = s; });
    EXPECT_FALSE(result.has_value()) << "not from inside the call";
    EXPECT_TRUE(run_until(limit + 5s, [&] { return result.has_value(); }));
    return result.value_or(fail(Code::kInternal, "never called back"));
  }

  bool ready(int count) { return supervisor->ready_count() == count; }
  InstanceStatus instance(std::size_t i = 0) { return supervisor->status().at(i); }
  std::vector<std::string> output(const std::string& name) {
    return supervisor->last_output(name, 0).value_or(std::vector<std::string>{});
  }

  TemporaryDirectory directory;
  Marker marker;
  Registry registry;
  net::EventLoop loop;
  net::TimerId timer;
  int changes = 0;
  std::unique_ptr<Supervisor> supervisor;
};

TEST_F(Supervision, RestartsAProcessThatIsKilledWithinAQuarterSecond) {
  make({tier("app", {"sh", "-c", "while :; do sleep 0.05; done", marker.text()})});
  supervisor->set_active(true);
  ASSERT_TRUE(run_until(10s, [&] { return instance().pid != 0; }));
  pid_t first = instance().pid;
  BootTime killed = BootClock::now();
  ASSERT_EQ(::kill(first, SIGKILL), 0);
  ASSERT_TRUE(run_until(10s, [&] { return instance().restarts == 1; }));
  EXPECT_GE(BootClock::now() - killed, 240ms);
  EXPECT_LE(BootClock::now() - killed, 2s);
  ASSERT_TRUE(run_until(10s, [&] { return instance().pid != 0; }));
  EXPECT_NE(instance().pid, first);
  EXPECT_THAT(instance().last_exit, HasSubstr("killed by signal 9 (Killed)"));
  EXPECT_TRUE(stop_all(5s).has_value());
  EXPECT_THAT(registry.prometheus_text(),
              HasSubstr("leeward_instance_restarts_total{tier=\"app\"} 1"));
}

TEST_F(Supervision, KeepsTheLastWordsOfAProcessThatCrashes) {
  make({tier("app", {"sh", "-c", "echo starting; echo 'no licence found' >&2; exit 1"})});
  supervisor->set_active(true);
  ASSERT_TRUE(run_until(10s, [&] { return instance().restarts >= 2; }));
  EXPECT_THAT(instance().last_exit, HasSubstr("exit status 1"));
  EXPECT_THAT(output("app"), Contains("no licence found"));
  EXPECT_TRUE(stop_all(5s).has_value());
  EXPECT_EQ(supervisor->last_output("web", 0).error().code, Code::kNotFound);
}

TEST_F(Supervision, ReportsACommandThatCannotRun) {
  TierSpec missing = tier("app", {"true"});
  missing.instances[0].process.directory = "/no/such/directory";
  make({missing, tier("web", {"/no/such/program"})});
  supervisor->set_active(true);
  ASSERT_TRUE(run_until(10s, [&] { return instance(1).restarts >= 1; }));
  EXPECT_THAT(instance(0).last_exit, HasSubstr("/no/such/directory"));
  EXPECT_THAT(output("web"), Contains(HasSubstr("cannot run '/no/such/program'")));
  EXPECT_TRUE(stop_all(5s).has_value());
}

TEST_F(Supervision, AnInstanceIsReadyWhenItAnswers) {
  Endpoint endpoint{"127.0.0.1", free_port()};
  TierSpec app = tier("app", {"python3", "-m", "http.server", "--bind", endpoint.host,
                              std::to_string(endpoint.port)});
  app.instances[0].process.directory = directory.path();
  app.instances[0].ready = ReadyCheck{endpoint, "/healthy"};
  make({app});
  supervisor->set_active(true);
  ASSERT_TRUE(run_until(20s, [&] { return instance().last_check == "HTTP 404"; }));
  EXPECT_TRUE(ready(0));
  EXPECT_EQ(instance().state, InstanceState::kStarting);
  ASSERT_TRUE(write_file_durably(directory.path() + "/healthy", "yes").has_value());
  ASSERT_TRUE(run_until(10s, [&] { return ready(1); }));
  EXPECT_THAT(registry.prometheus_text(), HasSubstr("leeward_instances_ready{tier=\"app\"} 1"));

  // It hangs: not ready any more, but not killed either.
  pid_t pid = instance().pid;
  ASSERT_EQ(::kill(pid, SIGSTOP), 0);
  ASSERT_TRUE(run_until(20s, [&] { return ready(0); }));
  EXPECT_EQ(instance().state, InstanceState::kUnready);
  ASSERT_EQ(::kill(pid, SIGCONT), 0);
  ASSERT_TRUE(run_until(20s, [&] { return ready(1); }));
  EXPECT_EQ(instance().pid, pid);
  EXPECT_EQ(instance().restarts, 0);
  EXPECT_TRUE(stop_all(5s).has_value());
}

TEST_F(Supervision, AnInstanceThatNeverAnswersIsRestarted) {
  TierSpec app = tier("app", {"sh", "-c", "while :; do sleep 0.05; done", marker.text()});
  app.instances[0].ready = ReadyCheck{{"127.0.0.1", free_port()}, "/"};
  SupervisionPolicy policy;
  policy.restart_unready_after = 300ms;
  make({app}, policy);
  supervisor->set_active(true);
  EXPECT_TRUE(run_until(20s, [&] { return instance().restarts >= 1; }));
  EXPECT_TRUE(stop_all(5s).has_value());
}

TEST_F(Supervision, ColdTiersRunOnlyWhileActive) {
  std::string loop_for_ever = "while :; do sleep 0.05; done";
  TierSpec cold = tier("app", {"sh", "-c", loop_for_ever, marker.text()}, 2);
  cold.cold = true;
  make({tier("web", {"sh", "-c", loop_for_ever, marker.text()}), cold});
  EXPECT_EQ(supervisor->wanted_count(), 0);
  supervisor->set_active(false);
  EXPECT_EQ(supervisor->wanted_count(), 1);
  ASSERT_TRUE(run_until(10s, [&] { return ready(1); }));
  supervisor->set_active(true);
  EXPECT_EQ(supervisor->wanted_count(), 3);
  ASSERT_TRUE(run_until(10s, [&] { return ready(3); }));
  supervisor->set_active(false);
  ASSERT_TRUE(run_until(10s, [&] {
    return instance(1).state == InstanceState::kStopped &&
           instance(2).state == InstanceState::kStopped;
  }));
  EXPECT_TRUE(ready(1));
  EXPECT_GT(changes, 0);
  EXPECT_TRUE(stop_all(5s).has_value());
}

TEST_F(Supervision, StopsEverythingByTheDeadline) {
  TierSpec stubborn = tier("app", {"python3", "-c", kDaemons, marker.text()});
  stubborn.stop_timeout = 60s;
  make({stubborn, tier("web", {"sh", "-c", "while :; do sleep 0.05; done", marker.text()})});
  supervisor->set_active(true);
  ASSERT_TRUE(run_until(10s, [&] { return !output("app").empty(); }));
  BootTime asked = BootClock::now();
  Status stopped = stop_all(500ms);
  EXPECT_TRUE(stopped.has_value()) << stopped.error().message;
  EXPECT_LE(BootClock::now() - asked, 2500ms);
  EXPECT_THAT(marker.processes(), IsEmpty());
  EXPECT_EQ(supervisor->wanted_count(), 0);
  supervisor->set_active(true);
  EXPECT_EQ(supervisor->wanted_count(), 0) << "stopped is stopped";
}

TEST_F(Supervision, StopAllWithNothingRunningIsDoneAtOnce) {
  make({tier("app", {"true"})});
  EXPECT_TRUE(stop_all(1s).has_value());
}

TEST_F(Supervision, RestartsAfterTheKeeperWasKilledAndClearsWhatItLost) {
  make({tier("app", {"python3", "-c", kDaemons, marker.text()})});
  supervisor->set_active(true);
  ASSERT_TRUE(run_until(10s, [&] { return output("app").size() == 1; }));
  std::vector<pid_t> before = marker.processes();
  pid_t child = instance().pid;
  ASSERT_EQ(::kill(::getsid(child), SIGKILL), 0);  // the keeper leads the session
  ASSERT_TRUE(run_until(15s, [&] { return output("app").size() == 2; }));
  std::vector<pid_t> after = marker.processes();
  for (pid_t pid : before) EXPECT_THAT(after, Not(Contains(pid)));
  EXPECT_THAT(instance().last_exit, HasSubstr("keeper killed"));
  EXPECT_TRUE(stop_all(5s).has_value());
}

TEST_F(Supervision, DestroyingItEndsWhatRuns) {
  make({tier("app", {"sh", "-c", "while :; do sleep 0.05; done", marker.text()})});
  supervisor->set_active(true);
  ASSERT_TRUE(run_until(10s, [&] { return !marker.processes().empty(); }));
  supervisor.reset();
  EXPECT_TRUE(eventually(2s, [&] { return marker.processes().empty(); }));
}

TEST_F(Supervision, RefusesATierThatCannotBeRun) {
  for (TierSpec bad : {tier("app", {}), tier("", {"true"}), tier("a/b", {"true"})}) {
    SupervisorOptions options;
    options.log_directory = directory.path();
    options.tiers = {bad};
    EXPECT_EQ(Supervisor::create(loop, options).error().code, Code::kInvalid);
  }
  SupervisorOptions options;
  options.log_directory = directory.path();
  options.tiers = {tier("app", {"true"}), tier("app", {"true"})};
  EXPECT_EQ(Supervisor::create(loop, options).error().code, Code::kInvalid);
}

// The supervising process, killed by SIGKILL, with and without a successor.
class AgentDeath : public ::testing::Test {
 protected:
  pid_t start_agent(const std::string& program) {
    std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
    std::vector<std::string> arguments{self, "agent", directory.path(), "python3",
                                       "-c", program, marker.text()};
    std::vector<char*> argv;
    for (std::string& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    pid_t pid = -1;
    EXPECT_EQ(::posix_spawn(&pid, self.c_str(), nullptr, nullptr, argv.data(), environ), 0);
    return pid;
  }
  void kill_agent(pid_t pid) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  std::size_t lines_of_output() {
    auto lines = tail_of_log(directory.path() + "/app-0.log");
    return lines ? lines->size() : 0;
  }

  TemporaryDirectory directory;
  Marker marker;
};

TEST_F(AgentDeath, LeavesNoProcessBehind) {
  pid_t agent = start_agent(kDaemons);
  ASSERT_TRUE(eventually(20s, [&] { return lines_of_output() == 1; }));
  // Agent, keeper, parent, twenty daemons.
  ASSERT_TRUE(eventually(10s, [&] { return marker.processes().size() == 23; }));
  kill_agent(agent);
  EXPECT_TRUE(eventually(2s, [&] { return marker.processes().empty(); }));
}

TEST_F(AgentDeath, LeavesNoProcessBehindThatChangesItsPidAllTheTime) {
  pid_t agent = start_agent(kHopper);
  ASSERT_TRUE(eventually(20s, [&] { return lines_of_output() == 1; }));
  kill_agent(agent);
  EXPECT_TRUE(eventually(5s, [&] { return marker.processes().empty(); }));
}

TEST_F(AgentDeath, SuccessorWaitsForTheOldProcessesToEnd) {
  pid_t first = start_agent(kDaemons);
  ASSERT_TRUE(eventually(20s, [&] { return lines_of_output() == 1; }));
  std::vector<pid_t> old = marker.processes();
  kill_agent(first);
  pid_t second = start_agent(kDaemons);
  ASSERT_TRUE(eventually(20s, [&] { return lines_of_output() == 2; }));
  for (pid_t pid : marker.processes()) EXPECT_THAT(old, Not(Contains(pid)));
  kill_agent(second);
  EXPECT_TRUE(eventually(2s, [&] { return marker.processes().empty(); }));
}

// agent DIRECTORY COMMAND…: supervises COMMAND until it is killed.
int run_agent(int argc, char** argv) {
  SupervisorOptions options;
  options.log_directory = argv[2];
  options.tiers = {tier("app", {argv + 3, argv + argc})};
  net::EventLoop loop;
  auto supervisor = Supervisor::create(loop, std::move(options));
  if (!supervisor) return 1;
  (*supervisor)->set_active(true);
  loop.run();
  return 0;
}

}  // namespace
}  // namespace leeward::compute

int main(int argc, char** argv) {
  std::string_view role = argc > 1 ? argv[1] : "";
  if (role == "keep") return leeward::compute::keeper_main(argc, argv);
  if (role == "agent") return leeward::compute::run_agent(argc, argv);
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}

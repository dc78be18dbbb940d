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
#include "net/http.h"
#include "processes.h"

namespace leeward::compute {
namespace {

using ::testing::Contains;
using ::testing::ContainsRegex;
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
  for (int i = 0; i < instances; ++i) spec.instances.push_back({{command, {}, ""}});
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
    options.cgroups = &groups;
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
  CgroupTree groups;  // kNone, unless a test looks for some
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

// Prints its signal and takes a moment.
constexpr char kTalker[] = "trap 'echo ending; exit 0' TERM; echo up; while :; do sleep 0.02; done";

TEST_F(Supervision, ScalesOutAndInWithinItsSlots) {
  TierSpec app = tier("app", {"sh", "-c", kTalker, marker.text()}, 4);
  app.running = 1;
  app.drain = 300ms;
  make({app});
  supervisor->set_active(true);
  ASSERT_TRUE(run_until(10s, [&] { return ready(1); }));
  EXPECT_EQ(supervisor->wanted_count(), 1);
  ASSERT_TRUE(supervisor->scale("app", 4).has_value());
  ASSERT_TRUE(run_until(10s, [&] { return ready(4); }));
  ASSERT_TRUE(run_until(10s, [&] {
    auto all = supervisor->status();
    return std::all_of(all.begin(), all.end(), [](const auto& s) { return s.pid != 0; });
  }));
  ASSERT_TRUE(supervisor->protect("app", 3, true).has_value());
  // 3 is protected; of the rest, 1 is the busiest.
  ASSERT_TRUE(supervisor->scale("app", 2, {{0, 2}, {1, 9}, {2, 0}}).has_value());
  EXPECT_TRUE(ready(2)) << "the others have left the ready set at once";
  EXPECT_EQ(instance(0).state, InstanceState::kDraining);
  EXPECT_EQ(instance(2).state, InstanceState::kDraining);
  EXPECT_NE(instance(2).pid, 0) << "but they still run, for what they have under way";
  ASSERT_TRUE(run_until(10s, [&] {
    return instance(0).state == InstanceState::kStopped &&
           instance(2).state == InstanceState::kStopped;
  }));
  EXPECT_TRUE(instance(1).wanted);
  EXPECT_TRUE(instance(3).is_protected);
  EXPECT_EQ(instance(0).restarts, 0);
  EXPECT_EQ(supervisor->scale("app", 5).error().code, Code::kInvalid);
  EXPECT_EQ(supervisor->scale("web", 1).error().code, Code::kNotFound);
  EXPECT_EQ(supervisor->protect("app", 4, true).error().code, Code::kNotFound);
  EXPECT_TRUE(stop_all(5s).has_value());
}

TEST_F(Supervision, ADrainingInstanceIsTakenBackBeforeANewOneStarts) {
  TierSpec app = tier("app", {"sh", "-c", kTalker, marker.text()}, 3);
  app.running = 2;
  app.drain = 30s;
  make({app});
  supervisor->set_active(true);
  ASSERT_TRUE(run_until(10s, [&] { return ready(2); }));
  ASSERT_TRUE(supervisor->scale("app", 1).has_value());
  ASSERT_TRUE(ready(1));
  ASSERT_TRUE(supervisor->scale("app", 2).has_value());
  EXPECT_TRUE(ready(2));
  EXPECT_EQ(instance(2).state, InstanceState::kStopped);
  BootTime asked = BootClock::now();
  EXPECT_TRUE(stop_all(5s).has_value());
  EXPECT_LE(BootClock::now() - asked, 5s) << "the end of everything does not drain";
}

TEST_F(Supervision, AScaledColdTierStartsWithThatNumberWhenItsSiteServes) {
  TierSpec app = tier("app", {"sh", "-c", kTalker, marker.text()}, 3);
  app.cold = true;
  app.running = 1;
  make({app});
  supervisor->set_active(false);
  ASSERT_TRUE(supervisor->scale("app", 3).has_value());
  EXPECT_EQ(supervisor->wanted_count(), 0);
  supervisor->set_active(true);
  EXPECT_TRUE(run_until(10s, [&] { return ready(3); }));
  EXPECT_TRUE(stop_all(5s).has_value());
}

constexpr char kNotifies[] = R"(
import os, socket, sys, time
def tell(text):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.sendto(text.encode(), '\0' + os.environ['NOTIFY_SOCKET'][1:])
time.sleep(0.3)
tell('STATUS=warming up\nMAINPID=1')
time.sleep(0.3)
tell('READY=1\nSTATUS=serving')
while not os.path.exists(sys.argv[1]): time.sleep(0.02)
tell('STOPPING=1')
time.sleep(60)
)";

TEST_F(Supervision, AnInstanceIsReadyWhenItSaysSo) {
  std::string leave = directory.path() + "/leave";
  TierSpec app = tier("app", {"python3", "-c", kNotifies, leave, marker.text()});
  app.notify = true;
  make({app});
  supervisor->set_active(true);
  ASSERT_TRUE(run_until(20s, [&] { return instance().said == "warming up"; }));
  EXPECT_EQ(instance().state, InstanceState::kStarting);
  ASSERT_TRUE(run_until(20s, [&] { return ready(1); }));
  EXPECT_EQ(instance().said, "serving");
  ASSERT_TRUE(write_file_durably(leave, "now").has_value());
  EXPECT_TRUE(run_until(20s, [&] { return instance().state == InstanceState::kUnready; }));
  EXPECT_TRUE(stop_all(5s).has_value());
}

// Serves one connection per life, on the socket that it was handed.
constexpr char kServesOnce[] = R"(
import os, socket
assert os.environ['LISTEN_FDS'] == '1' and int(os.environ['LISTEN_PID']) == os.getpid()
s = socket.socket(fileno=3)
c, _ = s.accept()
c.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
c.shutdown(socket.SHUT_WR)
while c.recv(4096): pass
)";

TEST_F(Supervision, ARestartRefusesNoConnectionOnAPassedListener) {
  Endpoint endpoint{"127.0.0.1", free_port()};
  TierSpec app = tier("app", {"python3", "-c", kServesOnce, marker.text()});
  app.instances[0].listen = endpoint;
  make({app});
  supervisor->set_active(true);
  net::HttpClient client(loop);
  int answered = 0;
  std::string problem;
  std::function<void()> ask = [&] {
    client.send(endpoint, {}, 20s, [&](Result<net::HttpResponse> response) {
      if (!response) problem = response.error().message;
      ++answered;
      if (answered < 4) ask();
    });
  };
  ASSERT_TRUE(run_until(10s, [&] { return instance().pid != 0; }));
  ask();
  EXPECT_TRUE(run_until(60s, [&] { return answered == 4; }));
  EXPECT_EQ(problem, "") << "each request meets a process that is just being started";
  EXPECT_GE(instance().restarts, 3);
  EXPECT_TRUE(stop_all(5s).has_value());
  bool refused = false;
  client.send(endpoint, {}, 5s, [&](Result<net::HttpResponse> response) { refused = !response; });
  EXPECT_TRUE(run_until(10s, [&] { return refused; })) << "stopped: nobody listens";
}

TEST_F(Supervision, AnInstanceOverItsMemoryLimitIsReported) {
  groups = CgroupTree::detect("leeward-test-" + std::to_string(::getpid()));
  TierSpec app = tier(
      "app",
      {"python3", "-c", "x = bytearray(300 << 20); import time; time.sleep(60)", marker.text()});
  app.limits.memory_bytes = 48u << 20;
  make({app});
  supervisor->set_active(true);
  ASSERT_TRUE(run_until(20s, [&] { return instance().restarts >= 1; }));
  if (groups.kind() == CgroupKind::kNone) {
    EXPECT_THAT(output("app"), Contains(HasSubstr("MemoryError"))) << "by its data limit";
  } else {
    EXPECT_THAT(instance().last_exit, HasSubstr("out of memory at its limit of 48 MiB"));
    EXPECT_GE(instance().memory_kills, 1u);
    EXPECT_THAT(registry.prometheus_text(),
                HasSubstr("leeward_instance_memory_kills_total{tier=\"app\"}"));
  }
  EXPECT_TRUE(stop_all(5s).has_value());
}

TEST_F(Supervision, WithoutGroupsTheMemoryLimitIsThatOfTheProcessesData) {
  TierSpec app = tier("app", {"python3", "-c", "x = bytearray(300 << 20)", marker.text()});
  app.limits.memory_bytes = 48u << 20;
  make({app});
  supervisor->set_active(true);
  ASSERT_TRUE(run_until(20s, [&] { return instance().restarts >= 1; }));
  EXPECT_THAT(output("app"), Contains(HasSubstr("MemoryError")));
  EXPECT_TRUE(stop_all(5s).has_value());
}

TEST_F(Supervision, KnowsWhatAnInstanceUses) {
  for (bool with_groups : {false, true}) {
    if (with_groups) groups = CgroupTree::detect("leeward-test-" + std::to_string(::getpid()));
    make(
        {tier("app", {"python3", "-c", "x = b'x' * (40 << 20)\nwhile True: pass", marker.text()})});
    supervisor->set_active(true);
    EXPECT_TRUE(run_until(20s, [&] {
      CgroupUsage usage = instance().usage;
      return usage.processor_time.value_or(0s) > 200ms &&
             usage.memory_bytes.value_or(0) > 40u << 20;
    }));
    EXPECT_TRUE(stop_all(5s).has_value());
    supervisor.reset();
  }
}

class Deploying : public Supervision {
 protected:
  static TierSpec looping(const std::string& marker) {
    TierSpec app = tier("app", {"sh", "-c", "while :; do sleep 0.05; done", marker}, 3);
    app.running = 2;
    app.spare = 1;
    app.deploy.surge = 1;
    app.deploy.unavailable = 0;
    app.deploy.ready_within = 5s;
    app.deploy.watch = 300ms;
    return app;
  }
  RevisionSpecs revision(const std::string& program) {
    return tier("app", {"sh", "-c", program, marker.text(), "revised"}, 3).instances;
  }
  std::size_t revised() {
    std::size_t n = 0;
    for (pid_t pid : marker.processes())
      n += read_file(fmt::format("/proc/{}/cmdline", pid)).value_or("").find("revised") !=
           std::string::npos;
    return n;
  }
  RolloutMemory rollout() { return supervisor->rollouts().at(0).memory; }
};

TEST_F(Deploying, ReplacesTheProcessesAndKeepsTheNumber) {
  make({looping(marker.text())});
  supervisor->set_active(true);
  ASSERT_TRUE(run_until(10s, [&] { return ready(2); }));
  ASSERT_TRUE(supervisor->deploy("app", RevisionNumber{2}, revision("while :; do sleep 0.05; done"))
                  .has_value());
  bool always_two = true;
  ASSERT_TRUE(run_until(20s, [&] {
    always_two = always_two && supervisor->ready_instances().size() >= 2;
    return rollout().current == RevisionNumber{2};
  }));
  EXPECT_TRUE(always_two);
  ASSERT_TRUE(run_until(10s, [&] { return marker.processes().size() == 4; })) << "two keepers, two";
  EXPECT_EQ(supervisor->ready_instances().size(), 2u);
  EXPECT_TRUE(run_until(5s, [&] { return revised() == 4; }));
  EXPECT_THAT(registry.prometheus_text(),
              HasSubstr("leeward_deployments_total{tier=\"app\",outcome=\"succeeded\"} 1"));
  EXPECT_EQ(supervisor->deploy("app", RevisionNumber{2}, revision("true")).error().code,
            Code::kInvalid);
  EXPECT_EQ(supervisor->deploy("web", RevisionNumber{3}, revision("true")).error().code,
            Code::kNotFound);
  EXPECT_TRUE(stop_all(5s).has_value());
}

TEST_F(Deploying, ARevisionThatCrashesIsTakenBack) {
  TierSpec app = looping(marker.text());
  app.deploy.watch = 5s;  // without a check it is ready from its start, however slow that is
  app.deploy.ready_within = 60s;  // and what fails it are its exits, however slow these are
  make({app});
  supervisor->set_active(true);
  ASSERT_TRUE(run_until(10s, [&] { return ready(2); }));
  ASSERT_TRUE(supervisor->deploy("app", RevisionNumber{2}, revision("exit 7")).has_value());
  ASSERT_TRUE(run_until(20s, [&] { return rollout().failed == RevisionNumber{2}; }));
  ASSERT_TRUE(run_until(20s, [&] { return rollout().phase == RolloutPhase::kSettled; }));
  EXPECT_THAT(rollout().reason, ContainsRegex("exited by themselves [3-5] times")) << "of 2 or 3";
  ASSERT_TRUE(run_until(10s, [&] { return marker.processes().size() == 4; }));
  EXPECT_EQ(revised(), 0u);
  EXPECT_THAT(registry.prometheus_text(),
              HasSubstr("leeward_deployments_total{tier=\"app\",outcome=\"rolled_back\"} 1"));
  EXPECT_TRUE(stop_all(5s).has_value());
}

TEST_F(Deploying, BesideEachOtherOnlyOneRevisionIsOffered) {
  TierSpec app = looping(marker.text());
  app.instances = tier("app", app.instances[0].process.argv, 4).instances;
  app.spare = 2;
  app.deploy.strategy = DeployStrategy::kBlueGreen;
  app.deploy.keep_old = 1s;
  make({app});
  supervisor->set_active(true);
  ASSERT_TRUE(run_until(10s, [&] { return ready(2); }));
  RevisionSpecs next = revision("while :; do sleep 0.05; done");
  next.push_back(next[0]);
  ASSERT_TRUE(supervisor->deploy("app", RevisionNumber{2}, next).has_value());
  auto offered = [&] {
    std::set<RevisionNumber> revisions;
    for (const InstanceStatus& i : supervisor->status())
      if (i.offered && i.state == InstanceState::kReady) revisions.insert(i.revision);
    return revisions;
  };
  bool one = true;
  ASSERT_TRUE(run_until(20s, [&] {
    one = one && offered().size() == 1 && supervisor->ready_instances().size() == 2;
    return rollout().phase == RolloutPhase::kKeeping;
  }));
  EXPECT_TRUE(one);
  EXPECT_EQ(*offered().begin(), RevisionNumber{2});
  EXPECT_EQ(supervisor->ready_count(), 4);
  ASSERT_TRUE(supervisor->roll_back("app", "asked").has_value());
  EXPECT_TRUE(run_until(200ms, [&] { return *offered().begin() == RevisionNumber{1}; }));
  ASSERT_TRUE(run_until(20s, [&] { return revised() == 0; }));
  EXPECT_TRUE(stop_all(5s).has_value());
}

TEST_F(Deploying, WhatAnEarlierLifeWasDoingGoesOn) {
  make({looping(marker.text())});
  TierRollout kept;
  kept.tier = "app";
  kept.memory.current = RevisionNumber{4};
  kept.memory.goal = RevisionNumber{5};
  kept.memory.phase = RolloutPhase::kReplacing;
  kept.places = {{RevisionNumber{4}, true}, {RevisionNumber{5}, true}, {RevisionNumber{4}, false}};
  std::map<RevisionNumber, RevisionSpecs> specs{{RevisionNumber{4}, revision("sleep 100")}};
  EXPECT_EQ(supervisor->restore(kept, specs).error().code, Code::kInvalid) << "5 is not known";
  specs[RevisionNumber{5}] = revision("while :; do sleep 0.05; done");
  ASSERT_TRUE(supervisor->restore(kept, specs).has_value());
  supervisor->set_active(true);
  ASSERT_TRUE(run_until(20s, [&] { return rollout().current == RevisionNumber{5}; }));
  EXPECT_EQ(supervisor->ready_instances().size(), 2u);
  for (const InstanceStatus& i : supervisor->status())
    if (i.wanted) {
      EXPECT_EQ(i.revision, RevisionNumber{5});
    }
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
  for (bool with_groups : {false, true}) {
    SCOPED_TRACE(with_groups);
    if (with_groups) groups = CgroupTree::detect("leeward-test-" + std::to_string(::getpid()));
    make({tier(with_groups ? "grouped" : "app", {"python3", "-c", kDaemons, marker.text()})});
    supervisor->set_active(true);
    ASSERT_TRUE(
        run_until(10s, [&] { return output(with_groups ? "grouped" : "app").size() == 1; }));
    std::vector<pid_t> before = marker.processes();
    pid_t child = instance().pid;
    ASSERT_EQ(::kill(::getsid(child), SIGKILL), 0);  // the keeper leads the session
    ASSERT_TRUE(
        run_until(15s, [&] { return output(with_groups ? "grouped" : "app").size() == 2; }));
    std::vector<pid_t> after = marker.processes();
    for (pid_t pid : before) EXPECT_THAT(after, Not(Contains(pid)));
    EXPECT_THAT(instance().last_exit, HasSubstr("keeper killed"));
    EXPECT_TRUE(stop_all(5s).has_value());
    supervisor.reset();
  }
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

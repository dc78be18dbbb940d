// Programs in a real sandbox, and what they cannot do from there: as root and as a user without
// rights.
#include "functions/sandbox.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace leeward::functions {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kNobody = 65534;

// A directory that anybody may enter, with the executable in it: a checkout need not be reachable
// for a user without rights.
class Place {
 public:
  Place() {
    char name[] = "/tmp/leeward-sandbox-test-XXXXXX";
    path_ = ::mkdtemp(name);
    ::chmod(path_.c_str(), 0755);
    std::filesystem::copy_file(LEEWARD_SANDBOX, executable());
    std::filesystem::create_directory(path_ + "/task");
    ::chmod((path_ + "/task").c_str(), 0755);
  }
  ~Place() { std::filesystem::remove_all(path_); }
  std::string executable() const { return path_ + "/leeward-sandbox"; }
  std::string path() const { return path_; }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ + "/task/" + name) << text;
  }

 private:
  std::string path_;
};

struct Outcome {
  std::string output;
  SandboxEnd end;
  bool in_time = true;
};

SandboxSpec spec_for(const Place& place, std::vector<std::string> argv) {
  static int number = 0;
  SandboxSpec spec;
  spec.name = "test-" + std::to_string(::getpid()) + "-" + std::to_string(++number);
  spec.argv = std::move(argv);
  spec.environment = {{"PATH", "/usr/bin:/bin"}, {"LANG", "C.UTF-8"}};
  spec.directory = "/var/task";
  spec.binds = {{place.path() + "/task", "/var/task"}};
  spec.outside_id = 500000 + static_cast<std::uint32_t>(number);
  return spec;
}

std::vector<std::string> shell(const std::string& script) { return {"/bin/sh", "-c", script}; }
std::vector<std::string> python(const std::string& script) {
  return {"/usr/bin/python3", "-c", script};
}

Outcome run(const Place& place, const SandboxSpec& spec, const CgroupTree& cgroups,
            Duration limit = 20s) {
  net::EventLoop loop;
  Outcome outcome;
  std::unique_ptr<Sandbox> sandbox;
  Sandbox::Events events;
  events.output = [&](std::string_view bytes) { outcome.output += bytes; };
  events.ended = [&](SandboxEnd end) {
    outcome.end = std::move(end);
    loop.stop();
  };
  auto started = Sandbox::start(loop, place.executable(), cgroups, spec, std::move(events));
  EXPECT_TRUE(started) << started.error().message;
  if (!started) return outcome;
  sandbox = std::move(*started);
  loop.call_after(limit, [&] {
    outcome.in_time = false;
    sandbox->kill();
  });
  loop.run();
  EXPECT_FALSE(outcome.end.failure) << outcome.end.failure->message;
  return outcome;
}

// Runs `test` in this process (root, with the cgroups that there are) and in one without rights.
void as_everybody(const std::function<void(const Place&, const CgroupTree&)>& test) {
  Place place;
  if (::geteuid() == 0) {
    SCOPED_TRACE("as root");
    test(place, CgroupTree::detect("leeward-sandbox-" + std::to_string(::getpid())));
  }
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::geteuid() == 0 && (::setgid(kNobody) != 0 || ::setuid(kNobody) != 0)) ::_exit(3);
    {
      SCOPED_TRACE("without rights");
      test(place, CgroupTree::detect("leeward-sandbox-" + std::to_string(::getpid())));
    }
    std::fflush(nullptr);
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0) << "without rights";
}

TEST(Sandbox, RunsAProgramAndTellsHowItEnded) {
  as_everybody([](const Place& place, const CgroupTree& cgroups) {
    place.write("hello.txt", "the function's code\n");
    auto outcome =
        run(place, spec_for(place, shell("cat hello.txt; echo loud >&2; exit 7")), cgroups);
    EXPECT_EQ(outcome.output, "the function's code\nloud\n");
    ASSERT_TRUE(outcome.end.status);
    EXPECT_EQ(WEXITSTATUS(*outcome.end.status), 7);
    outcome = run(place, spec_for(place, shell("kill -ABRT $$")), cgroups);
    ASSERT_TRUE(outcome.end.status);
    EXPECT_EQ(WTERMSIG(*outcome.end.status), SIGABRT);
  });
}

TEST(Sandbox, SaysWhyItCannotBeMade) {
  Place place;
  auto spec = spec_for(place, shell("true"));
  spec.binds.push_back({"/nonexistent/folder", "/opt"});
  net::EventLoop loop;
  SandboxEnd end;
  Sandbox::Events events;
  events.ended = [&](SandboxEnd e) {
    end = std::move(e);
    loop.stop();
  };
  auto sandbox = Sandbox::start(loop, place.executable(), CgroupTree{}, spec, std::move(events));
  ASSERT_TRUE(sandbox);
  loop.run();
  ASSERT_TRUE(end.failure);
  EXPECT_THAT(end.failure->message, HasSubstr("/nonexistent/folder"));
  spec = spec_for(place, {"/no/such/program"});
  events.ended = [&](SandboxEnd e) {
    end = std::move(e);
    loop.stop();
  };
  sandbox = Sandbox::start(loop, place.executable(), CgroupTree{}, spec, std::move(events));
  ASSERT_TRUE(sandbox);
  loop.run();
  ASSERT_TRUE(end.failure);
  EXPECT_THAT(end.failure->message, HasSubstr("/no/such/program"));
}

TEST(Sandbox, StartsHoweverManyDescriptorsTheHostHasOpen) {
  Place place;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit raised{std::min<rlim_t>(before.rlim_max, 2048), before.rlim_max};
  if (raised.rlim_cur < 1100) GTEST_SKIP() << "more descriptors are not to be had";
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &raised), 0);
  // Those of a sandbox are made in a row, and once went through the numbers from 1003 to 1005.
  std::vector<UniqueFd> held;
  for (int lowest = 992; lowest <= 1004; ++lowest) {
    while (held.empty() || held.back().get() + 1 < lowest) {
      held.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      ASSERT_TRUE(held.back().valid());
    }
    const Outcome outcome = run(place, spec_for(place, shell("echo here")), CgroupTree{});
    EXPECT_EQ(outcome.output, "here\n") << "the lowest that is free: " << lowest;
  }
  held.clear();
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST(Sandbox, GivesTheHostAListenerInsideAndNothingElseIsReachable) {
  as_everybody([](const Place& place, const CgroupTree& cgroups) {
    // A server of the host on every address: it must not be reachable from inside.
    UniqueFd server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    ASSERT_EQ(::bind(server.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    ASSERT_EQ(::listen(server.get(), 8), 0);
    socklen_t size = sizeof at;
    ::getsockname(server.get(), reinterpret_cast<sockaddr*>(&at), &size);

    auto spec = spec_for(place, python(fmt::format(R"(
import socket
granted = socket.create_connection(("10.9.8.7", 9001), 5)
print("granted", granted.recv(5).decode())
for address in ("127.0.0.1", "10.9.8.7", "8.8.8.8"):
    try:
        socket.create_connection((address, {}), 2)
        print("reached", address)
    except OSError as error:
        print("refused", address)
)",
                                                   ntohs(at.sin_port))));
    spec.listeners = {{"10.9.8.7", 9001}};
    net::EventLoop loop;
    std::string output;
    UniqueFd listener, client;
    Sandbox::Events events;
    events.output = [&](std::string_view bytes) { output += bytes; };
    events.ready = [&](std::vector<UniqueFd> given) {
      ASSERT_EQ(given.size(), 1u);
      listener = std::move(given[0]);
      [[maybe_unused]] auto watch = loop.watch_readable(listener.get(), [&] {
        client.reset(::accept(listener.get(), nullptr, nullptr));
        if (client.valid()) {
          ASSERT_EQ(::send(client.get(), "hello", 5, 0), 5);
        }
      });
    };
    events.ended = [&](SandboxEnd) { loop.stop(); };
    auto sandbox = Sandbox::start(loop, place.executable(), cgroups, spec, std::move(events));
    ASSERT_TRUE(sandbox) << sandbox.error().message;
    loop.run();
    EXPECT_THAT(output, HasSubstr("granted hello"));
    EXPECT_THAT(output, HasSubstr("refused 127.0.0.1"));
    EXPECT_THAT(output, HasSubstr("refused 10.9.8.7"));
    EXPECT_THAT(output, HasSubstr("refused 8.8.8.8"));
    EXPECT_THAT(output, Not(HasSubstr("reached")));
  });
}

TEST(SandboxEscape, FilesOfTheHostAreNotThereAndNothingButTmpCanBeWritten) {
  as_everybody([](const Place& place, const CgroupTree& cgroups) {
    auto outcome = run(place, spec_for(place, shell(R"(
ls /; ls /root /home /work /sys /var/lib 2>/dev/null
for f in /etc/shadow /root/.bashrc /proc/1/root/etc/shadow /proc/1/environ; do
  cat $f >/dev/null 2>&1 && echo "READ $f"
done
for f in /usr/bin/x /var/task/x /etc/x /x /dev/x /proc/sys/kernel/core_pattern; do
  (echo bad > $f) 2>/dev/null && echo "WROTE $f"
done
echo good > /tmp/x && cat /tmp/x
ls /proc | grep -c '^[0-9]'
)")),
                       cgroups);
    EXPECT_THAT(outcome.output, Not(HasSubstr("READ")));
    EXPECT_THAT(outcome.output, Not(HasSubstr("WROTE")));
    EXPECT_THAT(outcome.output, HasSubstr("good"));
    EXPECT_THAT(outcome.output, Not(HasSubstr("root\n")));
    EXPECT_THAT(outcome.output, Not(HasSubstr("work")));
    // Process 1, the shell, and the pipeline itself.
    EXPECT_THAT(outcome.output, ::testing::ContainsRegex("\n[3-5]\n"));
  });
}

TEST(SandboxEscape, RightsAreGoneAndCannotBeGained) {
  as_everybody([](const Place& place, const CgroupTree& cgroups) {
    auto outcome = run(
        place,
        spec_for(
            place,
            shell(
                "grep -E 'Cap|NoNewPrivs|Seccomp:|Uid' /proc/self/status; cat /proc/self/uid_map")),
        cgroups);
    for (const char* line : {"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000",
                             "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000",
                             "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"})
      EXPECT_THAT(outcome.output, HasSubstr(line));
    EXPECT_THAT(outcome.output, HasSubstr("Uid:\t1000\t1000\t1000\t1000"));
  });
}

// Each by the raw system call, so that no library declines for us. Numbers are looked up by name.
TEST(SandboxEscape, CallsThatReachOutAreRefused) {
  as_everybody([](const Place& place, const CgroupTree& cgroups) {
    struct Call {
      const char* what;
      std::string arguments;
    };
    const std::vector<Call> calls{
        {"unshare(user)", fmt::format("{}, 0x10000000", SYS_unshare)},
        {"unshare(mount)", fmt::format("{}, 0x20000", SYS_unshare)},
        {"setns", fmt::format("{}, os.open('/proc/self/ns/net', os.O_RDONLY), 0", SYS_setns)},
        {"mount", fmt::format("{}, b'none', b'/tmp', b'tmpfs', 0, None", SYS_mount)},
        {"umount", fmt::format("{}, b'/proc', 2", SYS_umount2)},
        {"pivot_root", fmt::format("{}, b'/tmp', b'/tmp'", SYS_pivot_root)},
        {"open_tree", fmt::format("{}, -100, b'/', 1", SYS_open_tree)},
        {"mount_setattr", fmt::format("{}, -100, b'/', 0, 0, 0", SYS_mount_setattr)},
        {"chroot", fmt::format("{}, b'/tmp'", SYS_chroot)},
        {"ptrace(attach 1)", fmt::format("{}, 16, 1, 0, 0", SYS_ptrace)},
        {"process_vm_readv", fmt::format("{}, 1, 0, 0, 0, 0, 0", SYS_process_vm_readv)},
        {"add_key", fmt::format("{}, b'user', b'a', b'b', 1, -3", SYS_add_key)},
        {"request_key", fmt::format("{}, b'user', b'a', None, -3", SYS_request_key)},
        {"keyctl", fmt::format("{}, 0, -3, 0, 0, 0", SYS_keyctl)},
        {"bpf", fmt::format("{}, 0, 0, 0", SYS_bpf)},
        {"perf_event_open", fmt::format("{}, 0, 0, -1, -1, 0", SYS_perf_event_open)},
        {"userfaultfd", fmt::format("{}, 0", SYS_userfaultfd)},
        {"io_uring_setup", fmt::format("{}, 1, 0", SYS_io_uring_setup)},
        {"init_module", fmt::format("{}, 0, 0, b''", SYS_init_module)},
        {"kexec_load", fmt::format("{}, 0, 0, 0, 0", SYS_kexec_load)},
        {"reboot", fmt::format("{}, 0, 0, 0, 0", SYS_reboot)},
        {"syslog", fmt::format("{}, 3, 0, 0", SYS_syslog)},
        {"name_to_handle_at", fmt::format("{}, -100, b'/', 0, 0, 0", SYS_name_to_handle_at)},
        {"open_by_handle_at", fmt::format("{}, 3, 0, 0", SYS_open_by_handle_at)},
        {"clock_settime", fmt::format("{}, 0, 0", SYS_clock_settime)},
        {"quotactl", fmt::format("{}, 0, 0, 0, 0", SYS_quotactl)},
        {"swapon", fmt::format("{}, b'/tmp/x', 0", SYS_swapon)},
        {"acct", fmt::format("{}, b'/tmp/x'", SYS_acct)},
        {"personality", fmt::format("{}, 0x40000", SYS_personality)},
        {"kcmp", fmt::format("{}, 1, 1, 0, 0, 0", SYS_kcmp)},
        {"pidfd_getfd", fmt::format("{}, 3, 0, 0", SYS_pidfd_getfd)},
        {"clone(new user)", fmt::format("{}, 0x10000011, 0, 0, 0, 0", SYS_clone)},
        {"socket(vsock)", fmt::format("{}, 40, 1, 0", SYS_socket)},
        {"socket(alg)", fmt::format("{}, 38, 5, 0", SYS_socket)},
        {"socket(packet)", fmt::format("{}, 17, 3, 768", SYS_socket)},
        {"socket(netlink audit)", fmt::format("{}, 16, 3, 9", SYS_socket)},
    };
    std::string script =
        "import ctypes, errno, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "def attempt(what, *a):\n"
        "    ctypes.set_errno(0)\n"
        "    r = libc.syscall(*a)\n"
        "    e = errno.errorcode.get(ctypes.get_errno(), '?')\n"
        "    print(('DONE ' if r != -1 else 'refused ') + what, e, flush=True)\n";
    for (const Call& call : calls)
      script += fmt::format("attempt('{}', {})\n", call.what, call.arguments);
    auto outcome = run(place, spec_for(place, python(script)), cgroups);
    EXPECT_THAT(outcome.output, Not(HasSubstr("DONE")));
    for (const Call& call : calls) {
      const bool family = std::string_view(call.what).starts_with("socket");
      EXPECT_THAT(outcome.output, HasSubstr(fmt::format("refused {} {}", call.what,
                                                        family ? "EAFNOSUPPORT" : "EPERM")));
    }
  });
}

TEST(SandboxEscape, AnotherSandboxIsOutOfReach) {
  as_everybody([](const Place& place, const CgroupTree& cgroups) {
    // Two at once: the second looks for the first by process, by signal, by abstract socket and by
    // the same loopback port.
    net::EventLoop loop;
    std::string output;
    int ended = 0;
    bool first_lives = true;
    std::unique_ptr<Sandbox> first, second;
    auto victim = spec_for(
        place, python("import socket, time\n"
                      "a = socket.socket(socket.AF_UNIX); a.bind('\\0victim'); a.listen()\n"
                      "b = socket.socket(); b.bind(('127.0.0.1', 9009)); b.listen()\n"
                      "open('/tmp/secret', 'w').write('memory')\n"
                      "print('up', flush=True)\ntime.sleep(60)\n"));
    auto thief = spec_for(
        place, python("import os, signal, socket\n"
                      "print([p for p in os.listdir('/proc') if p.isdigit()])\n"
                      "for pid in range(2, 70000):\n"
                      "    if pid == os.getpid(): continue\n"
                      "    try: os.kill(pid, signal.SIGKILL); print('KILLED', pid)\n"
                      "    except OSError: pass\n"
                      "try: os.kill(1, signal.SIGKILL)\n"
                      "except OSError: pass\n"
                      "for family, at in ((socket.AF_UNIX, '\\0victim'), (socket.AF_INET, "
                      "('127.0.0.1', 9009))):\n"
                      "    try: socket.socket(family).connect(at); print('REACHED', at)\n"
                      "    except OSError: pass\n"
                      "print('SECRET' if os.path.exists('/tmp/secret') else 'nothing')\n"));
    Sandbox::Events of_second;
    of_second.output = [&](std::string_view bytes) { output += bytes; };
    of_second.ended = [&](SandboxEnd) {
      ++ended;
      EXPECT_TRUE(first_lives);
      first->kill();
    };
    Sandbox::Events of_first;
    of_first.output = [&](std::string_view bytes) {
      if (second) return;
      EXPECT_EQ(bytes, "up\n");
      auto started = Sandbox::start(loop, place.executable(), cgroups, thief, std::move(of_second));
      ASSERT_TRUE(started) << started.error().message;
      second = std::move(*started);
    };
    of_first.ended = [&](SandboxEnd end) {
      first_lives = false;
      ++ended;
      EXPECT_FALSE(end.status);  // killed by us
      loop.stop();
    };
    auto started = Sandbox::start(loop, place.executable(), cgroups, victim, std::move(of_first));
    ASSERT_TRUE(started);
    first = std::move(*started);
    loop.call_after(60s, [&] { loop.stop(); });
    loop.run();
    EXPECT_EQ(ended, 2);
    EXPECT_THAT(output, HasSubstr("nothing"));
    for (const char* bad : {"KILLED", "REACHED", "SECRET"})
      EXPECT_THAT(output, Not(HasSubstr(bad)));
  });
}

TEST(SandboxEscape, AForkBombEndsAtTheLimit) {
  as_everybody([](const Place& place, const CgroupTree& cgroups) {
    auto spec = spec_for(place, python("import os, time\n"
                                       "n = 0\n"
                                       "try:\n"
                                       "    while n < 500:\n"
                                       "        if os.fork() == 0: time.sleep(30); os._exit(0)\n"
                                       "        n += 1\n"
                                       "    print('UNBOUNDED')\n"
                                       "except OSError as e:\n"
                                       "    print('stopped', n, flush=True)\n"
                                       "os._exit(0)\n"));
    spec.limits.processes = 40;
    auto outcome = run(place, spec, cgroups);
    EXPECT_THAT(outcome.output, ::testing::ContainsRegex("stopped 3[0-9]"));
    EXPECT_TRUE(outcome.in_time);  // and all that was forked is gone with it
  });
}

TEST(SandboxEscape, ADiskCannotBeFilled) {
  as_everybody([](const Place& place, const CgroupTree& cgroups) {
    auto spec =
        spec_for(place, python("import errno, os\n"
                               "n = 0\n"
                               "try:\n"
                               "    with open('/tmp/big', 'wb', 0) as f:\n"
                               "        while n < 64: f.write(b'x' * (1 << 20)); n += 1\n"
                               "except OSError as e: print(errno.errorcode[e.errno], n)\n"
                               "os.unlink('/tmp/big')\n"
                               "try:\n"
                               "    for i in range(100000): open(f'/tmp/{i}', 'w').close()\n"
                               "    print('UNBOUNDED')\n"
                               "except OSError as e: print('inodes', errno.errorcode[e.errno])\n"));
    spec.limits.tmp_bytes = 16u << 20;
    auto outcome = run(place, spec, cgroups);
    EXPECT_THAT(outcome.output, HasSubstr("ENOSPC 16"));
    EXPECT_THAT(outcome.output, HasSubstr("inodes ENOSPC"));
  });
}

TEST(SandboxEscape, MemoryBeyondTheLimitIsNotToBeHad) {
  as_everybody([](const Place& place, const CgroupTree& cgroups) {
    auto spec =
        spec_for(place, python("import mmap\n"
                               "held = []\n"
                               "try:\n"
                               "    for i in range(64): held.append(bytearray(b'x' * (8 << 20)))\n"
                               "    print('UNBOUNDED')\n"
                               "except MemoryError: print('MemoryError')\n"));
    spec.limits.memory_bytes = 64u << 20;
    auto outcome = run(place, spec, cgroups);
    EXPECT_THAT(outcome.output, Not(HasSubstr("UNBOUNDED")));
    if (cgroups.kind() == CgroupKind::kNone) {
      EXPECT_THAT(outcome.output, HasSubstr("MemoryError"));
    } else {
      EXPECT_TRUE(outcome.end.out_of_memory);
      ASSERT_TRUE(outcome.end.status);
      EXPECT_EQ(WTERMSIG(*outcome.end.status), SIGKILL);
      EXPECT_GT(outcome.end.memory_peak_bytes, 48u << 20);
    }
  });
}

TEST(Sandbox, FreezesThawsAndDiesFrozen) {
  as_everybody([](const Place& place, const CgroupTree& cgroups) {
    net::EventLoop loop;
    std::size_t ticks = 0;
    std::size_t when_frozen = 0;
    bool ended = false, frozen_once = false;
    std::unique_ptr<Sandbox> sandbox;
    Sandbox::Events events;
    events.output = [&](std::string_view bytes) {
      ticks += bytes.size();
      if (ticks >= 5 && !frozen_once) {
        frozen_once = true;
        ASSERT_TRUE(sandbox->freeze());
        loop.call_after(300ms, [&] {
          when_frozen = ticks;
          ASSERT_TRUE(sandbox->thaw());
        });
      }
      if (when_frozen > 0 && ticks > when_frozen + 5) {
        ASSERT_TRUE(sandbox->freeze());
        loop.call_after(50ms, [&] { sandbox->kill(); });
      }
    };
    events.ended = [&](SandboxEnd) {
      ended = true;
      loop.stop();
    };
    auto spec = spec_for(
        place, python("import time\nwhile True: print(end='.', flush=True); time.sleep(0.01)"));
    auto started = Sandbox::start(loop, place.executable(), cgroups, spec, std::move(events));
    ASSERT_TRUE(started);
    sandbox = std::move(*started);
    loop.call_after(20s, [&] { loop.stop(); });
    loop.run();
    EXPECT_TRUE(ended);
    EXPECT_GT(when_frozen, 4u);
    EXPECT_LE(when_frozen, 8u);  // one or two that were on their way
  });
}

TEST(Sandbox, StartsInAGroupThatWasLeftFrozen) {
  as_everybody([](const Place& place, const CgroupTree& cgroups) {
    const SandboxSpec spec = spec_for(place, shell("echo here"));
    auto left = cgroups.create(spec.name);
    ASSERT_TRUE(left) << left.error().message;
    if (!left->freeze(true)) return;  // no groups that freeze: none is left so
    const Outcome outcome = run(place, spec, cgroups, 5s);
    EXPECT_TRUE(outcome.in_time);
    EXPECT_EQ(outcome.output, "here\n");
  });
}

}  // namespace
}  // namespace leeward::functions

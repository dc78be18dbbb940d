#include "compute/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <future>
#include <limits>
#include <optional>
#include <thread>
#include <vector>

#include "base/cgroup.h"
#include "base/file.h"
#include "base/namespaces.h"
#include "base/time.h"
#include "compute/expand.h"
#include "compute/instance_log.h"
#include "compute/internal/own_root.h"
#include "compute/internal/process_tree.h"
#include "compute/internal/spawn.h"

namespace leeward::compute {
namespace {

constexpr int kKeeperFailed = 125;
constexpr int kCannotRun = 126;
constexpr int kNotFound = 127;
constexpr std::size_t kJoinsMax = 8;
constexpr int kFirstPassed = 3;          // SD_LISTEN_FDS_START
constexpr Duration kDebrisGrace = 1s;    // for descendants that outlive the child
constexpr Duration kKillRound = 10ms;    // between two rounds of SIGKILL
constexpr Duration kLogDrainLimit = 1s;  // for the log thread, once every writer is gone

struct Options {
  int parent_fd = -1;
  int stop_signal = SIGTERM;
  Duration stop_timeout = 5s;
  std::string log;
  std::size_t log_bytes_max = kLogBytesMax;
  int listen_fd = -1;
  std::uint64_t data_bytes_max = 0;  // RLIMIT_DATA of the child; 0: as it is
  std::string cgroup;
  std::vector<std::string> joins;
  std::optional<OwnRoot> root;
  char** command = nullptr;  // null-terminated
};

Result<long> number(std::string_view option, std::string_view text, long least, long most) {
  long value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < least || value > most)
    return fail(Code::kInvalid, "{} takes a number from {} to {}, not '{}'", option, least, most,
                text);
  return value;
}

// "UID:GID[:GROUP]…"
Status set_user(OwnRoot& root, std::string_view text) {
  std::vector<std::uint32_t> ids;
  for (bool more = true; more;) {
    std::size_t colon = text.find(':');
    auto id = number("--root-user", text.substr(0, colon), 0, std::int64_t{UINT32_MAX} - 1);
    if (!id) return fail(std::move(id.error()));
    ids.push_back(static_cast<std::uint32_t>(*id));
    more = colon != std::string_view::npos;
    if (more) text.remove_prefix(colon + 1);
  }
  if (ids.size() < 2) return fail(Code::kInvalid, "--root-user takes UID:GID");
  root.uid = ids[0];
  root.gid = ids[1];
  root.groups.assign(ids.begin() + 2, ids.end());
  return {};
}

Status set_root(Options& options, std::string_view option, std::string_view text) {
  OwnRoot& root = options.root ? *options.root : options.root.emplace();
  if (option == "--root-user") return set_user(root, text);
  (option == "--root" ? root.root : root.directory) = text;
  return {};
}

Status set_option(Options& options, std::string_view option, std::string_view text) {
  if (option == "--root" || option == "--root-user" || option == "--root-directory")
    return set_root(options, option, text);
  if (option == "--log" || option == "--cgroup") {
    (option == "--log" ? options.log : options.cgroup) = text;
    return {};
  }
  if (option == "--join") {
    if (options.joins.size() == kJoinsMax)
      return fail(Code::kInvalid, "--join at most {} times", kJoinsMax);
    options.joins.emplace_back(text);
    return {};
  }
  long most = option == "--stop-signal" ? SIGRTMAX : 1L << 30;
  if (option == "--data-bytes-max") most = std::numeric_limits<long>::max();
  auto value = number(option, text, option == "--parent-fd" ? 0 : 1, most);
  if (!value) return fail(std::move(value.error()));
  if (option == "--parent-fd")
    options.parent_fd = static_cast<int>(*value);
  else if (option == "--stop-signal")
    options.stop_signal = static_cast<int>(*value);
  else if (option == "--stop-timeout")
    options.stop_timeout = std::chrono::milliseconds(*value);
  else if (option == "--listen-fd")
    options.listen_fd = static_cast<int>(*value);
  else if (option == "--data-bytes-max")
    options.data_bytes_max = static_cast<std::uint64_t>(*value);
  else if (option == "--log-bytes-max")
    options.log_bytes_max = static_cast<std::size_t>(*value);
  else
    return fail(Code::kInvalid, "unknown option '{}'", option);
  return {};
}

Result<Options> parse(int argc, char** argv) {
  Options options;
  int i = 2;
  for (; i < argc && std::strcmp(argv[i], "--") != 0; i += 2) {
    if (i + 1 >= argc) return fail(Code::kInvalid, "{} needs a value", argv[i]);
    if (auto set = set_option(options, argv[i], argv[i + 1]); !set) return fail(set.error());
  }
  if (i + 1 >= argc) return fail(Code::kInvalid, "no command after '--'");
  if (options.parent_fd < 0) return fail(Code::kInvalid, "--parent-fd is missing");
  if (options.root && (options.root->root.empty() || options.root->directory.empty()))
    return fail(Code::kInvalid, "--root and --root-directory belong together");
  options.command = argv + i + 1;
  return options;
}

// What a child needs to know of its keeper.
struct Parent {
  UniqueFd pidfd;  // readable when the keeper is gone
  OutsideUser user;
};

[[noreturn]] void give_up(const std::string& what, const Error& error) {
  std::fprintf(stderr, "%s: %s\n", what.c_str(), error.message.c_str());
  ::_exit(kKeeperFailed);
}

// The variables for the command in an image.
std::vector<char*> own_environment() {
  std::vector<char*> own;
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (**entry == kOwnVariable) own.push_back(*entry + 1);
  own.push_back(nullptr);
  return own;
}

// In the child, between fork and exec.
[[noreturn]] void become_command(const Options& options, const Parent& keeper, int output) {
  ::setpgid(0, 0);
  if (output >= 0) {
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
  }
  if (auto joined = join_groups(options.joins); !joined)
    give_up("cannot enter the control group", joined.error());
  if (options.root)
    if (auto entered = enter_root(*options.root, keeper.user); !entered)
      give_up("cannot enter the image", entered.error());
  // After any change of identity, which clears it. The keeper may have died before.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  pollfd gone{keeper.pidfd.get(), POLLIN, 0};
  if (::poll(&gone, 1, 0) != 0) ::_exit(kKeeperFailed);
  std::vector<char*> environment;
  if (options.root) {
    if (auto second = become_second_process(); !second)
      give_up("cannot start in the image", second.error());
    environment = own_environment();
    environ = environment.data();
  }
  if (options.data_bytes_max != 0) {
    rlimit most{options.data_bytes_max, options.data_bytes_max};
    ::setrlimit(RLIMIT_DATA, &most);
  }
  if (options.listen_fd >= 0) {
    ::dup2(options.listen_fd, kFirstPassed);  // not close-on-exec any more
    ::setenv("LISTEN_FDS", "1", 1);
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execvp(options.command[0], options.command);
  int error = errno;
  std::fprintf(stderr, "cannot run '%s': %s\n", options.command[0], std::strerror(error));
  ::_exit(error == ENOENT ? kNotFound : kCannotRun);
}

int exit_status_of(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

class Keeper {
 public:
  explicit Keeper(const Options& options) : options_(options), parent_fd_(options.parent_fd) {}

  int run();

 private:
  // Forward only; each phase is entered at most once.
  enum class Phase {
    kRunning,
    kStopping,  // the child's group has the stop signal
    kClearing,  // the child is gone; the rest has the stop signal
    kKilling,   // SIGKILL, round after round
  };

  Status prepare();
  Status start_command();
  bool reap();  // false when no child is left
  void advance(BootTime now);
  void wait_for_event(BootTime now);
  void read_signals();
  void enter(Phase phase, BootTime deadline);
  void kill_group();

  Options options_;
  int parent_fd_;  // -1 after end of file
  UniqueFd signals_;
  pid_t child_ = -1;
  std::optional<int> child_status_;
  std::optional<std::future<void>> log_done_;
  Phase phase_ = Phase::kRunning;
  BootTime deadline_;
  bool stop_asked_ = false;
  bool kill_asked_ = false;
};

Status Keeper::prepare() {
  if (!kernel_lists_children())
    return fail(Code::kUnavailable, "this kernel does not list children in /proc");
  if (::fcntl(parent_fd_, F_SETFD, FD_CLOEXEC) != 0) return fail(os_error(errno, "--parent-fd"));
  if (options_.listen_fd >= 0 && ::fcntl(options_.listen_fd, F_SETFD, FD_CLOEXEC) != 0)
    return fail(os_error(errno, "--listen-fd"));
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return fail(os_error(errno, "child subreaper"));
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  ::setsid();  // fails when it leads a session already, which is as good
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  sigset_t handled;
  sigemptyset(&handled);
  for (int signal : {SIGCHLD, SIGTERM, SIGINT, SIGUSR1}) sigaddset(&handled, signal);
  signals_.reset(::signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.valid()) return fail(os_error(errno, "signalfd"));
  return {};
}

Status Keeper::start_command() {
  int ends[2] = {-1, -1};
  if (!options_.log.empty() && ::pipe2(ends, O_CLOEXEC) != 0) return fail(os_error(errno, "pipe"));
  UniqueFd output(ends[0]);
  UniqueFd input(ends[1]);
  Parent self{UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0))),
              {::geteuid(), ::getegid()}};
  if (!self.pidfd.valid()) return fail(os_error(errno, "pidfd_open"));
  UniqueFd pidfd;  // not needed: SIGCHLD tells
  auto child = fork_with_namespaces(options_.cgroup, pidfd,
                                    options_.root ? own_root_namespaces(self.user) : 0);
  if (!child) return fail(std::move(child.error()));
  child_ = *child;
  if (child_ == 0) become_command(options_, self, input.get());
  ::setpgid(child_, child_);  // also done by the child: whoever comes first
  if (!output.valid()) return {};
  std::packaged_task<void()> pump(
      [fd = std::move(output), path = options_.log, bytes_max = options_.log_bytes_max] {
        CappedLog log(path, bytes_max);
        char buffer[65536];
        for (;;) {
          ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
          if (n < 0 && errno == EINTR) continue;
          if (n <= 0) return;
          log.append(std::string_view(buffer, static_cast<std::size_t>(n)));
        }
      });
  log_done_ = pump.get_future();
  std::thread(std::move(pump)).detach();  // ends with its pipe, or with the process
  return {};
}

bool Keeper::reap() {
  for (;;) {
    int status = 0;
    pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid == 0) return true;
    if (pid < 0 && errno == EINTR) continue;
    if (pid < 0) return false;  // ECHILD
    if (pid == child_) child_status_ = exit_status_of(status);
  }
}

void Keeper::enter(Phase phase, BootTime deadline) {
  phase_ = phase;
  deadline_ = deadline;
}

void Keeper::advance(BootTime now) {
  if (phase_ == Phase::kRunning && child_status_) {
    signal_descendants(options_.stop_signal);
    enter(Phase::kClearing, now + std::min(options_.stop_timeout, kDebrisGrace));
  }
  if (phase_ == Phase::kRunning && stop_asked_) {
    ::kill(-child_, options_.stop_signal);
    ::kill(-child_, SIGCONT);  // a stopped process could not act on it
    enter(Phase::kStopping, now + options_.stop_timeout);
  }
  if (phase_ == Phase::kStopping && child_status_) {
    signal_descendants(options_.stop_signal);
    enter(Phase::kClearing, std::min(deadline_, now + kDebrisGrace));
  }
  bool over = phase_ != Phase::kRunning && now >= deadline_;
  if (kill_asked_ || over || phase_ == Phase::kKilling) {
    signal_descendants(SIGKILL);
    kill_group();
    enter(Phase::kKilling, now + kKillRound);
  }
}

// All of the group at once, also what a fork bomb makes while the descendants are gone through.
void Keeper::kill_group() {
  if (options_.cgroup.empty()) return;
  UniqueFd fd(::open((options_.cgroup + "/cgroup.kill").c_str(), O_WRONLY | O_CLOEXEC));
  if (fd.valid()) static_cast<void>(::write(fd.get(), "1", 1) == 1);  // Linux 5.14
}

void Keeper::wait_for_event(BootTime now) {
  pollfd fds[] = {{signals_.get(), POLLIN, 0}, {parent_fd_, POLLIN, 0}};
  int timeout = -1;
  if (phase_ != Phase::kRunning) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - now);
    timeout = static_cast<int>(std::max<std::int64_t>(left.count(), 0));
  }
  if (::poll(fds, 2, timeout) <= 0) return;
  if (fds[0].revents != 0) read_signals();
  if (fds[1].revents == 0) return;
  char byte = 0;
  ssize_t n = ::read(parent_fd_, &byte, 1);
  if (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN))) return;
  parent_fd_ = -1;
  stop_asked_ = true;
}

void Keeper::read_signals() {
  signalfd_siginfo info;
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGTERM || signal == SIGINT) stop_asked_ = true;
    if (signal == SIGUSR1) kill_asked_ = true;
  }
}

int Keeper::run() {
  Status ready = prepare();
  if (ready) ready = start_command();
  if (!ready) {
    std::fprintf(stderr, "leeward keep: %s\n", ready.error().message.c_str());
    return kKeeperFailed;
  }
  while (reap()) {
    BootTime now = BootClock::now();
    advance(now);
    wait_for_event(now);
  }
  if (log_done_) log_done_->wait_for(kLogDrainLimit);
  // Not through exit handlers: the log thread may still sit in a write to a dead disk.
  ::_exit(child_status_.value_or(kKeeperFailed));
}

}  // namespace

int keeper_main(int argc, char** argv) {
  auto options = parse(argc, argv);
  if (!options) {
    std::fprintf(stderr, "leeward keep: %s\n", options.error().message.c_str());
    return kKeeperFailed;
  }
  return Keeper(*options).run();
}

}  // namespace leeward::compute

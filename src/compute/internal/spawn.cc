#include "compute/internal/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>

namespace leeward::compute {
namespace {

constexpr int kKeeperPipe = 3;  // the first descriptor after the standard three
constexpr int kKeeperListener = 4;

std::vector<std::string> environment_of(const ExpandedProcess& process,
                                        const std::vector<std::string>& marks) {
  auto name_of = [](std::string_view entry) { return entry.substr(0, entry.find('=')); };
  std::vector<std::string> environment = marks;
  // What a service manager told us is not meant for our children.
  std::set<std::string, std::less<>> ours{"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID",
                                          "LISTEN_FDNAMES"};
  for (const std::string& mark : marks) ours.emplace(name_of(mark));
  const std::string prefix(process.root ? 1 : 0, kOwnVariable);
  for (const auto& [name, value] : process.env) environment.push_back(prefix + name + "=" + value);
  if (process.root)
    for (const std::string& mark : marks) environment.push_back(prefix + mark);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    std::string name(name_of(*entry));
    bool replaced = !process.root && process.env.contains(name);
    if (!ours.contains(name) && !replaced && **entry != kOwnVariable)
      environment.emplace_back(*entry);
  }
  return environment;
}

std::vector<std::string> root_options(const OwnRoot& root) {
  std::string user = fmt::format("{}:{}", root.uid, root.gid);
  for (std::uint32_t group : root.groups) user += fmt::format(":{}", group);
  return {"--root", root.root, "--root-user", user, "--root-directory", root.directory};
}

std::vector<char*> pointers_to(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

// posix_spawn's two option objects, with all that a keeper needs. Their functions fail only for
// lack of memory or bad descriptors, which posix_spawn itself then reports.
class SpawnSetup {
 public:
  SpawnSetup(int pipe, int listener, const std::string& directory) {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, pipe, kKeeperPipe);
    // Not every library opens its descriptors close-on-exec; a listener that is inherited would
    // keep its port after our death.
    if (listener >= 0) ::posix_spawn_file_actions_adddup2(&actions_, listener, kKeeperListener);
    ::posix_spawn_file_actions_addclosefrom_np(&actions_,
                                               (listener >= 0 ? kKeeperListener : kKeeperPipe) + 1);
    if (!directory.empty()) ::posix_spawn_file_actions_addchdir_np(&actions_, directory.c_str());
    ::posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setflags(&attributes_,
                               POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  }
  ~SpawnSetup() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;

  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

std::string signal_text(int signal) {
  const char* description = ::sigdescr_np(signal);  // null for real-time signals
  return fmt::format("killed by signal {} ({})", signal,
                     description == nullptr ? "real-time" : description);
}

}  // namespace

Result<KeeperProcess> spawn_keeper(const std::vector<std::string>& keeper,
                                   const std::vector<std::string>& options,
                                   const ExpandedProcess& process,
                                   const std::vector<std::string>& marks, int listener) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(os_error(errno, "pipe"));
  UniqueFd read_end(ends[0]);
  KeeperProcess started;
  started.lifeline.reset(ends[1]);

  std::vector<std::string> argv = keeper;
  argv.insert(argv.end(), {"--parent-fd", std::to_string(kKeeperPipe)});
  argv.insert(argv.end(), options.begin(), options.end());
  UniqueFd passed;  // beyond the numbers that the actions below write over
  if (listener >= 0) {
    passed.reset(::fcntl(listener, F_DUPFD_CLOEXEC, kKeeperListener + 1));
    if (!passed.valid()) return fail(os_error(errno, "pass on the listener"));
    argv.insert(argv.end(), {"--listen-fd", std::to_string(kKeeperListener)});
  }
  if (process.root) {
    std::vector<std::string> own = root_options(*process.root);
    argv.insert(argv.end(), own.begin(), own.end());
  }
  argv.push_back("--");
  argv.insert(argv.end(), process.argv.begin(), process.argv.end());
  std::vector<std::string> environment = environment_of(process, marks);

  SpawnSetup setup(read_end.get(), passed.get(), process.directory);
  int error = ::posix_spawn(&started.pid, argv[0].c_str(), setup.actions(), setup.attributes(),
                            pointers_to(argv).data(), pointers_to(environment).data());
  if (error != 0) {
    std::string where = process.directory.empty() ? "" : " in " + process.directory;
    return fail(os_error(error, "start " + process.argv[0] + where));
  }
  started.pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, started.pid, 0)));
  if (!started.pidfd.valid()) {
    Error cause = os_error(errno, "pidfd_open");
    ::kill(started.pid, SIGKILL);  // its child, if there is one yet, dies with it
    ::waitpid(started.pid, nullptr, 0);
    return fail(std::move(cause));
  }
  return started;
}

std::string describe_exit(int wait_status, Duration lived) {
  std::string how;
  if (WIFSIGNALED(wait_status))
    how = "keeper " + signal_text(WTERMSIG(wait_status));
  else if (int status = WEXITSTATUS(wait_status); status > 128 && status - 128 <= SIGRTMAX)
    how = signal_text(status - 128);
  else
    how = fmt::format("exit status {}", status);
  return fmt::format("{} after {:.1f}s", how, seconds(lived));
}

}  // namespace leeward::compute

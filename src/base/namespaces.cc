#include "base/namespaces.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace leeward {

Result<pid_t> fork_with_namespaces(const std::string& directory, UniqueFd& pidfd,
                                   std::uint64_t namespaces) {
  if (directory.empty() && namespaces == 0) {
    pid_t child = ::fork();
    if (child < 0) return fail(os_error(errno, "fork"));
    if (child > 0) pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
    return child;
  }
  int handle = -1;
  clone_args arguments{};
  arguments.flags = CLONE_PIDFD | namespaces;
  arguments.pidfd = reinterpret_cast<std::uintptr_t>(&handle);
  arguments.exit_signal = SIGCHLD;
  UniqueFd group;
  if (!directory.empty()) {
    group.reset(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!group.valid()) return fail(os_error(errno, "open " + directory));
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<std::uint64_t>(group.get());
  }
  long pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid < 0)
    return fail(os_error(errno, directory.empty() ? "start a process in namespaces of its own"
                                                  : "start a process in " + directory));
  if (pid > 0) pidfd.reset(handle);
  return static_cast<pid_t>(pid);
}

}  // namespace leeward

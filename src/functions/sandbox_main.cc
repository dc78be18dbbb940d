// leeward-sandbox: makes one sandbox and keeps it. Started by the function host (sandbox.h) with a
// plan and a control socket; not for people.
//
//   leeward-sandbox          host's namespaces, in the sandbox's cgroups; maps the identity, waits
//     └─ process 1           new namespaces, no rights: starts the program, reaps, freezes, thaws
//          ├─ companions   if any, started before the program, which waits for the host's word
//          └─ the program
//
// A small, single-threaded executable of its own, linked statically: the namespaces are made by
// clone, and between clone and exec a process with threads could do almost nothing safely. When any
// of the three ends, all do: the program's end ends process 1, whose end the kernel answers by
// killing everything in its process namespace; process 1 gets SIGKILL when its parent dies, and the
// parent when the host does. The outermost ends last: when it is gone, nothing is left.
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "functions/internal/sandbox_build.h"
#include "functions/internal/sandbox_plan.h"

namespace leeward::functions {
namespace {

constexpr int kFailedStatus = 125;

void tell_host(char kind, std::string_view text, const std::vector<UniqueFd>& descriptors = {}) {
  std::string bytes = kind + std::string(text.substr(0, kSandboxMessageMax - 1));
  iovec part{bytes.data(), bytes.size()};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int) * kSandboxListenersMax)]{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    const std::size_t size = sizeof(int) * descriptors.size();
    message.msg_control = space;
    message.msg_controllen = CMSG_SPACE(size);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(size);
    for (std::size_t i = 0; i < descriptors.size(); ++i) {
      const int fd = descriptors[i].get();
      std::memcpy(CMSG_DATA(header) + i * sizeof fd, &fd, sizeof fd);
    }
  }
  // The host may be gone; then nobody wants to know.
  [[maybe_unused]] ssize_t sent = ::sendmsg(kSandboxControlFd, &message, MSG_NOSIGNAL);
}

[[noreturn]] void give_up(const Error& error) {
  tell_host(kSandboxFailed, error.message);
  ::_exit(kFailedStatus);
}

Result<SandboxPlan> read_plan() {
  struct stat info {};
  if (::fstat(kSandboxPlanFd, &info) != 0) return fail(os_error(errno, "read the plan"));
  if (info.st_size < 0 || static_cast<std::size_t>(info.st_size) > kPlanBytesMax)
    return fail(Code::kCorrupt, "the plan is too large");
  std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
  if (::pread(kSandboxPlanFd, bytes.data(), bytes.size(), 0) != info.st_size)
    return fail(os_error(errno, "read the plan"));
  return decode_plan(bytes);
}

// Everything in this process namespace but this process, which the kernel spares.
void signal_all(int number) { ::kill(-1, number); }

// What process 1 looks after. When the program ends, so does everything; with companions, when the
// host says so, because they may have something to finish.
class Keeper {
 public:
  Keeper(const SandboxPlan& plan, int children) : plan_(plan), children_(children) {}

  void start() {
    for (const std::string& path : plan_.companions)
      companions_.push_back(spawn({path}, kSandboxCompanionOutputFd));
    if (plan_.companions.empty()) start_program();
  }

  [[noreturn]] void run() {
    for (;;) {
      pollfd fds[] = {{children_, POLLIN, 0}, {kSandboxControlFd, POLLIN, 0}};
      ::poll(fds, 2, -1);
      if (fds[0].revents != 0) reap();
      if (fds[1].revents != 0 && !obey_host()) ::_exit(0);
    }
  }

 private:
  pid_t spawn(const std::vector<std::string>& command, int output) {
    const pid_t pid = ::fork();
    if (pid < 0) give_up(os_error(errno, "fork"));
    if (pid == 0) {
      Status status = become_program(plan_, command, output);
      give_up(status.error());
    }
    return pid;
  }

  void start_program() {
    if (program_ == 0) program_ = spawn(plan_.argv, STDOUT_FILENO);
  }

  // Reads what the host says; false when it is gone.
  bool obey_host() {
    char message[4];
    const ssize_t n = ::recv(kSandboxControlFd, message, sizeof message, MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) return false;
    if (message[0] == kSandboxFreeze) signal_all(SIGSTOP);
    if (message[0] == kSandboxThaw) signal_all(SIGCONT);
    if (message[0] == kSandboxStart) start_program();
    if (message[0] == kSandboxDial && n == 3) {
      std::uint16_t port = 0;
      std::memcpy(&port, message + 1, sizeof port);
      tell_host(kSandboxDialled, "", dial(port));
    }
    return true;
  }

  static std::vector<UniqueFd> dial(std::uint16_t port) {
    std::vector<UniqueFd> connected;
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    // On loopback there is no waiting: somebody listens and has room, or it fails. Without blocking
    // all the same, so that a full backlog holds up nothing here.
    ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0 ||
        errno == EINPROGRESS)
      connected.push_back(std::move(fd));
    return connected;
  }

  void reap() {
    signalfd_siginfo info;
    [[maybe_unused]] ssize_t n = ::read(children_, &info, sizeof info);
    for (;;) {
      int status = 0;
      const pid_t pid = ::waitpid(-1, &status, WNOHANG);
      if (pid <= 0) return;
      if (pid == program_) {
        tell_host(kSandboxExited,
                  std::string_view(reinterpret_cast<char*>(&status), sizeof status));
        if (companions_.empty()) ::_exit(0);
      }
      for (std::size_t i = 0; i < companions_.size(); ++i)
        if (pid == companions_[i]) {
          const std::int32_t both[] = {static_cast<std::int32_t>(i), status};
          tell_host(kSandboxCompanionExited,
                    std::string_view(reinterpret_cast<const char*>(both), sizeof both));
        }
    }
  }

  const SandboxPlan& plan_;
  const int children_;
  std::vector<pid_t> companions_;
  pid_t program_ = 0;
};

// Waits for the parent's next step; it has reported why, if there is none.
void await_parent(int go) {
  char byte = 0;
  if (::read(go, &byte, 1) != 1) ::_exit(kFailedStatus);
}

// Process 1. `go` has a byte when the identity is mapped, and one when the control groups are
// joined, which takes as long as all that can be done before.
[[noreturn]] void run_inside(const SandboxPlan& plan, int go) {
  await_parent(go);
  if (Status entered = enter_root(plan); !entered) give_up(entered.error());
  // After the change of identity, which clears it. The parent may have died just before.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  auto listeners = open_listeners(plan);
  if (!listeners) give_up(listeners.error());
  await_parent(go);
  if (::syscall(SYS_unshare, CLONE_NEWCGROUP) != 0)
    give_up(os_error(errno, "hide the control groups"));
  // Not even a process of the same user may read this one's memory or descriptors.
  if (::prctl(PR_SET_DUMPABLE, 0) != 0) give_up(os_error(errno, "set dumpable"));
  if (Status dropped = drop_rights(); !dropped) give_up(dropped.error());

  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &child, nullptr);
  const int children = ::signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  if (children < 0) give_up(os_error(errno, "signalfd"));
  tell_host(kSandboxReady, "", *listeners);
  listeners->clear();
  Keeper keeper(plan, children);
  keeper.start();
  keeper.run();
}

int run() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  auto plan = read_plan();
  if (!plan) give_up(plan.error());
  ::close(kSandboxPlanFd);
  int go[2];
  if (::pipe2(go, O_CLOEXEC) != 0) give_up(os_error(errno, "pipe"));

  clone_args args{};
  args.flags =
      CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  int pidfd = -1;
  args.flags |= CLONE_PIDFD;
  args.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  const auto inside = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
  if (inside < 0) give_up(os_error(errno, "make namespaces"));
  if (inside == 0) {
    ::close(go[1]);
    run_inside(*plan, go[0]);
  }
  ::close(go[0]);
  {
    std::vector<UniqueFd> descriptor;
    descriptor.emplace_back(pidfd);
    tell_host(kSandboxMade, "", descriptor);
  }
  if (Status mapped = map_identity(*plan, inside); !mapped) give_up(mapped.error());
  if (::write(go[1], "m", 1) != 1) give_up(os_error(errno, "start process 1"));
  Status joined = join_cgroups(*plan, inside);
  if (joined) joined = join_cgroups(*plan, ::getpid());
  if (!joined) give_up(joined.error());
  if (::write(go[1], "j", 1) != 1) give_up(os_error(errno, "start process 1"));
  ::close(go[1]);
  ::close(kSandboxControlFd);  // process 1 speaks to the host from here on
  ::close(STDOUT_FILENO);
  ::close(STDERR_FILENO);
  ::close(kSandboxCompanionOutputFd);
  int status = 0;
  while (::waitpid(inside, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace
}  // namespace leeward::functions

int main() { return leeward::functions::run(); }

#include "database/internal/pipeline.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "base/file.h"

extern char** environ;

namespace leeward::database::internal {
namespace {

constexpr std::size_t kMessageBytesMax = 2000;
constexpr std::uint64_t kReportBytes = 1u << 20;

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Result<Pipe> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return fail(os_error(errno, "pipe"));
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

class Child {
 public:
  Child() = default;
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Child& operator=(Child&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }
  ~Child() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }

  // Exit status, 128 + signal when killed.
  int wait() {
    int status = 0;
    pid_t pid = std::exchange(pid_, -1);
    while (::waitpid(pid, &status, 0) < 0)
      if (errno != EINTR) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
};

// Everything that allocates happens before fork: the child may only call async-signal-safe
// functions.
Result<Child> spawn(const Program& program, int in, int out, int err) {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable; ++variable) variables.emplace_back(*variable);
  for (const auto& [key, value] : program.environment) variables.push_back(key + "=" + value);
  std::vector<char*> argv, envp;
  for (const std::string& argument : program.arguments)
    argv.push_back(const_cast<char*>(argument.c_str()));
  for (const std::string& variable : variables) envp.push_back(const_cast<char*>(variable.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);

  pid_t parent = ::getpid();
  pid_t pid = ::fork();
  if (pid < 0) return fail(os_error(errno, "fork"));
  if (pid > 0) return Child(pid);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);  // the parent died before the line above
  if (::dup2(in, 0) < 0 || ::dup2(out, 1) < 0 || ::dup2(err, 2) < 0) ::_exit(127);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::execvpe(argv[0], argv.data(), envp.data());
  ::_exit(127);
}

// Keeps the last bytes of what a program complains about.
void drain(const UniqueFd& fd, std::string& text) {
  char buffer[4096];
  for (;;) {
    ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    text.append(buffer, static_cast<std::size_t>(n));
    if (text.size() > kMessageBytesMax) text.erase(0, text.size() - kMessageBytesMax);
  }
}

// poll() on one descriptor; kTimeout when `stall` passes.
Status wait_for(int fd, short events, Duration stall) {
  auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(stall).count();
  pollfd entry{fd, events, 0};
  for (;;) {
    int ready = ::poll(&entry, 1, static_cast<int>(limit));
    if (ready > 0) return {};
    if (ready == 0) return fail(Code::kTimeout, "nothing has moved for {}", format_duration(stall));
    if (errno != EINTR) return fail(os_error(errno, "poll"));
  }
}

// Writes to a pipe whose reader may be gone, without the process getting SIGPIPE.
class NoSigpipe {
 public:
  NoSigpipe() {
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe, &before_);
  }
  ~NoSigpipe() {
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    timespec none{};
    while (::sigtimedwait(&pipe, nullptr, &none) > 0) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t before_;
};

Status copy(const UniqueFd& from, const UniqueFd& to, Duration stall,
            const std::function<bool(std::uint64_t)>& progress) {
  std::vector<char> buffer(64u << 10);
  std::uint64_t total = 0, reported = 0;
  ::fcntl(to.get(), F_SETFL, O_NONBLOCK);
  for (;;) {
    if (auto ready = wait_for(from.get(), POLLIN, stall); !ready) return ready;
    ssize_t got = ::read(from.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(os_error(errno, "read"));
    if (got == 0) return {};
    for (ssize_t done = 0; done < got;) {
      if (auto ready = wait_for(to.get(), POLLOUT, stall); !ready) return ready;
      ssize_t put = ::write(to.get(), buffer.data() + done, static_cast<std::size_t>(got - done));
      if (put < 0 && errno != EINTR && errno != EAGAIN) return fail(os_error(errno, "write"));
      done += std::max<ssize_t>(put, 0);
    }
    total += static_cast<std::uint64_t>(got);
    if (total - reported < kReportBytes) continue;
    reported = total;
    if (progress && !progress(total)) return fail(Code::kTimeout, "stopped");
  }
}

}  // namespace

Status run_pipeline(const Program& from, const Program& to, Duration stall,
                    const std::function<bool(std::uint64_t)>& progress) {
  UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.valid()) return fail(os_error(errno, "open /dev/null"));
  Pipe output, input, from_errors, to_errors;  // the errors are what each one complains
  for (Pipe* pipe : {&output, &input, &from_errors, &to_errors}) {
    auto made = make_pipe();
    if (!made) return fail(std::move(made.error()));
    *pipe = std::move(*made);
  }
  std::string from_text, to_text;
  std::thread from_reader, to_reader;
  Status copied;
  int from_status = 0, to_status = 0;
  {
    auto first = spawn(from, null.get(), output.write.get(), from_errors.write.get());
    if (!first) return fail(std::move(first.error()));
    auto second = spawn(to, input.read.get(), null.get(), to_errors.write.get());
    if (!second) return fail(std::move(second.error()));
    for (UniqueFd* fd : {&output.write, &input.read, &from_errors.write, &to_errors.write})
      fd->reset();
    from_reader = std::thread([&] { drain(from_errors.read, from_text); });
    to_reader = std::thread([&] { drain(to_errors.read, to_text); });
    NoSigpipe quiet;
    copied = copy(output.read, input.write, stall, progress);
    input.write.reset();
    output.read.reset();
    bool stopped = !copied && copied.error().code == Code::kTimeout;
    if (!stopped) {  // otherwise the destructors end them
      from_status = first->wait();
      to_status = second->wait();
    }
  }
  from_reader.join();
  to_reader.join();
  if (!copied && copied.error().code == Code::kTimeout) return copied;
  // The second program's failure makes the first one fail too, so it is told first.
  if (to_status != 0)
    return fail(Code::kUnhealthy, "{} ended with {}: {}", to.arguments[0], to_status, to_text);
  if (from_status != 0)
    return fail(Code::kUnhealthy, "{} ended with {}: {}", from.arguments[0], from_status,
                from_text);
  return copied;
}

}  // namespace leeward::database::internal

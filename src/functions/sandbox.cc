#include "functions/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace leeward::functions {
namespace {

constexpr std::size_t kOutputBytes = 64u << 10;
// Of output that waits when the program has ended: what a pipe can hold, and then it is over.
constexpr int kLastReads = 32;

void add_host_root(SandboxPlan& plan) {
  plan.binds.insert(plan.binds.begin(), {"/usr", "/usr"});
  for (const char* name : {"bin", "lib", "lib64", "sbin"})
    plan.links.push_back({fmt::format("/{}", name), fmt::format("usr/{}", name)});
  // What dynamic loaders, TLS and interpreters look for; none of it is secret.
  for (const char* path : {"/etc/ld.so.cache", "/etc/ssl/certs", "/etc/alternatives",
                           "/etc/mime.types", "/etc/localtime", "/etc/nsswitch.conf"})
    if (::access(path, R_OK) == 0) plan.binds.push_back({path, path});
  plan.files.push_back(
      {"/etc/passwd", fmt::format("function:x:{0}:{0}::/tmp:/bin/sh\n", plan.inside_id)});
  plan.files.push_back({"/etc/group", fmt::format("function:x:{}:\n", plan.inside_id)});
  plan.files.push_back({"/etc/hosts", "127.0.0.1 localhost sandbox.localdomain sandbox\n"});
}

// Sets what the machine has groups for; true if that includes memory. Processes have an rlimit in
// any case, and what is left is that one of them may use more than its share of the processors.
Result<bool> limit_group(Cgroup& group, const SandboxLimits& limits) {
  auto set = [&](const CgroupLimits& one) -> Result<bool> {
    Status done = group.limit(one);
    if (!done && done.error().code != Code::kUnavailable) return fail(done.error());
    return done.has_value();
  };
  auto processors = set({.memory_bytes = 0,
                         .processors = static_cast<double>(limits.cpu_millis) / 1000.0,
                         .processes = 0});
  if (!processors) return processors;
  auto processes = set({.memory_bytes = 0,
                        .processors = 0,
                        .processes = static_cast<std::uint32_t>(limits.processes)});
  if (!processes) return processes;
  return set({.memory_bytes = limits.memory_bytes, .processors = 0, .processes = 0});
}

SandboxPlan plan_of(const SandboxSpec& spec, const Cgroup& group, bool memory_is_limited) {
  SandboxPlan plan;
  plan.argv = spec.argv;
  plan.companions = spec.companions;
  for (const auto& [name, value] : spec.environment) plan.environment.push_back(name + "=" + value);
  plan.directory = spec.directory;
  plan.root = spec.root;
  if (spec.root.empty()) add_host_root(plan);
  plan.binds.insert(plan.binds.end(), spec.binds.begin(), spec.binds.end());
  plan.files.insert(plan.files.end(), spec.files.begin(), spec.files.end());
  plan.listeners = spec.listeners;
  plan.cgroup_procs = group.joins();
  if (!group.directory().empty()) plan.cgroup_procs.push_back(group.directory() + "/cgroup.procs");
  plan.tmp_bytes = spec.limits.tmp_bytes;
  plan.processes_max = spec.limits.processes;
  plan.open_files_max = spec.limits.open_files;
  plan.data_bytes_max = memory_is_limited ? 0 : spec.limits.memory_bytes;
  const bool root = ::geteuid() == 0;
  plan.outside_user = root ? spec.outside_id : ::geteuid();
  plan.outside_group = root ? spec.outside_id : ::getegid();
  return plan;
}

Result<UniqueFd> memory_file(std::string_view bytes) {
  UniqueFd fd(::memfd_create("sandbox-plan", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return fail(os_error(errno, "make a memory file"));
  if (::write(fd.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
    return fail(os_error(errno, "write a memory file"));
  ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  return fd;
}

// Descriptors that came with a message; closed by whoever drops them.
std::vector<UniqueFd> descriptors_of(msghdr& message) {
  std::vector<UniqueFd> all;
  for (cmsghdr* h = CMSG_FIRSTHDR(&message); h != nullptr; h = CMSG_NXTHDR(&message, h)) {
    if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t at = CMSG_LEN(0); at + sizeof(int) <= h->cmsg_len; at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, reinterpret_cast<char*>(h) + at, sizeof fd);
      all.emplace_back(fd);
    }
  }
  return all;
}

}  // namespace

Result<std::unique_ptr<Sandbox>> Sandbox::start(net::EventLoop& loop, const std::string& executable,
                                                const CgroupTree& cgroups, const SandboxSpec& spec,
                                                Events events) {
  if (spec.listeners.size() > kSandboxListenersMax)
    return fail(Code::kInvalid, "{} listeners; at most {}", spec.listeners.size(),
                kSandboxListenersMax);
  if (spec.companions.size() > kSandboxCompanionsMax)
    return fail(Code::kInvalid, "{} programs beside the function; at most {}",
                spec.companions.size(), kSandboxCompanionsMax);
  auto group = cgroups.create(spec.name);
  if (!group) return fail(group.error());
  // One whose processes were killed from outside while they stood still is frozen yet.
  if (Status thawed = group->freeze(false); !thawed && thawed.error().code != Code::kUnavailable)
    return fail(thawed.error());
  auto memory_is_limited = limit_group(*group, spec.limits);
  if (!memory_is_limited) return fail(memory_is_limited.error());
  const SandboxPlan plan = plan_of(spec, *group, *memory_is_limited);
  std::unique_ptr<Sandbox> sandbox(new Sandbox(loop, std::move(*group), std::move(events)));
  // A group that an earlier life left behind still has its counts.
  sandbox->kills_before_ = sandbox->cgroup_.usage().value_or(CgroupUsage{}).memory_kills;
  Status ok = sandbox->spawn(executable, plan);
  if (ok) ok = sandbox->watch();
  if (!ok) return fail(ok.error());
  return sandbox;
}

Status Sandbox::spawn(const std::string& executable, const SandboxPlan& plan) {
  const std::string encoded = encode(plan);
  if (encoded.size() > kPlanBytesMax) return fail(Code::kInvalid, "the environment is too large");
  auto file = memory_file(encoded);
  if (!file) return fail(file.error());
  int sockets[2], pipes[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0)
    return fail(os_error(errno, "make a control socket"));
  control_.reset(sockets[0]);
  UniqueFd theirs(sockets[1]);
  if (::pipe2(pipes, O_CLOEXEC) != 0) return fail(os_error(errno, "pipe"));
  output_.reset(pipes[0]);
  UniqueFd output(pipes[1]);
  if (::pipe2(pipes, O_CLOEXEC) != 0) return fail(os_error(errno, "pipe"));
  companion_output_.reset(pipes[0]);
  UniqueFd companion_output(pipes[1]);
  // Beyond the numbers that the actions below write over, whichever of them happen to be free here.
  for (UniqueFd* fd : {&theirs, &*file, &output, &companion_output}) {
    fd->reset(::fcntl(fd->get(), F_DUPFD_CLOEXEC, kSandboxCompanionOutputFd + 1));
    if (!fd->valid()) return fail(os_error(errno, "pass on a descriptor"));
  }

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, output.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, output.get(), STDERR_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, theirs.get(), kSandboxControlFd);
  ::posix_spawn_file_actions_adddup2(&actions, file->get(), kSandboxPlanFd);
  ::posix_spawn_file_actions_adddup2(&actions, companion_output.get(), kSandboxCompanionOutputFd);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, kSandboxCompanionOutputFd + 1);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  std::string name = executable;
  char* argv[] = {name.data(), nullptr};
  char* environment[] = {nullptr};
  const int error = ::posix_spawn(&pid_, name.c_str(), &actions, &attributes, argv, environment);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    pid_ = -1;
    return fail(os_error(error, "start " + executable));
  }
  pidfd_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  if (!pidfd_.valid()) return fail(os_error(errno, "pidfd_open"));
  return {};
}

Status Sandbox::watch() {
  // A callback may destroy this object; whoever calls back looks at `alive` before it goes on.
  auto exit = loop_.watch_readable(pidfd_.get(), [this] { on_exit(); });
  if (!exit) return fail(exit.error());
  exit_watch_ = *exit;
  auto control = loop_.watch_readable(control_.get(), [this] { read_control(); });
  if (!control) return fail(control.error());
  control_watch_ = *control;
  auto output = loop_.watch_readable(output_.get(), [this] { static_cast<void>(read_output()); });
  if (!output) return fail(output.error());
  output_watch_ = *output;
  auto companions =
      loop_.watch_readable(companion_output_.get(), [this] { read_companion_output(); });
  if (!companions) return fail(companions.error());
  companion_watch_ = *companions;
  return {};
}

void Sandbox::read_control() {
  std::array<char, kSandboxMessageMax> buffer;
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int) * kSandboxListenersMax)];
  for (std::weak_ptr<bool> alive = alive_; !alive.expired();) {
    iovec part{buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = space;
    message.msg_controllen = sizeof space;
    const ssize_t n = ::recvmsg(control_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {  // its end; on_exit() tells the rest
      loop_.unwatch(control_watch_);
      control_watch_ = {};
      return;
    }
    on_message(buffer[0], {buffer.data() + 1, static_cast<std::size_t>(n) - 1},
               descriptors_of(message));
  }
}

void Sandbox::on_message(char kind, std::string_view text, std::vector<UniqueFd> descriptors) {
  if (kind == kSandboxMade && descriptors.size() == 1) init_ = std::move(descriptors[0]);
  if (kind == kSandboxFailed) end_.failure = Error{Code::kIo, "sandbox: " + std::string(text)};
  if (kind == kSandboxReady && events_.ready) return events_.ready(std::move(descriptors));
  std::int32_t numbers[2] = {};
  std::memcpy(numbers, text.data(), std::min(text.size(), sizeof numbers));
  if (kind == kSandboxExited && text.size() == sizeof(int)) {
    end_.status = numbers[0];
    if (events_.program_ended) return events_.program_ended(numbers[0]);
  }
  if (kind == kSandboxCompanionExited && text.size() == sizeof numbers && events_.companion_ended)
    return events_.companion_ended(static_cast<std::size_t>(numbers[0]), numbers[1]);
  if (kind == kSandboxDialled && !dials_.empty()) {
    auto done = std::move(dials_.front());
    dials_.pop_front();
    done(descriptors.empty() ? UniqueFd() : std::move(descriptors[0]));
  }
}

void Sandbox::dial(std::uint16_t port, std::function<void(UniqueFd)> done) {
  char message[3] = {kSandboxDial};
  std::memcpy(message + 1, &port, sizeof port);
  if (!send(std::string_view(message, sizeof message))) return;  // it ends
  dials_.push_back(std::move(done));
}

Status Sandbox::start_program() { return send(kSandboxStart); }

void Sandbox::read_companion_output() {
  std::array<char, kOutputBytes> buffer;
  const ssize_t n = ::read(companion_output_.get(), buffer.data(), buffer.size());
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    loop_.unwatch(companion_watch_);
    companion_watch_ = {};
    return;
  }
  if (events_.companion_output)
    events_.companion_output({buffer.data(), static_cast<std::size_t>(n)});
}

void Sandbox::drain_output() {
  std::weak_ptr<bool> alive = alive_;
  bool more = true;
  for (int i = 0; i < kLastReads && more && !alive.expired(); ++i)
    more = output_watch_.value != 0 && read_output();
}

bool Sandbox::read_output() {
  std::array<char, kOutputBytes> buffer;
  const ssize_t n = ::read(output_.get(), buffer.data(), buffer.size());
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (n <= 0) {
    loop_.unwatch(output_watch_);
    output_watch_ = {};
    return false;
  }
  if (events_.output) events_.output({buffer.data(), static_cast<std::size_t>(n)});
  return true;
}

void Sandbox::on_exit() {
  std::weak_ptr<bool> alive = alive_;
  if (control_watch_.value != 0) read_control();
  drain_output();
  if (alive.expired()) return;
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  stop_watching();
  // 137: process 1 was killed, by us or for memory; anything else without a word is a defect.
  const bool killed = WIFSIGNALED(status) || WEXITSTATUS(status) == 128 + SIGKILL;
  if (!end_.failure && !end_.status && !(killed && (killed_ || init_.valid())))
    end_.failure =
        Error{Code::kInternal,
              fmt::format("sandbox: leeward-sandbox ended by itself (wait status {})", status)};
  const CgroupUsage usage = cgroup_.usage().value_or(CgroupUsage{});
  end_.out_of_memory = usage.memory_kills > kills_before_;
  // A unified hierarchy ends the whole group (memory.oom.group): nobody was left to tell.
  if (end_.out_of_memory && !end_.failure && !end_.status) end_.status = SIGKILL;
  end_.memory_peak_bytes = usage.memory_peak_bytes.value_or(0);
  if (auto ended = std::move(events_.ended)) ended(std::move(end_));
}

void Sandbox::stop_watching() {
  for (net::WatchId* watch : {&exit_watch_, &control_watch_, &output_watch_, &companion_watch_}) {
    if (watch->value != 0) loop_.unwatch(*watch);
    *watch = {};
  }
}

Sandbox::~Sandbox() {
  stop_watching();
  if (pid_ > 0) {
    kill();
    ::waitpid(pid_, nullptr, 0);
  }
}

std::uint64_t Sandbox::memory_peak_bytes() const {
  return cgroup_.usage().value_or(CgroupUsage{}).memory_peak_bytes.value_or(0);
}

Status Sandbox::send(std::string_view message) {
  const ssize_t n =
      ::send(control_.get(), message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n != static_cast<ssize_t>(message.size()))
    return fail(os_error(errno, "speak to the sandbox"));
  return {};
}

Status Sandbox::set_frozen(bool frozen, char command) {
  Status done = cgroup_.freeze(frozen);
  // Without a group that freezes, process 1 stops the others by signal.
  if (!done && done.error().code == Code::kUnavailable) return send(command);
  return done;
}

Status Sandbox::freeze() { return set_frozen(true, kSandboxFreeze); }
Status Sandbox::thaw() { return set_frozen(false, kSandboxThaw); }

void Sandbox::kill() {
  // Process 1 takes all others with it, and leeward-sandbox ends after them. Before process 1 is
  // known, it dies with its parent.
  killed_ = true;
  const int target = init_.valid() ? init_.get() : pidfd_.get();
  ::syscall(SYS_pidfd_send_signal, target, SIGKILL, nullptr, 0);
  // A frozen process of cgroup v1 dies when it is thawed; v2's need not be.
  static_cast<void>(cgroup_.freeze(false));
}

}  // namespace leeward::functions

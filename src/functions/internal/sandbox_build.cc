#include "functions/internal/sandbox_build.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/mount.h>
#include <linux/securebits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <set>

#include "base/mount.h"
#include "functions/internal/seccomp_filter.h"

namespace leeward::functions {
namespace {

constexpr std::uint64_t kRootBytes = 1u << 20;  // directories, links and small files

Status failed(const std::string& what) { return fail(os_error(errno, what)); }

Status write_whole(const std::string& path, std::string_view text, int flags, mode_t mode = 0644) {
  UniqueFd fd(::open(path.c_str(), flags | O_WRONLY | O_CLOEXEC, mode));
  if (!fd.valid()) return failed("open " + path);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return failed("write " + path);
  return {};
}

Status become_inside_user(const SandboxPlan& plan) {
  // The change of identity must not take the capabilities; they are dropped at the end.
  if (::prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) != 0) return failed("secure bits");
  // Whoever is mapped to itself was not allowed more, and keeps its groups, which mean nothing
  // here.
  if (::geteuid() != plan.inside_id && ::setgroups(0, nullptr) != 0)
    return failed("drop supplementary groups");
  if (::setresgid(plan.inside_id, plan.inside_id, plan.inside_id) != 0) return failed("set group");
  if (::setresuid(plan.inside_id, plan.inside_id, plan.inside_id) != 0) return failed("set user");
  return {};
}

Status set_limit(int resource, std::uint64_t value, const char* what) {
  rlimit limit{value, value};
  if (::setrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0)
    return failed(std::string("limit ") + what);
  return {};
}

Status set_limits(const SandboxPlan& plan) {
  Status ok = set_limit(RLIMIT_CORE, 0, "core files");
  if (ok && plan.processes_max > 0) ok = set_limit(RLIMIT_NPROC, plan.processes_max, "processes");
  if (ok && plan.open_files_max > 0) ok = set_limit(RLIMIT_NOFILE, plan.open_files_max, "files");
  if (ok) ok = set_limit(RLIMIT_MEMLOCK, 64u << 10, "locked memory");
  if (ok) ok = set_limit(RLIMIT_MSGQUEUE, 800u << 10, "message queues");
  return ok;
}

// What is mounted in every sandbox: /proc of its own processes, five devices, /tmp.
Status mount_own(const SandboxPlan& plan, const std::vector<MountSource>& devices) {
  const std::string stage = kRootStage;
  if (Status mounted = mount_proc(stage + "/proc"); !mounted) return mounted;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    Status bound =
        mount_bound(devices[i], stage + kPlainDevices[i], MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    if (!bound) return bound;
  }
  return mount_memory(stage + "/tmp", fmt::format("size={},nr_inodes={},mode=1777", plan.tmp_bytes,
                                                  plan.tmp_bytes / 4096 + 16));
}

Status mount_root(const SandboxPlan& plan, const MountSource& root) {
  if (Status own = make_mounts_private(); !own) return own;
  if (plan.root.empty())
    return mount_memory(kRootStage, fmt::format("size={},mode=0755", kRootBytes));
  Status bound =
      mount_bound(root, kRootStage, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY);
  if (!bound) return fail(std::move(bound.error()).wrap(plan.root));
  return {};
}

Status interface_request(int fd, unsigned long request, ifreq& r, const std::string& what) {
  if (::ioctl(fd, request, &r) != 0) return failed(what);
  return {};
}

// "lo:N" with a 32-bit mask: the address is the sandbox's own, so that a program finds what it is
// granted under the address that it knows from outside.
Status add_address(int fd, const in_addr& address, int number) {
  ifreq r{};
  std::snprintf(r.ifr_name, sizeof r.ifr_name, "lo:%d", number);
  auto* at = reinterpret_cast<sockaddr_in*>(&r.ifr_addr);
  at->sin_family = AF_INET;
  at->sin_addr = address;
  if (Status set = interface_request(fd, SIOCSIFADDR, r, "add an address"); !set) return set;
  at->sin_addr.s_addr = htonl(INADDR_NONE);
  return interface_request(fd, SIOCSIFNETMASK, r, "set a netmask");
}

}  // namespace

Status join_cgroups(const SandboxPlan& plan, pid_t process) {
  for (const std::string& file : plan.cgroup_procs)
    if (Status joined = write_whole(file, std::to_string(process), 0); !joined) return joined;
  return {};
}

Status map_identity(const SandboxPlan& plan, pid_t process) {
  const std::string proc = fmt::format("/proc/{}/", process);
  // Without CAP_SETGID outside, a group map is allowed only when groups cannot be dropped inside.
  if (plan.outside_user == ::geteuid())
    if (Status denied = write_whole(proc + "setgroups", "deny", 0); !denied) return denied;
  Status mapped =
      write_whole(proc + "gid_map", fmt::format("{} {} 1", plan.inside_id, plan.outside_group), 0);
  if (!mapped) return mapped;
  return write_whole(proc + "uid_map", fmt::format("{} {} 1", plan.inside_id, plan.outside_user),
                     0);
}

Status enter_root(const SandboxPlan& plan) {
  MountSource root;
  if (!plan.root.empty()) {
    auto opened = open_mount_source(plan.root);
    if (!opened) return fail(opened.error());
    root = std::move(*opened);
  }
  std::vector<MountSource> sources, devices;
  for (const auto& b : plan.binds) {
    auto opened = open_mount_source(b.source);
    if (!opened) return fail(opened.error());
    sources.push_back(std::move(*opened));
  }
  for (const char* device : kPlainDevices) {
    auto opened = open_mount_source(device);
    if (!opened) return fail(opened.error());
    devices.push_back(std::move(*opened));
  }
  ::umask(022);
  Status ok = become_inside_user(plan);
  if (ok) ok = mount_root(plan, root);
  for (std::size_t i = 0; ok && i < sources.size(); ++i)
    ok = mount_bound(sources[i], kRootStage + plan.binds[i].target,
                     MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
  if (ok) ok = mount_own(plan, devices);
  for (const auto& link : plan.links) {
    if (ok) ok = make_mount_parents(kRootStage + link.path);
    if (ok && ::symlink(link.to.c_str(), (kRootStage + link.path).c_str()) != 0)
      ok = failed("link " + link.path);
  }
  for (const auto& file : plan.files) {
    if (ok) ok = make_mount_parents(kRootStage + file.path);
    if (ok) ok = write_whole(kRootStage + file.path, file.text, O_CREAT | O_EXCL);
  }
  if (ok) ok = pivot_to_stage();
  if (ok && ::sethostname(plan.hostname.data(), plan.hostname.size()) != 0)
    ok = failed("set the host name");
  if (ok) ok = set_limits(plan);
  return ok;
}

Result<std::vector<UniqueFd>> open_listeners(const SandboxPlan& plan) {
  UniqueFd control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!control.valid()) return fail(os_error(errno, "open a socket"));
  ifreq up{};
  std::snprintf(up.ifr_name, sizeof up.ifr_name, "lo");
  up.ifr_flags = IFF_UP | IFF_RUNNING;
  if (Status set = interface_request(control.get(), SIOCSIFFLAGS, up, "bring lo up"); !set)
    return fail(set.error());

  std::vector<UniqueFd> listeners;
  std::set<std::uint32_t> addresses;
  for (const auto& l : plan.listeners) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(l.port);
    const std::string what = fmt::format("listen on {}:{}", l.address, l.port);
    if (::inet_pton(AF_INET, l.address.c_str(), &at.sin_addr) != 1)
      return fail(Code::kInvalid, "{}: not an IPv4 address", what);
    const bool loopback = (ntohl(at.sin_addr.s_addr) >> 24) == 127;
    if (!loopback && addresses.insert(at.sin_addr.s_addr).second) {
      Status added = add_address(control.get(), at.sin_addr, static_cast<int>(addresses.size()));
      if (!added) return fail(std::move(added.error()).wrap(what));
    }
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid() || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 ||
        ::listen(fd.get(), 128) != 0)
      return fail(os_error(errno, what));
    listeners.push_back(std::move(fd));
  }
  return listeners;
}

Status drop_rights() {
  if (Status dropped = drop_capabilities(); !dropped) return dropped;
  return install_seccomp();
}

Status become_program(const SandboxPlan& plan, const std::vector<std::string>& command,
                      int output) {
  ::setsid();
  const int null = ::open("/dev/null", O_RDONLY);
  if (null < 0 || ::dup2(null, STDIN_FILENO) < 0 || ::dup2(output, STDOUT_FILENO) < 0 ||
      ::dup2(output, STDERR_FILENO) < 0)
    return failed("set the standard descriptors");
  // Not closed but marked, so that a failure can still be reported.
  if (::close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) != 0) return failed("close descriptors");
  if (::chdir(plan.directory.c_str()) != 0) return failed("enter " + plan.directory);
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::prctl(PR_SET_DUMPABLE, 1);

  std::vector<char*> argv, environment;
  for (const std::string& s : command) argv.push_back(const_cast<char*>(s.c_str()));
  for (const std::string& s : plan.environment) environment.push_back(const_cast<char*>(s.c_str()));
  argv.push_back(nullptr);
  environment.push_back(nullptr);
  // The program's limit, not this one's: an instrumented build of this one holds more than that.
  if (plan.data_bytes_max > 0)
    if (Status set = set_limit(RLIMIT_DATA, plan.data_bytes_max, "memory"); !set) return set;
  ::execve(argv[0], argv.data(), environment.data());
  return failed("start " + command[0]);
}

}  // namespace leeward::functions

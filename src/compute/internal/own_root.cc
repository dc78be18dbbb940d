#include "compute/internal/own_root.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/mount.h"
#include "base/time.h"

namespace leeward::compute {
namespace {

constexpr char kMemoryOptions[] = "size=268435456,nr_inodes=65536,mode=1777";
constexpr Duration kDebrisGrace = 1s;
// Without CAP_SYS_ADMIN, root may write to much of /proc and read from some of it all the same.
constexpr const char* kReadOnly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                     "/proc/sysrq-trigger"};
constexpr const char* kHidden[] = {"/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/timer_list"};

Status checked(int result, const std::string& what) {
  if (result == 0) return {};
  return fail(os_error(errno, what));
}

Status write_map(const char* path, const std::string& text) {
  UniqueFd fd(::open(path, O_WRONLY | O_CLOEXEC));
  bool written = fd.valid() &&
                 ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  return checked(written ? 0 : -1, path);
}

// In a user namespace: whoever we are outside, we are the image's user here.
Status map_identity(const OwnRoot& own, OutsideUser outside) {
  Status done = write_map("/proc/self/setgroups", "deny");
  if (done) done = write_map("/proc/self/uid_map", fmt::format("{} {} 1", own.uid, outside.uid));
  if (done) done = write_map("/proc/self/gid_map", fmt::format("{} {} 1", own.gid, outside.gid));
  return done;
}

bool is(const std::string& path, mode_t type) {
  struct stat there {};
  return ::lstat(path.c_str(), &there) == 0 && (there.st_mode & S_IFMT) == type;
}

Status mount_devices(const std::string& stage, const std::vector<MountSource>& devices) {
  Status done = mount_memory(stage + "/dev", "size=65536,mode=755");
  for (std::size_t i = 0; done && i < devices.size(); ++i)
    done = mount_bound(devices[i], stage + kPlainDevices[i], MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
  for (auto [name, target] :
       {std::pair{"/dev/fd", "/proc/self/fd"}, std::pair{"/dev/stdin", "/proc/self/fd/0"},
        std::pair{"/dev/stdout", "/proc/self/fd/1"}, std::pair{"/dev/stderr", "/proc/self/fd/2"}})
    if (done) done = checked(::symlink(target, (stage + name).c_str()), name);
  if (done) done = mount_memory(stage + "/dev/shm", kMemoryOptions);
  return done;
}

Status mount_own_proc(const std::string& stage, const MountSource& null) {
  Status done = mount_proc(stage + "/proc");
  for (const char* name : kReadOnly) {
    const std::string path = stage + name;
    if (!done || ::access(path.c_str(), F_OK) != 0) continue;
    auto source = open_mount_source(path);
    done = source ? mount_bound(*source, path, MOUNT_ATTR_RDONLY) : fail(source.error());
  }
  for (const char* name : kHidden)
    if (done && is(stage + name, S_IFREG))
      done = mount_bound(null, stage + name, MOUNT_ATTR_RDONLY);
  return done;
}

Status build(const OwnRoot& own) {
  auto image = open_mount_source(own.root);
  if (!image) return fail(std::move(image.error()));
  std::vector<MountSource> devices;
  for (const char* device : kPlainDevices) {
    auto opened = open_mount_source(device);
    if (!opened) return fail(std::move(opened.error()));
    devices.push_back(std::move(*opened));
  }
  auto sys = open_mount_source("/sys");
  if (!sys) return fail(std::move(sys.error()));
  std::vector<std::pair<std::string, MountSource>> files;
  for (const char* path : {"/etc/hosts", "/etc/resolv.conf"})
    if (auto opened = open_mount_source(path)) files.emplace_back(path, std::move(*opened));

  const std::string stage = kRootStage;
  constexpr std::uint64_t kShared = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  Status done = make_mounts_private();
  if (done) done = mount_bound(*image, stage, kShared);
  // Until we are inside, a link of the image would lead to the machine.
  for (const char* name : {"/dev", "/proc", "/run", "/sys", "/tmp"})
    if (done && !is(stage + name, S_IFDIR))
      done = fail(Code::kCorrupt, "{}{} is no directory", own.root, name);
  if (done) done = mount_devices(stage, devices);
  if (done) done = mount_own_proc(stage, devices[0]);
  if (done) done = mount_bound(*sys, stage + "/sys", kShared | MOUNT_ATTR_NOEXEC);
  for (const char* name : {"/run", "/tmp"})
    if (done) done = mount_memory(stage + name, kMemoryOptions);
  for (const auto& [path, source] : files)
    if (done && is(stage + "/etc", S_IFDIR) && is(stage + path, S_IFREG))
      done = mount_bound(source, stage + path, kShared);
  if (done) done = pivot_to_stage();
  return done;
}

// As root: the image's user, who may open its own standard output again (/dev/stdout).
Status become_user(const OwnRoot& own) {
  for (int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    struct stat there {};
    if (::fstat(fd, &there) == 0 && S_ISFIFO(there.st_mode))
      if (Status done = checked(::fchown(fd, own.uid, static_cast<gid_t>(-1)), "chown"); !done)
        return done;
  }
  const std::vector<gid_t> groups(own.groups.begin(), own.groups.end());
  if (Status done = checked(::setgroups(groups.size(), groups.data()), "setgroups"); !done)
    return done;
  if (Status done = checked(::setresgid(own.gid, own.gid, own.gid), "setgid"); !done) return done;
  return checked(::setresuid(own.uid, own.uid, own.uid), "setuid");
}

int status_of(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

// Reaps until `child` has ended, then for a second until nobody is left. When this process ends,
// the kernel ends whoever is left in its namespace.
[[noreturn]] void look_after(pid_t child) {
  int status = 0;
  for (;;) {
    int one = 0;
    pid_t pid = ::waitpid(-1, &one, 0);
    if (pid == child) {
      status = status_of(one);
      break;
    }
    if (pid < 0 && errno != EINTR) ::_exit(125);
  }
  ::kill(-1, SIGTERM);
  constexpr timespec kPause{0, 10'000'000};
  for (BootTime end = BootClock::now() + kDebrisGrace; BootClock::now() < end;) {
    if (::waitpid(-1, nullptr, WNOHANG) < 0) break;  // ECHILD
    ::nanosleep(&kPause, nullptr);
  }
  ::_exit(status);
}

}  // namespace

std::uint64_t own_root_namespaces(OutsideUser outside) {
  return CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | (outside.uid == 0 ? 0 : CLONE_NEWUSER);
}

Status enter_root(const OwnRoot& own, OutsideUser outside) {
  const bool root = outside.uid == 0;
  ::umask(022);  // as images are used to
  Status done = root ? Status{} : map_identity(own, outside);
  if (done) done = build(own);
  // What servers need that begin as root to open their port and then step down.
  if (done)
    done = root ? drop_capabilities({CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_KILL,
                                     CAP_NET_BIND_SERVICE, CAP_SETGID, CAP_SETUID})
                : drop_capabilities();
  if (done && root) done = become_user(own);
  if (done) done = checked(::chdir(own.directory.c_str()), "enter " + own.directory);
  return done;
}

Status become_second_process() {
  const pid_t child = ::fork();
  if (child < 0) return fail(os_error(errno, "fork"));
  if (child == 0) return {};
  ::close_range(0, ~0u, 0);
  look_after(child);
}

}  // namespace leeward::compute

#include "base/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace leeward {
namespace {

Status failed(const std::string& what) { return fail(os_error(errno, what)); }

Status set_attributes(const std::string& path, std::uint64_t attributes, unsigned flags) {
  mount_attr attr{};
  attr.attr_set = attributes;
  if (::syscall(SYS_mount_setattr, AT_FDCWD, path.c_str(), flags, &attr, sizeof attr) != 0)
    return failed("restrict the mount " + path);
  return {};
}

}  // namespace

Result<MountSource> open_mount_source(const std::string& path) {
  MountSource opened;
  opened.fd.reset(::open(path.c_str(), O_PATH | O_CLOEXEC));
  struct stat info {};
  if (!opened.fd.valid() || ::fstat(opened.fd.get(), &info) != 0)
    return fail(os_error(errno, "open " + path));
  opened.directory = S_ISDIR(info.st_mode);
  return opened;
}

Status make_mount_parents(const std::string& path) {
  for (std::size_t at = path.find('/', sizeof kRootStage); at != std::string::npos;
       at = path.find('/', at + 1))
    if (::mkdir(path.substr(0, at).c_str(), 0755) != 0 && errno != EEXIST)
      return failed("make directory " + path.substr(0, at));
  return {};
}

Status make_mount_point(const std::string& path, bool directory) {
  if (::access(path.c_str(), F_OK) == 0) return {};
  if (Status parents = make_mount_parents(path); !parents) return parents;
  if (directory) {
    if (::mkdir(path.c_str(), 0755) != 0) return failed("make directory " + path);
    return {};
  }
  UniqueFd fd(::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
  if (!fd.valid()) return failed("make " + path);
  return {};
}

// Recursive, because a read-only mount protects nothing that is mounted below it.
Status set_mount_attributes(const std::string& path, std::uint64_t attributes) {
  return set_attributes(path, attributes, AT_RECURSIVE);
}

Status mount_bound(const MountSource& source, const std::string& target, std::uint64_t attributes) {
  if (Status point = make_mount_point(target, source.directory); !point) return point;
  const std::string from = fmt::format("/proc/self/fd/{}", source.fd.get());
  if (::mount(from.c_str(), target.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
    return failed("mount " + target);
  return set_mount_attributes(target, attributes);
}

Status mount_memory(const std::string& target, const std::string& options) {
  if (Status point = make_mount_point(target, true); !point) return point;
  if (::mount("tmpfs", target.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) != 0)
    return failed("mount " + target);
  return {};
}

Status mount_proc(const std::string& target) {
  if (Status point = make_mount_point(target, true); !point) return point;
  if (::mount("proc", target.c_str(), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0)
    return failed("mount " + target);
  return {};
}

Status make_mounts_private() {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return failed("make mounts private");
  return {};
}

Status pivot_to_stage() {
  if (::chdir(kRootStage) != 0) return failed("enter the root");
  // Both old and new at ".": the old root lies on top and is taken away (pivot_root(2), NOTES).
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return failed("pivot_root");
  if (::umount2(".", MNT_DETACH) != 0) return failed("detach the old root");
  if (::chdir("/") != 0) return failed("enter the root");
  return set_attributes("/", MOUNT_ATTR_RDONLY, 0);
}

Status drop_capabilities(std::initializer_list<int> kept) {
  __user_cap_data_struct rights[2]{};
  for (int capability = 0;; ++capability) {
    if (std::find(kept.begin(), kept.end(), capability) != kept.end()) {
      const std::uint32_t bit = 1u << (capability % 32);
      rights[capability / 32].effective |= bit;
      rights[capability / 32].permitted |= bit;
    } else if (::prctl(PR_CAPBSET_DROP, capability) != 0) {
      if (errno == EINVAL && capability > 0) break;  // past the last one that the kernel knows
      return failed("drop a capability");
    }
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  if (::syscall(SYS_capset, &header, rights) != 0) return failed("drop capabilities");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failed("no_new_privs");
  return {};
}

}  // namespace leeward

#include "base/file.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace leeward {
namespace {

Status write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(os_error(errno, "write " + path));
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace

void UniqueFd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

Result<std::string> read_file(const std::string& path, std::size_t bytes_max) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    Error error = os_error(errno, "open " + path);
    if (errno == ENOENT) error.code = Code::kNotFound;
    return fail(std::move(error));
  }
  std::string bytes;
  char buffer[16384];
  for (;;) {
    ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(os_error(errno, "read " + path));
    if (n == 0) return bytes;
    bytes.append(buffer, static_cast<std::size_t>(n));
    if (bytes.size() > bytes_max)
      return fail(Code::kInvalid, "{} is larger than {} bytes", path, bytes_max);
  }
}

Status write_file_durably(const std::string& path, std::string_view bytes, int mode) {
  std::string temporary = path + ".new";
  UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (!fd.valid()) return fail(os_error(errno, "create " + temporary));
  if (auto written = write_all(fd.get(), bytes, temporary); !written) return written;
  if (::fsync(fd.get()) != 0) return fail(os_error(errno, "fsync " + temporary));
  if (::rename(temporary.c_str(), path.c_str()) != 0)
    return fail(os_error(errno, "rename " + temporary));
  auto directory = std::filesystem::path(path).parent_path();
  UniqueFd dir(
      ::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir.valid() || ::fsync(dir.get()) != 0)
    return fail(os_error(errno, "fsync directory of " + path));
  return {};
}

Status make_directories(const std::string& path) {
  std::filesystem::path made;
  for (const auto& part : std::filesystem::path(path)) {
    made /= part;
    if (::mkdir(made.c_str(), 0700) != 0 && errno != EEXIST)
      return fail(os_error(errno, "mkdir " + made.string()));
  }
  return {};
}

Status check_openat2() {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  UniqueFd fd(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof how)));
  if (fd.valid()) return {};
  return fail(Code::kUnavailable,
              "openat2 cannot be used here ({}): it takes Linux 5.6 and, in a systemd unit, "
              "RestrictSUIDSGID=no",
              std::strerror(errno));
}

Result<UniqueFd> lock_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return fail(os_error(errno, "open " + path));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(Code::kConflict, "{} is locked: another process of this role is running", path);
  return fd;
}

}  // namespace leeward

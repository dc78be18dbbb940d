// Files that must survive a crash, and descriptors that close themselves.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace leeward {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

// Whole file as bytes; kNotFound if it does not exist; kInvalid above `bytes_max`.
Result<std::string> read_file(const std::string& path, std::size_t bytes_max = 64u << 20);

// Replaces `path` so that after a crash it holds either the old or the new bytes: temporary file,
// fsync, rename, fsync of the directory. `mode` is the permission of a new file.
Status write_file_durably(const std::string& path, std::string_view bytes, int mode = 0600);

// Creates the directory and its parents (mode 0700).
Status make_directories(const std::string& path);

// Whether openat2(2) is to be had, without which archives are not unpacked: kUnavailable, saying
// what takes it away.
Status check_openat2();

// Exclusive lock on `path` for the life of the returned descriptor; kConflict when another process
// holds it. Used so that one site has one agent.
Result<UniqueFd> lock_file(const std::string& path);

}  // namespace leeward

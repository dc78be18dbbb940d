#include "edge/internal/access_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/time.h"

namespace leeward::edge {
namespace {

constexpr Duration kEvery = 200ms;

Result<UniqueFd> open_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640));
  if (!fd.valid()) return fail(os_error(errno, "open log " + path));
  return fd;
}

}  // namespace

Result<std::unique_ptr<AccessLog>> AccessLog::open(const std::string& path, unsigned loops) {
  auto fd = open_file(path);
  if (!fd) return fail(std::move(fd.error()));
  return std::unique_ptr<AccessLog>(new AccessLog(path, std::move(*fd), loops, 0, 0));
}

std::unique_ptr<AccessLog> AccessLog::rotating(const std::string& path, unsigned loops,
                                               std::uint64_t bytes_max, int files) {
  return std::unique_ptr<AccessLog>(new AccessLog(path, UniqueFd(), loops, bytes_max, files));
}

AccessLog::AccessLog(std::string path, UniqueFd fd, unsigned loops, std::uint64_t bytes_max,
                     int files)
    : path_(std::move(path)), bytes_max_(bytes_max), files_(files), fd_(std::move(fd)) {
  for (unsigned i = 0; i < loops; ++i) buffers_.push_back(std::make_unique<Buffer>());
  thread_ = std::thread([this] { main(); });
}

AccessLog::~AccessLog() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
  write_out();
}

void AccessLog::append(unsigned loop, std::string_view line) {
  Buffer& buffer = *buffers_[loop];
  std::lock_guard lock(buffer.mutex);
  if (buffer.text.size() + line.size() > kBufferMax) return lose(line);
  buffer.text.append(line);
}

Status AccessLog::reopen() {
  if (bytes_max_ > 0) return {};
  auto fd = open_file(path_);
  if (!fd) return fail(std::move(fd.error()));
  std::lock_guard lock(file_mutex_);
  fd_ = std::move(*fd);
  torn_ = false;
  return {};
}

void AccessLog::main() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, kEvery, [this] { return stop_; })) {
    lock.unlock();
    write_out();
    lock.lock();
  }
}

void AccessLog::write_out() {
  std::lock_guard file(file_mutex_);
  for (auto& buffer : buffers_) {
    std::string text;
    {
      std::lock_guard lock(buffer->mutex);
      text.swap(buffer->text);
    }
    write(text);
  }
}

void AccessLog::write(std::string_view text) {
  while (!text.empty()) {
    if (!make_room()) return lose(text);
    // A file ends with a whole line.
    std::string_view part = text;
    if (bytes_max_ > 0 && part.size() > bytes_max_ - size_) {
      const std::size_t fits = part.rfind('\n', static_cast<std::size_t>(bytes_max_ - size_));
      if (fits == std::string_view::npos && size_ > 0) {
        size_ = bytes_max_;  // the next file has room for the line, whatever its length
        continue;
      }
      part = part.substr(0, (fits == std::string_view::npos ? part.find('\n') : fits) + 1);
    }
    // What was cut off by a full disk stays a line of its own.
    if (torn_ && write_some("\n") == 0) return lose(text);
    while (!part.empty()) {
      const std::size_t n = write_some(part);
      if (n == 0) return lose(text);
      part.remove_prefix(n);
      text.remove_prefix(n);
    }
  }
}

// Octets that the file took; 0: the disk is full, or worse.
std::size_t AccessLog::write_some(std::string_view text) {
  for (;;) {
    const ssize_t n = ::write(fd_.get(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return 0;
    const auto written = static_cast<std::size_t>(n);
    torn_ = text[written - 1] != '\n';
    size_ += written;
    return written;
  }
}

// The edge serves on without them.
void AccessLog::lose(std::string_view lines) {
  const auto count = static_cast<std::uint64_t>(std::count(lines.begin(), lines.end(), '\n'));
  dropped_.fetch_add(count, std::memory_order_relaxed);
}

// Whether there is a file that is open and, when it rotates itself, below its size.
bool AccessLog::make_room() {
  if (bytes_max_ == 0 || (fd_.valid() && size_ < bytes_max_)) return true;
  for (int tries = 0; tries < 2; ++tries) {
    if (size_ >= bytes_max_) rotate();
    auto fd = open_file(path_);
    if (!fd) return false;
    fd_ = std::move(*fd);
    struct stat found {};
    size_ = ::fstat(fd_.get(), &found) == 0 ? static_cast<std::uint64_t>(found.st_size) : 0;
    if (size_ < bytes_max_) return true;
  }
  return false;
}

void AccessLog::rotate() {
  fd_.reset();
  torn_ = false;
  for (int i = files_; i > 0; --i)
    std::rename((i == 1 ? path_ : fmt::format("{}.{}", path_, i - 1)).c_str(),
                fmt::format("{}.{}", path_, i).c_str());
}

}  // namespace leeward::edge

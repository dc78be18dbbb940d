#include "edge/internal/access_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/time.h"

namespace leeward::edge {
namespace {

constexpr Duration kEvery = 200ms;

Result<UniqueFd> open_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640));
  if (!fd.valid()) return fail(os_error(errno, "open access log " + path));
  return fd;
}

}  // namespace

Result<std::unique_ptr<AccessLog>> AccessLog::open(const std::string& path, unsigned loops) {
  auto fd = open_file(path);
  if (!fd) return fail(std::move(fd.error()));
  return std::unique_ptr<AccessLog>(new AccessLog(path, std::move(*fd), loops));
}

AccessLog::AccessLog(std::string path, UniqueFd fd, unsigned loops)
    : path_(std::move(path)), fd_(std::move(fd)) {
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
  if (buffer.text.size() + line.size() > kBufferMax) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  buffer.text.append(line);
}

Status AccessLog::reopen() {
  auto fd = open_file(path_);
  if (!fd) return fail(std::move(fd.error()));
  std::lock_guard lock(file_mutex_);
  fd_ = std::move(*fd);
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
    for (std::string_view rest = text; !rest.empty();) {
      const ssize_t n = ::write(fd_.get(), rest.data(), rest.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {  // disk full or worse: the lines are lost, the edge serves on
        dropped_.fetch_add(1, std::memory_order_relaxed);
        break;
      }
      rest.remove_prefix(static_cast<std::size_t>(n));
    }
  }
}

}  // namespace leeward::edge

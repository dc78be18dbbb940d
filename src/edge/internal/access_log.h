// The access log: loops append lines to a buffer of their own, one thread writes them to the file,
// so that a slow disk delays no request. A buffer that is full drops lines and counts them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace leeward::edge {

class AccessLog {
 public:
  static constexpr std::size_t kBufferMax = 8u << 20;  // each loop
  // kIo when the file cannot be opened for appending.
  static Result<std::unique_ptr<AccessLog>> open(const std::string& path, unsigned loops);
  ~AccessLog();  // writes what is left

  void append(unsigned loop, std::string_view line);  // that loop's thread
  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }
  // Opens the file anew, after it was rotated. Any thread.
  Status reopen();

 private:
  struct Buffer {
    std::mutex mutex;
    std::string text;
  };
  AccessLog(std::string path, UniqueFd fd, unsigned loops);
  void main();
  void write_out();

  std::string path_;
  std::mutex file_mutex_;
  UniqueFd fd_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::atomic<std::uint64_t> dropped_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace leeward::edge

// The access log and the audit log: loops append lines to a buffer of their own, one thread writes
// them to the file, so that a slow disk delays no request. A buffer that is full drops lines and
// counts them. The access log is rotated by others (reopen()), the audit log by itself.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
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
  // A file that begins with the first line. After `bytes_max` it becomes PATH.1, that PATH.2 and so
  // on; `files` of those are kept.
  static std::unique_ptr<AccessLog> rotating(const std::string& path, unsigned loops,
                                             std::uint64_t bytes_max, int files);
  ~AccessLog();  // writes what is left

  void append(unsigned loop, std::string_view line);  // that loop's thread; ends with '\n'
  // Lines.
  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }
  // Opens the file anew, after it was rotated. Any thread.
  Status reopen();

 private:
  struct Buffer {
    std::mutex mutex;
    std::string text;
  };
  AccessLog(std::string path, UniqueFd fd, unsigned loops, std::uint64_t bytes_max, int files);
  void main();
  void write_out();
  void write(std::string_view text);  // whole lines
  std::size_t write_some(std::string_view text);
  void lose(std::string_view lines);
  bool make_room();
  void rotate();

  const std::string path_;
  const std::uint64_t bytes_max_;  // 0: it is rotated by others
  const int files_;
  std::mutex file_mutex_;  // of what follows
  UniqueFd fd_;
  std::uint64_t size_ = 0;
  bool torn_ = false;  // the file ends within a line
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::atomic<std::uint64_t> dropped_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace leeward::edge

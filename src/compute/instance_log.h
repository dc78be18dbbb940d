// Log files of supervised processes: written with a cap on their size, read from their end.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace leeward::compute {

inline constexpr std::size_t kLogBytesMax = 10u << 20;

// Appends to `path`; when it would grow beyond `bytes_max` it becomes `path`.1 (replacing an older
// one) and a new file begins, so that two files of at most that size exist. Not thread-safe.
class CappedLog {
 public:
  CappedLog(std::string path, std::size_t bytes_max);

  // Never fails for the caller: what cannot be written (disk full, no directory) is dropped, and
  // the file is opened again with the next call. `bytes` above `bytes_max` is cut to its end.
  void append(std::string_view bytes);

 private:
  void open();

  std::string path_;
  std::size_t bytes_max_;
  std::size_t size_ = 0;
  UniqueFd file_;
};

// The last `lines_max` lines of `bytes`, without line ends, made safe to show: control characters
// and bytes that are not ASCII become '?', a line is cut after 400 characters. A torn first line is
// included only if `bytes` starts the file.
std::vector<std::string> last_lines(std::string_view bytes, std::size_t lines_max,
                                    bool starts_file);

// last_lines() of the file's last 16 KiB. kNotFound and kIo as for read_file.
Result<std::vector<std::string>> tail_of_log(const std::string& path, std::size_t lines_max = 20);

}  // namespace leeward::compute

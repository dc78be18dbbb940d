#include "compute/instance_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

namespace leeward::compute {
namespace {

constexpr std::size_t kTailBytes = 16u << 10;
constexpr std::size_t kLineCharactersMax = 400;

std::string printable(std::string_view line) {
  std::string out(line.substr(0, kLineCharactersMax));
  for (char& c : out)
    if (c != '\t' && (c < 0x20 || c > 0x7e)) c = '?';
  return out;
}

}  // namespace

CappedLog::CappedLog(std::string path, std::size_t bytes_max)
    : path_(std::move(path)), bytes_max_(std::max<std::size_t>(bytes_max, 1)) {
  open();
}

void CappedLog::open() {
  file_.reset(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  struct stat status {};
  bool known = file_.valid() && ::fstat(file_.get(), &status) == 0;
  size_ = known ? static_cast<std::size_t>(status.st_size) : 0;
}

void CappedLog::append(std::string_view bytes) {
  if (bytes.size() > bytes_max_) bytes.remove_prefix(bytes.size() - bytes_max_);
  if (file_.valid() && size_ + bytes.size() > bytes_max_) {
    bool moved = std::rename(path_.c_str(), (path_ + ".1").c_str()) == 0;
    if (!moved && ::ftruncate(file_.get(), 0) != 0) return;  // the cap comes before the content
    file_.reset();
  }
  if (!file_.valid()) open();
  while (file_.valid() && !bytes.empty()) {
    ssize_t n = ::write(file_.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return file_.reset();
    size_ += static_cast<std::size_t>(n);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

std::vector<std::string> last_lines(std::string_view bytes, std::size_t lines_max,
                                    bool starts_file) {
  std::vector<std::string> lines;
  if (!bytes.empty() && bytes.back() == '\n') bytes.remove_suffix(1);
  while (!bytes.empty() && lines.size() < lines_max) {
    std::size_t newline = bytes.rfind('\n');
    bool first = newline == std::string_view::npos;
    if (first && !starts_file && !lines.empty()) break;
    std::string_view line = first ? bytes : bytes.substr(newline + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    lines.push_back(printable(line));
    bytes = first ? std::string_view{} : bytes.substr(0, newline);
  }
  std::reverse(lines.begin(), lines.end());
  return lines;
}

Result<std::vector<std::string>> tail_of_log(const std::string& path, std::size_t lines_max) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    Error error = os_error(errno, "open " + path);
    if (errno == ENOENT) error.code = Code::kNotFound;
    return fail(std::move(error));
  }
  off_t size = ::lseek(file.get(), 0, SEEK_END);
  off_t from = std::max<off_t>(0, size - static_cast<off_t>(kTailBytes));
  std::string bytes(kTailBytes, '\0');
  ssize_t n = ::pread(file.get(), bytes.data(), bytes.size(), from);
  if (n < 0) return fail(os_error(errno, "read " + path));
  bytes.resize(static_cast<std::size_t>(n));
  return last_lines(bytes, lines_max, from == 0);
}

}  // namespace leeward::compute

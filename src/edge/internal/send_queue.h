// Bytes that wait to be sent: they come in at the end and leave from the front, a piece at a time.
// The caller bounds them.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace leeward::edge {

class SendQueue {
 public:
  std::size_t size() const { return bytes_.size() - sent_; }
  bool empty() const { return size() == 0; }
  std::string_view view() const { return std::string_view(bytes_).substr(sent_); }

  void append(std::string_view bytes) { bytes_.append(bytes); }
  // Up to `size` bytes of a file; how many there were, or -1 and errno.
  ssize_t append_file(int fd, std::uint64_t offset, std::size_t size) {
    const std::size_t before = bytes_.size();
    bytes_.resize(before + size);
    const ssize_t n = pread(fd, bytes_.data() + before, size, static_cast<off_t>(offset));
    bytes_.resize(before + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    return n;
  }

  // REQUIRES: n ≤ size()
  void drop(std::size_t n) {
    sent_ += n;
    if (sent_ == bytes_.size()) {
      bytes_.clear();
      sent_ = 0;
    } else if (sent_ > kKeptMax && sent_ >= bytes_.size() / 2) {  // each byte is moved once at most
      bytes_.erase(0, sent_);
      sent_ = 0;
    }
  }
  // Moves up to `size` bytes out; how many.
  std::size_t take(void* to, std::size_t size) {
    const std::size_t n = std::min(size, this->size());
    std::memcpy(to, bytes_.data() + sent_, n);
    drop(n);
    return n;
  }

 private:
  static constexpr std::size_t kKeptMax = 64u << 10;  // of what has left already

  std::string bytes_;
  std::size_t sent_ = 0;
};

}  // namespace leeward::edge

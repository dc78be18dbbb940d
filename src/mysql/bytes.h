// Bounds-checked reading of binary log bytes. After the first read beyond the end every further
// read yields zero or empty text and ok() stays false, so a parser checks once at the end of a
// unit.
#pragma once

#include <cstdint>
#include <string_view>

namespace leeward::mysql {

class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  std::size_t left() const { return rest_.size(); }
  std::string_view rest() const { return rest_; }

  std::string_view take(std::size_t size) {
    if (size > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  // Unsigned integer of `size` ≤ 8 bytes, least significant byte first.
  std::uint64_t little(std::size_t size) {
    std::uint64_t value = 0;
    std::string_view taken = take(size);
    for (std::size_t i = taken.size(); i-- > 0;)
      value = value << 8 | static_cast<std::uint8_t>(taken[i]);
    return value;
  }

  // The same, most significant byte first.
  std::uint64_t big(std::size_t size) {
    std::uint64_t value = 0;
    for (char c : take(size)) value = value << 8 | static_cast<std::uint8_t>(c);
    return value;
  }

  // Length-encoded integer of the client protocol.
  std::uint64_t packed() {
    std::uint64_t first = little(1);
    if (first < 251) return first;
    if (first == 252) return little(2);
    if (first == 253) return little(3);
    if (first == 254) return little(8);
    ok_ = false;  // 251 is NULL, 255 an error: neither is a length
    return 0;
  }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace leeward::mysql

// Memory of one transaction: given out piece by piece, taken back all at once, so that no rule
// allocates. What it handed out stays where it is until reset(). One thread.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace leeward::waf {

class Arena {
 public:
  static constexpr std::size_t kChunk = 64u << 10;
  static constexpr std::size_t kKept = 1u << 20;  // from one transaction to the next

  char* allocate(std::size_t bytes) {
    bytes = (bytes + 15) & ~std::size_t{15};
    if (bytes > left_) grow(bytes);
    char* at = at_;
    at_ += bytes;
    left_ -= bytes;
    used_ += bytes;
    return at;
  }
  // `count` zeroed objects. REQUIRES: T is trivial and aligned to 16 bytes at most.
  template <typename T>
  T* zeroed(std::size_t count) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= 16);
    char* at = allocate(count * sizeof(T));
    std::memset(at, 0, count * sizeof(T));
    return reinterpret_cast<T*>(at);
  }
  std::string_view copy(std::string_view text) {
    if (text.empty()) return "";
    char* at = allocate(text.size());
    std::memcpy(at, text.data(), text.size());
    return {at, text.size()};
  }
  std::string_view join(std::string_view a, std::string_view b, std::string_view c) {
    char* at = allocate(a.size() + b.size() + c.size() + 1);
    char* end = at;
    for (std::string_view part : {a, b, c}) {
      if (!part.empty()) std::memcpy(end, part.data(), part.size());
      end += part.size();
    }
    return {at, static_cast<std::size_t>(end - at)};
  }

  std::size_t used() const { return used_; }
  void reset() {
    std::size_t kept = 0, count = 0;
    while (count < chunks_.size() && kept + chunks_[count].size <= kKept)
      kept += chunks_[count++].size;
    chunks_.resize(count);
    next_ = used_ = left_ = 0;
    at_ = nullptr;
  }

 private:
  struct Chunk {
    std::unique_ptr<char[]> bytes;
    std::size_t size;
  };
  void grow(std::size_t bytes) {
    while (next_ < chunks_.size() && chunks_[next_].size < bytes) ++next_;
    if (next_ == chunks_.size()) {
      const std::size_t size = bytes > kChunk ? bytes : kChunk;
      chunks_.push_back({std::make_unique_for_overwrite<char[]>(size), size});
    }
    at_ = chunks_[next_].bytes.get();
    left_ = chunks_[next_].size;
    ++next_;
  }

  std::vector<Chunk> chunks_;
  std::size_t next_ = 0, used_ = 0, left_ = 0;
  char* at_ = nullptr;
};

}  // namespace leeward::waf

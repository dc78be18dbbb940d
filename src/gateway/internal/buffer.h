// The bytes of one direction of a connection between their arrival and their departure:
//
//   [ ready | pending ]
//
// `pending` has arrived but was not examined yet; `ready` may go to the other side. Bounded by
// kBytesMax for arriving bytes; insert() may exceed it by what the gateway itself adds (at most one
// kept command, see session_core.h). Keeps no memory while empty.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/check.h"

namespace leeward::gateway {

class Buffer {
 public:
  static constexpr std::size_t kBytesMax = 256u << 10;
  static constexpr std::size_t kFirstBytes = 16u << 10;

  std::span<const std::uint8_t> ready() const { return {data_.data() + begin_, passed_ - begin_}; }
  std::span<std::uint8_t> pending() { return {data_.data() + passed_, end_ - passed_}; }
  std::span<const std::uint8_t> pending() const { return {data_.data() + passed_, end_ - passed_}; }
  bool empty() const { return begin_ == end_; }
  bool full() const { return end_ - begin_ >= kBytesMax; }

  // Room for arriving bytes; empty when full. Doubles when the last read used up everything.
  std::span<std::uint8_t> writable() {
    if (full()) return {};
    if (end_ == data_.size()) {
      if (begin_ > 0) compact();
      if (data_.size() - end_ < kFirstBytes / 4)
        data_.resize(std::clamp(data_.size() * 2, kFirstBytes, std::max(kBytesMax, end_ + 1)));
    }
    return {data_.data() + end_, std::min(data_.size() - end_, kBytesMax - (end_ - begin_))};
  }
  void filled(std::size_t n) {
    LEEWARD_CHECK(n <= data_.size() - end_);
    end_ += n;
  }

  void pass(std::size_t n) {
    LEEWARD_CHECK(n <= end_ - passed_);
    passed_ += n;
  }
  void sent(std::size_t n) {
    LEEWARD_CHECK(n <= passed_ - begin_);
    begin_ += n;
    if (begin_ == end_) clear();
  }

  // Removes the first `n` pending bytes.
  void drop_pending(std::size_t n) {
    LEEWARD_CHECK(n <= end_ - passed_);
    if (begin_ == passed_) {
      begin_ = passed_ += n;
    } else {
      std::copy(data_.begin() + passed_ + n, data_.begin() + end_, data_.begin() + passed_);
      end_ -= n;
    }
    if (begin_ == end_) clear();
  }
  void drop_ready() {
    begin_ = passed_;
    if (begin_ == end_) clear();
  }
  // Puts bytes into `pending`, `offset` bytes from its front.
  void insert(std::size_t offset, std::string_view bytes) {
    LEEWARD_CHECK(offset <= end_ - passed_);
    data_.resize(end_);
    data_.insert(data_.begin() + passed_ + offset, bytes.begin(), bytes.end());
    end_ += bytes.size();
  }
  void clear() {
    begin_ = passed_ = end_ = 0;
    if (data_.size() > kFirstBytes) data_ = {};
  }
  // Gives the memory of an idle connection back.
  void release() {
    if (empty()) data_ = {};
  }

 private:
  void compact() {
    std::copy(data_.begin() + begin_, data_.begin() + end_, data_.begin());
    end_ -= begin_;
    passed_ -= begin_;
    begin_ = 0;
  }

  std::vector<std::uint8_t> data_;
  std::size_t begin_ = 0, passed_ = 0, end_ = 0;
};

}  // namespace leeward::gateway

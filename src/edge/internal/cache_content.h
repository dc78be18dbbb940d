// The bytes of one response body while it arrives and afterwards: appended by the one fill, read by
// any number of readers on any loop, at their own pace.
//
//   growing ──finish──> complete        immutable from here, read without a lock
//      │  └───abort───> aborted         readers see kAborted after what had come
//      └─overflow: too large to keep; from then on a window: what every reader has passed is freed,
//        and the fill pauses while its readers are more than kWindow behind.
//
// Bounds: while it may be kept, at most the policy's object_bytes_max; in a window, kWindow and one
// append.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "edge/exchange.h"

namespace leeward::edge {

class Content {
 public:
  static constexpr std::size_t kBlockMax = 256u << 10;
  static constexpr std::uint64_t kWindow = 1u << 20;

  // `expected`: the length if known, for one allocation of the right size.
  explicit Content(std::optional<std::uint64_t> expected);
  // Complete at once.
  static std::shared_ptr<Content> of(std::string_view bytes);
  // Complete, and in a file: `size` bytes at `offset`. The descriptor is shared with others.
  static std::shared_ptr<Content> of_file(std::shared_ptr<const UniqueFd> file,
                                          std::uint64_t offset, std::uint64_t size);

  // ---- the fill's side (one thread)
  void append(std::string_view bytes);
  void finish();
  void abort();
  void overflow();  // keep no longer; readers go on
  // In a window: whether the fill is to wait (`waiter` is then woken when it may go on).
  bool must_pause(Waiter waiter);
  bool has_readers();

  // ---- any thread
  bool complete() const { return state_.load(std::memory_order_acquire) == State::kComplete; }
  bool growing() const { return state_.load(std::memory_order_acquire) == State::kGrowing; }
  std::uint64_t size() const { return size_.load(std::memory_order_acquire); }
  std::uint64_t memory_bytes() const { return memory_; }  // REQUIRES: complete()
  bool in_file() const { return file_ != nullptr; }
  Body::Piece read(std::uint64_t offset, Waiter waiter);
  // REQUIRES: complete(). Copies [offset, offset + out.size()) out; false for bytes in a file that
  // cannot be read.
  bool copy(std::uint64_t offset, std::size_t size, char* out);

  // A reader of growing content: while it lives, bytes at and after its position are kept.
  class Reader final : public Body {
   public:
    Reader(std::shared_ptr<Content> content, std::shared_ptr<void> owner, std::uint64_t position);
    ~Reader() override;
    Piece read(std::uint64_t offset, Waiter waiter) override;

   private:
    friend class Content;
    std::shared_ptr<Content> content_;
    std::shared_ptr<void> owner_;
    std::uint64_t position_;  // guarded by content_->mutex_
  };

 private:
  enum class State : std::uint8_t { kGrowing, kComplete, kAborted };
  struct Block {
    std::unique_ptr<char[]> bytes;  // null: freed behind the window
    std::size_t used = 0;
    std::size_t capacity = 0;
    std::uint64_t start = 0;
  };

  Body::Piece piece_at(std::uint64_t offset) const;
  void wake_all(std::vector<Waiter>& waiters);
  void free_passed();             // mutex_ held
  std::uint64_t slowest() const;  // mutex_ held
  void end(State state);

  std::mutex mutex_;  // guards everything below while growing
  std::atomic<State> state_{State::kGrowing};
  std::atomic<std::uint64_t> size_{0};
  std::vector<Block> blocks_;
  std::size_t freed_ = 0;  // blocks at the beginning of which nothing is left
  std::vector<Waiter> waiting_;
  std::vector<Reader*> readers_;
  Waiter paused_;
  bool window_ = false;
  std::uint64_t expected_ = 0;
  std::uint64_t memory_ = 0;
  std::shared_ptr<const UniqueFd> file_;
  std::uint64_t file_offset_ = 0;
};

}  // namespace leeward::edge

#include "edge/internal/cache_content.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace leeward::edge {

Content::Content(std::optional<std::uint64_t> expected) : expected_(expected.value_or(0)) {}

std::shared_ptr<Content> Content::of(std::string_view bytes) {
  auto content = std::make_shared<Content>(bytes.size());
  content->append(bytes);
  content->finish();
  return content;
}

std::shared_ptr<Content> Content::of_file(std::shared_ptr<const UniqueFd> file,
                                          std::uint64_t offset, std::uint64_t size) {
  auto content = std::make_shared<Content>(std::nullopt);
  content->file_ = std::move(file);
  content->file_offset_ = offset;
  content->size_ = size;
  content->finish();
  return content;
}

void Content::append(std::string_view bytes) {
  std::vector<Waiter> wake;
  {
    std::lock_guard lock(mutex_);
    std::uint64_t size = size_.load(std::memory_order_relaxed);
    while (!bytes.empty()) {
      if (blocks_.empty() || blocks_.back().used == blocks_.back().capacity) {
        std::uint64_t rest = expected_ > size ? expected_ - size : bytes.size();
        // Unknown length: each block twice the last, so that small bodies stay small.
        if (expected_ <= size && !blocks_.empty()) {
          rest = std::max<std::uint64_t>(rest, blocks_.back().capacity * 2);
        }
        Block b;
        b.capacity = std::clamp<std::uint64_t>(rest, 1024, kBlockMax);
        b.bytes = std::make_unique_for_overwrite<char[]>(b.capacity);
        b.start = size;
        memory_ += b.capacity;
        blocks_.push_back(std::move(b));
      }
      Block& b = blocks_.back();
      std::size_t n = std::min(bytes.size(), b.capacity - b.used);
      std::memcpy(b.bytes.get() + b.used, bytes.data(), n);
      b.used += n;
      size += n;
      bytes.remove_prefix(n);
    }
    size_.store(size, std::memory_order_release);
    if (window_) free_passed();
    wake.swap(waiting_);
  }
  wake_all(wake);
}

void Content::end(State state) {
  std::vector<Waiter> wake;
  {
    std::lock_guard lock(mutex_);
    if (state_.load(std::memory_order_relaxed) != State::kGrowing) return;
    // In a window the blocks are not whole: such content goes on being read under the lock.
    state_.store(state, std::memory_order_release);
    wake.swap(waiting_);
  }
  wake_all(wake);
}
void Content::finish() { end(State::kComplete); }
void Content::abort() { end(State::kAborted); }

void Content::overflow() {
  std::lock_guard lock(mutex_);
  window_ = true;
  free_passed();
}

bool Content::must_pause(Waiter waiter) {
  std::lock_guard lock(mutex_);
  if (!window_ || readers_.empty()) return false;
  if (size_.load(std::memory_order_relaxed) - slowest() < kWindow) return false;
  paused_ = waiter;
  return true;
}

bool Content::has_readers() {
  std::lock_guard lock(mutex_);
  return !readers_.empty();
}

std::uint64_t Content::slowest() const {
  std::uint64_t least = size_.load(std::memory_order_relaxed);
  for (const Reader* r : readers_) least = std::min(least, r->position_);
  return least;
}

void Content::free_passed() {
  const std::uint64_t passed = slowest();
  for (; freed_ < blocks_.size(); ++freed_) {
    Block& b = blocks_[freed_];
    if (b.start + b.used > passed) break;
    if (b.used < b.capacity) break;  // still being filled
    memory_ -= b.capacity;
    b.bytes.reset();
  }
}

void Content::wake_all(std::vector<Waiter>& waiters) {
  for (const Waiter& w : waiters) {
    if (w.loop != nullptr) w.loop->wake(w.token);
  }
}

Body::Piece Content::piece_at(std::uint64_t offset) const {
  auto after = std::upper_bound(blocks_.begin(), blocks_.end(), offset,
                                [](std::uint64_t o, const Block& b) { return o < b.start; });
  LEEWARD_CHECK(after != blocks_.begin());
  const Block& b = *std::prev(after);
  Body::Piece p;
  if (b.bytes == nullptr) {  // behind the window: a reader that went back
    p.kind = Body::Piece::Kind::kAborted;
    return p;
  }
  p.kind = Body::Piece::Kind::kMemory;
  p.data = b.bytes.get() + (offset - b.start);
  p.size = b.used - static_cast<std::size_t>(offset - b.start);
  return p;
}

Body::Piece Content::read(std::uint64_t offset, Waiter waiter) {
  Body::Piece p;
  bool done = complete();
  std::unique_lock<std::mutex> lock(mutex_, std::defer_lock);
  if (!done || window_) lock.lock();
  std::uint64_t size = size_.load(std::memory_order_acquire);
  if (offset < size) {
    if (file_ == nullptr) return piece_at(offset);
    p.kind = Body::Piece::Kind::kFile;
    p.fd = file_->get();
    p.file_offset = file_offset_ + offset;
    p.size = static_cast<std::size_t>(size - offset);
    return p;
  }
  switch (state_.load(std::memory_order_acquire)) {
    case State::kComplete:
      p.kind = Body::Piece::Kind::kEnd;
      break;
    case State::kAborted:
      p.kind = Body::Piece::Kind::kAborted;
      break;
    case State::kGrowing:
      p.kind = Body::Piece::Kind::kWait;
      waiting_.push_back(waiter);
      break;
  }
  return p;
}

bool Content::copy(std::uint64_t offset, std::size_t size, char* out) {
  while (size > 0) {
    if (file_ != nullptr) {
      ssize_t n = pread(file_->get(), out, size, static_cast<off_t>(file_offset_ + offset));
      if (n <= 0) return false;
      out += n;
      offset += static_cast<std::uint64_t>(n);
      size -= static_cast<std::size_t>(n);
      continue;
    }
    Body::Piece p = piece_at(offset);
    if (p.kind != Body::Piece::Kind::kMemory) return false;
    std::size_t n = std::min(size, p.size);
    std::memcpy(out, p.data, n);
    out += n;
    offset += n;
    size -= n;
  }
  return true;
}

Content::Reader::Reader(std::shared_ptr<Content> content, std::shared_ptr<void> owner,
                        std::uint64_t position)
    : content_(std::move(content)), owner_(std::move(owner)), position_(position) {
  std::lock_guard lock(content_->mutex_);
  content_->readers_.push_back(this);
}

Content::Reader::~Reader() {
  Waiter resume;
  {
    std::lock_guard lock(content_->mutex_);
    std::erase(content_->readers_, this);
    if (content_->window_) content_->free_passed();
    resume = std::exchange(content_->paused_, Waiter{});
  }
  if (resume.loop != nullptr) resume.loop->wake(resume.token);
}

Body::Piece Content::Reader::read(std::uint64_t offset, Waiter waiter) {
  Waiter resume;
  {
    std::lock_guard lock(content_->mutex_);
    position_ = std::max(position_, offset);
    if (content_->window_) {
      content_->free_passed();
      std::uint64_t size = content_->size_.load(std::memory_order_relaxed);
      if (size - content_->slowest() < kWindow) resume = std::exchange(content_->paused_, Waiter{});
    }
  }
  if (resume.loop != nullptr) resume.loop->wake(resume.token);
  return content_->read(offset, waiter);
}

}  // namespace leeward::edge

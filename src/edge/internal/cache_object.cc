#include "edge/internal/cache_object.h"

#include <cstring>

#include "base/check.h"

namespace leeward::edge {
namespace {

// malloc's own: a size word, then up to the next multiple of 16 (glibc).
std::uint64_t allocated(std::uint64_t bytes) { return (bytes + 8 + 15) / 16 * 16; }
constexpr std::uint64_t kControlBlock = 16;  // of make_shared
constexpr std::uint64_t kBucket = 16;        // one per object, see cache_index.cc

}  // namespace

StoredObject::StoredObject(const Parts& parts)
    : purge_sequence(parts.purge_sequence),
      stored_at(parts.stored_at),
      coding(parts.coding),
      plain(parts.plain),
      from_post(parts.from_post),
      from_disk(parts.from_disk),
      content_(parts.content),
      freshness_(parts.freshness),
      hash_(parts.hash),
      first_(parts.first),
      complete_(parts.complete),
      expected_(parts.expected),
      generation_(parts.generation),
      slice_bytes_(parts.slice_bytes),
      status_(static_cast<std::int16_t>(parts.status)) {
  LEEWARD_CHECK(parts.url_size <= parts.key_text.size());
  LEEWARD_CHECK(parts.content == nullptr || parts.inline_body.empty());
  purges_seen = parts.purge_sequence;
  key_size_ = static_cast<std::uint32_t>(parts.key_text.size());
  url_size_ = static_cast<std::uint32_t>(parts.url_size);
  vary_size_ = static_cast<std::uint32_t>(parts.vary.size());
  variant_size_ = static_cast<std::uint32_t>(parts.variant.size());
  lines_size_ = static_cast<std::uint32_t>(parts.lines.size());
  inline_size_ = static_cast<std::uint32_t>(parts.inline_body.size());
  tag_count_ = static_cast<std::uint16_t>(parts.tags.size());
  tags_at_ = key_size_ + vary_size_ + variant_size_ + lines_size_;
  body_at_ = tags_at_ + tag_count_ * 8u;
  payload_size_ = body_at_ + inline_size_;
  payload_ = std::make_unique_for_overwrite<char[]>(payload_size_);

  char* out = payload_.get();
  auto put = [&out](std::string_view bytes) {
    if (bytes.empty()) return;
    std::memcpy(out, bytes.data(), bytes.size());
    out += bytes.size();
  };
  put(parts.key_text);
  put(parts.vary);
  put(parts.variant);
  put(parts.lines);
  put({reinterpret_cast<const char*>(parts.tags.data()), tag_count_ * 8u});
  put(parts.inline_body);

  auto locate = [this](std::string_view name) {
    std::string_view value = find_line(lines(), name);
    if (value.data() == nullptr) return Part{};
    return Part{static_cast<std::uint32_t>(value.data() - lines().data()),
                static_cast<std::uint32_t>(value.size())};
  };
  etag_ = locate("etag");
  last_modified_ = locate("last-modified");
  content_language_ = locate("content-language");
  content_encoding_ = locate("content-encoding");
}

std::uint64_t StoredObject::tag(std::size_t i) const {
  std::uint64_t value = 0;
  std::memcpy(&value, payload_.get() + tags_at_ + i * 8, 8);
  return value;
}

std::vector<std::uint64_t> StoredObject::tags() const {
  std::vector<std::uint64_t> out;
  for (std::size_t i = 0; i < tag_count_; ++i) out.push_back(tag(i));
  return out;
}

std::uint64_t StoredObject::charge() const {
  std::uint64_t bytes =
      allocated(sizeof *this + kControlBlock) + allocated(payload_size_) + kBucket;
  if (content_ != nullptr && !content_->growing()) {
    bytes += allocated(sizeof(Content) + kControlBlock) + content_->memory_bytes();
  }
  return bytes;
}

bool StoredObject::copy_body(std::uint64_t offset, std::size_t size, char* out) const {
  if (content_ != nullptr) return content_->copy(offset, size, out);
  std::memcpy(out, inline_body().data() + offset, size);
  return true;
}

Body::Piece StoredObject::read(std::uint64_t offset, Waiter waiter) {
  if (content_ != nullptr) return content_->read(offset, waiter);
  Piece p;
  if (offset >= inline_size_) return p;  // kEnd
  p.kind = Piece::Kind::kMemory;
  p.data = inline_body().data() + offset;
  p.size = inline_size_ - static_cast<std::size_t>(offset);
  return p;
}

}  // namespace leeward::edge

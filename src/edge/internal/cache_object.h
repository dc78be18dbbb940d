// One stored response. Immutable once it is in the index, except for the few atomics at its end;
// held by shared_ptr from the index and from every answer that is being sent, so eviction never
// takes bytes away from a reader.
//
// Memory: the object, and one allocation ("payload") with key, Vary names and values, field lines,
// tag hashes and, up to kInlineBodyMax, the body. Larger bodies lie in a Content, which a validated
// (304) copy shares.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "edge/cache_core.h"
#include "edge/internal/cache_content.h"

namespace leeward::edge {

// What we did to the body ourselves; a Content-Encoding of the origin is not among these.
enum class Coding : std::uint8_t { kNone, kGzip, kZstd, kBrotli };

class StoredObject final : public Body {
 public:
  static constexpr std::size_t kInlineBodyMax = 16u << 10;

  // What an object is made from. The views are copied.
  struct Parts {
    int status = 200;
    std::string_view key_text;  // CacheKey
    std::size_t url_size = 0;
    std::uint64_t hash = 0;
    std::string_view vary;     // names, as vary_names() gives them
    std::string_view variant;  // the request's values for them
    std::string_view lines;    // field lines
    std::string_view inline_body;
    std::shared_ptr<Content> content;  // null: inline_body is the body
    std::vector<std::uint64_t> tags;   // hashes of surrogate keys
    Freshness freshness;
    std::uint64_t first = 0;     // of a partial response: where its bytes begin …
    std::uint64_t complete = 0;  // … and the whole length; 0: this is the whole
    std::uint64_t expected = CacheAnswer::kUnknown;  // of growing content: its size in the end
    std::uint64_t purge_sequence = 0;                // purges up to this one do not concern it
    std::uint32_t slice_bytes = 0;  // of a manifest (cache_slices.h): the size of its slices …
    std::uint64_t generation = 0;   // … and what their keys have in common
    BootTime stored_at;
    Coding coding = Coding::kNone;
    std::weak_ptr<StoredObject> plain;  // of a coded form: what it was made from
    bool from_post = false;
    bool from_disk = false;
  };
  explicit StoredObject(const Parts& parts);

  int status() const { return status_; }
  std::uint64_t hash() const { return hash_; }
  std::string_view url() const { return {payload_.get(), url_size_}; }
  std::string_view extra() const { return {payload_.get() + url_size_, key_size_ - url_size_}; }
  std::string_view key_text() const { return {payload_.get(), key_size_}; }
  std::string_view vary() const { return {payload_.get() + key_size_, vary_size_}; }
  std::string_view variant() const {
    return {payload_.get() + key_size_ + vary_size_, variant_size_};
  }
  std::string_view lines() const {
    return {payload_.get() + key_size_ + vary_size_ + variant_size_, lines_size_};
  }
  std::size_t tag_count() const { return tag_count_; }
  std::uint64_t tag(std::size_t i) const;
  std::vector<std::uint64_t> tags() const;
  std::string_view etag() const { return part(etag_); }
  std::string_view last_modified() const { return part(last_modified_); }
  std::string_view content_language() const { return part(content_language_); }
  std::string_view content_encoding() const { return part(content_encoding_); }
  bool has_content_encoding() const { return content_encoding_.size != 0; }
  const Freshness& freshness() const { return freshness_; }
  const std::shared_ptr<Content>& content() const { return content_; }
  std::string_view inline_body() const { return {payload_.get() + body_at_, inline_size_}; }

  bool growing() const { return content_ != nullptr && content_->growing(); }
  bool partial() const { return complete_ != 0; }
  // The manifest of an object in slices: partial, and without a byte of its own.
  bool sliced() const { return slice_bytes_ != 0; }
  std::uint32_t slice_bytes() const { return slice_bytes_; }
  std::uint64_t generation() const { return generation_; }
  std::uint64_t first() const { return first_; }
  // Of the whole representation; kUnknown while that is not known.
  std::uint64_t complete_length() const { return complete_ != 0 ? complete_ : final_size(); }
  // Bytes that are here once the content has stopped growing; kUnknown while nobody knows.
  std::uint64_t final_size() const { return growing() ? expected_ : size(); }
  // Bytes that are here (so far).
  std::uint64_t size() const { return content_ ? content_->size() : inline_size_; }
  bool copy_body(std::uint64_t offset, std::size_t size, char* out) const;

  // What the object costs, index included; the same number each time once complete.
  std::uint64_t charge() const;

  Piece read(std::uint64_t offset, Waiter waiter) override;

  // ---- changed while in use; each alone, so relaxed order will do
  std::atomic<std::uint8_t> uses{0};             // S3-FIFO's counter, 0 … 3
  std::atomic<bool> soft_purged{false};          // counts as stale
  std::atomic<std::uint8_t> codings_tried{0};    // bit 1 << Coding
  std::atomic<std::uint64_t> purges_seen{0};     // PurgeRules sequence it was last checked against
  std::atomic<std::int64_t> retry_origin_at{0};  // BootTime ticks; before it, stale without asking

  // ---- owned by the index, under its shard's lock
  std::shared_ptr<StoredObject> bucket_next;
  StoredObject* queue_prev = nullptr;
  StoredObject* queue_next = nullptr;
  enum class Queue : std::uint8_t { kNone, kSmall, kMain };
  Queue queue = Queue::kNone;
  bool indexed = false;

  const std::uint64_t purge_sequence;  // when its request was sent
  const BootTime stored_at;
  const Coding coding;
  const std::weak_ptr<StoredObject> plain;
  const bool from_post;  // the response to a POST (RFC 9110 §9.3.3)
  const bool from_disk;

 private:
  struct Part {
    std::uint32_t at = 0;  // in lines
    std::uint32_t size = 0;
  };
  std::string_view part(Part p) const { return lines().substr(p.at, p.size); }

  std::unique_ptr<char[]> payload_;
  std::shared_ptr<Content> content_;
  Freshness freshness_;
  std::uint64_t hash_;
  std::uint64_t first_;
  std::uint64_t complete_;
  std::uint64_t expected_;
  std::uint64_t generation_;
  std::uint32_t slice_bytes_;
  std::uint32_t payload_size_ = 0;
  std::uint32_t key_size_ = 0;
  std::uint32_t url_size_ = 0;
  std::uint32_t vary_size_ = 0;
  std::uint32_t variant_size_ = 0;
  std::uint32_t lines_size_ = 0;
  std::uint32_t body_at_ = 0;
  std::uint32_t inline_size_ = 0;
  std::uint32_t tags_at_ = 0;
  Part etag_, last_modified_, content_language_, content_encoding_;
  std::uint16_t tag_count_ = 0;
  std::int16_t status_ = 0;
};

}  // namespace leeward::edge

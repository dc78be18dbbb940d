#include "edge/internal/cache_slices.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "edge/internal/cache_range.h"

namespace leeward::edge {
namespace {

// So often an answer has a slice fetched, or sees its fetch break off, before it breaks off itself.
constexpr int kTriesMax = 3;

// A control character, which no URL of a request holds, keeps these apart from all others.
std::string slice_key(const StoredObject& manifest, std::uint64_t index) {
  return fmt::format("{}\x0c{:016x}/{}", manifest.url(), manifest.generation(), index);
}

ByteRange bytes_of(const StoredObject& manifest, std::uint64_t index) {
  const std::uint64_t first = index * manifest.slice_bytes();
  return {first,
          std::min(first + manifest.slice_bytes(), manifest.complete_length()) - std::uint64_t{1}};
}

// From a fetch to the answer that wanted it, both on one loop: the slice may not be found in the
// index any more when the answer looks for it, as when the cache has no room.
struct Handover {
  ObjectPtr slice;
};

// One slice from an origin, for whoever reads the manifest's representation.
class SliceFill final : public Fill {
 public:
  SliceFill(HttpCache::Impl& cache, ObjectPtr manifest, std::uint64_t index,
            std::shared_ptr<PendingFill> pending, std::shared_ptr<Handover> handover)
      : cache_(cache),
        manifest_(std::move(manifest)),
        index_(index),
        pending_(std::move(pending)),
        handover_(std::move(handover)),
        lines_(fmt::format("Range: {}\r\nIf-Range: {}\r\n",
                           slice_range(index, manifest_->slice_bytes()), manifest_->etag())) {}
  ~SliceFill() override { end(); }

  std::string_view request_lines() const override { return lines_; }
  bool replaces_conditions() const override { return true; }

  Start on_response(const ResponseView& response, Now now, CacheAnswer& answer) override {
    answer.added_size = 0;
    const bool ours = response.status == 206 &&
                      is_slice(response, index_, manifest_->slice_bytes()) &&
                      find_field(response.fields, "etag") == manifest_->etag() &&
                      parse_content_range(find_field(response.fields, "content-range"))->complete ==
                          manifest_->complete_length();
    if (ours) {
      store_ = std::make_unique<SliceStore>(cache_, manifest_, index_, now.boot);
      handover_->slice = store_->growing();
    } else if (!is_origin_failure(response.status)) {
      // The origin has another representation now: the next request shall see that one.
      if (cache_.disk != nullptr) cache_.disk->purge_url(manifest_->url());
      cache_.index.remove(*manifest_);
    }
    end();
    return ours ? Start::kStore : Start::kPass;
  }
  More append(std::string_view bytes, Waiter) override { return store_->append(bytes); }
  void finish() override {
    if (store_ != nullptr) store_->finish();
  }
  void abort() override {
    if (store_ != nullptr) store_->abort();
    end();
  }
  bool on_error(Now, CacheAnswer&) override {
    end();
    return false;
  }

 private:
  void end() {
    if (pending_ == nullptr) return;
    cache_.collapse.release(pending_);
    cache_.collapse.retire(pending_);
    pending_.reset();
  }

  HttpCache::Impl& cache_;
  const ObjectPtr manifest_;
  const std::uint64_t index_;
  std::shared_ptr<PendingFill> pending_;
  const std::shared_ptr<Handover> handover_;
  const std::string lines_;
  std::unique_ptr<SliceStore> store_;
};

class SlicedBody final : public Body {
 public:
  SlicedBody(HttpCache::Impl& cache, ObjectPtr manifest, const ObjectPtr& first)
      : cache_(cache), manifest_(std::move(manifest)) {
    if (first == nullptr) return;
    index_ = first->first() / manifest_->slice_bytes();
    take(first);
  }

  Piece read(std::uint64_t offset, Waiter waiter) override {
    if (offset >= manifest_->complete_length()) return {};
    const std::uint64_t index = offset / manifest_->slice_bytes();
    if (index != index_) {
      index_ = index;
      begun_ = broken_ = 0;
      slice_.reset();
      handover_.reset();
    }
    for (;;) {
      if (slice_ == nullptr) {
        if (auto instead = open(waiter)) return *instead;
      }
      Piece p = slice_->read(offset - index * manifest_->slice_bytes(), waiter);
      if (p.kind != Piece::Kind::kAborted && p.kind != Piece::Kind::kEnd) return p;
      slice_.reset();  // its fetch broke off: the same bytes can be had once more
      if (++broken_ > kTriesMax) return of(Piece::Kind::kAborted);
    }
  }

  std::unique_ptr<Fill> take_fetch() override { return std::move(fetch_); }

 private:
  void take(const ObjectPtr& object) {
    if (object->growing()) {
      slice_ = std::make_shared<Content::Reader>(object->content(), object, 0);
    } else {
      slice_ = object;
    }
  }

  static Piece of(Piece::Kind kind) {
    Piece p;
    p.kind = kind;
    return p;
  }

  // Finds the wanted slice, or says what to tell the reader instead.
  std::optional<Piece> open(Waiter waiter) {
    if (handover_ != nullptr && handover_->slice != nullptr) {
      take(handover_->slice);
      handover_.reset();
      return std::nullopt;
    }
    const std::string key = slice_key(*manifest_, index_);
    const std::uint64_t hash = hash_url(key);
    const Now now = SystemClock().now();  // a body is not told the time
    auto find = [&] {
      ObjectPtr object = cache_.index.find(hash, key, [](StoredObject&) { return 1; });
      if (object != nullptr) take(object);
      return object != nullptr;
    };
    if (find()) return std::nullopt;
    if (cache_.disk != nullptr &&
        cache_.disk->load(key, waiter, now, [cache = &cache_](ObjectPtr loaded) {
          cache->counts.disk_loads.fetch_add(1, std::memory_order_relaxed);
          cache->index.insert(std::move(loaded));
        })) {
      return of(Piece::Kind::kWait);
    }
    std::shared_ptr<PendingFill> pending;
    if (cache_.collapse.join(key, key, hash, waiter, true, now.boot, pending) ==
        CollapseTable::Role::kWait) {
      return of(Piece::Kind::kWait);
    }
    if (find()) {  // it came between the first look and now
      cache_.collapse.give_back(pending);
      return std::nullopt;
    }
    handover_ = std::make_shared<Handover>();
    auto fetch =
        std::make_unique<SliceFill>(cache_, manifest_, index_, std::move(pending), handover_);
    if (++begun_ > kTriesMax) return of(Piece::Kind::kAborted);  // who waits for it goes on
    fetch_ = std::move(fetch);
    cache_.counts.misses.fetch_add(1, std::memory_order_relaxed);
    return of(Piece::Kind::kFetch);
  }

  HttpCache::Impl& cache_;
  const ObjectPtr manifest_;
  std::uint64_t index_ = 0;      // of the slice that is wanted
  std::shared_ptr<Body> slice_;  // that one; null: to be found
  int begun_ = 0;                // fetches of it, by this answer
  int broken_ = 0;               // that broke off
  std::unique_ptr<Fill> fetch_;
  std::shared_ptr<Handover> handover_;
};

}  // namespace

std::uint64_t first_slice_of(const RequestView& request, std::uint64_t slice_bytes) {
  if (find_field(request.fields, "if-range").data() != nullptr) return 0;  // it may want the whole
  const auto spec = parse_range(find_field(request.fields, "range"));
  return spec && !spec->is_suffix ? spec->first / slice_bytes : 0;
}

std::string slice_range(std::uint64_t index, std::uint64_t slice_bytes) {
  return fmt::format("bytes={}-{}", index * slice_bytes, (index + 1) * slice_bytes - 1);
}

bool is_slice(const ResponseView& response, std::uint64_t index, std::uint64_t slice_bytes) {
  const auto range = parse_content_range(find_field(response.fields, "content-range"));
  return range && find_field(response.fields, "etag").starts_with('"') &&
         range->first == index * slice_bytes &&
         range->last + 1 == std::min(range->first + slice_bytes, range->complete) &&
         is_cut_as_said(response);
}

std::uint64_t new_generation() {
  static std::atomic<std::uint64_t> count{0};
  return hash_url(fmt::format("\x0c{}", count.fetch_add(1)));  // seeded anew in each process
}

SliceStore::SliceStore(HttpCache::Impl& cache, const ObjectPtr& manifest, std::uint64_t index,
                       BootTime now)
    : cache_(cache), key_(slice_key(*manifest, index)), size_(bytes_of(*manifest, index).size()) {
  parts_.status = 206;
  parts_.key_text = key_;
  parts_.url_size = key_.size();
  parts_.hash = hash_url(key_);
  parts_.first = bytes_of(*manifest, index).first;
  parts_.complete = manifest->complete_length();
  parts_.purge_sequence = cache.rules.sequence();
  parts_.stored_at = parts_.freshness.born = now;
  parts_.freshness.lifetime = std::chrono::hours(24 * 365);  // never asked for
  content_ = std::make_shared<Content>(size_);
  StoredObject::Parts growing = parts_;
  growing.content = content_;
  growing.expected = size_;
  growing_ = std::make_shared<StoredObject>(growing);
  cache_.index.insert(growing_);
  if (cache_.index.reserve(size_)) reserved_ = size_;
}

SliceStore::~SliceStore() { abort(); }

Fill::More SliceStore::append(std::string_view bytes) {
  if (content_->size() + bytes.size() > size_) {  // more than was said
    abort();
    return Fill::More::kStop;
  }
  content_->append(bytes);
  return Fill::More::kGoOn;
}

void SliceStore::finish() {
  if (done_) return;
  if (content_->size() != size_) return abort();
  done_ = true;
  content_->finish();
  if (reserved_ == 0) {
    cache_.index.remove(*growing_);
    return;
  }
  cache_.index.release(reserved_);
  std::string inline_body;
  if (size_ <= StoredObject::kInlineBodyMax) {
    inline_body.resize(size_);
    content_->copy(0, size_, inline_body.data());
    parts_.inline_body = inline_body;
  } else {
    parts_.content = content_;
  }
  cache_.counts.stored.fetch_add(1, std::memory_order_relaxed);
  cache_.store(std::make_shared<StoredObject>(parts_));
}

void SliceStore::abort() {
  if (done_) return;
  done_ = true;
  if (reserved_ != 0) cache_.index.release(reserved_);
  cache_.index.remove(*growing_);
  content_->abort();
}

std::shared_ptr<Body> make_sliced_body(HttpCache::Impl& cache, ObjectPtr manifest,
                                       ObjectPtr first) {
  return std::make_shared<SlicedBody>(cache, std::move(manifest), std::move(first));
}

}  // namespace leeward::edge

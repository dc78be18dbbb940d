// One fetch from an origin into the cache: what becomes of the response. The decisions are those of
// cache_core.h; here they are carried out on index, content and waiters.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "edge/internal/cache_impl.h"
#include "edge/internal/cache_range.h"
#include "edge/internal/cache_slices.h"
#include "edge/internal/cache_update.h"
#include "edge/internal/cache_vary.h"

namespace leeward::edge {
namespace {

std::string without_line(std::string_view lines, std::string_view name) {
  std::string out;
  for_each_line(lines, [&](std::string_view n, std::string_view value) {
    if (!same_name(n, name)) out.append(n).append(": ").append(value).append("\r\n");
  });
  return out;
}

class CacheFill final : public Fill {
 public:
  CacheFill(HttpCache::Impl& cache, const RequestView& request, const CachePolicy& policy,
            const CacheKey& key, std::shared_ptr<PendingFill> pending, ObjectPtr stale,
            BootTime now)
      : cache_(cache),
        request_(request),
        policy_(policy),
        key_(key),
        pending_(std::move(pending)),
        stale_(std::move(stale)),
        sent_(now),
        purge_sequence_(cache.rules.sequence()),
        slicing_(policy.slice_bytes != 0 && request.method == Method::kGet && !completing()) {
    if (slicing_) slice_ = first_slice_of(request, policy.slice_bytes);
    write_request_lines();
  }

  ~CacheFill() override {
    if (!done_) abort();
    end({});
  }

  std::string_view request_lines() const override { return lines_; }
  bool replaces_conditions() const override { return request_.view().method == Method::kGet; }

  Start on_response(const ResponseView& response, Now now, CacheAnswer& answer) override;
  More append(std::string_view bytes, Waiter waiter) override;
  void finish() override;
  void abort() override;
  bool on_error(Now now, CacheAnswer& answer) override;

 private:
  void write_request_lines();
  Start validated(const ResponseView& response, Now now, CacheAnswer& answer);
  bool serve_stale(Now now, int status, std::string_view detail, CacheAnswer& answer);
  void add_withheld(const ResponseView& response, CacheAnswer& answer) const;
  Start begin_store(const ResponseView& response, const ResponseDirectives& directives,
                    const Freshness& freshness, Now now, CacheAnswer& answer);
  bool continue_partial(const ResponseView& response, const ContentRange& range);
  Start on_slice(const ResponseView& response, Now now, CacheAnswer& answer);
  void describe(const ResponseView& response);
  StoredObject::Parts parts() const;
  bool doomed() const { return pending_ != nullptr && pending_->doomed; }
  void keep(const ObjectPtr& object, bool validated = false);
  void stop_storing();
  void end(BootTime alone_until);
  AnswerStatus answer_status(int status) const {
    AnswerStatus s;
    s.cache_name = cache_.options.name;
    s.forward = completing() ? "partial" : stale_ != nullptr ? "stale" : "miss";
    s.forward_status = status;
    return s;
  }
  // The stored part that this fetch continues.
  bool completing() const { return stale_ != nullptr && stale_->partial() && !stale_->sliced(); }

  HttpCache::Impl& cache_;
  const OwnedRequest request_;
  const CachePolicy policy_;
  const CacheKey key_;
  std::shared_ptr<PendingFill> pending_;
  ObjectPtr stale_;
  const BootTime sent_;
  const std::uint64_t purge_sequence_;
  std::string lines_;

  // A slice is asked for, and what comes shows whether there are others.
  bool slicing_;
  std::uint64_t slice_ = 0;
  std::unique_ptr<SliceStore> slice_store_;

  // While a body is stored.
  std::string stored_lines_, vary_, variant_;
  Freshness freshness_;
  std::vector<std::uint64_t> tags_;
  int status_ = 0;
  std::uint64_t first_ = 0, complete_ = 0;
  std::optional<std::uint64_t> expected_;
  std::shared_ptr<Content> content_;
  ObjectPtr growing_;
  std::uint64_t reserved_ = 0;
  bool storing_ = false;
  bool visible_ = false;
  bool done_ = false;
  BootTime stored_at_;
};

void CacheFill::write_request_lines() {
  lines_.clear();
  auto line = [this](std::string_view name, std::string_view value) {
    lines_.append(name).append(": ").append(value).append("\r\n");
  };
  if (completing()) {
    line("Range", "bytes=" + std::to_string(stale_->size()) + "-");
    line("If-Range", stale_->etag());
    return;
  }
  if (stale_ != nullptr) {
    if (!stale_->etag().empty()) line("If-None-Match", stale_->etag());
    if (!stale_->last_modified().empty()) line("If-Modified-Since", stale_->last_modified());
  }
  if (slicing_) return line("Range", slice_range(slice_, policy_.slice_bytes));
  if (stale_ != nullptr) return;
  std::string_view range = find_field(request_.view().fields, "range");
  if (request_.view().method == Method::kGet && parse_range(range)) {
    line("Range", range);
    std::string_view if_range = find_field(request_.view().fields, "if-range");
    if (!if_range.empty()) line("If-Range", if_range);
  }
}

void CacheFill::end(BootTime alone_until) {
  if (pending_ == nullptr) return;
  cache_.collapse.release(pending_, alone_until);
  cache_.collapse.retire(pending_);
  pending_.reset();
}

bool CacheFill::serve_stale(Now now, int status, std::string_view detail, CacheAnswer& answer) {
  if (stale_ == nullptr || completing() ||
      !may_serve_stale_on_error(stale_->freshness(), now.boot)) {
    return false;
  }
  stale_->retry_origin_at.store((now.boot + kOriginRetry).time_since_epoch().count(),
                                std::memory_order_relaxed);
  done_ = true;
  end({});
  AnswerStatus s = answer_status(status);
  s.detail = detail;
  cache_.answer(stale_, request_.view(), now, s, answer);
  cache_.counts.stale_hits.fetch_add(1, std::memory_order_relaxed);
  return true;
}

Fill::Start CacheFill::validated(const ResponseView& response, Now now, CacheAnswer& answer) {
  done_ = true;
  ObjectPtr object = stale_;
  if (!validates(response, stale_->etag(), stale_->last_modified())) {
    // An origin that says "not modified" of something else. What we have is as good as it gets this
    // once, and is not used again.
    cache_.index.remove(*stale_);
  } else {
    UpdatedObject updated =
        update_object(*stale_, response, policy_, {sent_, now}, purge_sequence_);
    object = std::move(updated.object);
    if (updated.no_store) {
      if (cache_.disk != nullptr) cache_.disk->purge_url(stale_->url());
      cache_.index.remove(*stale_);
    } else if (!doomed()) {
      keep(object, true);
    }
  }
  bool shareable = object->freshness().fresh(now.boot);
  end(shareable ? BootTime{} : now.boot + kAloneFor);
  AnswerStatus s = answer_status(304);
  s.stored = object != stale_;
  cache_.answer(object, request_.view(), now, s, answer);
  add_withheld(response, answer);
  return Start::kServe;
}

Fill::Start CacheFill::on_response(const ResponseView& response, Now now, CacheAnswer& answer) {
  if (response.status == 304 && stale_ != nullptr && !completing()) {
    return validated(response, now, answer);
  }
  if (is_origin_failure(response.status) &&
      serve_stale(now, response.status, "origin-error", answer))
    return Start::kServe;
  if (slicing_ && (response.status == 206 || response.status == 416))
    return on_slice(response, now, answer);

  ResponseDirectives directives = response_directives(response.fields);
  Freshness freshness = freshness_of(response, directives, policy_, {sent_, now});
  StoreVerdict verdict = may_store(request_.view(), response, directives, freshness, policy_);
  if (request_.view().method == Method::kPost) {
    cache_.invalidate(request_.view(), policy_, response, now.boot);
  }
  if (completing() && response.status == 206) {
    auto range = parse_content_range(find_field(response.fields, "content-range"));
    if (verdict != StoreVerdict::kStored || !range || !continue_partial(response, *range)) {
      // We asked for exactly the rest of exactly that representation; now for what the client
      // wants.
      cache_.index.remove(*stale_);
      stale_.reset();
      write_request_lines();
      return Start::kAgain;
    }
    return begin_store(response, directives, freshness, now, answer);
  }
  if (verdict != StoreVerdict::kStored || (pending_ != nullptr && pending_->doomed)) {
    done_ = true;
    end(now.boot + (is_origin_failure(response.status) ? kOriginRetry : kAloneFor));
    AnswerStatus status = answer_status(response.status);
    status.detail = verdict == StoreVerdict::kStored ? "purged" : edge::name(verdict);
    answer.added_size = 0;
    add_cache_status(answer, status);
    return Start::kPass;
  }
  return begin_store(response, directives, freshness, now, answer);
}

// Fields that no later request may be served are still meant for the one that was answered with
// them.
void CacheFill::add_withheld(const ResponseView& response, CacheAnswer& answer) const {
  ResponseDirectives directives = response_directives(response.fields);
  FieldFilter filter(response.fields, directives, policy_);
  std::string lines;
  for (const Field& f : response.fields) {
    if (filter.withholds(f.name)) lines.append(f.name).append(": ").append(f.value).append("\r\n");
  }
  if (!lines.empty()) add_lines(answer, lines);
}

// The new bytes must follow the stored ones of the same representation (RFC 9111 §3.4).
bool CacheFill::continue_partial(const ResponseView& response, const ContentRange& range) {
  if (find_field(response.fields, "etag") != stale_->etag() || range.first != stale_->size() ||
      range.complete != stale_->complete_length() || range.last + 1 != range.complete) {
    return false;
  }
  std::string bytes(stale_->size(), '\0');
  if (!stale_->copy_body(0, bytes.size(), bytes.data())) return false;
  if (!cache_.index.reserve(range.complete)) return false;
  reserved_ = range.complete;
  content_ = std::make_shared<Content>(range.complete);
  content_->append(bytes);
  return true;
}

// The answer to a range that the client did not ask for: the first of many slices, or the whole in
// one. Whatever else it is cannot be given to the client, so the origin is asked again, for what
// the client wants.
Fill::Start CacheFill::on_slice(const ResponseView& response, Now now, CacheAnswer& answer) {
  const bool wanted = std::exchange(slicing_, false) && response.status == 206 &&
                      !(pending_ != nullptr && pending_->doomed) &&
                      is_slice(response, slice_, policy_.slice_bytes);
  ResponseDirectives directives = response_directives(response.fields);
  Freshness freshness = freshness_of(response, directives, policy_, {sent_, now});
  if (!wanted || may_store(request_.view(), response, directives, freshness, policy_) !=
                     StoreVerdict::kStored) {
    write_request_lines();
    return Start::kAgain;
  }
  const auto range = parse_content_range(find_field(response.fields, "content-range"));
  if (range->size() == range->complete) {  // it fits into one: an object like others
    std::vector<Field> fields(response.fields.begin(), response.fields.end());
    std::erase_if(fields, [](const Field& f) { return same_name(f.name, "content-range"); });
    return begin_store({200, fields, range->complete, true}, directives, freshness, now, answer);
  }
  FieldFilter filter(response.fields, directives, policy_);
  describe(response);
  status_ = 200;
  freshness_ = freshness;
  stored_at_ = now.boot;
  complete_ = range->complete;
  stored_lines_ =
      without_line(stored_lines(response, filter, std::nullopt, now.wall), "content-range");
  StoredObject::Parts p = parts();
  p.slice_bytes = static_cast<std::uint32_t>(policy_.slice_bytes);
  p.generation = new_generation();
  auto manifest = std::make_shared<StoredObject>(p);
  keep(manifest);
  cache_.counts.stored.fetch_add(1, std::memory_order_relaxed);
  slice_store_ = std::make_unique<SliceStore>(cache_, manifest, slice_, now.boot);
  done_ = true;  // as far as the manifest goes
  AnswerStatus s = answer_status(response.status);
  s.stored = true;
  cache_.answer(manifest, request_.view(), now, s, answer, slice_store_->growing());
  add_withheld(response, answer);
  end(freshness.fresh(now.boot) ? BootTime{} : now.boot + kAloneFor);
  return Start::kStore;
}

// What later requests are matched with.
void CacheFill::describe(const ResponseView& response) {
  std::vector<Field> named(response.fields.begin(), response.fields.end());
  if (response.status == 206 && !is_cut_as_said(response)) named.push_back({"vary", "range"});
  vary_ = vary_names(named);
  append_variant(vary_, request_.view().fields, variant_);
  for (std::string_view t : tags_of(response.fields, kTagsPerObject)) tags_.push_back(hash_tag(t));
}

Fill::Start CacheFill::begin_store(const ResponseView& response,
                                   const ResponseDirectives& directives, const Freshness& freshness,
                                   Now now, CacheAnswer& answer) {
  FieldFilter filter(response.fields, directives, policy_);
  status_ = response.status;
  freshness_ = freshness;
  stored_at_ = now.boot;
  const bool cut = response.status != 206 || is_cut_as_said(response);
  describe(response);
  expected_ = response.has_body ? response.content_length : std::optional<std::uint64_t>(0);
  std::optional<std::uint64_t> line_length = expected_;
  if (completing()) {
    status_ = 200;
    expected_ = line_length = stale_->complete_length();
  } else if (response.status == 206 && cut) {
    auto range = parse_content_range(find_field(response.fields, "content-range"));
    first_ = range->first;
    complete_ = range->complete;
    expected_ = range->size();
    line_length = std::nullopt;
  } else if (response.status == 204) {
    line_length = std::nullopt;  // RFC 9110 §8.6
  }
  stored_lines_ = stored_lines(response, filter, line_length, now.wall);
  if (complete_ != 0 || completing()) {
    stored_lines_ = without_line(stored_lines_, "content-range");
  }
  if (policy_.compress) {
    Encoder::announce(status_, stored_lines_, directives.no_transform, expected_);
  }

  if (content_ == nullptr) content_ = std::make_shared<Content>(expected_);
  storing_ = true;
  StoredObject::Parts p = parts();
  p.content = content_;
  p.expected = expected_.value_or(CacheAnswer::kUnknown);
  growing_ = std::make_shared<StoredObject>(p);
  // Others may read along if they could have had it as a hit.
  visible_ = freshness.fresh(now.boot) && complete_ == 0 && !(pending_ && pending_->doomed);
  if (visible_) cache_.index.insert(growing_);
  if (visible_ && doomed()) {  // just now, see keep()
    cache_.index.remove(*growing_);
    visible_ = false;
  }
  cache_.counts.stored.fetch_add(1, std::memory_order_relaxed);
  AnswerStatus s = answer_status(response.status);
  s.stored = true;
  cache_.answer(growing_, request_.view(), now, s, answer);
  add_withheld(response, answer);
  if (pending_ != nullptr) {
    cache_.collapse.release(pending_, visible_ ? BootTime{} : now.boot + kAloneFor);
  }
  return Start::kStore;
}

StoredObject::Parts CacheFill::parts() const {
  StoredObject::Parts p;
  p.status = status_;
  p.key_text = key_.text;
  p.url_size = key_.url_size;
  p.hash = key_.hash;
  p.vary = vary_;
  p.variant = variant_;
  p.lines = stored_lines_;
  p.tags = tags_;
  p.freshness = freshness_;
  p.first = first_;
  p.complete = complete_;
  p.purge_sequence = purge_sequence_;
  p.stored_at = stored_at_;
  p.from_post = request_.view().method == Method::kPost;
  return p;
}

// Who purges dooms first and removes then: either he finds what is stored here, or we see that we
// are doomed.
void CacheFill::keep(const ObjectPtr& object, bool validated) {
  cache_.store(object, validated);
  if (!doomed()) return;
  if (cache_.disk != nullptr) cache_.disk->purge_url(object->url());
  cache_.index.remove(*object);
}

void CacheFill::stop_storing() {
  if (!storing_) return;
  storing_ = false;
  if (visible_) cache_.index.remove(*growing_);
  if (reserved_ != 0) cache_.index.release(std::exchange(reserved_, 0));
}

Fill::More CacheFill::append(std::string_view bytes, Waiter waiter) {
  if (slice_store_ != nullptr) return slice_store_->append(bytes);
  LEEWARD_CHECK(content_ != nullptr);
  if (storing_) {
    std::uint64_t size = content_->size() + bytes.size();
    bool too_long = size > policy_.object_bytes_max || (expected_ && size > *expected_);
    // Reserved in steps, so that a body that trickles in does not run the eviction each time.
    if (!too_long && size > reserved_) {
      std::uint64_t step =
          std::max(size, std::min(expected_.value_or(reserved_ * 2), policy_.object_bytes_max)) -
          reserved_;
      if (cache_.index.reserve(step)) {
        reserved_ += step;
      } else {
        too_long = true;
      }
    }
    if (too_long) {
      stop_storing();
      content_->overflow();
    }
  }
  content_->append(bytes);
  if (storing_) return More::kGoOn;
  if (!content_->has_readers()) return More::kStop;
  return content_->must_pause(waiter) ? More::kPause : More::kGoOn;
}

void CacheFill::finish() {
  if (slice_store_ != nullptr) return slice_store_->finish();
  if (done_ || content_ == nullptr) return;
  if (expected_ && content_->size() != *expected_) {
    abort();
    return;
  }
  done_ = true;
  content_->finish();
  const bool wanted = storing_ && !doomed();
  bool had = visible_;
  if (reserved_ != 0) cache_.index.release(std::exchange(reserved_, 0));
  if (wanted) {
    StoredObject::Parts p = parts();
    std::string body;
    if (status_ != 204 && complete_ == 0 && !expected_) {
      stored_lines_ += "Content-Length: " + std::to_string(content_->size()) + "\r\n";
      p.lines = stored_lines_;
    }
    if (content_->size() <= StoredObject::kInlineBodyMax) {
      body.resize(content_->size());
      content_->copy(0, body.size(), body.data());
      p.inline_body = body;
    } else {
      p.content = content_;
    }
    keep(std::make_shared<StoredObject>(p));
  } else if (had && storing_) {
    cache_.index.remove(*growing_);
  }
  storing_ = false;
  end({});
}

void CacheFill::abort() {
  if (slice_store_ != nullptr) return slice_store_->abort();
  if (done_) return;
  done_ = true;
  stop_storing();
  if (content_ != nullptr) content_->abort();
  end({});
}

bool CacheFill::on_error(Now now, CacheAnswer& answer) {
  if (serve_stale(now, 0, "origin-unreachable", answer)) return true;
  done_ = true;
  end(now.boot + kOriginRetry);
  return false;
}

}  // namespace

std::unique_ptr<Fill> make_fill(HttpCache::Impl& cache, const RequestView& request,
                                const CachePolicy& policy, const CacheKey& key,
                                std::shared_ptr<PendingFill> pending, ObjectPtr stale,
                                BootTime now) {
  return std::make_unique<CacheFill>(cache, request, policy, key, std::move(pending),
                                     std::move(stale), now);
}

}  // namespace leeward::edge

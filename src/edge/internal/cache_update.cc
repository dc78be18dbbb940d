#include "edge/internal/cache_update.h"

#include <string>
#include <vector>

#include "base/check.h"
#include "edge/internal/cache_date.h"
#include "edge/internal/cache_encode.h"
#include "edge/internal/cache_impl.h"
#include "edge/internal/cache_vary.h"

namespace leeward::edge {

namespace {

class HeadFill final : public Fill {
 public:
  HeadFill(HttpCache::Impl& cache, const CachePolicy& policy, ObjectPtr stored, BootTime now)
      : cache_(cache),
        policy_(policy),
        stored_(std::move(stored)),
        sent_(now),
        purge_sequence_(cache.rules.sequence()) {}

  std::string_view request_lines() const override { return {}; }
  bool replaces_conditions() const override { return false; }
  Start on_response(const ResponseView& response, Now now, CacheAnswer& answer) override {
    if (response.status == 200) update(response, now);
    AnswerStatus s;
    s.cache_name = cache_.options.name;
    s.forward = "stale";
    s.forward_status = response.status;
    answer.added_size = 0;
    add_cache_status(answer, s);
    return Start::kPass;
  }
  More append(std::string_view, Waiter) override { return More::kStop; }
  void finish() override {}
  void abort() override {}
  bool on_error(Now, CacheAnswer&) override { return false; }

 private:
  void update(const ResponseView& response, Now now) {
    const bool same =
        validates(response, stored_->etag(), stored_->last_modified()) &&
        (!response.content_length || *response.content_length == stored_->complete_length());
    if (!same) {
      stored_->soft_purged = true;
      return;
    }
    UpdatedObject updated =
        update_object(*stored_, response, policy_, {sent_, now}, purge_sequence_);
    if (updated.no_store) {
      if (cache_.disk != nullptr) cache_.disk->purge_url(stored_->url());
      cache_.index.remove(*stored_);
    } else {
      cache_.store(updated.object, true, stored_.get());
    }
  }

  HttpCache::Impl& cache_;
  const CachePolicy policy_;
  const ObjectPtr stored_;
  const BootTime sent_;
  const std::uint64_t purge_sequence_;
};

}  // namespace

std::unique_ptr<Fill> make_head_fill(HttpCache::Impl& cache, const CachePolicy& policy,
                                     ObjectPtr stored, BootTime now) {
  return std::make_unique<HeadFill>(cache, policy, std::move(stored), now);
}

UpdatedObject update_object(const StoredObject& stored, const ResponseView& response,
                            const CachePolicy& policy, const FetchTimes& times,
                            std::uint64_t purge_sequence) {
  LEEWARD_CHECK(!stored.growing());
  // One without a Date was made when it came (RFC 9110 §6.6.1).
  std::vector<Field> given(response.fields.begin(), response.fields.end());
  const std::string date =
      format_http_date(std::chrono::floor<Seconds>(times.received.wall).time_since_epoch().count());
  if (find_field(given, "date").data() == nullptr) given.push_back({"Date", date});
  ResponseDirectives directives = response_directives(given);
  std::string lines = updated_lines(stored.lines(), {response.status, given, std::nullopt, false},
                                    FieldFilter(given, directives, policy));
  // Freshness is that of all lines together: what the update leaves out stays as it was.
  std::vector<Field> fields;
  for_each_line(lines, [&](std::string_view n, std::string_view v) { fields.push_back({n, v}); });
  ResponseView merged{stored.status(), fields, std::nullopt, true};
  directives = response_directives(fields);
  StoredObject::Parts p;
  p.freshness = freshness_of(merged, directives, policy, times);
  if (policy.compress) {
    Encoder::announce(stored.status(), lines, directives.no_transform, stored.size());
  }
  p.status = stored.status();
  p.key_text = stored.key_text();
  p.url_size = stored.url().size();
  p.hash = stored.hash();
  p.vary = stored.vary();
  p.variant = stored.variant();
  p.lines = lines;
  p.inline_body = stored.inline_body();
  p.content = stored.content();
  p.first = stored.first();
  p.complete = stored.partial() ? stored.complete_length() : 0;
  p.slice_bytes = stored.slice_bytes();
  p.generation = stored.generation();
  for (std::string_view t : tags_of(response.fields, kTagsPerObject)) p.tags.push_back(hash_tag(t));
  if (p.tags.empty()) p.tags = stored.tags();
  p.purge_sequence = purge_sequence;
  p.stored_at = times.received.boot;
  p.from_post = stored.from_post;
  // By a Vary that has changed nobody knows whom the stored body was for.
  const std::string vary = vary_names(response.fields);
  const bool varies_anew = !vary.empty() && vary != stored.vary();
  return {std::make_shared<StoredObject>(p),
          directives.no_store || directives.is_private || varies_anew};
}

}  // namespace leeward::edge

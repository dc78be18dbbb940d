#include "edge/cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "edge/internal/cache_impl.h"
#include "edge/internal/cache_range.h"
#include "edge/internal/cache_slices.h"
#include "edge/internal/cache_vary.h"
#include "edge/internal/proxy_fields.h"

namespace leeward::edge {

OwnedRequest::OwnedRequest(const RequestView& request) : view_(request) {
  std::size_t size = request.method_text.size() + request.scheme.size() + request.host.size() +
                     request.target.size();
  for (const Field& f : request.fields) size += f.name.size() + f.value.size();
  bytes_.reserve(size);  // so that no view is moved by a later append
  auto keep = [this](std::string_view text) {
    std::size_t at = bytes_.size();
    bytes_.append(text);
    return std::string_view(bytes_).substr(at, text.size());
  };
  view_.method_text = keep(request.method_text);
  view_.scheme = keep(request.scheme);
  view_.host = keep(request.host);
  view_.target = keep(request.target);
  fields_.reserve(request.fields.size());
  for (const Field& f : request.fields) fields_.push_back({keep(f.name), keep(f.value)});
  view_.fields = fields_;
}

namespace {

// One request's view of Vary: the request's values for each list of names that comes up, once.
class VariantMatch {
 public:
  explicit VariantMatch(Fields request) : request_(request) {}
  bool operator()(const StoredObject& o) {
    if (o.vary().empty()) return true;
    if (names_ != o.vary()) {
      names_ = o.vary();
      values_.clear();
      append_variant(names_, request_, values_);
    }
    if (o.variant() == values_)
      return !o.has_content_encoding() || accepts_other_codings(request_, o.content_encoding());
    if (o.vary() != "accept-language" || o.content_language().empty()) return false;
    std::string wanted = preferred_language(request_);
    return !wanted.empty() && same_name(wanted, o.content_language());
  }

 private:
  Fields request_;
  std::string names_, values_;
};

// A coded form is preferred in the order of what it saves; 0: not for this client.
int rank_coding(Coding coding, const Codings& accepted) {
  switch (coding) {
    case Coding::kNone:
      return 1;
    case Coding::kGzip:
      return accepted.gzip ? 2 : 0;
    case Coding::kZstd:
      return accepted.zstd ? 3 : 0;
    case Coding::kBrotli:
      return accepted.brotli ? 4 : 0;
  }
  return 0;
}

bool has_precondition(Fields fields) {  // those that only the origin can judge
  for (const Field& f : fields) {
    if (same_name(f.name, "if-match") || same_name(f.name, "if-unmodified-since")) return true;
  }
  return false;
}

bool has_validator(const StoredObject& o) {
  return !o.etag().empty() || !o.last_modified().empty();
}

}  // namespace

HttpCache::Impl::Impl(CacheOptions o) : options(std::move(o)), index(options.memory_bytes_max) {
  encoder = std::make_unique<Encoder>([this](const StoredObject& plain, ObjectPtr coded) {
    index.insert(std::move(coded), &plain);
  });
  if (options.disk_directory.empty()) return;
  auto opened = DiskTier::open(options.disk_directory, options.disk_bytes_max, options.logger);
  if (!opened) {
    options.logger.error("the cache's disk tier is off",
                         {{"directory", options.disk_directory}, {"why", opened.error().message}});
    return;
  }
  disk = std::move(*opened);
  disk->restore(rules);
}

ObjectPtr HttpCache::Impl::find(const RequestView& request, const CacheKey& key, BootTime now) {
  VariantMatch matches(request.fields);
  bool ranged = find_field(request.fields, "range").data() != nullptr;
  std::optional<Codings> codings;
  for (;;) {
    ObjectPtr o = index.find(key.hash, key.url(), [&](StoredObject& candidate) {
      if (candidate.extra() != key.extra() || !matches(candidate)) return 0;
      if (candidate.coding == Coding::kNone) return 1;
      // A coded form is never validated: when it is stale, the form that it was made of is.
      if (ranged || candidate.soft_purged || !candidate.freshness().fresh(now)) return 0;
      if (!codings) codings = accepted_codings(request.fields);
      return rank_coding(candidate.coding, *codings);
    });
    if (o == nullptr || rules.check(*o)) return o;
    index.remove(*o);
  }
}

void HttpCache::Impl::collapse_key(const RequestView& request, const CacheKey& key,
                                   std::string& out) {
  out = key.text;
  std::string names;
  index.for_url(key.hash, key.url(), [&](StoredObject& o) {
    if (names.empty() && o.extra() == key.extra()) names = o.vary();
  });
  if (!names.empty()) append_variant(names, request.fields, out);
  std::string_view range = find_field(request.fields, "range");
  if (!range.empty()) out.append("\x0b").append(range);
}

void HttpCache::Impl::invalidate(const RequestView& request, const CachePolicy& policy,
                                 const ResponseView& response, BootTime now) {
  for (const std::string& target : invalidated_urls(request, response)) {
    const std::string url = key_url(target, policy);
    const std::uint64_t hash = hash_url(url);
    collapse.doom(hash, url);
    if (disk != nullptr) disk->purge_url(url);
    // The response to this very POST may just have been stored.
    bool any = false;
    index.for_url(hash, url, [&](StoredObject& o) {
      any = any || !o.from_post || now - o.stored_at > Seconds{1};
    });
    if (any) index.remove_url(hash, url);
  }
}

void HttpCache::Impl::store(const ObjectPtr& object, bool validated, const StoredObject* beside) {
  if (!index.insert(object, beside) || disk == nullptr) return;
  // A large body that was only validated is not written again: after a restart its old head makes
  // it stale, and it is validated once more.
  if (!validated || object->size() <= DiskTier::kMemoryBodyMax) disk->write(object);
}

void HttpCache::Impl::answer(const ObjectPtr& object, const RequestView& request, Now now,
                             const AnswerStatus& status, CacheAnswer& answer,
                             const ObjectPtr& first) {
  make_answer(object, object->sliced() ? make_sliced_body(*this, object, first) : nullptr,
              request.method, request.fields, now, status, answer);
}

HttpCache::HttpCache(CacheOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
HttpCache::~HttpCache() = default;

namespace {

// The steps of one look-up, so that each fits on a screen.
class Lookup {
 public:
  Lookup(HttpCache::Impl& cache, const RequestView& request, const CachePolicy& policy, Now now,
         Waiter waiter, CacheDecision& decision)
      : cache_(cache),
        request_(request),
        policy_(policy),
        now_(now),
        waiter_(waiter),
        decision_(decision) {}

  void run() {
    decision_.kind = CacheDecision::Kind::kPass;
    decision_.fill.reset();
    bool post = request_.method == Method::kPost && policy_.store_post;
    if (request_.method != Method::kGet && request_.method != Method::kHead && !post) {
      return pass("fwd=method");
    }
    if (auto reason = bypass_reason(request_, policy_); !reason.empty()) return pass(reason);
    if (has_precondition(request_.fields)) return pass("fwd=bypass; detail=precondition");
    // What the origin is not told must choose nothing here.
    if (hides_fields(request_.fields)) return pass("fwd=bypass; detail=connection");
    // No key holds a body, and some origins look at it (RFC 9110 §9.3.1).
    if (request_.has_body && !post) return pass("fwd=bypass; detail=body");
    thread_local CacheKey key;  // its memory is reused from one request to the next
    make_key(request_, policy_, key);
    if (post) {
      decision_.kind = CacheDecision::Kind::kFetch;
      decision_.fill = make_fill(cache_, request_, policy_, key, nullptr, nullptr, now_.boot);
      return;
    }
    if (policy_.honour_request_directives) asked_ = request_directives(request_.fields);
    ObjectPtr object = cache_.find(request_, key, now_.boot);
    if (object == nullptr && cache_.disk != nullptr && load_from_disk(key)) return;
    if (object != nullptr && serve_stored(object, key)) return;
    // What a request makes us validate is the form that the origin knows.
    if (object != nullptr && object->coding != Coding::kNone) object = object->plain.lock();
    fetch(object, key);
  }

 private:
  void pass(std::string_view reason) {
    decision_.pass_reason = reason;
    cache_.counts.passes.fetch_add(1, std::memory_order_relaxed);
  }

  // True: something of this URL lies on disk and is being read; look again when woken.
  bool load_from_disk(const CacheKey& key) {
    bool loading = cache_.disk->load(key.url(), waiter_, now_, [cache = &cache_](ObjectPtr loaded) {
      cache->counts.disk_loads.fetch_add(1, std::memory_order_relaxed);
      if (cache->rules.check(*loaded)) cache->index.insert(std::move(loaded));
    });
    if (loading) decision_.kind = CacheDecision::Kind::kWait;
    return loading;
  }

  AnswerStatus hit(std::string_view detail = {}) const {
    AnswerStatus s;
    s.cache_name = cache_.options.name;
    s.hit = true;
    s.detail = detail;
    return s;
  }

  void serve(const ObjectPtr& object, std::string_view detail = {}) {
    decision_.kind = CacheDecision::Kind::kServe;
    cache_.answer(object, request_, now_, hit(detail), decision_.answer);
    cache_.counts.hits.fetch_add(1, std::memory_order_relaxed);
    if (!detail.empty()) cache_.counts.stale_hits.fetch_add(1, std::memory_order_relaxed);
    if (policy_.compress) cache_.encoder->offer(object, request_.fields);
  }

  bool serve_stored(const ObjectPtr& object, const CacheKey& key) {
    if (!covers(*object, request_.method, request_.fields)) return false;
    Freshness f = object->freshness();
    if (object->soft_purged.load(std::memory_order_relaxed)) {
      f.lifetime = std::min(f.lifetime, f.age(now_.boot));
    }
    Reuse reuse = may_reuse(f, asked_, now_.boot);
    if (reuse == Reuse::kFresh) {
      serve(object);
      return true;
    }
    if (object->retry_origin_at.load(std::memory_order_relaxed) >
            now_.boot.time_since_epoch().count() &&
        may_serve_stale_on_error(f, now_.boot)) {
      serve(object, "origin-backoff");
      return true;
    }
    if (reuse != Reuse::kStaleWhileRevalidate || object->growing()) return false;
    serve(object, "stale-while-revalidate");
    std::shared_ptr<PendingFill> pending;
    if (join(key, false, pending) != CollapseTable::Role::kWait) {
      decision_.fill = validating_fill(object, key, std::move(pending));
    }
    return true;
  }

  CollapseTable::Role join(const CacheKey& key, bool may_wait,
                           std::shared_ptr<PendingFill>& pending) {
    thread_local std::string collapse_key;
    cache_.collapse_key(request_, key, collapse_key);
    return cache_.collapse.join(collapse_key, key.url(), key.hash, waiter_, may_wait, now_.boot,
                                pending);
  }

  std::unique_ptr<Fill> validating_fill(const ObjectPtr& object, const CacheKey& key,
                                        std::shared_ptr<PendingFill> pending) {
    cache_.counts.validations.fetch_add(1, std::memory_order_relaxed);
    return make_fill(cache_, request_, policy_, key, std::move(pending), object, now_.boot);
  }

  void fetch(const ObjectPtr& object, const CacheKey& key) {
    if (asked_.only_if_cached) {  // RFC 9111 §5.2.1.7
      decision_.kind = CacheDecision::Kind::kServe;
      AnswerStatus s;
      s.cache_name = cache_.options.name;
      s.detail = "only-if-cached";
      return make_plain_answer(504, s, decision_.answer);
    }
    if (request_.method == Method::kHead) {
      if (object == nullptr || object->growing()) return pass("fwd=miss");
      decision_.kind = CacheDecision::Kind::kFetch;
      decision_.fill = make_head_fill(cache_, policy_, object, now_.boot);
      cache_.counts.passes.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    std::shared_ptr<PendingFill> pending;
    if (join(key, true, pending) == CollapseTable::Role::kWait) {
      decision_.kind = CacheDecision::Kind::kWait;
      cache_.counts.waits.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    // Another loop may have stored it between our look and now.
    if (ObjectPtr now_here = object == nullptr ? cache_.find(request_, key, now_.boot) : nullptr;
        now_here != nullptr && serve_stored(now_here, key)) {
      cache_.collapse.give_back(pending);
      return;
    }
    decision_.kind = CacheDecision::Kind::kFetch;
    cache_.counts.misses.fetch_add(1, std::memory_order_relaxed);
    decision_.fill = usable_for_fetch(object) ? validating_fill(object, key, std::move(pending))
                                              : make_fill(cache_, request_, policy_, key,
                                                          std::move(pending), nullptr, now_.boot);
  }

  // Whether what is stored helps the fetch: to be validated, to be completed, or as a last resort.
  bool usable_for_fetch(const ObjectPtr& object) const {
    if (object == nullptr || object->growing()) return false;
    if (!object->partial() || object->sliced()) {
      return covers(*object, request_.method, request_.fields) &&
             (has_validator(*object) || !object->freshness().no_stale);
    }
    bool ranged = find_field(request_.fields, "range").data() != nullptr;
    return !ranged && object->first() == 0 && object->etag().starts_with('"') &&
           object->freshness().fresh(now_.boot);
  }

  HttpCache::Impl& cache_;
  const RequestView& request_;
  const CachePolicy& policy_;
  const Now now_;
  const Waiter waiter_;
  CacheDecision& decision_;
  RequestDirectives asked_;
};

}  // namespace

std::string_view HttpCache::name() const { return impl_->options.name; }

void HttpCache::lookup(const RequestView& request, const CachePolicy& policy, Now now,
                       Waiter waiter, CacheDecision& decision) {
  Lookup(*impl_, request, policy, now, waiter, decision).run();
}

void HttpCache::passed(const RequestView& request, const CachePolicy& policy,
                       const ResponseView& response, Now now) {
  impl_->invalidate(request, policy, response, now.boot);
}

Result<std::uint64_t> HttpCache::purge(const PurgeRequest& request) {
  if (request.text.empty() && request.kind != PurgeRequest::Kind::kAll) {
    return fail(Code::kInvalid, "purge: the URL, prefix or key is empty; give one, or purge all");
  }
  if (impl_->rules.full()) {
    std::uint64_t up_to = impl_->rules.sequence();
    impl_->index.sweep([this](StoredObject& o) { return !impl_->rules.check(o); });
    impl_->rules.compact(up_to);
  }
  PurgeKind kind = request.soft ? PurgeKind::kSoft : PurgeKind::kHard;
  switch (request.kind) {
    case PurgeRequest::Kind::kTag: {
      std::uint64_t tag = hash_tag(request.text);
      std::uint64_t number = impl_->rules.add_tag(tag, kind);
      if (impl_->disk != nullptr) impl_->disk->purge_tag(tag, number, kind);
      return std::uint64_t{0};
    }
    case PurgeRequest::Kind::kPrefix:
    case PurgeRequest::Kind::kAll: {
      std::string prefix =
          request.kind == PurgeRequest::Kind::kAll ? std::string() : url_of_text(request.text);
      std::uint64_t number = impl_->rules.add_prefix(prefix, kind);
      if (impl_->disk != nullptr) impl_->disk->purge_prefix(prefix, number, kind);
      return std::uint64_t{0};
    }
    case PurgeRequest::Kind::kUrl:
      break;
  }
  std::string url = url_of_text(request.text);
  std::uint64_t hash = hash_url(url);
  impl_->collapse.doom(hash, url);
  // On disk also a soft purge is a hard one: there is no stale answer after a restart then.
  if (impl_->disk != nullptr) impl_->disk->purge_url(url);
  if (!request.soft) return std::uint64_t{impl_->index.remove_url(hash, url)};
  std::uint64_t count = 0;
  impl_->index.for_url(hash, url, [&](StoredObject& o) {
    o.soft_purged = true;
    ++count;
  });
  return count;
}

std::string HttpCache::explain(const RequestView& request, const CachePolicy& policy, Now now) {
  CacheKey key;
  make_key(request, policy, key);
  std::string out = fmt::format("key: {}\n", key.url());
  if (auto reason = bypass_reason(request, policy); !reason.empty()) {
    return out + fmt::format("decision: pass ({})\n", reason);
  }
  if (request.method != Method::kGet && request.method != Method::kHead) {
    return out + "decision: pass (method)\n";
  }
  ObjectPtr o = impl_->find(request, key, now.boot);
  if (o == nullptr) return out + "stored: no\ndecision: fetch (miss)\n";
  const Freshness& f = o->freshness();
  out +=
      fmt::format("stored: status {}, {} bytes{}, age {} s, lifetime {} s{}{}{}\n", o->status(),
                  o->sliced() ? o->complete_length() : o->size(),
                  o->sliced()    ? fmt::format(" in slices of {}", o->slice_bytes())
                  : o->partial() ? " (partial)"
                                 : "",
                  std::chrono::floor<Seconds>(f.age(now.boot)).count(),
                  std::chrono::floor<Seconds>(f.lifetime).count(), f.no_cache ? ", no-cache" : "",
                  f.no_stale ? ", never stale" : "", o->soft_purged ? ", soft-purged" : "");
  if (!o->vary().empty()) out += fmt::format("vary: {}\n", o->vary());
  RequestDirectives asked;
  if (policy.honour_request_directives) asked = request_directives(request.fields);
  Reuse reuse = o->soft_purged ? Reuse::kValidate : may_reuse(f, asked, now.boot);
  bool covered = covers(*o, request.method, request.fields);
  out += fmt::format("decision: {}\n", !covered                 ? "fetch (partial)"
                                       : reuse == Reuse::kFresh ? "serve (fresh)"
                                       : reuse == Reuse::kStaleWhileRevalidate
                                           ? "serve stale, validate behind it"
                                           : "validate at the origin");
  return out;
}

CacheStats HttpCache::stats() const {
  CacheIndex::Stats index = impl_->index.stats();
  CacheStats s;
  s.objects = index.objects;
  s.bytes = index.bytes;
  s.evicted = index.evicted;
  auto get = [](const std::atomic<std::uint64_t>& n) { return n.load(std::memory_order_relaxed); };
  s.hits = get(impl_->counts.hits);
  s.stale_hits = get(impl_->counts.stale_hits);
  s.misses = get(impl_->counts.misses);
  s.validations = get(impl_->counts.validations);
  s.waits = get(impl_->counts.waits);
  s.passes = get(impl_->counts.passes);
  s.stored = get(impl_->counts.stored);
  s.disk_loads = get(impl_->counts.disk_loads);
  if (impl_->disk != nullptr) {
    DiskTier::Stats disk = impl_->disk->stats();
    s.disk_objects = disk.objects;
    s.disk_bytes = disk.bytes;
  }
  return s;
}

void HttpCache::release_disk() {
  if (impl_->disk != nullptr) impl_->disk->release();
}

void HttpCache::flush_disk() {
  if (impl_->disk != nullptr) impl_->disk->flush();
}

}  // namespace leeward::edge

#include "edge/internal/cache_purge.h"

#include <algorithm>
#include <mutex>

#include "base/check.h"

namespace leeward::edge {

std::uint64_t hash_tag(std::string_view tag) { return hash_bytes(tag, 0x6c65657761726474); }

bool PurgeRules::full() const {
  std::shared_lock lock(mutex_);
  return tags_.size() >= kTagsMax || prefixes_.size() >= kPrefixesMax;
}

void PurgeRules::set_tag(std::uint64_t number, std::uint64_t tag, PurgeKind kind) {
  Rule& rule = tags_[tag];
  (kind == PurgeKind::kHard ? rule.hard : rule.soft) = number;
}

void PurgeRules::set_prefix(std::uint64_t number, std::string_view url_prefix, PurgeKind kind) {
  auto same = std::find_if(prefixes_.begin(), prefixes_.end(),
                           [&](const Prefix& p) { return p.kind == kind && p.text == url_prefix; });
  if (same != prefixes_.end()) {
    same->number = number;
  } else {
    prefixes_.push_back({std::string(url_prefix), number, kind});
  }
}

std::uint64_t PurgeRules::add_tag(std::uint64_t tag, PurgeKind kind) {
  std::unique_lock lock(mutex_);
  std::uint64_t number = sequence_.load(std::memory_order_relaxed) + 1;
  set_tag(number, tag, kind);
  sequence_.store(number, std::memory_order_release);
  return number;
}

std::uint64_t PurgeRules::add_prefix(std::string_view url_prefix, PurgeKind kind) {
  std::unique_lock lock(mutex_);
  std::uint64_t number = sequence_.load(std::memory_order_relaxed) + 1;
  set_prefix(number, url_prefix, kind);
  sequence_.store(number, std::memory_order_release);
  return number;
}

void PurgeRules::restore_tag(std::uint64_t number, std::uint64_t tag, PurgeKind kind) {
  std::unique_lock lock(mutex_);
  if (tags_.size() < kTagsMax || tags_.contains(tag))
    set_tag(number, tag, kind);
  else
    floor_ = std::max(floor_, number);  // no room to say more than that what is older is gone
}

void PurgeRules::restore_prefix(std::uint64_t number, std::string_view url_prefix, PurgeKind kind) {
  std::unique_lock lock(mutex_);
  set_prefix(number, url_prefix, kind);
}

void PurgeRules::restore_sequence(std::uint64_t newest) {
  std::unique_lock lock(mutex_);
  sequence_.store(std::max(sequence_.load(std::memory_order_relaxed), newest),
                  std::memory_order_release);
}

bool PurgeRules::check_rules(StoredObject& object, std::uint64_t now) const {
  std::uint64_t since = object.purges_seen.load(std::memory_order_relaxed);
  std::shared_lock lock(mutex_);
  if (since < floor_) return false;
  bool soft = false;
  for (std::size_t i = 0; i < object.tag_count() && !tags_.empty(); ++i) {
    auto rule = tags_.find(object.tag(i));
    if (rule == tags_.end()) continue;
    if (rule->second.hard > since) return false;
    soft |= rule->second.soft > since;
  }
  for (const Prefix& p : prefixes_) {
    if (p.number <= since || !object.url().starts_with(p.text)) continue;
    if (p.kind == PurgeKind::kHard) return false;
    soft = true;
  }
  if (soft) object.soft_purged.store(true, std::memory_order_relaxed);
  // `now` was read before the lock: a rule that came in between is looked at again next time.
  object.purges_seen.store(now, std::memory_order_relaxed);
  return true;
}

void PurgeRules::compact(std::uint64_t up_to) {
  std::unique_lock lock(mutex_);
  LEEWARD_CHECK(up_to <= sequence_.load(std::memory_order_relaxed));
  std::erase_if(tags_,
                [&](const auto& t) { return t.second.hard <= up_to && t.second.soft <= up_to; });
  std::erase_if(prefixes_, [&](const Prefix& p) { return p.number <= up_to; });
  floor_ = up_to;
}

}  // namespace leeward::edge

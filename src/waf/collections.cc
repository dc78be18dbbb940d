#include "waf/collections.h"

#include <algorithm>
#include <charconv>
#include <functional>

namespace leeward::waf {

std::string Collections::full_key(Kind kind, std::string_view key) {
  std::string full(1, static_cast<char>('a' + static_cast<int>(kind)));
  full += key.substr(0, kValueMax);
  return full;
}

Collections::Shard& Collections::shard_of(const std::string& key) {
  return shards_[std::hash<std::string_view>()(key) % kShards];
}

Collections::Record* Collections::find(Shard& shard, const std::string& key, Time now) {
  const auto found = shard.by_key.find(key);
  if (found == shard.by_key.end()) return nullptr;
  if (found->second->written + timeout_ > now) return &*found->second;
  const auto record = found->second;
  shard.by_key.erase(found);
  shard.records.erase(record);
  return nullptr;
}

Collections::Record& Collections::find_or_make(Shard& shard, const std::string& key, Time now) {
  if (find(shard, key, now) != nullptr) {
    shard.records.splice(shard.records.begin(), shard.records, shard.by_key.find(key)->second);
  } else {
    if (!shard.records.empty() && shard.records.size() >= records_max_) {
      shard.by_key.erase(shard.records.back().key);
      shard.records.pop_back();
    }
    shard.records.push_front(Record{.key = key, .written = now, .values = {}});
    shard.by_key.emplace(shard.records.front().key, shard.records.begin());
  }
  shard.records.front().written = now;
  return shard.records.front();
}

Collections::Value* Collections::value_of(Record& record, std::string_view name, Time now) {
  name = name.substr(0, kNameMax);
  std::erase_if(record.values, [&](const Value& value) { return value.ends <= now; });
  for (Value& value : record.values)
    if (value.name == name) return &value;
  return nullptr;
}

Collections::Value* Collections::value_to_set(Record& record, std::string_view name, Time now) {
  if (Value* value = value_of(record, name, now)) return value;
  if (record.values.size() >= kNamesMax) return nullptr;
  record.values.push_back({.name = std::string(name.substr(0, kNameMax)), .text = {}});
  return &record.values.back();
}

std::optional<std::string> Collections::get(Kind kind, std::string_view key, std::string_view name,
                                            Time now) {
  const std::string full = full_key(kind, key);
  Shard& shard = shard_of(full);
  std::lock_guard lock(shard.mutex);
  Record* record = find(shard, full, now);
  if (record == nullptr) return std::nullopt;
  const Value* value = value_of(*record, name, now);
  return value == nullptr ? std::nullopt : std::optional(value->text);
}

Collections::Values Collections::all(Kind kind, std::string_view key, Time now) {
  const std::string full = full_key(kind, key);
  Shard& shard = shard_of(full);
  std::lock_guard lock(shard.mutex);
  Values values;
  if (const Record* record = find(shard, full, now))
    for (const Value& value : record->values)
      if (value.ends > now) values.emplace_back(value.name, value.text);
  return values;
}

void Collections::set(Kind kind, std::string_view key, std::string_view name, std::string_view text,
                      Time now) {
  const std::string full = full_key(kind, key);
  Shard& shard = shard_of(full);
  std::lock_guard lock(shard.mutex);
  if (Value* value = value_to_set(find_or_make(shard, full, now), name, now))
    value->text = text.substr(0, kValueMax);
}

void Collections::add(Kind kind, std::string_view key, std::string_view name, std::int64_t delta,
                      Time now) {
  const std::string full = full_key(kind, key);
  Shard& shard = shard_of(full);
  std::lock_guard lock(shard.mutex);
  Value* value = value_to_set(find_or_make(shard, full, now), name, now);
  if (value == nullptr) return;
  std::int64_t sum = 0;
  std::from_chars(value->text.data(), value->text.data() + value->text.size(), sum);
  if (__builtin_add_overflow(sum, delta, &sum)) return;  // stays at what it can hold
  value->text = std::to_string(sum);
}

void Collections::unset(Kind kind, std::string_view key, std::string_view name, Time now) {
  const std::string full = full_key(kind, key);
  Shard& shard = shard_of(full);
  std::lock_guard lock(shard.mutex);
  if (Record* record = find(shard, full, now))
    std::erase_if(record->values,
                  [&](const Value& value) { return value.name == name.substr(0, kNameMax); });
}

void Collections::expire(Kind kind, std::string_view key, std::string_view name, Time at,
                         Time now) {
  const std::string full = full_key(kind, key);
  Shard& shard = shard_of(full);
  std::lock_guard lock(shard.mutex);
  if (Record* record = find(shard, full, now))
    if (Value* value = value_of(*record, name, now)) value->ends = at;
}

std::size_t Collections::records() const {
  std::size_t count = 0;
  for (const Shard& shard : shards_) {
    std::lock_guard lock(shard.mutex);
    count += shard.records.size();
  }
  return count;
}

}  // namespace leeward::waf

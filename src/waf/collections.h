// What rules remember between requests: the collections ip, global, resource, session and user,
// each a set of records (one an address, a session, …) of named values.
//
// Threading: any thread at any time. Adding to a counter is one step: no count is lost.
// Bounds: kRecordsMax records, of which the one longest not written goes when another is needed;
// kNamesMax names in a record, further ones are not kept; kNameMax and kValueMax bytes, the rest
// is cut off. A record ends when it was not written for `timeout` (SecCollectionTimeout), a value
// when expirevar says so. Nothing is kept on disk.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace leeward::waf {

class Collections {
 public:
  enum class Kind : std::uint8_t { kIp, kGlobal, kResource, kSession, kUser };
  using Time = std::chrono::steady_clock::time_point;
  using Values = std::vector<std::pair<std::string, std::string>>;

  static constexpr std::size_t kRecordsMax = 200'000;
  static constexpr std::size_t kNamesMax = 64;
  static constexpr std::size_t kNameMax = 128;
  static constexpr std::size_t kValueMax = 1024;

  explicit Collections(std::chrono::seconds timeout = std::chrono::hours(1),
                       std::size_t records_max = kRecordsMax)
      : timeout_(timeout), records_max_(records_max / kShards) {}

  // Names in lower case, everywhere.
  std::optional<std::string> get(Kind kind, std::string_view key, std::string_view name, Time now);
  Values all(Kind kind, std::string_view key, Time now);
  void set(Kind kind, std::string_view key, std::string_view name, std::string_view value,
           Time now);
  void add(Kind kind, std::string_view key, std::string_view name, std::int64_t delta, Time now);
  void unset(Kind kind, std::string_view key, std::string_view name, Time now);
  // The value is gone from `at` on; nothing when there is no such value.
  void expire(Kind kind, std::string_view key, std::string_view name, Time at, Time now);
  std::size_t records() const;

 private:
  static constexpr std::size_t kShards = 16;
  struct Value {
    std::string name, text;
    Time ends = Time::max();
  };
  struct Record {
    std::string key;  // with the kind before it
    Time written;
    std::vector<Value> values;
  };
  struct Shard {
    mutable std::mutex mutex;
    std::list<Record> records;  // the one written last is first
    std::unordered_map<std::string_view, std::list<Record>::iterator> by_key;
  };

  static std::string full_key(Kind kind, std::string_view key);
  Shard& shard_of(const std::string& key);
  // Under the shard's lock. find: null when there is none or it has ended.
  Record* find(Shard& shard, const std::string& key, Time now);
  Record& find_or_make(Shard& shard, const std::string& key, Time now);
  static Value* value_of(Record& record, std::string_view name, Time now);
  static Value* value_to_set(Record& record, std::string_view name, Time now);

  std::chrono::seconds timeout_;
  std::size_t records_max_;  // of a shard
  std::array<Shard, kShards> shards_;
};

}  // namespace leeward::waf

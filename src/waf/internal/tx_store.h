// The collection TX of one transaction: named texts, names without regard to case. Found by hash,
// walked in the order in which they came. Texts are the arena's. One thread.
//
// Each has its origin: the variable of the request that its text was taken from ("ARGS:password"),
// so that what is secret there is secret here; empty when rules have made it up.
// Bound: kNamesMax names; further ones are not kept, and full() says so.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "waf/internal/words.h"

namespace leeward::waf {

class TxStore {
 public:
  static constexpr std::size_t kNamesMax = 20'000;
  struct Entry {
    std::uint32_t hash;
    bool set;
    std::string_view name, text, origin;
  };

  TxStore() : table_(1024, 0) {}

  void reset() {
    if (entries_.empty()) return;
    if (table_.size() > 4096) table_.resize(1024);
    std::fill(table_.begin(), table_.end(), 0);
    entries_.clear();
    full_ = false;
  }

  // `hash`: hash_ignoring_case(name), which rules know of the names in them. Null when it is not
  // there.
  const std::string_view* get(std::string_view name) const {
    return get(name, hash_ignoring_case(name));
  }
  const std::string_view* get(std::string_view name, std::uint32_t hash) const {
    const Entry* entry = find(name, hash);
    return entry != nullptr && entry->set ? &entry->text : nullptr;
  }
  // Empty too when there is no such text.
  std::string_view origin(std::string_view name, std::uint32_t hash) const {
    const Entry* entry = find(name, hash);
    return entry != nullptr && entry->set ? entry->origin : std::string_view();
  }
  // `name`, `text` and `origin` must live as long as the transaction.
  void set(std::string_view name, std::string_view text, std::string_view origin = {}) {
    set(name, hash_ignoring_case(name), text, origin);
  }
  void set(std::string_view name, std::uint32_t hash, std::string_view text,
           std::string_view origin = {}) {
    if (Entry* entry = const_cast<Entry*>(find(name, hash))) {
      entry->set = true;
      entry->text = text;
      entry->origin = origin;
      return;
    }
    if (entries_.size() >= kNamesMax) {
      full_ = true;
      return;
    }
    if (entries_.size() * 2 >= table_.size()) grow();
    entries_.push_back({hash, true, name, text, origin});
    insert(hash, static_cast<std::uint32_t>(entries_.size()));
  }
  void unset(std::string_view name) {
    if (Entry* entry = const_cast<Entry*>(find(name, hash_ignoring_case(name)))) entry->set = false;
  }
  const std::vector<Entry>& entries() const { return entries_; }
  bool full() const { return full_; }

 private:
  const Entry* find(std::string_view name, std::uint32_t hash) const {
    const std::size_t mask = table_.size() - 1;
    for (std::size_t at = hash & mask; table_[at] != 0; at = (at + 1) & mask) {
      const Entry& entry = entries_[table_[at] - 1];
      if (entry.hash == hash && (entry.name == name || same_ignoring_case(entry.name, name)))
        return &entry;
    }
    return nullptr;
  }
  void insert(std::uint32_t hash, std::uint32_t number) {
    const std::size_t mask = table_.size() - 1;
    std::size_t at = hash & mask;
    while (table_[at] != 0) at = (at + 1) & mask;
    table_[at] = number;
  }
  void grow() {
    table_.assign(table_.size() * 2, 0);
    for (std::size_t i = 0; i < entries_.size(); ++i)
      insert(entries_[i].hash, static_cast<std::uint32_t>(i + 1));
  }

  std::vector<Entry> entries_;
  std::vector<std::uint32_t> table_;  // number of the entry from 1; 0: free
  bool full_ = false;
};

}  // namespace leeward::waf

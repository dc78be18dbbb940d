#include "replication/internal/write_set.h"

#include <algorithm>
#include <cstring>

namespace leeward::replication::internal {
namespace {

// wyhash's mixing step: good avalanche for short keys at a few cycles each.
std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  __uint128_t product =
      static_cast<__uint128_t>(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xe7037ed1a0b428dbu);
  return static_cast<std::uint64_t>(product >> 64) ^ static_cast<std::uint64_t>(product);
}

std::uint64_t hash(std::uint64_t seed, std::string_view bytes) {
  std::uint64_t value = mix(seed, bytes.size());
  while (bytes.size() >= 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data(), 8);
    value = mix(value, word);
    bytes.remove_prefix(8);
  }
  std::uint64_t word = 0;
  std::memcpy(&word, bytes.data(), bytes.size());
  return mix(value, word);
}

}  // namespace

void add_image(WriteSet& set, const RoutedTable& table, const mysql::RowImage& image) {
  if (table.keys.empty()) {
    std::uint64_t schema = hash(0, table.route.schema);
    set.writes.push_back(hash(schema, table.route.table));
  }
  for (const KeyColumns& key : table.keys) {
    std::uint64_t value = key.seed;
    bool whole = true;
    for (std::size_t column : key.columns) {
      // NULL is unique, and refers to nothing.
      whole = column < image.columns.size() && image.columns[column].present &&
              !image.columns[column].null;
      if (!whole) break;
      value = hash(value, image.columns[column].bytes);
    }
    if (whole) (key.reads ? set.reads : set.writes).push_back(value);
  }
}

std::uint64_t DependencyTracker::add(const WriteSet& set, std::uint64_t batch) {
  if (touched_.size() + set.size() > kEntriesMax) prune(batch);
  std::uint64_t newest = floor_ < batch ? floor_ : 0;
  auto note = [&](std::uint64_t other) {
    if (other < batch) newest = std::max(newest, other);
  };
  for (std::uint64_t key : set.writes) {
    Touched& touched = touched_[key];
    note(touched.writer);
    note(touched.reader);
    touched.writer = batch;
  }
  for (std::uint64_t key : set.reads) {
    Touched& touched = touched_[key];
    note(touched.writer);
    touched.reader = batch;
  }
  return newest > committed_ ? newest : 0;
}

void DependencyTracker::prune(std::uint64_t batch) {
  std::erase_if(touched_, [&](const auto& entry) {
    return std::max(entry.second.writer, entry.second.reader) <= committed_;
  });
  if (touched_.size() < kEntriesMax / 2) return;
  touched_.clear();
  floor_ = batch > 0 ? batch - 1 : 0;
}

}  // namespace leeward::replication::internal

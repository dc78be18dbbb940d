// Which rows a transaction touches, as hashes, and which earlier batches it must wait for. Pure;
// one scheduler's thread owns a tracker.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "mysql/row_image.h"
#include "replication/internal/table_cache.h"

namespace leeward::replication::internal {

struct WriteSet {
  std::vector<std::uint64_t> writes;
  std::vector<std::uint64_t> reads;  // rows that must be there: foreign keys' parents
  std::size_t size() const { return writes.size() + reads.size(); }
  void clear() {
    writes.clear();
    reads.clear();
  }
};

// Adds the keys of one row image.
void add_image(WriteSet& set, const RoutedTable& table, const mysql::RowImage& image);

// Remembers who touched what, up to kEntriesMax hashes; beyond that everything waits for the last
// batch and the memory starts anew.
class DependencyTracker {
 public:
  static constexpr std::size_t kEntriesMax = 400'000;

  // The newest batch, older than `batch`, that touched something of `set`; 0: none. Then notes that
  // `batch` touches it.
  std::uint64_t add(const WriteSet& set, std::uint64_t batch);
  // Entries of batches up to this one are of no interest any more.
  void committed(std::uint64_t batch) { committed_ = batch; }

 private:
  struct Touched {
    std::uint64_t writer = 0;
    std::uint64_t reader = 0;
  };
  void prune(std::uint64_t batch);

  std::unordered_map<std::uint64_t, Touched> touched_;
  std::uint64_t committed_ = 0;
  std::uint64_t floor_ = 0;  // everything up to this batch counts as touched
};

}  // namespace leeward::replication::internal

// Compiled Hyperscan databases on disk, so that a start with the same rules does not compile them
// again. The file begins with a digest of everything that they depend on: patterns, flags, numbers,
// their order, Hyperscan's version and the processor; another digest, and the file is not used. A
// file that is damaged is not used either: Hyperscan checks the sum of each database.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/error.h"

struct hs_database;

namespace leeward::waf {

class PatternCache {
 public:
  PatternCache();
  ~PatternCache();
  PatternCache(const PatternCache&) = delete;
  PatternCache& operator=(const PatternCache&) = delete;

  // What one database is made of. REQUIRES: before load() and store().
  void add_key(const std::vector<std::string>& expressions, const std::vector<unsigned>& flags,
               const std::vector<unsigned>& ids);
  // Whether `path` holds `count` databases of this key.
  bool load(const std::string& path, std::size_t count);
  hs_database* take(std::size_t number);  // the caller frees it
  void put(const hs_database* database);
  Status store(const std::string& path) const;

 private:
  std::string digest() const;
  std::string key_;
  std::vector<hs_database*> loaded_;
  std::string bytes_;  // of the databases that were put
};

}  // namespace leeward::waf

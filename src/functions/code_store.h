// Function code on disk: one directory per archive, named by the archive's SHA-256
// (base/digest_store.h, whose rules on threads hold here).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest_store.h"
#include "base/error.h"

namespace leeward::functions {

class CodeStore {
 public:
  // Directories that were not finished are removed. kIo.
  static Result<CodeStore> open(const std::string& directory);

  struct Stored {
    std::string sha256;  // hexadecimal
    std::uint64_t bytes = 0;
  };
  // kInvalid when the archive is not one that zip.h takes; nothing is left behind then.
  Result<Stored> put(std::string_view archive) const;

  std::string directory_of(const std::string& sha256) const { return store_.directory_of(sha256); }
  // Removes every directory whose hash is not in `used`.
  void keep_only(const std::vector<std::string>& used) const;

 private:
  explicit CodeStore(DigestStore store) : store_(std::move(store)) {}
  DigestStore store_;
};

}  // namespace leeward::functions

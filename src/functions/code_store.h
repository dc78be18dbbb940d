// Function code on disk: one directory per archive, named by the archive's SHA-256.
//
// An archive is unpacked beside and then renamed into place, so a directory that is there is whole.
// put() blocks and may run on any thread, several at a time; the rest is for one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

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

  std::string directory_of(const std::string& sha256) const { return directory_ + "/" + sha256; }
  // Removes every directory whose hash is not in `used`.
  void keep_only(const std::vector<std::string>& used) const;

 private:
  explicit CodeStore(std::string directory) : directory_(std::move(directory)) {}
  std::string directory_;
};

}  // namespace leeward::functions

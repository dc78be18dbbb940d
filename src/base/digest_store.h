// Directories named by the SHA-256 of what they were made from: unpacked archives.
//
// One is filled beside the others and then renamed into place, after its files have reached the
// disk, so a directory that is there is whole, also after a crash.
//
// put() blocks, for as long as filling takes; it and has() may be called on any thread, several at
// a time. The rest is for one thread.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "base/error.h"

namespace leeward {

class DigestStore {
 public:
  // Makes `directory` when it is not there. kIo.
  static Result<DigestStore> open(const std::string& directory);

  // Removes what was left when a process died in put(). REQUIRES: no put() runs.
  void remove_unfinished() const;

  std::string directory_of(const std::string& digest) const { return directory_ + "/" + digest; }
  bool has(const std::string& digest) const;
  // Makes the directory of `digest` unless it is there: `fill` gets an empty one to fill. When it
  // fails, nothing is left behind. kIo; what `fill` says.
  Status put(const std::string& digest,
             const std::function<Status(const std::string& work)>& fill) const;
  // Removes every directory whose digest is not in `used`.
  void keep_only(const std::set<std::string>& used) const;

 private:
  explicit DigestStore(std::string directory) : directory_(std::move(directory)) {}
  std::string directory_;
};

}  // namespace leeward

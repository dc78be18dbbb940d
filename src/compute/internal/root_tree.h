// A directory tree that layers are unpacked into, which nothing in them can leave: every path is
// resolved inside it by the kernel (openat2(2), RESOLVE_IN_ROOT), links on the way included.
//
// Source: OCI image-spec 1.1 layer.md. What lower layers have is replaced, and removed by whiteouts
// (".wh.NAME", ".wh..wh..opq"), which never hide what their own layer brings.
#pragma once

#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "compute/internal/archive.h"

namespace leeward::compute {

// The components of a path inside an archive, "." left out; none for the root itself. kInvalid for
// "..", or a path, component or depth beyond the bounds. A "/" in front means the root.
inline constexpr std::size_t kPathBytesMax = 4096;
inline constexpr std::size_t kPathDepthMax = 256;
Result<std::vector<std::string>> clean_path(std::string_view path);

class RootTree {
 public:
  // An existing directory. kIo.
  static Result<RootTree> open(const std::string& directory);

  void begin_layer() { made_.clear(); }
  // Makes what the entry says, over what is there; `content` reads a file's bytes. Set-user-ID and
  // set-group-ID bits are dropped; devices and sockets are left out. kInvalid for an entry that
  // must not be, kIo, and what `content` says.
  Status add(const TarEntry& entry, const ByteSource& content);

  // At most `bytes_max` of a file's content. kIo.
  Result<std::string> read(const std::string& path, std::size_t bytes_max) const;
  // Of this layer, with the directories above them.
  std::size_t paths() const { return made_.size(); }

  // A directory of the root itself, and no link to one; what else is there is replaced.
  Status ensure_directory(const std::string& name);
  // What is missing of `path`.
  Status make_directories(const std::string& path);
  // An empty file, unless there is something.
  Status ensure_file(const std::string& path);

 private:
  using Path = std::vector<std::string>;
  RootTree(UniqueFd root, std::size_t depth) : root_(std::move(root)), depth_(depth) {}

  Result<UniqueFd> directory(const Path& path);  // made when it is not there
  Result<UniqueFd> parent_of(const Path& path);
  void remember(const Path& path);
  Status whiteout(const Path& path);
  Status hide_lower(int directory, const Path& path);
  Status make_directory(int parent, const std::string& name, const TarEntry& entry);
  Status make_file(int parent, const std::string& name, const TarEntry& entry,
                   const ByteSource& content);
  Status make_hard_link(int parent, const std::string& name, const TarEntry& entry);

  UniqueFd root_;
  std::size_t depth_;                     // of root_ in the whole file system
  std::unordered_set<std::string> made_;  // paths of this layer, and what is above them
};

}  // namespace leeward::compute

// Tar archives and what they are packed with, read from a stream by libarchive: ustar, pax and
// GNU's tar; gzip (RFC 1952) and zstd (RFC 8878). Nothing is written here, and names are handed out
// as they are (root_tree.h says which may be used).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/file.h"

struct archive;

namespace leeward::compute {

// Fills at most `size` bytes and returns how many; 0: the end.
using ByteSource = std::function<Result<std::size_t>(char* buffer, std::size_t size)>;

struct TarEntry {
  enum class Kind : std::uint8_t { kFile, kDirectory, kSymlink, kHardLink, kFifo, kOther };
  Kind kind = Kind::kFile;
  std::string path;
  std::string link;  // of links: the target
  mode_t mode = 0;   // permissions only
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t bytes = 0;  // of a file's content
  timespec modified{};
};

// One pass over an archive. Moved from, it may only be destroyed.
class ArchiveReader {
 public:
  // The entries of a plain tar archive.
  static Result<ArchiveReader> tar(ByteSource source);
  static Result<ArchiveReader> tar(UniqueFd file);  // passes over content by seeking
  // The content of what is packed by gzip or zstd, or not at all, as one entry.
  static Result<ArchiveReader> unpacked(ByteSource source);
  ~ArchiveReader();
  ArchiveReader(ArchiveReader&&) noexcept;
  ArchiveReader& operator=(ArchiveReader&&) noexcept;

  // The next entry, or none at the end; what is left of the last one's content is passed over.
  // kCorrupt when it is damaged or ends too early; what the source says.
  Result<std::optional<TarEntry>> next();
  // Of the current entry's content; 0 at its end. Holes of sparse files are read as zeros.
  Result<std::size_t> read(char* buffer, std::size_t size);

 private:
  struct State;
  explicit ArchiveReader(std::unique_ptr<State> state);
  static Result<ArchiveReader> open(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace leeward::compute

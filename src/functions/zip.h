// Zip archives of function code: a strict reader that nothing in the archive can lead astray, and a
// writer for `leeward fn deploy`.
//
// Read are stored and deflated entries as the central directory lists them (APPNOTE.TXT 6.3.10
// §4.3). Refused, with the entry's name: paths that are absolute, empty, have "..", ".", a
// backslash or a NUL, or appear twice; entries that are encrypted, of another method, or whose
// local header says something else than the directory; links that are absolute, lead out, or have
// ".." anywhere but in front; devices; ZIP64 and several disks, which archives of this size do not
// need; and everything beyond the limits. Sizes are checked against what really comes out of the
// decompressor, so that no claim is believed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace leeward::functions {

struct ZipLimits {  // AWS: 50 MB zipped, 250 MB unzipped
  std::size_t archive_bytes_max = 50u << 20;
  std::size_t content_bytes_max = 250u << 20;
  std::size_t entries_max = 50'000;
  std::size_t path_bytes_max = 1024;
  std::size_t depth_max = 64;
};

struct ZipEntry {
  enum class Kind : std::uint8_t { kFile, kDirectory, kLink };
  std::string path;  // relative, without a slash at the end
  Kind kind = Kind::kFile;
  bool executable = false;
  bool deflated = false;
  std::uint32_t checksum = 0;
  std::size_t packed_bytes = 0, content_bytes = 0;
  std::size_t offset = 0;  // of the packed bytes
};

// The entries in the archive's order. kInvalid as above; the message is for the one who made it.
Result<std::vector<ZipEntry>> read_zip(std::string_view archive, const ZipLimits& limits = {});
// The entry's content. kInvalid when it is not what the directory said.
Result<std::string> unpack(std::string_view archive, const ZipEntry& entry);

// Unpacks all of it below `directory`, which must be empty; links come last, nothing is ever
// written through one, and none leads out of `directory`, by itself or through others. Files get
// mode 0644 or 0755. On an error what was made so far is left for the caller to remove. kInvalid,
// kIo.
Status extract_zip(std::string_view archive, const std::string& directory,
                   const ZipLimits& limits = {});

struct ZipSource {
  std::string path;
  std::string content;
  bool executable = false;
};
// A deflated archive; the same input gives the same bytes.
std::string make_zip(const std::vector<ZipSource>& files);

}  // namespace leeward::functions

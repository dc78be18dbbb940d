#include "functions/zip.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <set>

#include "base/file.h"

namespace leeward::functions {
namespace {

constexpr std::uint32_t kLocalHeader = 0x04034b50, kDirectoryHeader = 0x02014b50,
                        kEndOfDirectory = 0x06054b50;
constexpr std::size_t kLocalBytes = 30, kDirectoryBytes = 46, kEndBytes = 22;
constexpr std::size_t kCommentMax = 65'535;
constexpr std::uint16_t kStored = 0, kDeflated = 8;
constexpr std::size_t kLinkBytesMax = 1024;
constexpr std::size_t kDeflateRatioMax = 1032;  // of the format itself: 258 bytes by 2 bits

std::uint16_t u16(std::string_view bytes, std::size_t at) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[at + i]); };
  return static_cast<std::uint16_t>(byte(0) | byte(1) << 8);
}
std::uint32_t u32(std::string_view bytes, std::size_t at) {
  return u16(bytes, at) | static_cast<std::uint32_t>(u16(bytes, at + 2)) << 16;
}

template <typename... Args>
tl::unexpected<Error> refuse(fmt::format_string<Args...> format, Args&&... args) {
  return fail(Code::kInvalid, "zip: {}", fmt::format(format, std::forward<Args>(args)...));
}

// A name as it may be shown: it comes from outside.
std::string shown(std::string_view name) {
  std::string text(name.substr(0, 120));
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = '?';
  return text;
}

// Empty when `path` is one that stays below where it is put; otherwise what is wrong with it.
std::string_view path_fault(std::string_view path, const ZipLimits& limits) {
  if (path.empty()) return "has no name";
  if (path.size() > limits.path_bytes_max) return "has a name that is too long";
  if (path.front() == '/') return "is absolute";
  if (path.find('\0') != std::string_view::npos || path.find('\\') != std::string_view::npos)
    return "has a backslash or NUL in its name";
  std::size_t depth = 0;
  while (!path.empty()) {
    const auto slash = path.find('/');
    const auto part = path.substr(0, slash);
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
    if (part.empty() || part == "." || part == "..") return "leads out of the archive";
    if (part.size() > 255 || ++depth > limits.depth_max) return "lies too deep";
  }
  return {};
}

// Whether a link at `path` with this target stays inside, alone and with all others like it.
//
// ".." is for the front of a target only. The directory that holds a link is a real one, below the
// top and reached without links (extract_zip), and each ".." in front goes to a real directory
// above it, at most to the top. From there every step goes down: to what is in a directory inside,
// or through another link, which by the same argument ends inside. A ".." behind a name could come
// behind such a link, and would then go up from where that leads, not from where it stands.
bool link_stays_inside(std::string_view path, std::string_view target) {
  if (target.empty() || target.front() == '/' || target.find('\0') != std::string_view::npos)
    return false;
  auto depth = std::count(path.begin(), path.end(), '/');
  bool down = false;
  while (!target.empty()) {
    const auto slash = target.find('/');
    const auto part = target.substr(0, slash);
    target = slash == std::string_view::npos ? std::string_view{} : target.substr(slash + 1);
    if (part == ".." && (down || --depth < 0)) return false;
    down = down || (part != ".." && part != "." && !part.empty());
  }
  return true;
}

struct Directory {
  std::size_t offset = 0, bytes = 0, entries = 0;
};

Result<Directory> find_directory(std::string_view archive) {
  if (archive.size() < kEndBytes) return refuse("this is not a zip archive");
  const std::size_t last = archive.size() - kEndBytes;
  const std::size_t first = last > kCommentMax ? last - kCommentMax : 0;
  for (std::size_t at = last;; --at) {
    // The comment must end where the archive does, or the signature was part of a comment.
    if (u32(archive, at) == kEndOfDirectory &&
        at + kEndBytes + u16(archive, at + 20) == archive.size()) {
      if (u16(archive, at + 4) != 0 || u16(archive, at + 6) != 0)
        return refuse("an archive of several disks is not read");
      Directory d{u32(archive, at + 16), u32(archive, at + 12), u16(archive, at + 10)};
      if (d.entries == 0xffff || d.offset == 0xffffffff)
        return refuse("a ZIP64 archive is not read");
      if (d.offset > at || d.bytes > at - d.offset) return refuse("its directory is not in it");
      return d;
    }
    if (at == first) return refuse("this is not a zip archive, or its end is missing");
  }
}

// Kind and mode from the attributes that a Unix archiver writes.
Status read_attributes(ZipEntry& entry, std::uint8_t made_by, std::uint32_t attributes) {
  constexpr std::uint8_t kUnix = 3;
  if (made_by != kUnix) return {};
  const std::uint32_t mode = attributes >> 16;
  entry.executable = (mode & S_IXUSR) != 0;
  const std::uint32_t type = mode & S_IFMT;
  if (type == S_IFLNK && entry.kind == ZipEntry::Kind::kFile)
    entry.kind = ZipEntry::Kind::kLink;
  else if (type != 0 && type != S_IFREG && type != S_IFDIR)
    return refuse("'{}' is neither file, directory nor link", shown(entry.path));
  return {};
}

// Finds the packed bytes and checks that the local header tells the same story.
Status locate(std::string_view archive, std::size_t local, std::string_view name,
              std::size_t directory_offset, ZipEntry& entry) {
  if (local > directory_offset || directory_offset - local < kLocalBytes ||
      u32(archive, local) != kLocalHeader)
    return refuse("'{}' is not where the directory says", shown(name));
  const std::size_t name_bytes = u16(archive, local + 26), extra_bytes = u16(archive, local + 28);
  const std::size_t room = directory_offset - local - kLocalBytes;
  if (name_bytes + extra_bytes > room || room - name_bytes - extra_bytes < entry.packed_bytes)
    return refuse("'{}' is cut off", shown(name));
  if (archive.substr(local + kLocalBytes, name_bytes) != name ||
      u16(archive, local + 8) != (entry.deflated ? kDeflated : kStored))
    return refuse("'{}' has another name or method in its own header", shown(name));
  entry.offset = local + kLocalBytes + name_bytes + extra_bytes;
  return {};
}

}  // namespace

Result<std::vector<ZipEntry>> read_zip(std::string_view archive, const ZipLimits& limits) {
  if (archive.size() > limits.archive_bytes_max)
    return refuse("{} bytes; at most {} are taken", archive.size(), limits.archive_bytes_max);
  auto directory = find_directory(archive);
  if (!directory) return fail(directory.error());
  if (directory->entries > limits.entries_max)
    return refuse("{} entries; at most {} are taken", directory->entries, limits.entries_max);
  std::vector<ZipEntry> entries;
  std::set<std::string, std::less<>> seen;
  std::size_t at = directory->offset, packed = 0, content = 0;
  const std::size_t end = directory->offset + directory->bytes;
  for (std::size_t i = 0; i < directory->entries; ++i) {
    if (end - at < kDirectoryBytes || u32(archive, at) != kDirectoryHeader)
      return refuse("its directory ends after {} of {} entries", i, directory->entries);
    const std::size_t name_bytes = u16(archive, at + 28);
    const std::size_t rest = name_bytes + u16(archive, at + 30) + u16(archive, at + 32);
    if (end - at - kDirectoryBytes < rest) return refuse("its directory is cut off");
    const std::string_view name = archive.substr(at + kDirectoryBytes, name_bytes);
    ZipEntry entry;
    entry.path = std::string(name);
    if (entry.path.ends_with('/')) {
      entry.kind = ZipEntry::Kind::kDirectory;
      entry.path.pop_back();
    }
    if (auto fault = path_fault(entry.path, limits); !fault.empty())
      return refuse("'{}' {}", shown(name), fault);
    if (!seen.insert(entry.path).second) return refuse("'{}' is in it twice", shown(name));
    if ((u16(archive, at + 8) & 0x2041) != 0) return refuse("'{}' is encrypted", shown(name));
    const std::uint16_t method = u16(archive, at + 10);
    if (method != kStored && method != kDeflated)
      return refuse("'{}' is packed by method {}; store or deflate it", shown(name), method);
    entry.deflated = method == kDeflated;
    entry.checksum = u32(archive, at + 16);
    entry.packed_bytes = u32(archive, at + 20);
    entry.content_bytes = u32(archive, at + 24);
    if (!entry.deflated && entry.packed_bytes != entry.content_bytes)
      return refuse("'{}' is stored with two sizes", shown(name));
    if (entry.deflated && entry.content_bytes / kDeflateRatioMax > entry.packed_bytes)
      return refuse("'{}' claims to hold more than its packed bytes can", shown(name));
    Status ok =
        read_attributes(entry, static_cast<std::uint8_t>(archive[at + 5]), u32(archive, at + 38));
    if (ok) ok = locate(archive, u32(archive, at + 42), name, directory->offset, entry);
    if (!ok) return fail(ok.error());
    packed += entry.packed_bytes;
    content += entry.content_bytes;
    // Entries that share packed bytes are how a small archive becomes a large one.
    if (packed > archive.size()) return refuse("its entries overlap");
    if (content > limits.content_bytes_max)
      return refuse("more than {} bytes unpacked", limits.content_bytes_max);
    if (entry.kind == ZipEntry::Kind::kLink && entry.content_bytes > kLinkBytesMax)
      return refuse("'{}' is a link that is too long", shown(name));
    entries.push_back(std::move(entry));
    at += kDirectoryBytes + rest;
  }
  return entries;
}

Result<std::string> unpack(std::string_view archive, const ZipEntry& entry) {
  const std::string_view packed = archive.substr(entry.offset, entry.packed_bytes);
  std::string content;
  if (!entry.deflated) {
    content = std::string(packed);
  } else {
    z_stream z{};
    if (::inflateInit2(&z, -MAX_WBITS) != Z_OK) return fail(Code::kInternal, "zlib: no memory");
    content.resize(entry.content_bytes);
    char beyond = 0;  // zlib wants somewhere to write even for nothing
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
    z.avail_in = static_cast<uInt>(packed.size());
    z.next_out = reinterpret_cast<Bytef*>(content.empty() ? &beyond : content.data());
    z.avail_out = static_cast<uInt>(content.size());
    const int result = ::inflate(&z, Z_FINISH);
    const bool whole = result == Z_STREAM_END && z.avail_out == 0 && z.avail_in == 0;
    ::inflateEnd(&z);
    if (!whole) return refuse("'{}' does not unpack to the size that it claims", shown(entry.path));
  }
  const auto sum =
      ::crc32(0, reinterpret_cast<const Bytef*>(content.data()), static_cast<uInt>(content.size()));
  if (sum != entry.checksum) return refuse("'{}' has a wrong check sum", shown(entry.path));
  return content;
}

namespace {

// Opens below `root` and never through a link (openat2(2)).
UniqueFd open_below(int root, const std::string& path, int flags, mode_t mode = 0) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return UniqueFd(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
}

Status make_parents(int root, const std::string& path) {
  for (std::size_t at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1)) {
    const std::string parent = path.substr(0, at);
    // No link exists yet when directories are made, so plain mkdirat cannot be led away.
    if (::mkdirat(root, parent.c_str(), 0755) != 0 && errno != EEXIST)
      return fail(os_error(errno, "make " + shown(parent)));
  }
  return {};
}

Status write_file(int root, const ZipEntry& entry, std::string_view content) {
  if (Status parents = make_parents(root, entry.path); !parents) return parents;
  UniqueFd fd =
      open_below(root, entry.path, O_WRONLY | O_CREAT | O_EXCL, entry.executable ? 0755 : 0644);
  if (!fd.valid()) {
    if (errno == ENAMETOOLONG) return refuse("the name '{}' is too long", shown(entry.path));
    const bool in_the_way = errno == EEXIST || errno == ENOTDIR || errno == ELOOP || errno == EXDEV;
    if (!in_the_way) return fail(os_error(errno, "make " + shown(entry.path)));
    return refuse("'{}' is in the way of another entry", shown(entry.path));
  }
  // Against the umask.
  ::fchmod(fd.get(), entry.executable ? 0755 : 0644);
  while (!content.empty()) {
    const ssize_t n = ::write(fd.get(), content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail(os_error(errno, "write " + shown(entry.path)));
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Status make_link(int root, const ZipEntry& entry, const std::string& target) {
  if (!link_stays_inside(entry.path, target))
    return refuse("the link '{}' leads out of the archive", shown(entry.path));
  const auto slash = entry.path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : entry.path.substr(0, slash);
  UniqueFd folder = open_below(root, parent, O_PATH | O_DIRECTORY);
  const std::string leaf = slash == std::string::npos ? entry.path : entry.path.substr(slash + 1);
  if (!folder.valid() || ::symlinkat(target.c_str(), folder.get(), leaf.c_str()) != 0)
    return refuse("'{}' is in the way of another entry", shown(entry.path));
  return {};
}

}  // namespace

Status extract_zip(std::string_view archive, const std::string& directory,
                   const ZipLimits& limits) {
  auto entries = read_zip(archive, limits);
  if (!entries) return fail(entries.error());
  UniqueFd root(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return fail(os_error(errno, "open " + directory));
  // Directories come before the first link, those that links lie in included: a name with anything
  // below it is a directory by then, and a link of that name is refused.
  for (const ZipEntry& entry : *entries) {
    if (entry.kind != ZipEntry::Kind::kFile) {
      const bool itself = entry.kind == ZipEntry::Kind::kDirectory;
      Status made = make_parents(root.get(), itself ? entry.path + "/" : entry.path);
      if (!made) return made;
      continue;
    }
    auto content = unpack(archive, entry);
    if (!content) return fail(content.error());
    if (Status written = write_file(root.get(), entry, *content); !written) return written;
  }
  for (const ZipEntry& entry : *entries) {
    if (entry.kind != ZipEntry::Kind::kLink) continue;
    auto target = unpack(archive, entry);
    if (!target) return fail(target.error());
    if (Status linked = make_link(root.get(), entry, *target); !linked) return linked;
  }
  return {};
}

// ---- writing

namespace {

void put16(std::string& out, std::uint64_t n) {
  out += static_cast<char>(n & 0xff);
  out += static_cast<char>(n >> 8 & 0xff);
}
void put32(std::string& out, std::uint64_t n) {
  put16(out, n);
  put16(out, n >> 16);
}

std::string deflated(std::string_view content) {
  z_stream z{};
  std::string out;
  if (::deflateInit2(&z, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) return out;
  out.resize(::deflateBound(&z, content.size()));
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  z.avail_in = static_cast<uInt>(content.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  ::deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  ::deflateEnd(&z);
  return out;
}

}  // namespace

std::string make_zip(const std::vector<ZipSource>& files) {
  constexpr std::uint64_t kVersion = 20, kMadeByUnix = 3 << 8, kDate = 0x21;  // 1980-01-01
  std::string out, directory;
  for (const ZipSource& file : files) {
    const std::string packed = deflated(file.content);
    const auto sum = ::crc32(0, reinterpret_cast<const Bytef*>(file.content.data()),
                             static_cast<uInt>(file.content.size()));
    std::string common;  // the part that both headers share
    put16(common, kVersion);
    put16(common, 1 << 11);  // names are UTF-8
    put16(common, kDeflated);
    put16(common, 0);
    put16(common, kDate);
    put32(common, sum);
    put32(common, packed.size());
    put32(common, file.content.size());
    put16(common, file.path.size());
    put16(common, 0);
    put32(directory, kDirectoryHeader);
    put16(directory, kMadeByUnix | kVersion);
    directory += common;
    put16(directory, 0);
    put16(directory, 0);
    put16(directory, 0);
    put32(directory, static_cast<std::uint64_t>(S_IFREG | (file.executable ? 0755 : 0644)) << 16);
    put32(directory, out.size());
    directory += file.path;
    put32(out, kLocalHeader);
    out += common + file.path + packed;
  }
  const std::size_t start = out.size();
  out += directory;
  put32(out, kEndOfDirectory);
  put32(out, 0);
  put16(out, files.size());
  put16(out, files.size());
  put32(out, directory.size());
  put32(out, start);
  put16(out, 0);
  return out;
}

}  // namespace leeward::functions

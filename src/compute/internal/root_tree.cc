#include "compute/internal/root_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>

namespace leeward::compute {
namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr std::size_t kNameBytesMax = 255;

std::string text_of(const std::vector<std::string>& path) {
  return fmt::format("{}", fmt::join(path, "/"));
}

// For messages.
std::string shown(std::string_view path) { return std::string(path.substr(0, 200)); }

// `path` inside `root`, as if root were "/". O_NOFOLLOW is for its last component.
UniqueFd open_inside(int root, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  return UniqueFd(static_cast<int>(
      ::syscall(SYS_openat2, root, path.empty() ? "." : path.c_str(), &how, sizeof how)));
}

// Of a directory in the whole file system; none: its path is longer than paths can be.
std::optional<std::size_t> depth_of(int directory) {
  std::array<char, kPathBytesMax> real;
  ssize_t n =
      ::readlink(fmt::format("/proc/self/fd/{}", directory).c_str(), real.data(), real.size());
  if (n <= 0 || n == static_cast<ssize_t>(real.size())) return std::nullopt;
  return static_cast<std::size_t>(std::count(real.data(), real.data() + n, '/'));
}

Result<std::vector<std::string>> names_in(int directory, const std::string& what) {
  UniqueFd own(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::unique_ptr<DIR, int (*)(DIR*)> listing(own.valid() ? ::fdopendir(own.get()) : nullptr,
                                              ::closedir);
  if (!listing) return fail(os_error(errno, what));
  static_cast<void>(own.release());
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(listing.get())) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

// `name` below `parent` with all that is in it, following nothing.
Status remove_tree(int parent, const std::string& name) {
  if (::unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  std::error_code error;
  std::filesystem::remove_all(fmt::format("/proc/self/fd/{}/{}", parent, name), error);
  if (error) return fail(os_error(error.value(), "remove " + shown(name)));
  return {};
}

Status set_owner_and_times(int fd, const TarEntry& entry) {
  if (::geteuid() == 0 && ::fchown(fd, entry.uid, entry.gid) != 0)
    return fail(os_error(errno, "owner of " + shown(entry.path)));
  // Compiled Python is only used with a source of the time that it was compiled from.
  const timespec times[2] = {entry.modified, entry.modified};
  ::futimens(fd, times);
  return {};
}

}  // namespace

Result<std::vector<std::string>> clean_path(std::string_view path) {
  auto refuse = [&](const char* why) {
    return fail(Code::kInvalid, "the path '{}' in the archive {}", shown(path), why);
  };
  std::vector<std::string> parts;
  if (path.size() > kPathBytesMax) return refuse("is too long");
  for (std::string_view rest = path; !rest.empty();) {
    std::size_t slash = rest.find('/');
    std::string_view part = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") return refuse("leads up");
    if (part.size() > kNameBytesMax) return refuse("has a name that is too long");
    if (parts.size() == kPathDepthMax) return refuse("lies too deep");
    parts.emplace_back(part);
  }
  return parts;
}

Result<RootTree> RootTree::open(const std::string& directory) {
  UniqueFd root(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return fail(os_error(errno, directory));
  auto depth = depth_of(root.get());
  if (!depth) return fail(Code::kInvalid, "{} has too long a path", directory);
  return RootTree(std::move(root), *depth);
}

Result<std::string> RootTree::read(const std::string& path, std::size_t bytes_max) const {
  UniqueFd file = open_inside(root_.get(), path, O_RDONLY | O_NONBLOCK);
  std::string text(bytes_max, '\0');
  ssize_t n = file.valid() ? ::pread(file.get(), text.data(), text.size(), 0) : -1;
  if (n < 0) return fail(os_error(errno, path));
  text.resize(static_cast<std::size_t>(n));
  return text;
}

Status RootTree::ensure_directory(const std::string& name) {
  struct stat there {};
  if (::fstatat(root_.get(), name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISDIR(there.st_mode))
    return {};
  TarEntry entry;
  entry.kind = TarEntry::Kind::kDirectory;
  entry.path = name;
  entry.mode = 0755;
  return add(entry, {});
}

Status RootTree::make_directories(const std::string& path) {
  auto parts = clean_path(path);
  if (!parts) return fail(std::move(parts.error()));
  auto made = directory(*parts);
  return made ? Status{} : fail(std::move(made.error()));
}

Status RootTree::ensure_file(const std::string& path) {
  if (open_inside(root_.get(), path, O_PATH | O_NOFOLLOW).valid()) return {};
  TarEntry entry;
  entry.path = path;
  entry.mode = 0644;
  return add(entry, [](char*, std::size_t) -> Result<std::size_t> { return 0; });
}

Result<UniqueFd> RootTree::directory(const Path& path) {
  UniqueFd found = open_inside(root_.get(), text_of(path), O_RDONLY | O_DIRECTORY);
  if (found.valid()) return found;
  if (errno != ENOENT || path.empty()) return fail(os_error(errno, shown(text_of(path))));
  auto above = directory(Path(path.begin(), path.end() - 1));  // at most kPathDepthMax deep
  if (!above) return above;
  // Where there is a link that leads nowhere, this fails: nothing is made behind one.
  if (::mkdirat(above->get(), path.back().c_str(), 0755) != 0)
    return fail(os_error(errno, "make " + shown(text_of(path))));
  UniqueFd made(
      ::openat(above->get(), path.back().c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!made.valid() || ::fchmod(made.get(), 0755) != 0)
    return fail(os_error(errno, shown(text_of(path))));
  return made;
}

Result<UniqueFd> RootTree::parent_of(const Path& path) {
  auto parent = directory(Path(path.begin(), path.end() - 1));
  if (!parent) return parent;
  // Through links of its own an archive could build what is deeper than any of its paths.
  auto depth = depth_of(parent->get());
  if (!depth || *depth > depth_ + kPathDepthMax)
    return fail(Code::kInvalid, "the path '{}' in the archive lies too deep", shown(text_of(path)));
  return parent;
}

void RootTree::remember(const Path& path) {
  std::string text;
  for (const std::string& part : path) {
    if (!text.empty()) text += '/';
    text += part;
    made_.insert(text);
  }
}

// Removes what is not of this layer, in a directory that may have things of it.
Status RootTree::hide_lower(int directory, const Path& path) {
  auto names = names_in(directory, shown(text_of(path)));
  if (!names) return fail(std::move(names.error()));
  for (const std::string& name : *names) {
    Path own = path;
    own.push_back(name);
    if (!made_.contains(text_of(own))) {
      if (Status removed = remove_tree(directory, name); !removed) return removed;
      continue;
    }
    UniqueFd inner(
        ::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!inner.valid()) continue;  // no directory
    if (Status hidden = hide_lower(inner.get(), own); !hidden) return hidden;
  }
  return {};
}

Status RootTree::whiteout(const Path& path) {
  const std::string& mark = path.back();
  const std::string name = mark == kOpaque ? "" : mark.substr(kWhiteout.size());
  if (name.starts_with(kWhiteout)) return {};  // of AUFS, with no meaning here
  if (mark != kOpaque && (name.empty() || name == "." || name == ".."))
    return fail(Code::kInvalid, "the whiteout '{}' in the archive hides nothing",
                shown(text_of(path)));
  Path hidden(path.begin(), path.end() - 1);
  UniqueFd parent = open_inside(root_.get(), text_of(hidden), O_RDONLY | O_DIRECTORY);
  if (!parent.valid()) {
    if (errno == ENOENT) return {};  // nothing to hide
    return fail(os_error(errno, shown(text_of(hidden))));
  }
  if (mark == kOpaque) return hide_lower(parent.get(), hidden);
  hidden.push_back(name);
  if (!made_.contains(text_of(hidden))) return remove_tree(parent.get(), name);
  UniqueFd own(
      ::openat(parent.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  return own.valid() ? hide_lower(own.get(), hidden) : Status{};
}

Status RootTree::make_directory(int parent, const std::string& name, const TarEntry& entry) {
  struct stat there {};
  bool exists = ::fstatat(parent, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0;
  if (exists && !S_ISDIR(there.st_mode)) {
    if (Status removed = remove_tree(parent, name); !removed) return removed;
    exists = false;
  }
  if (!exists && ::mkdirat(parent, name.c_str(), 0700) != 0)
    return fail(os_error(errno, "make " + shown(entry.path)));
  UniqueFd own(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!own.valid()) return fail(os_error(errno, shown(entry.path)));
  if (Status set = set_owner_and_times(own.get(), entry); !set) return set;
  // Ours stay accessible for the layers to come, and to be removed.
  if (::fchmod(own.get(), (entry.mode & 01777) | 0700) != 0)
    return fail(os_error(errno, "mode of " + shown(entry.path)));
  return {};
}

Status RootTree::make_file(int parent, const std::string& name, const TarEntry& entry,
                           const ByteSource& content) {
  UniqueFd own(
      ::openat(parent, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!own.valid()) return fail(os_error(errno, "make " + shown(entry.path)));
  std::array<char, 65536> buffer;
  for (;;) {
    auto got = content(buffer.data(), buffer.size());
    if (!got) return fail(std::move(got.error()));
    if (*got == 0) break;
    for (std::size_t done = 0; done < *got;) {
      ssize_t n = ::write(own.get(), buffer.data() + done, *got - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail(os_error(errno, "write " + shown(entry.path)));
      done += static_cast<std::size_t>(n);
    }
  }
  if (Status set = set_owner_and_times(own.get(), entry); !set) return set;
  if (::fchmod(own.get(), entry.mode & 0777) != 0)
    return fail(os_error(errno, "mode of " + shown(entry.path)));
  return {};
}

Status RootTree::make_hard_link(int parent, const std::string& name, const TarEntry& entry) {
  auto target = clean_path(entry.link);
  if (!target) return fail(std::move(target.error()));
  UniqueFd own = open_inside(root_.get(), text_of(*target), O_PATH | O_NOFOLLOW);
  struct stat there {};
  bool known = own.valid() && ::fstat(own.get(), &there) == 0 &&
               (S_ISREG(there.st_mode) || S_ISLNK(there.st_mode));
  if (!known)
    return fail(Code::kInvalid, "'{}' in the archive is a link to '{}', which is no file in it",
                shown(entry.path), shown(entry.link));
  UniqueFd folder = open_inside(root_.get(), text_of(Path(target->begin(), target->end() - 1)),
                                O_PATH | O_DIRECTORY);
  if (!folder.valid() ||
      ::linkat(folder.get(), target->back().c_str(), parent, name.c_str(), 0) != 0)
    return fail(os_error(errno, "link " + shown(entry.path)));
  return {};
}

Status RootTree::add(const TarEntry& entry, const ByteSource& content) {
  auto path = clean_path(entry.path);
  if (!path) return fail(std::move(path.error()));
  if (path->empty()) return {};  // the root itself
  const std::string& name = path->back();
  if (name.starts_with(kWhiteout)) return whiteout(*path);
  if (entry.kind == TarEntry::Kind::kOther) return {};
  auto parent = parent_of(*path);
  if (!parent) return fail(std::move(parent.error()));
  remember(*path);
  if (entry.kind == TarEntry::Kind::kDirectory) return make_directory(parent->get(), name, entry);
  if (entry.kind == TarEntry::Kind::kHardLink) {
    auto target = clean_path(entry.link);
    if (!target) return fail(std::move(target.error()));
    if (*target == *path)  // it would lose the file that it names
      return fail(Code::kInvalid, "'{}' in the archive is a link to itself", shown(entry.path));
  }
  if (Status removed = remove_tree(parent->get(), name); !removed) return removed;
  switch (entry.kind) {
    case TarEntry::Kind::kFile:
      return make_file(parent->get(), name, entry, content);
    case TarEntry::Kind::kHardLink:
      return make_hard_link(parent->get(), name, entry);
    case TarEntry::Kind::kSymlink:
      if (::symlinkat(entry.link.c_str(), parent->get(), name.c_str()) != 0)
        return fail(os_error(errno, "link " + shown(entry.path)));
      return {};
    case TarEntry::Kind::kFifo:
      if (::mkfifoat(parent->get(), name.c_str(), entry.mode & 0777) != 0)
        return fail(os_error(errno, "make " + shown(entry.path)));
      return {};
    case TarEntry::Kind::kDirectory:
    case TarEntry::Kind::kOther:
      break;
  }
  return {};
}

}  // namespace leeward::compute

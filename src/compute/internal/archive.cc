#include "compute/internal/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>

#include "base/check.h"

namespace leeward::compute {

struct ArchiveReader::State {
  State() : handle(archive_read_new()) { LEEWARD_CHECK(handle != nullptr); }
  ~State() { archive_read_free(handle); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  static la_ssize_t fill(archive* handle, void* self, const void** buffer);
  Error error();

  archive* handle;
  ByteSource source;
  UniqueFd file;
  std::array<char, 65536> input{};
  std::optional<Error> source_error;
};

// What libarchive calls for more.
la_ssize_t ArchiveReader::State::fill(archive* handle, void* self, const void** buffer) {
  auto* state = static_cast<State*>(self);
  auto got = state->source(state->input.data(), state->input.size());
  if (!got) {
    archive_set_error(handle, EIO, "%s", got.error().message.c_str());
    state->source_error = std::move(got.error());
    return -1;
  }
  *buffer = state->input.data();
  return static_cast<la_ssize_t>(*got);
}

Error ArchiveReader::State::error() {
  if (source_error) return *source_error;
  const char* text = archive_error_string(handle);
  return {Code::kCorrupt, fmt::format("damaged archive: {}", text == nullptr ? "no tar" : text)};
}

ArchiveReader::ArchiveReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
ArchiveReader::~ArchiveReader() = default;
ArchiveReader::ArchiveReader(ArchiveReader&&) noexcept = default;
ArchiveReader& ArchiveReader::operator=(ArchiveReader&&) noexcept = default;

Result<ArchiveReader> ArchiveReader::open(std::unique_ptr<State> state) {
  archive* handle = state->handle;
  constexpr std::size_t kBlock = 65536;
  int opened = state->file.valid()
                   ? archive_read_open_fd(handle, state->file.get(), kBlock)
                   : archive_read_open(handle, state.get(), nullptr, State::fill, nullptr);
  if (opened != ARCHIVE_OK) return fail(state->error());
  return ArchiveReader(std::move(state));
}

Result<ArchiveReader> ArchiveReader::tar(ByteSource source) {
  auto state = std::make_unique<State>();
  archive_read_support_format_tar(state->handle);
  archive_read_support_format_empty(state->handle);
  state->source = std::move(source);
  return open(std::move(state));
}

Result<ArchiveReader> ArchiveReader::tar(UniqueFd file) {
  auto state = std::make_unique<State>();
  archive_read_support_format_tar(state->handle);
  state->file = std::move(file);
  return open(std::move(state));
}

Result<ArchiveReader> ArchiveReader::unpacked(ByteSource source) {
  auto state = std::make_unique<State>();
  archive_read_support_filter_gzip(state->handle);
  archive_read_support_filter_zstd(state->handle);
  archive_read_support_format_raw(state->handle);
  archive_read_support_format_empty(state->handle);
  state->source = std::move(source);
  auto reader = open(std::move(state));
  if (!reader) return reader;
  if (auto content = reader->next(); !content) return fail(std::move(content.error()));
  return reader;
}

Result<std::optional<TarEntry>> ArchiveReader::next() {
  archive_entry* entry = nullptr;
  int got = archive_read_next_header(state_->handle, &entry);
  if (got == ARCHIVE_EOF) return std::optional<TarEntry>();
  // A warning is a name in an unusual character set, which is taken byte by byte.
  if (got != ARCHIVE_OK && got != ARCHIVE_WARN) return fail(state_->error());
  const char* path = archive_entry_pathname(entry);
  if (path == nullptr) return fail(Code::kCorrupt, "an entry of the archive has no name");
  TarEntry out;
  out.path = path;
  const char* hard = archive_entry_hardlink(entry);
  const char* symbolic = archive_entry_symlink(entry);
  switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
      out.kind = TarEntry::Kind::kFile;
      break;
    case AE_IFDIR:
      out.kind = TarEntry::Kind::kDirectory;
      break;
    case AE_IFLNK:
      out.kind = TarEntry::Kind::kSymlink;
      break;
    case AE_IFIFO:
      out.kind = TarEntry::Kind::kFifo;
      break;
    default:
      out.kind = TarEntry::Kind::kOther;
  }
  if (hard != nullptr) out.kind = TarEntry::Kind::kHardLink;
  if (hard != nullptr || symbolic != nullptr) out.link = hard != nullptr ? hard : symbolic;
  auto owner = [](la_int64_t id) { return id < 0 || id >= UINT32_MAX ? 0 : id; };
  out.mode = archive_entry_perm(entry);
  out.uid = static_cast<std::uint32_t>(owner(archive_entry_uid(entry)));
  out.gid = static_cast<std::uint32_t>(owner(archive_entry_gid(entry)));
  la_int64_t bytes = archive_entry_size(entry);
  if (bytes < 0) return fail(Code::kCorrupt, "'{}' has a negative size", out.path.substr(0, 200));
  out.bytes = static_cast<std::uint64_t>(bytes);
  out.modified.tv_sec = archive_entry_mtime(entry);
  return std::optional<TarEntry>(std::move(out));
}

Result<std::size_t> ArchiveReader::read(char* buffer, std::size_t size) {
  la_ssize_t got = archive_read_data(state_->handle, buffer, size);
  if (got < 0) return fail(state_->error());
  return static_cast<std::size_t>(got);
}

}  // namespace leeward::compute

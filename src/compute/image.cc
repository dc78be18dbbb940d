#include "compute/image.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include "base/file.h"
#include "base/sha256.h"
#include "compute/internal/archive.h"
#include "compute/internal/root_tree.h"

namespace leeward::compute {
namespace {

constexpr std::size_t kLayoutEntriesMax = 100'000;  // of an archive, passed over to find one
constexpr int kIndexDepthMax = 3;
constexpr std::size_t kAccountBytesMax = 1u << 20;  // of /etc/passwd and /etc/group
constexpr char kDefaultPath[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

std::string blob_name(const std::string& sha256) { return "blobs/sha256/" + sha256; }

ByteSource content_of(UniqueFd fd) {
  auto file = std::make_shared<UniqueFd>(std::move(fd));
  return [file](char* buffer, std::size_t size) -> Result<std::size_t> {
    for (;;) {
      ssize_t n = ::read(file->get(), buffer, size);
      if (n >= 0) return static_cast<std::size_t>(n);
      if (errno != EINTR) return fail(os_error(errno, "read the image"));
    }
  };
}

// Where the files of a layout are: a directory, or a tar archive that is searched from its begin
// for each of them, by seeking from entry to entry.
class ImageLayout {
 public:
  static Result<ImageLayout> open(const std::string& path) {
    ImageLayout layout;
    layout.fd_.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat status {};
    if (!layout.fd_.valid() || ::fstat(layout.fd_.get(), &status) != 0) {
      if (errno == ENOENT) return fail(Code::kNotFound, "there is no such file or directory");
      return fail(os_error(errno, "open"));
    }
    layout.is_directory_ = S_ISDIR(status.st_mode);
    if (!layout.is_directory_ && !S_ISREG(status.st_mode))
      return fail(Code::kInvalid, "it is neither a directory nor a file");
    auto version = layout.read("oci-layout", kVersionBytesMax);
    if (!version && version.error().code == Code::kNotFound)
      return fail(Code::kInvalid,
                  "it is no OCI image layout: it has no oci-layout (what else there is, skopeo(1) "
                  "makes one of: skopeo copy docker-archive:FILE oci:DIRECTORY)");
    if (!version) return fail(std::move(version.error()));
    if (Status known = check_layout_version(*version); !known) return fail(known.error());
    return layout;
  }

  // `name` is a path in the layout without "..". kNotFound.
  Result<ByteSource> open_file(const std::string& name) const {
    if (!is_directory_) return open_entry(name);
    open_how how{};
    how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    UniqueFd file(
        static_cast<int>(::syscall(SYS_openat2, fd_.get(), name.c_str(), &how, sizeof how)));
    struct stat status {};
    if (!file.valid() && errno == ENOENT) return fail(Code::kNotFound, "it has no file {}", name);
    if (!file.valid() || ::fstat(file.get(), &status) != 0) return fail(os_error(errno, name));
    if (!S_ISREG(status.st_mode)) return fail(Code::kInvalid, "{} is no file", name);
    return content_of(std::move(file));
  }

  Result<std::string> read(const std::string& name, std::size_t bytes_max) const {
    auto source = open_file(name);
    if (!source) return fail(std::move(source.error()));
    std::string text;
    std::array<char, 16384> buffer;
    for (;;) {
      auto got = (*source)(buffer.data(), buffer.size());
      if (!got) return fail(std::move(got.error()).wrap(name));
      if (*got == 0) return text;
      text.append(buffer.data(), *got);
      if (text.size() > bytes_max)
        return fail(Code::kInvalid, "{} is larger than {} bytes", name, bytes_max);
    }
  }

 private:
  static constexpr std::size_t kVersionBytesMax = 4096;

  Result<ByteSource> open_entry(const std::string& name) const {
    // Opened anew, for a position of its own.
    UniqueFd file(::open(fmt::format("/proc/self/fd/{}", fd_.get()).c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) return fail(os_error(errno, "open"));
    auto opened = ArchiveReader::tar(std::move(file));
    if (!opened) return fail(std::move(opened.error()));
    auto reader = std::make_shared<ArchiveReader>(std::move(*opened));
    for (std::size_t i = 0; i < kLayoutEntriesMax; ++i) {
      auto entry = reader->next();
      if (!entry) return fail(std::move(entry.error()));
      if (!*entry) return fail(Code::kNotFound, "it has no file {}", name);
      std::string_view path = (*entry)->path;
      if (path.starts_with("./")) path.remove_prefix(2);
      if (path != name || (*entry)->kind != TarEntry::Kind::kFile) continue;
      return ByteSource(
          [reader](char* buffer, std::size_t size) { return reader->read(buffer, size); });
    }
    return fail(Code::kInvalid, "it has more than {} entries", kLayoutEntriesMax);
  }

  UniqueFd fd_;
  bool is_directory_ = false;
};

// Bytes that are counted and digested as they are read.
class MeasuredSource {
 public:
  MeasuredSource(ByteSource source, std::uint64_t bytes_max)
      : source_(std::move(source)), bytes_max_(bytes_max) {}

  Result<std::size_t> read(char* buffer, std::size_t size) {
    auto got = source_(buffer, size);
    if (!got) return got;
    bytes_ += *got;
    if (bytes_ > bytes_max_)
      return fail(Code::kInvalid, "there is more in it than {} bytes", bytes_max_);
    digest_.add(buffer, *got);
    return got;
  }
  Status read_rest() {
    std::array<char, 65536> rest;
    for (;;) {
      auto got = read(rest.data(), rest.size());
      if (!got) return fail(std::move(got.error()));
      if (*got == 0) return {};
    }
  }
  std::uint64_t bytes() const { return bytes_; }
  std::string sha256() { return digest_.hex(); }

 private:
  ByteSource source_;
  std::uint64_t bytes_max_;
  std::uint64_t bytes_ = 0;
  Sha256 digest_;
};

Result<std::string> read_blob(const ImageLayout& layout, const ImageDescriptor& blob,
                              const ImageLimits& limits) {
  auto text = layout.read(blob_name(blob.sha256), limits.metadata_bytes_max);
  if (!text) return text;
  if (text->size() != blob.bytes || sha256_hex(*text) != blob.sha256)
    return fail(Code::kCorrupt, "the blob sha256:{} is not what its digest says", blob.sha256);
  return text;
}

struct Found {
  ImageLayout layout;
  ImageManifest manifest;
  std::string config_text;
  ImageConfig config;
};

Result<ImageManifest> find_manifest(const ImageLayout& layout, const std::string& name,
                                    const ImageLimits& limits) {
  auto text = layout.read("index.json", limits.metadata_bytes_max);
  for (int depth = 0; text && depth < kIndexDepthMax; ++depth) {
    auto index = parse_image_index(*text, limits);
    if (!index) return fail(std::move(index.error()));
    auto chosen = choose_image(*index, depth == 0 ? name : "", machine_architecture(), depth == 0);
    if (!chosen) return fail(std::move(chosen.error()));
    text = read_blob(layout, *chosen, limits);
    if (text && !is_image_index(chosen->media_type)) return parse_image_manifest(*text, limits);
  }
  if (!text) return fail(std::move(text.error()));
  return fail(Code::kInvalid, "its indexes lie more than {} deep", kIndexDepthMax);
}

Result<Found> find(const std::string& reference, const ImageLimits& limits) {
  if (Status usable = check_openat2(); !usable) return fail(usable.error());
  ImageReference wanted = parse_image_reference(reference);
  auto layout = ImageLayout::open(wanted.path);
  if (!layout) return fail(std::move(layout.error()));
  auto manifest = find_manifest(*layout, wanted.name, limits);
  if (!manifest) return fail(std::move(manifest.error()));
  auto text = read_blob(*layout, manifest->config, limits);
  if (!text) return fail(std::move(text.error()));
  auto config = parse_image_config(*text, limits);
  if (!config) return fail(std::move(config.error()));
  if (config->os != "linux" || config->architecture != machine_architecture())
    return fail(Code::kInvalid, "it is for {}/{}, and this machine is linux/{}", config->os,
                config->architecture, machine_architecture());
  if (config->diff_ids.size() != manifest->layers.size())
    return fail(Code::kInvalid, "its manifest and its configuration have different layers");
  return Found{std::move(*layout), std::move(*manifest), std::move(*text), std::move(*config)};
}

// What is left of the limits, over all layers.
struct Progress {
  const ImageLimits& limits;
  const std::atomic<bool>* cancelled;
  std::uint64_t bytes = 0;
  std::uint64_t entries = 0;
};

Status add_entries(ArchiveReader& tar, RootTree& tree, Progress& progress) {
  const ImageLimits& limits = progress.limits;
  auto too_many = [&] {
    return fail(Code::kInvalid, "the image has more than {} entries", limits.entries_max);
  };
  std::uint64_t files = 0;
  for (;;) {
    auto entry = tar.next();
    if (!entry) return fail(std::move(entry.error()));
    if (!*entry) return {};
    if (++progress.entries > limits.entries_max) return too_many();
    // A sparse file is larger than what the archive has of it.
    if ((*entry)->kind == TarEntry::Kind::kFile) files += std::min((*entry)->bytes, UINT64_MAX / 2);
    if (files > limits.content_bytes_max - progress.bytes)
      return fail(Code::kInvalid, "the image's files are larger than {} bytes",
                  limits.content_bytes_max);
    Status added =
        tree.add(**entry, [&](char* buffer, std::size_t size) { return tar.read(buffer, size); });
    if (!added) return added;
    if (tree.paths() > limits.entries_max) return too_many();  // with directories it did not list
  }
}

Status unpack_layer(const ImageLayout& layout, const ImageDescriptor& layer,
                    const std::string& diff_id, RootTree& tree, Progress& progress) {
  auto blob = layout.open_file(blob_name(layer.sha256));
  if (!blob) return fail(std::move(blob.error()));
  MeasuredSource packed(std::move(*blob), layer.bytes);
  auto unpacked = ArchiveReader::unpacked(
      [&](char* buffer, std::size_t size) { return packed.read(buffer, size); });
  if (!unpacked) return fail(std::move(unpacked.error()));
  MeasuredSource content(
      [&](char* buffer, std::size_t size) -> Result<std::size_t> {
        if (progress.cancelled != nullptr && *progress.cancelled)
          return fail(Code::kUnavailable, "unpacking was cancelled");
        return unpacked->read(buffer, size);
      },
      progress.limits.content_bytes_max - progress.bytes);
  auto tar = ArchiveReader::tar(
      [&](char* buffer, std::size_t size) { return content.read(buffer, size); });
  if (!tar) return fail(std::move(tar.error()));
  tree.begin_layer();
  Status done = add_entries(*tar, tree, progress);
  // What follows the archive's end belongs to the digests all the same.
  if (done) done = content.read_rest();
  if (done) done = packed.read_rest();
  if (!done) return done;
  progress.bytes += content.bytes();
  if (packed.bytes() != layer.bytes || packed.sha256() != layer.sha256)
    return fail(Code::kCorrupt, "it is not what its digest says");
  if (content.sha256() != diff_id)
    return fail(Code::kCorrupt, "its content is not what the configuration says (sha256:{})",
                diff_id);
  return {};
}

Status unpack_layers(const Found& found, const std::string& root, Progress progress) {
  if (::mkdir(root.c_str(), 0755) != 0) return fail(os_error(errno, "make " + root));
  ::chmod(root.c_str(), 0755);  // against the umask
  auto tree = RootTree::open(root);
  if (!tree) return fail(std::move(tree.error()));
  for (std::size_t i = 0; i < found.manifest.layers.size(); ++i) {
    const ImageDescriptor& layer = found.manifest.layers[i];
    Status done = unpack_layer(found.layout, layer, found.config.diff_ids[i], *tree, progress);
    if (!done) return fail(std::move(done.error()).wrap("layer sha256:" + layer.sha256));
  }
  // Places for what is mounted over the image (internal/own_root.h).
  for (const char* name : {"dev", "proc", "run", "sys", "tmp"})
    if (Status made = tree->ensure_directory(name); !made) return made;
  for (const char* name : {"etc/hosts", "etc/resolv.conf"})
    if (Status made = tree->ensure_file(name); !made) return made;
  return tree->make_directories(found.config.directory);
}

}  // namespace

Result<std::string> find_image(const std::string& reference, const ImageLimits& limits) {
  auto found = find(reference, limits);
  if (!found) return fail(std::move(found.error()).wrap("image " + reference));
  return sha256_hex(found->config_text);
}

Result<Image> stored_image(const std::string& digest, const DigestStore& store) {
  if (!is_sha256_hex(digest) || !store.has(digest))
    return fail(Code::kNotFound, "the image {} is not unpacked here", digest.substr(0, 64));
  ImageLimits limits;
  auto text = read_file(store.directory_of(digest) + "/config.json", limits.metadata_bytes_max);
  if (!text) return fail(std::move(text.error()));
  auto config = parse_image_config(*text, limits);
  if (!config) return fail(std::move(config.error()));
  Image image{digest, store.directory_of(digest) + "/root", std::move(*config), {}};
  // A link of the image must not lead to a file of the machine.
  auto tree = RootTree::open(image.root);
  if (!tree) return fail(std::move(tree.error()));
  auto user =
      find_image_user(image.config.user, tree->read("etc/passwd", kAccountBytesMax).value_or(""),
                      tree->read("etc/group", kAccountBytesMax).value_or(""));
  if (!user) return fail(std::move(user.error()));
  image.user = std::move(*user);
  return image;
}

Result<Image> unpack_image(const std::string& reference, const DigestStore& store,
                           const ImageLimits& limits, const std::atomic<bool>* cancelled) {
  auto found = find(reference, limits);
  if (!found) return fail(std::move(found.error()).wrap("image " + reference));
  const std::string digest = sha256_hex(found->config_text);
  Status put = store.put(digest, [&](const std::string& work) -> Status {
    Status kept = write_file_durably(work + "/config.json", found->config_text);
    return kept ? unpack_layers(*found, work + "/root", {limits, cancelled}) : kept;
  });
  if (!put) return fail(std::move(put.error()).wrap("image " + reference));
  auto image = stored_image(digest, store);
  if (!image) return fail(std::move(image.error()).wrap("image " + reference));
  return image;
}

Result<ExpandedProcess> in_image(ExpandedProcess process, const Image& image) {
  if (process.argv.empty()) {
    process.argv = image.config.entrypoint;
    process.argv.insert(process.argv.end(), image.config.command.begin(),
                        image.config.command.end());
  }
  if (process.argv.empty())
    return fail(Code::kInvalid, "neither the tier nor its image has a command");
  process.env.insert(image.config.env.begin(), image.config.env.end());
  process.env.try_emplace("PATH", kDefaultPath);
  process.env.try_emplace("HOME", image.user.home);
  std::string directory = process.directory.empty() ? image.config.directory : process.directory;
  process.root = OwnRoot{image.root, directory.empty() ? "/" : directory, image.user.uid,
                         image.user.gid, image.user.groups};
  process.directory.clear();
  process.stop_signal = image.config.stop_signal;
  return process;
}

}  // namespace leeward::compute

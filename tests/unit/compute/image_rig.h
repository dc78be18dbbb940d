// Images of a test's own: tar archives byte by byte, so that they can be wrong, and layouts of
// them.
#pragma once

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/sha256.h"
#include "compute/image_format.h"

namespace leeward::compute {

// One header (POSIX ustar) with its content.
struct TarPart {
  std::string name;
  char type = '0';  // file; '1' hard link, '2' symbolic link, '3' device, '5' directory, '6' FIFO
  std::string content{};
  std::string link{};
  unsigned mode = 0644;
  std::uint64_t claimed = UINT64_MAX;  // the size that the header says; by default the content's
  unsigned uid = 0;
};

inline std::string tar_header(const TarPart& part) {
  char header[512] = {};
  auto octal = [&](std::size_t at, std::size_t width, std::uint64_t value) {
    std::string text = fmt::format("{:0{}o}", value, width - 1);
    std::memcpy(header + at, text.data(), width - 1);
  };
  std::memcpy(header, part.name.data(), std::min<std::size_t>(part.name.size(), 100));
  octal(100, 8, part.mode);
  octal(108, 8, part.uid);
  octal(116, 8, part.uid);
  octal(124, 12, part.claimed == UINT64_MAX ? part.content.size() : part.claimed);
  octal(136, 12, 1'000'000'000);
  std::memset(header + 148, ' ', 8);
  header[156] = part.type;
  std::memcpy(header + 157, part.link.data(), std::min<std::size_t>(part.link.size(), 100));
  std::memcpy(header + 257, "ustar\00000", 8);
  unsigned sum = 0;
  for (char c : header) sum += static_cast<unsigned char>(c);
  octal(148, 7, sum);
  return {header, sizeof header};
}

inline std::string tar(const std::vector<TarPart>& parts) {
  std::string out;
  for (const TarPart& part : parts) {
    out += tar_header(part) + part.content;
    out.append((512 - part.content.size() % 512) % 512, '\0');
  }
  return out.append(1024, '\0');
}

inline std::string gzip(const std::string& text) {
  z_stream z{};
  ::deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(::deflateBound(&z, text.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  ::deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  ::deflateEnd(&z);
  return out;
}

inline std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

// An image in a layout directory, as a registry's client writes it.
class LayoutDirectory {
 public:
  explicit LayoutDirectory(std::string path) : path_(std::move(path)) {
    std::filesystem::create_directories(path_ + "/blobs/sha256");
    write("oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
  }
  const std::string& path() const { return path_; }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ + "/" + name, std::ios::binary) << text;
  }
  std::string blob_path(const std::string& sha256) const { return "blobs/sha256/" + sha256; }

  // `packed` as a layer whose content is `content`.
  void layer(const std::string& packed, const std::string& content,
             const std::string& packing = "+gzip") {
    layers_ += fmt::format("{}{}", layers_.empty() ? "" : ",",
                           descriptor("application/vnd.oci.image.layer.v1.tar" + packing, packed));
    diff_ids_ += fmt::format("{}\"sha256:{}\"", diff_ids_.empty() ? "" : ",", sha256_hex(content));
  }
  void layer(const std::vector<TarPart>& parts) { layer(gzip(tar(parts)), tar(parts)); }
  // Members of "config".
  void config(const std::string& members) { config_ = members; }
  std::string architecture = std::string(machine_architecture());

  // Writes an image of these layers, and the index: of this one alone, or with a name of all that
  // have one. Returns the digest of the configuration.
  std::string write_image(const std::string& name = "") {
    std::string config = fmt::format(
        R"({{"architecture":"{}","os":"linux","config":{{{}}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}})",
        architecture, config_, diff_ids_);
    std::string manifest =
        fmt::format(R"({{"schemaVersion":2,"config":{},"layers":[{}]}})",
                    descriptor("application/vnd.oci.image.config.v1+json", config), layers_);
    std::string annotations =
        name.empty() ? "" : fmt::format(R"("org.opencontainers.image.ref.name":"{}")", name);
    if (name.empty()) manifests_.clear();
    manifests_ += fmt::format(
        "{}{}", manifests_.empty() ? "" : ",",
        descriptor("application/vnd.oci.image.manifest.v1+json", manifest, annotations));
    write("index.json", fmt::format(R"({{"schemaVersion":2,"manifests":[{}]}})", manifests_));
    layers_.clear();
    diff_ids_.clear();
    config_.clear();
    return sha256_hex(config);
  }

  // Writes the blob.
  std::string descriptor(const std::string& type, const std::string& blob,
                         const std::string& annotations = "") const {
    write(blob_path(sha256_hex(blob)), blob);
    return fmt::format(
        R"({{"mediaType":"{}","digest":"sha256:{}","size":{},"annotations":{{{}}}}})", type,
        sha256_hex(blob), blob.size(), annotations);
  }

 private:
  std::string path_;
  std::string layers_, diff_ids_, config_, manifests_;
};

}  // namespace leeward::compute

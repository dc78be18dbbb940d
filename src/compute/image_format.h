// What the JSON documents of an OCI image say. Pure: no file is read here, and no digest checked
// (image.h does both).
//
// Sources: OCI image-spec 1.1 image-layout.md, image-index.md, manifest.md, descriptor.md,
// config.md, annotations.md. Docker's media types of the same documents are taken as well.
//
// All fail with kInvalid, saying what is wrong with which document.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace leeward::compute {

// An image as it is written in the configuration: "PATH" or "PATH:NAME". The name is what follows
// the last colon, if there is no slash in it.
struct ImageReference {
  std::string path;
  std::string name;  // empty: the layout has one image
};
ImageReference parse_image_reference(std::string_view text);

struct ImageLimits {
  std::uint64_t content_bytes_max = std::uint64_t{16} << 30;  // of all layers, unpacked
  std::uint64_t entries_max = 1'000'000;                      // of all layers
  std::size_t layers_max = 256;
  std::size_t metadata_bytes_max = 4u << 20;  // of an index, a manifest or a configuration
  std::size_t manifests_max = 1000;           // of an index
};

struct ImageDescriptor {
  std::string media_type;
  std::string sha256;  // 64 hexadecimal digits
  std::uint64_t bytes = 0;
  std::string os, architecture;  // empty: not said
  std::string name;              // annotation org.opencontainers.image.ref.name
};

// The file oci-layout.
Status check_layout_version(std::string_view text);

Result<std::vector<ImageDescriptor>> parse_image_index(std::string_view text,
                                                       const ImageLimits& limits);
bool is_image_index(std::string_view media_type);

// Of the layout's own index, the entry called `name`, or the only one there is. Of several
// platforms under that name, as in any other index, the first for linux/`architecture`.
Result<ImageDescriptor> choose_image(const std::vector<ImageDescriptor>& index,
                                     const std::string& name, std::string_view architecture,
                                     bool of_layout);

struct ImageManifest {
  ImageDescriptor config;
  std::vector<ImageDescriptor> layers;  // from the lowest
};
// Layers that are not tar archives, plain or packed by gzip or zstd, are refused.
Result<ImageManifest> parse_image_manifest(std::string_view text, const ImageLimits& limits);

struct ImageConfig {
  std::vector<std::string> entrypoint;
  std::vector<std::string> command;
  std::map<std::string, std::string> env;
  std::string directory;  // empty: /
  std::string user;       // USER[:GROUP], names or numbers; empty: root
  int stop_signal = 0;    // 0: not said
  std::string os, architecture;
  std::vector<std::string> diff_ids;  // SHA-256 of each layer, unpacked
};
Result<ImageConfig> parse_image_config(std::string_view text, const ImageLimits& limits);

// Who a process runs as.
struct ImageUser {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::uint32_t> groups;  // besides gid
  std::string home = "/";
};
// `user`: as in ImageConfig. `passwd`, `group`: the image's /etc/passwd and /etc/group. A name that
// they do not have is kInvalid, a number need not be there.
Result<ImageUser> find_image_user(const std::string& user, std::string_view passwd,
                                  std::string_view group);

// What images call this machine: "amd64", "arm64"; empty for one that images have no name for.
std::string_view machine_architecture();

}  // namespace leeward::compute

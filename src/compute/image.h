// OCI images: from a file or directory of this machine into a directory that instances run in.
//
// Read is an OCI image layout (image-spec 1.0 and 1.1), as a directory or as a plain tar archive of
// one: what `skopeo copy docker://… oci:DIRECTORY:NAME` or `oci-archive:FILE:NAME` makes, and
// `docker save` since Docker 25. Layers are tar archives, plain or packed by gzip or zstd. Nothing
// is fetched from a registry.
//
// Every blob's SHA-256 digest and size are checked, and the digest of every layer's content (the
// configuration's diff_ids). No entry leaves the new root (internal/root_tree.h). Set-user-ID bits,
// devices and extended attributes are left out.
//
// An image is unpacked once, into STORE/DIGEST/root, DIGEST being that of its configuration, which
// is kept beside it; it is there whole or not at all (base/digest_store.h). Instances share it and
// cannot write to it.
//
// Blocks on the disk, unpack_image() for seconds: not for a loop's thread.
#pragma once

#include <atomic>
#include <string>

#include "base/digest_store.h"
#include "base/error.h"
#include "compute/expand.h"
#include "compute/image_format.h"

namespace leeward::compute {

struct Image {
  std::string digest;  // of its configuration: 64 hexadecimal digits
  std::string root;    // directory
  ImageConfig config;
  ImageUser user;
};

// The digest of the image that `reference` means now; only its documents are read. kNotFound when
// there is no such file or image, kInvalid when it is no image for this machine, kCorrupt, kIo.
Result<std::string> find_image(const std::string& reference, const ImageLimits& limits = {});

// Unpacks it, if it is not in `store`. As find_image(); kInvalid also beyond a limit; kUnavailable
// soon after `cancelled` (may be null) has become true.
Result<Image> unpack_image(const std::string& reference, const DigestStore& store,
                           const ImageLimits& limits = {},
                           const std::atomic<bool>* cancelled = nullptr);

// One that is in the store. kNotFound; kInvalid when it has no such user as it says.
Result<Image> stored_image(const std::string& digest, const DigestStore& store);

// The process in the image. Without a command of its own it is the image's entry point and command;
// its variables are added to the image's, and to no others; its directory, if any, is one of the
// image. kInvalid when neither has a command.
Result<ExpandedProcess> in_image(ExpandedProcess process, const Image& image);

}  // namespace leeward::compute

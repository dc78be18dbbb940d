// Documents of images of anybody: what is accepted keeps the promises of the header.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/sha256.h"
#include "compute/image_format.h"

namespace {

using namespace leeward;
using namespace leeward::compute;

void check(const ImageDescriptor& d) { LEEWARD_CHECK(is_sha256_hex(d.sha256)); }

void check(const ImageConfig& config) {
  for (const auto& texts : {config.entrypoint, config.command})
    for (const std::string& text : texts) LEEWARD_CHECK(text.find('\0') == std::string::npos);
  for (const auto& [name, value] : config.env)
    LEEWARD_CHECK(!name.empty() && name.find('=') == std::string::npos &&
                  value.find('\0') == std::string::npos);
  LEEWARD_CHECK(config.directory.empty() || config.directory[0] == '/');
  LEEWARD_CHECK(config.stop_signal >= 0 && config.stop_signal <= 64);
  for (const std::string& id : config.diff_ids) LEEWARD_CHECK(is_sha256_hex(id));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ImageLimits limits;
  limits.layers_max = 10;
  limits.manifests_max = 10;
  static_cast<void>(check_layout_version(text));
  if (auto index = parse_image_index(text, limits)) {
    LEEWARD_CHECK(index->size() <= limits.manifests_max);
    for (const ImageDescriptor& d : *index) check(d);
    for (const char* name : {"", "v1"})
      for (bool of_layout : {false, true})
        static_cast<void>(choose_image(*index, name, "amd64", of_layout));
  }
  if (auto manifest = parse_image_manifest(text, limits)) {
    LEEWARD_CHECK(manifest->layers.size() <= limits.layers_max);
    check(manifest->config);
    for (const ImageDescriptor& d : manifest->layers) check(d);
  }
  if (auto config = parse_image_config(text, limits)) {
    check(*config);
    static_cast<void>(find_image_user(config->user, text, text));
  }
  // As the files of an image: USER[:GROUP] in the first line, passwd and group behind it.
  const std::size_t line = std::min(text.find('\n'), text.size());
  if (auto user = find_image_user(std::string(text.substr(0, line)), text, text.substr(line))) {
    LEEWARD_CHECK(user->groups.size() <= 64 && user->home[0] == '/');
    LEEWARD_CHECK(user->uid != UINT32_MAX && user->gid != UINT32_MAX);
  }
  const ImageReference reference = parse_image_reference(text);
  LEEWARD_CHECK(reference.name.find('/') == std::string::npos);
  return 0;
}

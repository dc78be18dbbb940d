// Layers of anybody, packed or not: whatever is unpacked stays inside its root, within its bounds.
// The first octet says where the first of two layers ends.
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/file.h"
#include "compute/internal/archive.h"
#include "compute/internal/root_tree.h"

namespace {

using namespace leeward;
using namespace leeward::compute;

constexpr std::size_t kContentMax = 1u << 18;
constexpr std::uint64_t kEntriesMax = 200;

ByteSource source_of(std::string_view bytes) {
  return [bytes](char* buffer, std::size_t size) mutable -> Result<std::size_t> {
    const std::size_t n = bytes.copy(buffer, size);
    bytes.remove_prefix(n);
    return n;
  };
}

// One directory for the life of the process: root/ and, beside it, what no layer may reach.
struct Place {
  Place() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "leeward-layer-fuzz.XXXXXX").string();
    LEEWARD_CHECK(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
    LEEWARD_CHECK(write_file_durably(path + "/outside", "untouched").has_value());
  }
  ~Place() { std::filesystem::remove_all(path); }
  std::string path;
};

void unpack(std::string_view layer, RootTree& tree) {
  std::size_t left = kContentMax;
  auto unpacked = ArchiveReader::unpacked(source_of(layer));
  if (!unpacked) return;
  auto tar = ArchiveReader::tar([&](char* buffer, std::size_t size) -> Result<std::size_t> {
    auto got = unpacked->read(buffer, size);
    if (got && *got > left) return fail(Code::kInvalid, "too much");
    if (got) left -= *got;
    return got;
  });
  if (!tar) return;
  tree.begin_layer();
  std::uint64_t files = 0;
  for (std::uint64_t entries = 0; entries < kEntriesMax && tree.paths() < kEntriesMax; ++entries) {
    auto entry = tar->next();
    if (!entry || !*entry) return;
    if ((*entry)->kind == TarEntry::Kind::kFile && (files += (*entry)->bytes) > kContentMax) return;
    Status added =
        tree.add(**entry, [&](char* buffer, std::size_t size) { return tar->read(buffer, size); });
    if (!added) return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Place place;
  const std::string root = place.path + "/root";
  std::filesystem::create_directory(root);
  {
    auto tree = RootTree::open(root);
    LEEWARD_CHECK(tree.has_value());
    // Two layers: what the first has, the second may hide and replace.
    std::string_view both(reinterpret_cast<const char*>(data), size);
    const std::size_t first =
        both.size() > 2 ? both.size() * static_cast<std::uint8_t>(both[0]) / 256 : 0;
    if (!both.empty()) both.remove_prefix(1);
    unpack(both.substr(0, first), *tree);
    unpack(both.substr(std::min(first, both.size())), *tree);
  }
  LEEWARD_CHECK(read_file(place.path + "/outside").value_or("") == "untouched");
  std::size_t beside = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(place.path))
    ++beside;
  LEEWARD_CHECK(beside == 2);
  std::filesystem::remove_all(
      root);  // throws, and so ends the fuzzer, if anything cannot be removed
  return 0;
}

// Archives of anybody: whatever is listed unpacks within its bounds, and no path leads out.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "functions/zip.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeward::functions;
  const std::string_view archive(reinterpret_cast<const char*>(data), size);
  ZipLimits limits;
  limits.content_bytes_max = 1u << 20;
  auto entries = read_zip(archive, limits);
  if (!entries) return 0;
  std::size_t total = 0;
  for (const ZipEntry& entry : *entries) {
    const std::string framed = "/" + entry.path + "/";
    LEEWARD_CHECK(framed.find("/../") == std::string::npos);
    LEEWARD_CHECK(framed.find("//") == std::string::npos);
    auto content = unpack(archive, entry);
    if (content) total += content->size();
  }
  LEEWARD_CHECK(total <= limits.content_bytes_max);
  return 0;
}

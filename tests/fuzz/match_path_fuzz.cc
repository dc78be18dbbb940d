// Paths as routes compare them: never with a slash after a slash or a dot segment, whatever was
// sent.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "edge/match_path.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string storage;
  const std::string path(leeward::edge::match_path(
      std::string_view(reinterpret_cast<const char*>(data), size), storage));
  LEEWARD_CHECK(path.starts_with('/') && path.size() <= size + 1);
  LEEWARD_CHECK(path.find("//") == std::string::npos);
  for (const char* never : {"/./", "/../"})
    LEEWARD_CHECK((path + "/").find(never) == std::string::npos);
  return 0;
}

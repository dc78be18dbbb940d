// A table mapping of AWS DMS: whatever it holds, reading ends, and a mapping without a problem
// carries something.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "replication/task.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeward;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto loaded = replication::load_dms_mapping(text, "map.json");
  LEEWARD_CHECK(!loaded.problems.empty() || !loaded.mapping.include.empty());
  (void)loaded.mapping.route("shop", "orders", {"id", "total"});
  return 0;
}

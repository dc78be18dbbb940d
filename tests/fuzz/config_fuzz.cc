// leeward.yaml comes from people: whatever it holds, loading ends with a platform or with problems.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeward;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  config::Loaded loaded = config::load_text(text, "leeward.yaml", "/");
  LEEWARD_CHECK(loaded.platform.has_value() == loaded.problems.empty());
  LEEWARD_CHECK(loaded.problems.size() <= config::kProblemsMax + 1);
  if (loaded.platform) {
    LEEWARD_CHECK(loaded.platform->lease.safe());
    LEEWARD_CHECK(loaded.platform->configured_primary() != kNoSite);
  }
  return 0;
}

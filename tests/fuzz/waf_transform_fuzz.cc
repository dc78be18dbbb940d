// Every transformation on bytes of any kind: it says whether the value changed, and keeps to the
// bound on its size.
#include <cstdint>
#include <string>

#include "base/check.h"
#include "waf/transform.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace waf = leeward::waf;
  const std::string value(reinterpret_cast<const char*>(data), size);
  for (std::size_t i = 0; i < waf::kTransformCount; ++i) {
    std::string transformed = value;
    const bool changed = waf::apply(static_cast<waf::Transform>(i), transformed);
    LEEWARD_CHECK(changed == (transformed != value));
    LEEWARD_CHECK(transformed.size() <= value.size() * 6 + 64);  // a digest, a length
  }
  return 0;
}

// The plan of a sandbox: damaged ones are refused, whole ones are the same again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "functions/internal/sandbox_plan.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeward::functions;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (auto plan = decode_plan(bytes)) LEEWARD_CHECK(encode(*plan) == bytes);
  return 0;
}

// Request targets: what is accepted survives being written and read again.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "net/internal/http_text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeward::net;
  auto target = parse_target(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!target) return 0;
  auto again = parse_target(format_target(target->path, target->query));
  LEEWARD_CHECK(again && again->path == target->path && again->query == target->query);
  return 0;
}

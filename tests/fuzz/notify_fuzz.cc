// Messages of supervised processes (sd_notify): whatever they send, what is kept is bounded and
// safe to show.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "compute/notify.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto n = leeward::compute::parse_notification(bytes);
  if (!n.status) return 0;
  if (n.status->size() > leeward::compute::kNotifyStatusMax) std::abort();
  for (char c : *n.status)
    if (c < 0x20 || c > 0x7e) std::abort();
  return 0;
}

// Any bytes as a state file: what is accepted survives being written and read again.
#include <string_view>

#include "base/check.h"
#include "dns/state.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto state = leeward::dns::parse_state(text);
  if (!state) return 0;
  auto again = leeward::dns::parse_state(leeward::dns::format_state(*state));
  LEEWARD_CHECK(again && *again == *state);
  return 0;
}

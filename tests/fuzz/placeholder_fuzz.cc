// Placeholders of leeward.yaml's commands: any text is expanded or refused.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "compute/expand.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto expanded = leeward::compute::expand_text(text, {{"port", "8080"}, {"gateway.shop", ""}});
  bool plain = text.find_first_of("{}") == std::string_view::npos;
  if (plain) LEEWARD_CHECK(expanded.has_value() && *expanded == text);
  return 0;
}

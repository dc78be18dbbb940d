// Conditions of firewall rules: any text is an expression or an error with a column.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "model/waf_expression.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto parsed = leeward::parse_waf_expression({reinterpret_cast<const char*>(data), size});
  if (parsed)
    (void)parsed->needs_body();
  else if (!parsed.error().message.starts_with("column "))
    std::abort();
  return 0;
}

// Bodies of failed probes, shown to people: one printable line of at most 80 characters.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "health/prober.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text =
      leeward::health::excerpt(std::string_view(reinterpret_cast<const char*>(data), size));
  LEEWARD_CHECK(text.size() <= 80);
  for (char c : text) LEEWARD_CHECK(c >= 0x20 && c <= 0x7e);
  LEEWARD_CHECK(text.empty() || (text.front() != ' ' && text.back() != ' '));
  return 0;
}

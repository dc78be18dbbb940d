// Output of applications, shown to people: every line printable and bounded.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "compute/instance_log.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  for (bool starts_file : {true, false}) {
    auto lines = leeward::compute::last_lines(text, 20, starts_file);
    LEEWARD_CHECK(lines.size() <= 20);
    for (const std::string& line : lines) {
      LEEWARD_CHECK(line.size() <= 400);
      for (char c : line) LEEWARD_CHECK(c == '\t' || (c >= 0x20 && c <= 0x7e));
    }
  }
  return 0;
}

// Fingerprints of ClientHellos: no crash; empty, or of JA4's form.
#include <cstdlib>
#include <string>

#include "edge/ja4.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string ja4 = leeward::edge::ja4_of({reinterpret_cast<const char*>(data), size});
  if (ja4.empty()) return 0;
  if (ja4.size() != 36 || ja4[0] != 't' || ja4[10] != '_' || ja4[23] != '_') std::abort();
  return 0;
}

// The detectors and libinjection, as it is in libmodsecurity, agree on bytes of any kind.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "waf/detect_sqli.h"
#include "waf/detect_xss.h"

extern "C" int libinjection_sqli(const char* value, std::size_t size, char fingerprint[]);
extern "C" int libinjection_xss(const char* value, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kReferenceBytesMax = 4096;  // it recurses
  if (size == 0 || size > kReferenceBytesMax) return 0;
  const std::string_view value(reinterpret_cast<const char*>(data), size);
  char fingerprint[8] = {};
  const bool sqli = libinjection_sqli(value.data(), size, fingerprint) == 1;
  const leeward::waf::SqliVerdict verdict = leeward::waf::detect_sqli(value);
  LEEWARD_CHECK(verdict.attack == sqli);
  LEEWARD_CHECK(!sqli || verdict.text() == fingerprint);
  LEEWARD_CHECK(leeward::waf::detect_xss(value) == (libinjection_xss(value.data(), size) == 1));
  return 0;
}

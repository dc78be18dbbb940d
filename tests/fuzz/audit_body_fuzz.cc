// Any body under any type: its entry in the audit log is printable, and a value of a secret name is
// not in it.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "edge/audit_body.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeward::edge;
  static const SecretMask mask;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t line = std::min(text.find('\n'), text.size());
  const std::string_view body = text.substr(std::min(line + 1, text.size()));
  for (const std::string_view type : {text.substr(0, line), std::string_view("application/json"),
                                      std::string_view("application/x-www-form-urlencoded"),
                                      std::string_view("multipart/form-data; boundary=b")}) {
    const std::string out = audit_body(type, body, mask);
    LEEWARD_CHECK(std::all_of(out.begin(), out.end(), [](char c) { return c > 0x20 && c < 0x7f; }));
    for (std::size_t at = 0; at < out.size();) {
      const std::size_t end = std::min(out.find('&', at), out.size());
      const std::string_view field = std::string_view(out).substr(at, end - at);
      const std::size_t equals = field.find('=');
      if (equals != std::string_view::npos && mask.is_secret(field.substr(0, equals)))
        LEEWARD_CHECK(field.substr(equals + 1) == SecretMask::kMasked);
      at = end + 1;
    }
  }
  return 0;
}

// What code in a sandbox may send to the Extensions API and the Telemetry API.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "functions/extensions.h"
#include "functions/telemetry.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeward;
  using namespace leeward::functions;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(parse_registration(text));
  if (auto subscription = parse_subscription(text)) {
    LEEWARD_CHECK(subscription->port != 0);
    LEEWARD_CHECK(subscription->path.starts_with('/'));
    LEEWARD_CHECK(subscription->path.find_first_of(" \r\n") == std::string::npos);
    LEEWARD_CHECK(subscription->items_max >= 1000 && subscription->items_max <= 10'000);
    LEEWARD_CHECK(subscription->platform || subscription->function || subscription->extension);
  }
  net::HttpRequest request;
  request.path = std::string(text);
  for (const char* method : {"GET", "POST", "PUT"}) {
    request.method = method;
    static_cast<void>(parse_extension_call(request));
  }
  return 0;
}

// Requests to the Lambda API that claim to be signed: whatever is in them, nobody gets in without
// the secret, and what is signed with it gets in.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "functions/sigv4.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeward;
  using namespace leeward::functions;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto line = [&] {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string out(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    return out;
  };
  const WallTime now{std::chrono::seconds(1'800'000'000)};
  const AccessKeys keys{{"KEY", "a secret that no input knows"}};
  net::HttpRequest request;
  request.method = "POST";
  request.target = line();
  request.headers["Authorization"] = line();
  request.headers["X-Amz-Date"] = line();
  request.headers["Host"] = line();
  request.body = std::string(text);
  LEEWARD_CHECK(!check_signature(request, keys, now));
  sign(request, "127.0.0.1:9001", "KEY", keys.at("KEY"), "region", now);
  LEEWARD_CHECK(check_signature(request, keys, now).has_value());
  request.body += "x";
  LEEWARD_CHECK(!check_signature(request, keys, now));
  return 0;
}

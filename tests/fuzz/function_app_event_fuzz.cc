// Events that become requests of an application, and results and the preludes of streamed ones that
// become HTTP answers: none may break out of its place.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "functions/app_request.h"
#include "functions/function_url.h"

namespace {

bool one_line(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

void check_head(const leeward::net::HttpResponse& response) {
  LEEWARD_CHECK(response.status >= 100 && response.status <= 599);
  LEEWARD_CHECK(one_line(response.content_type));
  for (const auto& [name, value] : response.headers)
    LEEWARD_CHECK(one_line(name) && one_line(value));
  for (const auto& cookie : response.cookies) LEEWARD_CHECK(one_line(cookie));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeward;
  using namespace leeward::functions;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto request = app_request_of(text)) {
    LEEWARD_CHECK(one_line(request->method) && one_line(request->target));
    LEEWARD_CHECK(request->target.find(' ') == std::string::npos);
    for (const auto& [name, value] : request->headers)
      LEEWARD_CHECK(one_line(name) && one_line(value));
  }
  Status sound;
  const net::HttpResponse response = response_of(text, sound);
  if (sound) check_head(response);
  StreamPrelude prelude;
  auto streamed = prelude.take(text.substr(0, size / 2));
  if (streamed && !*streamed) streamed = prelude.take(text.substr(size / 2));
  if (streamed && *streamed) check_head(**streamed);
  return 0;
}

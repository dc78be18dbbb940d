// What those in front say of a client: no crash; nobody but an edge with the key is believed to be
// one; no trailer goes on that frames a request or says who the client is.
#include <cstdlib>
#include <string>

#include "edge/http1.h"
#include "edge/internal/proxy_fields.h"

using namespace leeward::edge;

static void expect(bool condition) {
  if (!condition) std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const ClientAddress peer = *parse_client_address("192.0.2.1");
  const leeward::WallTime now{std::chrono::seconds(1'800'000'000)};
  static const std::string key = "a key", hop = edge_hop(peer, key, now);
  const auto told = hop_client(text, key, now);
  expect(told.has_value() == (text == hop || text == hop + "="));  // padded or not
  const Field field{"X-Forwarded-For", text};
  const std::string client = to_string(forwarded_client({&field, 1}, peer));
  expect(parse_client_address(client).has_value());
  expect(times_passed(text, "here") <= size);
  std::string out;
  append_request_trailers(out, text);
  expect(out.size() <= 2 * size + 2);  // a blank behind each colon, an end of the last line
  return 0;
}

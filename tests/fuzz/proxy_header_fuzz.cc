// PROXY protocol headers: no crash, one outcome however the bytes come, and what we write ourselves
// reads back as the same client.
#include <cstdlib>
#include <cstring>
#include <string>

#include "edge/proxy_protocol.h"

using namespace leeward::edge;

static void expect(bool condition) {
  if (!condition) std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const ProxyHeader header = parse_proxy_header(text);
  if (header.kind != ProxyHeader::Kind::kDone) return 0;
  expect(header.consumed >= 16 && header.consumed <= size);
  for (std::size_t n = 0; n < header.consumed; ++n)
    expect(parse_proxy_header(text.substr(0, n)).kind == ProxyHeader::Kind::kMore);
  if (!header.has_client) return 0;
  const std::string written = format_proxy_header(header.client, header.client);
  const ProxyHeader again = parse_proxy_header(written);
  expect(again.kind == ProxyHeader::Kind::kDone && again.consumed == written.size());
  expect(again.has_client && again.client.port == header.client.port);
  expect(std::memcmp(again.client.bytes, header.client.bytes, sizeof header.client.bytes) == 0);
  return 0;
}

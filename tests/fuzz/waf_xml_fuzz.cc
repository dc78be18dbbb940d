// XML bodies, whole and cut into pieces, within the limits. What libxml2 holds until it can go on
// depends on the pieces, so only the verdict and a whole document's text have to be the same.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "waf/body_xml.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace waf = leeward::waf;
  constexpr waf::BodyLimits kLimits{.fields_max = 20, .depth_max = 10, .text_bytes_max = 2'000};
  if (size == 0) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t piece = 1 + data[0] % 16;
  waf::XmlBody whole(kLimits);
  whole.feed(body);
  const bool good = whole.finish();
  LEEWARD_CHECK(whole.text().size() <= kLimits.text_bytes_max);
  LEEWARD_CHECK(whole.attributes().size() <= kLimits.fields_max);
  waf::XmlBody cut(kLimits);
  for (std::size_t at = 0; at < body.size(); at += std::min(piece, body.size() - at))
    if (!cut.feed(body.substr(at, piece))) break;
  if (cut.finish() && good) LEEWARD_CHECK(cut.text() == whole.text());
  return 0;
}

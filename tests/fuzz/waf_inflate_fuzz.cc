// Compressed bodies in every coding, whole and cut into pieces: the same comes out, within limits.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "waf/inflate.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace waf = leeward::waf;
  constexpr waf::InflateLimits kLimits{.output_bytes_max = 200'000,
                                       .ratio_max = 100,
                                       .ratio_free_bytes = 20'000,
                                       .window_bytes_max = 1u << 20};
  if (size == 0) return 0;
  const auto coding = static_cast<waf::ContentCoding>(data[0] % 4);
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::string whole;
  waf::Inflate at_once(coding, kLimits);
  at_once.feed(bytes, whole);
  const bool good = at_once.finish();
  LEEWARD_CHECK(whole.size() <= kLimits.output_bytes_max + 16'384);
  std::string cut;
  waf::Inflate in_pieces(coding, kLimits);
  const std::size_t piece = 1 + data[0] / 4;
  for (std::size_t at = 0; at < bytes.size(); at += std::min(piece, bytes.size() - at))
    if (!in_pieces.feed(bytes.substr(at, piece), cut)) break;
  if (in_pieces.finish() && good) LEEWARD_CHECK(cut == whole);
  return 0;
}

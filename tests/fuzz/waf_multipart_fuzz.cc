// Multipart bodies, whole and cut into pieces: both give the same, within the limits. The second
// reader takes its boundary from the input as well.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "waf/body_multipart.h"

namespace {

namespace waf = leeward::waf;
constexpr waf::BodyLimits kLimits{.fields_max = 20, .text_bytes_max = 20'000};

void same(std::string_view type, std::string_view body, std::size_t piece) {
  waf::MultipartBody whole(type, kLimits, 5);
  waf::MultipartBody cut(type, kLimits, 5);
  whole.feed(body);
  for (std::size_t at = 0; at < body.size(); at += std::min(piece, body.size() - at))
    if (!cut.feed(body.substr(at, piece))) break;
  LEEWARD_CHECK(whole.finish() == cut.finish());
  LEEWARD_CHECK(whole.result().arguments == cut.result().arguments);
  LEEWARD_CHECK(whole.result().part_headers == cut.result().part_headers);
  LEEWARD_CHECK(whole.result().files.size() == cut.result().files.size());
  LEEWARD_CHECK(whole.result().files_bytes <= body.size());
  LEEWARD_CHECK(whole.result().flags.strict_error() == cut.result().flags.strict_error());
  LEEWARD_CHECK(whole.result().flags.unmatched_boundary == cut.result().flags.unmatched_boundary);
  LEEWARD_CHECK(whole.result().arguments.size() <= kLimits.fields_max);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t piece = 1 + data[0] % 16;
  same("multipart/form-data; boundary=B", body, piece);
  const std::string_view type = body.substr(0, body.find('\n'));
  same("multipart/form-data" + std::string(type), body, piece);
  return 0;
}

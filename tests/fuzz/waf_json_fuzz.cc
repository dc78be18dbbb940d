// JSON bodies, whole and cut into pieces: both give the same arguments and the same error, within
// the limits.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "waf/body_json.h"

namespace {

constexpr leeward::waf::BodyLimits kLimits{
    .fields_max = 50, .depth_max = 10, .text_bytes_max = 1000};

std::optional<leeward::waf::BodyError> parse(std::string_view body, std::size_t piece,
                                             leeward::waf::FieldList& fields) {
  leeward::waf::JsonBody json(fields, kLimits);
  for (std::size_t at = 0; at < body.size(); at += std::min(piece, body.size() - at))
    if (!json.feed(body.substr(at, piece))) break;
  LEEWARD_CHECK(json.finish() == !json.error());
  LEEWARD_CHECK(fields.size() <= kLimits.fields_max && fields.bytes() <= kLimits.text_bytes_max);
  LEEWARD_CHECK(!json.error() || json.error()->offset <= body.size());
  return json.error();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  leeward::waf::FieldList whole;
  leeward::waf::FieldList cut;
  const auto error = parse(body, body.size() + 1, whole);
  const auto cut_error = parse(body, 1 + data[0] % 16, cut);
  LEEWARD_CHECK(error.has_value() == cut_error.has_value());
  LEEWARD_CHECK(!error ||
                (error->offset == cut_error->offset && error->message == cut_error->message));
  LEEWARD_CHECK(whole == cut);
  return 0;
}

// Query strings, cookies and the small readers beside them: no name or value is longer than what it
// came from, and limits hold.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "waf/body_urlencoded.h"
#include "waf/cookies.h"
#include "waf/operator_ip.h"
#include "waf/operators.h"
#include "waf/phrase_set.h"
#include "waf/transform.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace waf = leeward::waf;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  constexpr waf::BodyLimits kLimits{.fields_max = 20, .text_bytes_max = 200};
  waf::FieldList fields;
  waf::parse_urlencoded(text, fields, kLimits);
  LEEWARD_CHECK(fields.size() <= kLimits.fields_max && fields.bytes() <= kLimits.text_bytes_max);
  LEEWARD_CHECK(fields.bytes() <= size);
  fields.clear();
  waf::parse_cookies(text, fields, 20);
  LEEWARD_CHECK(fields.size() <= 20 && fields.bytes() <= size);
  if (const auto set = waf::IpSet::parse_file(text, "file")) set->contains(text);
  if (const auto set = waf::PhraseSet::parse_file(text)) {
    for (const std::string& phrase : set->phrases()) LEEWARD_CHECK(set->matches(phrase));
    set->first_match(text);
  }
  if (const auto range = waf::ByteRange::parse(text)) range->first_outside(text);
  (void)waf::UnicodeMap::parse(text, 20127, "file");
  for (const auto comparison : {waf::Comparison::kEq, waf::Comparison::kGe})
    waf::number_of(comparison, text);
  waf::first_utf8_fault(text);
  waf::is_card_number(text);
  waf::is_ssn(text);
  waf::is_cpf(text);
  waf::is_svnr(text);
  return 0;
}

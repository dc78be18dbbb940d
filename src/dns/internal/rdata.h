// Record data from presentation format to wire form (RFC 1035 §5.1, 3596, 2782, 8659).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "model/platform.h"

namespace leeward::dns::internal {

// The fixed octets, then at most one name: all record types of RecordType have this form.
struct Rdata {
  std::string head;
  std::optional<std::string> target;  // wire name, in the owner's spelling of case
  bool compressible = false;          // RFC 3597 §4: only names in types of RFC 1035
  auto operator<=>(const Rdata&) const = default;
};

std::uint16_t wire_type(RecordType type);
std::string_view type_name(RecordType type);  // "A", "CNAME" …

// `zone_name` (wire form) completes relative names. kInvalid shows the value and the right form.
Result<Rdata> parse_rdata(RecordType type, std::string_view value, std::string_view zone_name);

// A name inside a value or the zone's own fields; the rule is in zone.h.
Result<std::string> parse_target(std::string_view text, std::string_view zone_name);

}  // namespace leeward::dns::internal

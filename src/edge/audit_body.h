// A request's body as the audit log has it: its arguments as a form, as in part I of ModSecurity's
// log, whatever they came as, because values can only be masked by their names:
//
//   {"user": {"name": "Kim", "password": "x"}}   ->   json.user.name=Kim&json.user.password=***
//
// Of forms, JSON and multipart/form-data; of those whose values have no names here (XML, plain
// text, content codings) it is SecretMask::kMasked. Files of multipart bodies are left out.
//
// Pure. Cost: linear in `body`, of which the caller gives no more than it wants to have.
#pragma once

#include <string>
#include <string_view>

#include "edge/secret_mask.h"

namespace leeward::edge {

// `body` may be cut off: what is not whole then is left out, and of multipart/form-data the names
// alone are kept. Printable ASCII; at most kAuditFieldsMax arguments.
inline constexpr std::size_t kAuditFieldsMax = 1000;
std::string audit_body(std::string_view content_type, std::string_view body,
                       const SecretMask& mask);

}  // namespace leeward::edge

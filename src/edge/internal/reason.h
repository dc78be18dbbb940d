// Reason phrases of HTTP/1.1 (RFC 9110 §15); "Unknown" for a code without one.
#pragma once

#include <string_view>

namespace leeward::edge {

std::string_view reason_of(int status);

}  // namespace leeward::edge

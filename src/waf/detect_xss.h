// @detectXSS: would a browser run a script that comes out of this value, wherever in a page it is
// put?
#pragma once

#include <string_view>

namespace leeward::waf {

// Pure; linear in the value, no allocation.
bool detect_xss(std::string_view value);

}  // namespace leeward::waf

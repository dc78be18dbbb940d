// Where the engine and libmodsecurity 3.0.9 may differ, and why ours is right.
#pragma once

#include <string>

#include "engines.h"
#include "request.h"

namespace leeward::waf::compared {

struct Difference {
  std::string name;
  std::string reason;
};

// Null: this one is not to be explained, it is a bug.
const Difference* explained(const Request& request, const Seen& ours, const Seen& reference);

}  // namespace leeward::waf::compared

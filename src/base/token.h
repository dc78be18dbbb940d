// Bearer tokens that nobody can guess.
#pragma once

#include <string>

#include "base/error.h"

namespace leeward {

// 32 bytes of the kernel's randomness in hexadecimal digits.
Result<std::string> random_token();

}  // namespace leeward

// A listening socket that is handed to an instance.
#pragma once

#include "base/error.h"
#include "base/file.h"
#include "model/platform.h"

namespace leeward::compute {

// kInvalid for an address that is none, kIo when it cannot be listened on.
Result<UniqueFd> listen_on(const Endpoint& endpoint);

}  // namespace leeward::compute

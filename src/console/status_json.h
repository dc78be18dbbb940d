// The answer of GET /v1/status: who serves, how each site is, and whether a failover would succeed
// now and if not, why. Pure.
#pragma once

#include <string>

#include "control/control_core.h"
#include "model/platform.h"

namespace leeward::console {

std::string status_json(const Platform& platform, const control::ControlCore& core, Now now);

// {"plan": {…}|null}
std::string plan_json(const Platform& platform, const control::ControlCore& core);

}  // namespace leeward::console

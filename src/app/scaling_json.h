// The autoscaler's memory on disk, and its decisions for people and programs, as JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "base/error.h"
#include "compute/autoscaler_core.h"

namespace leeward::app {

nlohmann::json encode_scaling(const compute::AutoscalerMemory& memory);
// kCorrupt naming what is wrong. Numbers out of range are refused, not clamped.
Result<compute::AutoscalerMemory> decode_scaling(const nlohmann::json& json);

nlohmann::json encode_decision(const ScalingSpec& spec, const compute::Decision& decision);

}  // namespace leeward::app

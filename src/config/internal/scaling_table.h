// The settings of a tier's `scaling`, `deploy` and `limits` sections, and the rules between them.
#pragma once

#include "config/setting.h"
#include "model/platform.h"

namespace leeward::config {

Table<ScalingSpec> scaling_table();
Table<DeploySpec> deploy_table();
Table<CgroupLimits> limits_table();

// What single settings cannot say. `path`: of the tier.
void check_scaling(Reader& r, const Platform& p, const Tier& tier, const std::string& path);
void check_deploy(Reader& r, const Platform& p, const Tier& tier, const std::string& path);

}  // namespace leeward::config

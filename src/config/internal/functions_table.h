// The settings of a tier's `functions` section, and the rules between them and the tier's others.
#pragma once

#include "config/setting.h"
#include "model/platform.h"

namespace leeward::config {

Table<FunctionsSpec> tier_functions_table();

// What single settings cannot say. `path`: of the tier.
void check_functions(Reader& r, const Platform& p, const Tier& tier, const std::string& path);

}  // namespace leeward::config

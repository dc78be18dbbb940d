// The settings of the `edge` section.
#pragma once

#include "config/setting.h"
#include "model/edge.h"

namespace leeward::config {

Table<EdgeSpec> edge_table();

}  // namespace leeward::config

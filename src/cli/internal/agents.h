// The agents of the workload sites, for the commands that ask them and not control.
#pragma once

#include <string>
#include <vector>

#include "cli/internal/api.h"

namespace leeward::cli {

struct Agent {
  std::string site;
  Api api;
};

// All of them, or the one of site `only`. Reads the configuration. kInvalid when there is no such
// site.
Result<std::vector<Agent>> agents(const Globals& globals, const std::string& only, Io& io);

}  // namespace leeward::cli

// Two programs, the output of the first into the input of the second, with the bytes counted on the
// way.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/time.h"

namespace leeward::database::internal {

struct Program {
  std::vector<std::string> arguments;              // [0] is looked up in PATH; never a secret
  std::map<std::string, std::string> environment;  // added to the inherited one
};

// Runs both until they end. `progress` gets the bytes passed on so far, about once a megabyte;
// returning false ends both programs (kTimeout), as does `stall` without a byte moving. kUnhealthy
// when either fails, with the end of what it wrote to stderr. Both are killed if this process dies.
Status run_pipeline(const Program& from, const Program& to, Duration stall,
                    const std::function<bool(std::uint64_t bytes)>& progress);

}  // namespace leeward::database::internal

// What an agent orders the functions of a tier to do: STATE/functions/TIER.json, replaced as a
// whole and followed by `leeward fn serve --follow`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "model/platform.h"

namespace leeward::app {

struct FunctionOrders {
  ProcessSpec process;              // what they run; placeholders are replaced already
  std::vector<Endpoint> instances;  // who serves in their place, while there are any
};

// {"process": {"command", "env", "directory"}, "instances": ["ADDRESS:PORT"]}
std::string encode_orders(const FunctionOrders& orders);
// kCorrupt, saying what is wrong.
Result<FunctionOrders> decode_orders(std::string_view text);

}  // namespace leeward::app

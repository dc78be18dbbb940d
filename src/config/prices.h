// The price file of `leeward cost`: prices, figures of the service, and the time to recover that
// each way gives. Read as strictly as leeward.yaml, and every setting has a default in the file
// that is shipped, so a file of one's own only needs what differs.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "model/cost.h"

namespace leeward::config {

// The file that is shipped, with the source and date of each price as comments.
std::string_view shipped_prices();

struct LoadedPrices {
  std::optional<CostAssumptions> assumptions;  // only when there is no problem
  std::vector<Problem> problems;
};

// Reads on top of `defaults`.
LoadedPrices load_prices(std::string_view text, const std::string& file_name,
                         const CostAssumptions& defaults);
// The shipped ones, and on top of them those of `path` (empty: none).
LoadedPrices load_price_file(const std::string& path);

}  // namespace leeward::config

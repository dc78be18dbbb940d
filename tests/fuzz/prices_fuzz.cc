// The price file of `leeward cost`: either problems or assumptions, and the costs are then numbers.
#include <cmath>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "config/prices.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto loaded = leeward::config::load_prices(text, "prices.yaml", {});
  LEEWARD_CHECK(loaded.assumptions.has_value() == loaded.problems.empty());
  if (!loaded.assumptions) return 0;
  leeward::Platform platform;
  platform.tiers.emplace_back().instances = 3;
  platform.databases.emplace_back();
  auto costs = leeward::standby_costs(platform, *loaded.assumptions);
  for (const auto& option : costs) LEEWARD_CHECK(std::isfinite(option.total()));
  leeward::cost_plot(costs, loaded.assumptions->prices.currency, "fuzz");
  return 0;
}

#include "config/prices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leeward::config {
namespace {

using ::testing::HasSubstr;

std::string problem_of(std::string_view text) {
  LoadedPrices loaded = load_prices(text, "prices.yaml", {});
  if (loaded.problems.empty()) return "";
  EXPECT_FALSE(loaded.assumptions.has_value());
  return to_string(loaded.problems.front());
}

TEST(Prices, TheShippedFileIsWholeAndSaysWhereEachPriceIsFrom) {
  LoadedPrices shipped = load_price_file("");
  ASSERT_TRUE(shipped.assumptions.has_value());
  const CostPrices& p = shipped.assumptions->prices;
  for (double price :
       {p.instance_hour, p.database_hour, p.disk_gb_month, p.agent_hour, p.staging_gb_month,
        p.snapshot_gb_month, p.replication_server_hour, p.primary_egress_gb, p.standby_egress_gb,
        p.tunnel_hour, p.function_gb_second, p.function_million_requests})
    EXPECT_GT(price, 0);
  EXPECT_TRUE(shipped.assumptions->warm.measured);
  EXPECT_FALSE(shipped.assumptions->functions.measured) << "an estimate is no measurement";
  EXPECT_THAT(std::string(shipped_prices()), HasSubstr("https://aws.amazon.com/"));
}

TEST(Prices, AFileOfOnesOwnNeedsOnlyWhatDiffers) {
  CostAssumptions shipped = *load_price_file("").assumptions;
  LoadedPrices own = load_prices("prices: { instance_hour: 0.5 }\nservice: { standby_hours: 0 }\n",
                                 "prices.yaml", shipped);
  ASSERT_TRUE(own.assumptions.has_value());
  EXPECT_EQ(own.assumptions->prices.instance_hour, 0.5);
  EXPECT_EQ(own.assumptions->prices.agent_hour, shipped.prices.agent_hour);
  EXPECT_EQ(own.assumptions->figures.standby_hours, 0);
}

TEST(Prices, MistakesAreToldWithTheirPlace) {
  EXPECT_THAT(problem_of("prices: { instance_our: 1 }\n"),
              HasSubstr("prices.yaml:1:11: unknown key 'instance_our' in prices; did you mean "
                        "'instance_hour'"));
  EXPECT_THAT(problem_of("prices: { instance_hour: -1 }\n"), HasSubstr("out of range"));
  EXPECT_THAT(problem_of("prices: { instance_hour: nan }\n"), HasSubstr("prices.yaml:1:26"));
  EXPECT_THAT(problem_of("prices: { currency: dollars }\n"), HasSubstr("ISO 4217"));
  EXPECT_THAT(problem_of("rto: { warm: { seconds: 3 } }\n"), HasSubstr("source"));
  EXPECT_THAT(problem_of(""), HasSubstr("--print-prices"));
  EXPECT_THAT(problem_of("prices: [\n"), HasSubstr("prices.yaml:"));
  EXPECT_THAT(to_string(load_price_file("/no/such/file").problems.front()),
              HasSubstr("/no/such/file"));
}

}  // namespace
}  // namespace leeward::config

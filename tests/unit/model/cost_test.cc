// The figures are calculated by hand; the multiplications stand beside them.
#include "model/cost.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leeward {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Cost : public ::testing::Test {
 protected:
  void SetUp() override {
    for (auto [name, instances] : {std::pair{"app", 2}, std::pair{"web", 1}}) {
      Tier& tier = platform.tiers.emplace_back();
      tier.name = name;
      tier.instances = instances;
    }
    platform.databases.emplace_back().name = "orders";
    given.figures = {.disk_gb = 50,
                     .changed_gb = 200,
                     .database_changed_gb = 40,
                     .requests = 7'300'000,
                     .request_seconds = 0.1,
                     .function_gb = 0.5,
                     .standby_hours = 10};
    CostPrices& p = given.prices;
    p.instance_hour = 0.04;
    p.database_hour = 0.07;
    p.disk_gb_month = 0.10;
    p.agent_hour = 0.03;
    p.staging_gb_month = 0.08;
    p.snapshot_gb_month = 0.05;
    p.snapshot_share = 0.5;
    p.replication_server_hour = 0.02;
    p.disks_per_server = 15;
    p.primary_egress_gb = 0.12;
    p.standby_egress_gb = 0.09;
    p.tunnel_hour = 0.05;
    p.function_gb_second = 0.00001667;
    p.function_million_requests = 0.20;
    given.disk_replication = {900, false, "a promise"};
    given.warm = {5.02, true, "the demo"};
  }
  CostOption option(std::size_t i) { return standby_costs(platform, given).at(i); }
  double amount(const CostOption& o, const std::string& what) {
    for (const CostLine& l : o.lines)
      if (l.what == what) return l.amount;
    ADD_FAILURE() << "no line " << what;
    return -1;
  }

  Platform platform;
  CostAssumptions given;
};

TEST_F(Cost, OfDiskReplicationIsForEveryServerTheDatabaseToo) {
  CostOption o = option(0);
  EXPECT_EQ(o.name, "disk_replication");
  EXPECT_DOUBLE_EQ(amount(o, "replication agents"), 87.6);      // 4 × 730 × 0.03
  EXPECT_DOUBLE_EQ(amount(o, "copies of the disks"), 16.0);     // 4 × 50 × 0.08
  EXPECT_DOUBLE_EQ(amount(o, "points in time"), 5.0);           // 4 × 50 × 0.5 × 0.05
  EXPECT_DOUBLE_EQ(amount(o, "replication servers"), 14.6);     // 1 × 730 × 0.02
  EXPECT_DOUBLE_EQ(amount(o, "changed blocks sent"), 96.0);     // 4 × 200 × 0.12
  EXPECT_DOUBLE_EQ(amount(o, "servers while it serves"), 1.6);  // 4 × 10 × 0.04
  EXPECT_NEAR(o.total(), 257.3, 1e-9);                          // and 730 × 0.05 = 36.5
  EXPECT_NEAR(o.idle(), 255.7, 1e-9);
  EXPECT_EQ(o.rto.seconds, 900);
  EXPECT_FALSE(o.rto.measured);
}

TEST_F(Cost, OfWarmInstancesIsThatOfTheirHours) {
  CostOption o = option(1);
  EXPECT_DOUBLE_EQ(amount(o, "application servers"), 87.6);  // 3 × 730 × 0.04
  EXPECT_DOUBLE_EQ(amount(o, "their disks"), 15.0);          // 3 × 50 × 0.10
  EXPECT_DOUBLE_EQ(amount(o, "standby databases"), 51.1);    // 1 × 730 × 0.07
  EXPECT_DOUBLE_EQ(amount(o, "changes replicated"), 4.8);    // 1 × 40 × 0.12
  EXPECT_NEAR(o.total(), 200.0, 1e-9);                       // and 5.0 and 36.5
  EXPECT_NEAR(o.idle(), 200.0, 1e-9);
  EXPECT_TRUE(o.rto.measured);
}

TEST_F(Cost, OfFunctionsIsThatOfTheHoursInWhichTheyServe) {
  CostOption o = option(2);
  // 7,300,000 × 10 / 730 = 100,000 requests × 0.1 s × 0.5 GB = 5,000 GB-s × 0.00001667
  EXPECT_NEAR(amount(o, "functions while it serves"), 0.08335, 1e-9);
  EXPECT_NEAR(amount(o, "their requests"), 0.02, 1e-9);  // 0.1 million × 0.20
  EXPECT_EQ(amount(o, "functions that wait"), 0);
  EXPECT_NEAR(o.idle(), 97.4, 1e-9);  // the database's 51.1 + 5.0 + 4.8, and 36.5
  EXPECT_NEAR(o.total(), 97.50335, 1e-9);
  given.figures.standby_hours = 0;
  EXPECT_NEAR(option(2).total(), 97.4, 1e-9);
}

TEST_F(Cost, OfActiveActiveIsThatOfWarmAndTheWayBack) {
  EXPECT_NEAR(option(3).total(), 203.6, 1e-9);  // 200.0 + 1 × 40 × 0.09
}

TEST_F(Cost, AReplicationServerTakesSoManyDisks) {
  platform.tiers[0].instances = 15;                                  // with web and database 17
  EXPECT_DOUBLE_EQ(amount(option(0), "replication servers"), 29.2);  // 2 × 730 × 0.02
}

TEST_F(Cost, EveryLineSaysHowItCameAbout) {
  for (const CostOption& o : standby_costs(platform, given))
    for (const CostLine& l : o.lines) EXPECT_FALSE(l.how.empty()) << o.name << ": " << l.what;
  EXPECT_EQ(option(0).lines[1].how, "4 servers × 50 GB × 0.08");
}

TEST_F(Cost, ThePlotShowsEachWayAndEscapesNames) {
  std::string svg = cost_plot(standby_costs(platform, given), "USD", "a <b> & \"c\"");
  EXPECT_THAT(svg, HasSubstr("a &lt;b> &amp; &quot;c&quot;"));
  EXPECT_THAT(svg, HasSubstr(">257.30 USD<"));
  EXPECT_THAT(svg, HasSubstr("width=\"397.5\""));  // 400 × 255.7 / 257.3, what waiting costs
  EXPECT_THAT(svg, HasSubstr("RTO 15 min (assumed)"));
  EXPECT_THAT(svg, HasSubstr("RTO 5.02 s (measured)"));
  EXPECT_THAT(cost_plot({}, "USD", "nothing"), Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace leeward

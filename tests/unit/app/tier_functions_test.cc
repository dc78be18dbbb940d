// What a tier runs where, and what its functions are told.
#include "app/tier_functions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "model/edge.h"

namespace leeward::app {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;

class TierFunctionsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/leeward-functions-XXXXXX";
    state = ::mkdtemp(name);
    platform.directory = "/srv";
    for (auto [site_name, role] :
         {std::pair{"gcp", SiteRole::kPrimary}, {"aws", SiteRole::kStandby}}) {
      Site site;
      site.name = site_name;
      site.role = role;
      site.address = role == SiteRole::kPrimary ? "10.0.0.1" : "10.0.0.2";
      platform.sites.push_back(site);
    }
    platform.probes.port = 8080;
    platform.probes.path = "/healthz";
    Tier& tier = platform.tiers.emplace_back();
    tier.name = "app";
    tier.process.command = {"python3", "app.py", "--listen", "{address}:{port}"};
    tier.process.directory = "shop";
    tier.process.env = {{"DATABASE", "{gateway.orders}"}, {"LISTEN", "{address}:{port}"}};
    tier.port = 8080;
    tier.instances = 2;
    tier.ready = HttpCheck{"/livez", 8080};
    tier.standby = StandbyMode::kFunctionsFirst;
    tier.functions.connect = {"{gateway.orders}", "{address}:8081"};
    tier.functions.files = {"secret"};
    tier.functions.instance_port = 9000;
  }
  void TearDown() override { std::filesystem::remove_all(state); }

  const Tier& tier() const { return platform.tiers[0]; }
  const Site& primary() const { return platform.sites[0]; }
  const Site& standby() const { return platform.sites[1]; }
  compute::PlaceholderValues values(const Site& site) const {
    return {{"site", site.name},
            {"address", site.address},
            {"state", state},
            {"gateway.orders", "127.0.0.1:3307"}};
  }
  TierFunctions at(const Site& site) const { return {platform, site, values(site), state}; }
  compute::TierSpec instances(const Site& site) const {
    auto made = compute::expand_tier(instances_at(tier(), site), values(site), platform.directory);
    EXPECT_TRUE(made) << made.error().message;
    return made.value_or(compute::TierSpec{});
  }
  std::string file() const { return state + "/functions/app.json"; }
  FunctionOrders orders() const {
    auto decoded = decode_orders(read_file(file()).value_or(""));
    EXPECT_TRUE(decoded) << decoded.error().message;
    return decoded.value_or(FunctionOrders{});
  }

  std::string state;
  Platform platform;
};

TEST_F(TierFunctionsTest, APrimaryHasItsInstancesAsEverAndNoFunctions) {
  const auto spec = instances(primary());
  EXPECT_FALSE(spec.cold);
  ASSERT_EQ(spec.instances.size(), 2u);
  EXPECT_EQ(spec.instances[1].process.argv.back(), "10.0.0.1:8081");
  TierFunctions none = at(primary());
  ASSERT_TRUE(none.run(tier(), tier().process));
  ASSERT_TRUE(none.set_ready({{"app", 0}}));
  EXPECT_FALSE(std::filesystem::exists(state + "/functions"));
}

TEST_F(TierFunctionsTest, AStandbyHasFunctionsAtThePortAndColdInstancesBeside) {
  auto spec = at(standby()).spec_of(tier());
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->name, "app.functions");
  ASSERT_EQ(spec->instances.size(), 1u);
  EXPECT_EQ(spec->instances[0].ready->endpoint, (Endpoint{"10.0.0.2", 8080}));
  EXPECT_THAT(spec->instances[0].process.argv,
              IsSupersetOf({std::string("serve"), std::string("10.0.0.2:8080"),
                            std::string("127.0.0.1:3307"),
                            std::string("127.0.0.1:8081=10.0.0.2:8081"), std::string("/srv/secret"),
                            std::string("/livez"), std::string("/healthz"), file()}));

  const auto beside = instances(standby());
  EXPECT_TRUE(beside.cold);
  ASSERT_EQ(beside.instances.size(), 2u);
  EXPECT_EQ(beside.instances[0].process.argv.back(), "10.0.0.2:9000");
  EXPECT_EQ(beside.instances[1].ready->endpoint, (Endpoint{"10.0.0.2", 9001}));
}

TEST_F(TierFunctionsTest, DeploymentsHavePortsBesideTheFunctionsToo) {
  platform.tiers[0].deploy.emplace().strategy = DeployStrategy::kBlueGreen;
  const auto beside = instances(standby());
  ASSERT_EQ(beside.instances.size(), 4u);
  EXPECT_EQ(beside.spare, 2);
  EXPECT_EQ(beside.instances[3].process.argv.back(), "10.0.0.2:9003");
}

TEST_F(TierFunctionsTest, AStandbyOfFunctionsOnlyHasNoInstances) {
  platform.tiers[0].standby = StandbyMode::kFunctions;
  platform.tiers[0].scaling.emplace().min = 2;
  platform.tiers[0].deploy.emplace().surge = 2;
  const auto none = instances(standby());
  EXPECT_THAT(none.instances, IsEmpty());
  EXPECT_EQ(none.running, 0);
  EXPECT_FALSE(none.cold) << "functions take a revision at once, so nothing waits for a failover";
  EXPECT_EQ(instances(primary()).name, "app");
}

TEST_F(TierFunctionsTest, AServerThatIsNoneIsAnErrorThatNamesTheTier) {
  platform.tiers[0].functions.connect = {"{site}"};
  auto made = at(standby()).spec_of(tier());
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, ::testing::StartsWith("tier app: functions.connect: "));
}

TEST_F(TierFunctionsTest, OrdersAreTheProgramAsSeenInItsSandbox) {
  TierFunctions functions = at(standby());
  ASSERT_TRUE(functions.run(tier(), tier().process));
  EXPECT_THAT(orders().process.command,
              ElementsAre("python3", "app.py", "--listen", "127.0.0.1:8080"));
  EXPECT_EQ(orders().process.env.at("LISTEN"), "127.0.0.1:8080");
  EXPECT_EQ(orders().process.env.at("DATABASE"), "127.0.0.1:3307");
  EXPECT_EQ(orders().process.directory, "/srv/shop");
  ProcessSpec wide{{"python3"}, {}, ""};
  Status refused = functions.run(tier(), wide);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("functions need 'directory'"));
  EXPECT_EQ(orders().process.directory, "/srv/shop") << "what is refused changes nothing";
}

TEST_F(TierFunctionsTest, FunctionsAreToldWhichInstancesAreReady) {
  TierFunctions functions = at(standby());
  ASSERT_TRUE(functions.set_ready({{"app", 0}})) << "they have no orders yet";
  ASSERT_TRUE(functions.run(tier(), tier().process));
  EXPECT_THAT(orders().instances, IsEmpty());
  ASSERT_TRUE(functions.set_ready({{"app", 1}, {"app.functions", 0}, {"web", 0}}));
  EXPECT_THAT(orders().instances, ElementsAre(Endpoint{"10.0.0.2", 9001}));
  std::filesystem::remove(file());
  ASSERT_TRUE(functions.set_ready({{"app", 1}}));
  EXPECT_FALSE(std::filesystem::exists(file())) << "nothing has changed, so nothing is written";
  ProcessSpec other = tier().process;
  other.command = {"python3", "next.py"};
  ASSERT_TRUE(functions.run(tier(), other));
  EXPECT_THAT(orders().process.command, Contains("next.py"));
  EXPECT_THAT(orders().instances, ElementsAre(Endpoint{"10.0.0.2", 9001})) << "they stay";
}

TEST(FunctionOrders, WhatIsNoneSaysWhy) {
  const std::string process = R"("process": {"command": ["a"], "env": {}, "directory": "/"})";
  EXPECT_TRUE(decode_orders("{" + process + R"(, "instances": ["10.0.0.2:1"]})"));
  for (const auto& [text, why] :
       {std::pair<std::string, std::string>{"", "no process"},
        {"[]", "no process"},
        {"{" + process + "}", "no process and list of instances"},
        {R"({"process": {"command": 1}, "instances": []})", "'command' is a list"},
        {R"({"process": {"command": [], "env": {}, "directory": "/"}, "instances": []})",
         "neither a 'command' nor an 'image'"},
        {R"({"process": {"command": [], "env": {}, "directory": "/", "image": "a"},
             "instances": []})",
         "functions run from no image"},
        {"{" + process + R"(, "instances": ["nowhere"]})", "'nowhere' is not an address"},
        {"{" + process + R"(, "instances": [1]})", "not a text"}}) {
    auto decoded = decode_orders(text);
    ASSERT_FALSE(decoded) << text;
    EXPECT_EQ(decoded.error().code, Code::kCorrupt);
    EXPECT_THAT(decoded.error().message, HasSubstr(why));
  }
}

}  // namespace
}  // namespace leeward::app

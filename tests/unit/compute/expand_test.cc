#include "compute/expand.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compute/supervisor.h"

namespace leeward::compute {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const PlaceholderValues kValues{
    {"site", "gcp"}, {"address", "10.0.0.1"}, {"port", "8081"}, {"gateway.shop", "127.0.0.1:3307"}};

TEST(Expand, ReplacesPlaceholdersInCommandEnvironmentAndDirectory) {
  ProcessSpec spec;
  spec.command = {"gunicorn", "--bind={address}:{port}", "app:app"};
  spec.env = {{"DATABASE", "mysql://{gateway.shop}/shop"}, {"SITE", "{site}"}};
  spec.directory = "/srv/{site}";
  auto process = expand(spec, kValues);
  ASSERT_TRUE(process.has_value()) << process.error().message;
  EXPECT_THAT(process->argv, ElementsAre("gunicorn", "--bind=10.0.0.1:8081", "app:app"));
  EXPECT_EQ(process->env.at("DATABASE"), "mysql://127.0.0.1:3307/shop");
  EXPECT_EQ(process->env.at("SITE"), "gcp");
  EXPECT_EQ(process->directory, "/srv/gcp");
}

TEST(Expand, UnknownPlaceholderNamesTheKnownOnes) {
  ProcessSpec spec;
  spec.env = {{"DATABASE", "{gateway.stock}"}};
  auto process = expand(spec, kValues);
  ASSERT_FALSE(process.has_value());
  EXPECT_EQ(process.error().code, Code::kInvalid);
  EXPECT_THAT(process.error().message, HasSubstr("env DATABASE"));
  EXPECT_THAT(process.error().message, HasSubstr("'{gateway.stock}'"));
  EXPECT_THAT(process.error().message, HasSubstr("{gateway.shop}"));
}

TEST(Expand, DoubledBracesStandForThemselves) {
  EXPECT_EQ(*expand_text("{{\"port\": {port}}}", kValues), "{\"port\": 8081}");
  EXPECT_EQ(*expand_text("{{}}", kValues), "{}");
}

TEST(Expand, UnmatchedBracesAreRefused) {
  for (std::string_view text : {"{port", "port}", "{", "}", "a{b{port}"})
    EXPECT_FALSE(expand_text(text, kValues).has_value()) << text;
}

TEST(Expand, ValuesAreNotExpandedAgain) {
  EXPECT_EQ(*expand_text("{a}", {{"a", "{b}"}, {"b", "x"}}), "{b}");
}

TEST(ExpandTier, GivesEachInstanceItsPortAndItsCheck) {
  Tier tier;
  tier.name = "app";
  tier.process.command = {"serve", "{address}:{port}"};
  tier.process.directory = "shop";
  tier.port = 9000;
  tier.local = true;
  tier.instances = 2;
  tier.ready = HttpCheck{"/ready", 0};
  tier.standby = StandbyMode::kCold;
  auto spec = expand_tier(tier, kValues, "/etc/leeward");
  ASSERT_TRUE(spec.has_value()) << spec.error().message;
  EXPECT_TRUE(spec->cold);
  ASSERT_EQ(spec->instances.size(), 2u);
  EXPECT_THAT(spec->instances[1].process.argv, ElementsAre("serve", "127.0.0.1:9001"));
  EXPECT_EQ(spec->instances[1].process.directory, "/etc/leeward/shop");
  EXPECT_EQ(to_string(spec->instances[1].ready->endpoint), "127.0.0.1:9001");
  EXPECT_EQ(spec->instances[1].ready->path, "/ready");
}

TEST(ExpandTier, ErrorsNameTheTier) {
  Tier tier;
  tier.name = "app";
  EXPECT_THAT(expand_tier(tier, kValues, "/").error().message, HasSubstr("'app'"));
  tier.process.command = {"serve", "{prot}"};
  EXPECT_THAT(expand_tier(tier, kValues, "/").error().message, HasSubstr("tier app: command"));
}

}  // namespace
}  // namespace leeward::compute

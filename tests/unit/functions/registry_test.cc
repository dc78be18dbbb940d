// The control plane's state: what is taken, what is refused, and with whose words.
#include "functions/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "functions/registry_json.h"

namespace leeward::functions {
namespace {

using ::testing::HasSubstr;

class RegistryTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(registry.create(now, "shop", settings)); }
  static FunctionSettings make_settings() {
    FunctionSettings s;
    s.runtime = "python3.11";
    s.handler = "app.handler";
    s.code_sha256 = std::string(64, 'a');
    s.environment = {{"COLOUR", "blue"}};
    return s;
  }
  FunctionSettings latest() { return (*registry.find("shop"))->latest; }
  void change(const std::string& handler) {
    FunctionSettings s = latest();
    s.handler = handler;
    ASSERT_TRUE(registry.update(now, "shop", s, ""));
  }
  std::string publish() { return *registry.publish(now, "shop", "", ""); }

  WallTime now{1'700'000'000s};
  int made = 0;
  Registry registry{RegistryRule{.functions_max = 3, .versions_max = 4, .concurrency_max = 8},
                    [this] { return "unique-" + std::to_string(++made); }};
  FunctionSettings settings = make_settings();
};

TEST_F(RegistryTest, NamesAFunctionInEveryForm) {
  for (const char* text :
       {"shop", "000000000000:function:shop", "arn:aws:lambda:local:000000000000:function:shop"}) {
    EXPECT_EQ(registry.parse_reference(text)->name, "shop") << text;
    EXPECT_EQ(registry.parse_reference(std::string(text) + ":live")->qualifier, "live") << text;
  }
  EXPECT_EQ(registry.parse_reference("shop", "3")->qualifier, "3");
  EXPECT_EQ(registry.parse_reference("shop:3", "4").error().type, "InvalidParameterValueException");
  for (const char* text : {"", "a b", "a:b:c:d", "shop:", "../shop", "shop/x", ":shop"})
    EXPECT_EQ(registry.parse_reference(text).error().type, "ValidationException") << text;
}

TEST_F(RegistryTest, RefusesWhatAwsRefuses) {
  EXPECT_EQ(registry.create(now, "shop", settings).error().status, 409);
  EXPECT_EQ(registry.find("none").error().message,
            "Function not found: arn:aws:lambda:local:000000000000:function:none");
  auto refused = [&](auto change) {
    FunctionSettings s = settings;
    change(s);
    auto created = registry.create(now, "other", s);
    return created ? std::string("taken") : created.error().type + ": " + created.error().message;
  };
  EXPECT_THAT(refused([](auto& s) { s.timeout_seconds = 901; }), HasSubstr("Timeout"));
  EXPECT_THAT(refused([](auto& s) { s.memory_megabytes = 64; }), HasSubstr("MemorySize"));
  EXPECT_THAT(refused([](auto& s) { s.tmp_megabytes = 100; }), HasSubstr("EphemeralStorage"));
  EXPECT_THAT(refused([](auto& s) { s.environment["_HANDLER"] = "x"; }),
              HasSubstr("reserved keys"));
  EXPECT_THAT(refused([](auto& s) { s.environment["A"] = std::string(4096, 'x'); }),
              HasSubstr("4KB"));
  EXPECT_THAT(refused([](auto& s) { s.environment["1A"] = ""; }), HasSubstr("cannot name"));
  EXPECT_EQ(refused([](auto&) {}), "taken");
  ASSERT_TRUE(registry.create(now, "third", settings));
  EXPECT_EQ(registry.create(now, "fourth", settings).error().type, "CodeStorageExceededException");
}

TEST_F(RegistryTest, ARevisionGuardsAnUpdate) {
  const std::string revision = latest().revision_id;
  change("b.handler");
  EXPECT_EQ(registry.update(now, "shop", settings, revision).error().status, 412);
  EXPECT_TRUE(registry.update(now, "shop", settings, latest().revision_id));
}

TEST_F(RegistryTest, AVersionNeverChangesAndIsMadeOnlyOfChanges) {
  EXPECT_EQ(publish(), "1");
  EXPECT_EQ(publish(), "1");
  change("b.handler");
  EXPECT_EQ(publish(), "2");
  change("c.handler");
  EXPECT_EQ(registry.resolve({"shop", "1"})->settings.handler, "app.handler");
  EXPECT_EQ(registry.resolve({"shop", "2"})->settings.handler, "b.handler");
  EXPECT_EQ(registry.resolve({"shop", ""})->settings.handler, "c.handler");
  EXPECT_EQ(registry.resolve({"shop", "3"}).error().status, 404);
  EXPECT_EQ(registry.publish(now, "shop", "", std::string(64, 'b')).error().type,
            "InvalidParameterValueException");
  EXPECT_TRUE(registry.remove_version("shop", "1"));
  change("d.handler");
  EXPECT_EQ(publish(), "3");  // a number is never used again
}

TEST_F(RegistryTest, AnAliasDividesByWeight) {
  publish();
  change("b.handler");
  publish();
  ASSERT_TRUE(registry.set_alias("shop", "live", {"1", {{"2", 0.25}}, "", ""}, false));
  EXPECT_EQ(registry.resolve({"shop", "live"}, 0.0)->version, "2");
  EXPECT_EQ(registry.resolve({"shop", "live"}, 0.249)->version, "2");
  EXPECT_EQ(registry.resolve({"shop", "live"}, 0.25)->version, "1");
  EXPECT_EQ(registry.resolve({"shop", "live"}, 0.99)->version, "1");
  EXPECT_EQ(registry.set_alias("shop", "live", {"1", {}, "", ""}, false).error().status, 409);
  EXPECT_EQ(registry.set_alias("shop", "dead", {"1", {}, "", ""}, true).error().status, 404);
  EXPECT_EQ(registry.set_alias("shop", "live", {"9", {}, "", ""}, true).error().status, 404);
  EXPECT_FALSE(registry.set_alias("shop", "live", {"1", {{"2", 1.5}}, "", ""}, true));
  EXPECT_FALSE(registry.set_alias("shop", "live", {"1", {{"1", 0.5}}, "", ""}, true));
  EXPECT_FALSE(registry.set_alias("shop", "live", {"$LATEST", {{"1", 0.5}}, "", ""}, true));
  EXPECT_FALSE(registry.set_alias("shop", "7", {"1", {}, "", ""}, false));
  EXPECT_EQ(registry.remove_version("shop", "2").error().status, 409);
  ASSERT_TRUE(registry.remove_alias("shop", "live"));
  EXPECT_TRUE(registry.remove_version("shop", "2"));
}

TEST_F(RegistryTest, KeepsItselfAsJson) {
  publish();
  ASSERT_TRUE(registry.set_alias("shop", "live", {"1", {}, "the one", ""}, false));
  ASSERT_TRUE(registry.set_concurrency("shop", 5));
  EXPECT_FALSE(registry.set_concurrency("shop", 9));
  Function* function = *registry.find("shop");
  function->urls["live"] = {"abc", "NONE", true, "then", "now"};
  function->events[""] = {1, 60, "", "arn:aws:sqs:local:0:dead", "now"};
  function->tags = {{"owner", "shop"}};
  const std::string saved = save_registry(registry);
  Registry again(RegistryRule{}, [] { return "x"; });
  Status loaded = load_registry(again, saved);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(save_registry(again), saved);
  EXPECT_EQ(again.find_url("abc")->qualifier, "live");
  EXPECT_EQ(again.resolve({"shop", "live"})->settings.environment.at("COLOUR"), "blue");
  for (std::string text : {std::string("{}"), std::string("[1]"), std::string("{\"format\": 2}"),
                           saved.substr(0, saved.size() / 2), std::string(10'000, '[')})
    EXPECT_EQ(load_registry(again, text).error().code, Code::kCorrupt);
}

TEST_F(RegistryTest, TakesTheMembersOfARequestAndNoOthers) {
  auto apply = [&](const char* text) {
    FunctionSettings s = settings;
    ApiStatus applied = apply_members(*parse_request(text), s);
    return applied ? s.handler + std::to_string(s.memory_megabytes) : applied.error().type;
  };
  EXPECT_EQ(apply(R"({"MemorySize": 256, "Handler": "x.y", "Unknown": 1})"), "x.y256");
  EXPECT_EQ(apply(R"({"MemorySize": "256"})"), "SerializationException");
  EXPECT_EQ(apply(R"({"MemorySize": -1})"), "SerializationException");
  EXPECT_EQ(apply(R"({"Environment": {"Variables": {"A": 1}}})"), "SerializationException");
  EXPECT_EQ(apply(R"({"Layers": ["arn"]})"), "InvalidParameterValueException");
  EXPECT_EQ(apply(R"({"Layers": []})"), "app.handler128");
  EXPECT_EQ(apply(R"({"PackageType": "Image"})"), "InvalidParameterValueException");
  EXPECT_EQ(parse_request("[]").error().type, "SerializationException");
  EXPECT_EQ(parse_request(std::string(5000, '[')).error().type, "SerializationException");
}

}  // namespace
}  // namespace leeward::functions

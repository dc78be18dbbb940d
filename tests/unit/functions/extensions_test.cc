// Extensions and their telemetry, without processes.
#include "functions/extensions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "functions/telemetry.h"

namespace leeward::functions {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr ExtensionEvents kInvoke{.invoke = true, .shutdown = false};
constexpr ExtensionEvents kShutdown{.invoke = false, .shutdown = true};
constexpr ExtensionEvents kBoth{.invoke = true, .shutdown = true};

TEST(Extensions, AreDoneWhenAllThatHaveToAskHaveAsked) {
  Extensions e({"logs", "trace"});
  EXPECT_FALSE(e.all_asked());
  ASSERT_TRUE(e.add("logs", kBoth, "1", false));
  EXPECT_FALSE(e.all_registered());
  ASSERT_TRUE(e.add("trace", kShutdown, "2", false));
  ASSERT_TRUE(e.add("part-of-the-runtime", kInvoke, "3", false));
  EXPECT_TRUE(e.all_registered());
  for (const char* id : {"1", "2", "3"}) {
    EXPECT_FALSE(e.all_asked());
    e.asked(id);
  }
  EXPECT_TRUE(e.all_asked());
  EXPECT_THAT(e.take_invoke(), ElementsAre("1", "3"));
  EXPECT_FALSE(e.all_asked()) << "they work on it";
  EXPECT_THAT(e.take_invoke(), IsEmpty());
  e.asked("1");
  e.asked("3");
  EXPECT_TRUE(e.all_asked());
  EXPECT_THAT(e.take_shutdown(), ElementsAre("1", "2"));
  EXPECT_TRUE(e.shutdown_is_awaited());
  EXPECT_EQ(e.ended(0), "logs");
  EXPECT_TRUE(e.shutdown_is_awaited());
  EXPECT_EQ(e.ended(1), "trace");
  EXPECT_FALSE(e.shutdown_is_awaited());
}

TEST(Extensions, RegisterOnceInTimeAndForWhatTheyMay) {
  Extensions e({"logs"});
  EXPECT_EQ(e.add("", kBoth, "1", false).error().code, Code::kInvalid);
  EXPECT_EQ(e.add("inside", kShutdown, "1", false).error().code, Code::kRefused);
  EXPECT_EQ(e.add("logs", kBoth, "1", true).error().code, Code::kRefused);
  ASSERT_TRUE(e.add("logs", kBoth, "1", false));
  EXPECT_EQ(e.add("logs", kBoth, "2", false).error().code, Code::kConflict);
  EXPECT_TRUE(e.known("1"));
  EXPECT_FALSE(e.known("2"));
}

std::string subscription(const json& change) {
  json all{{"schemaVersion", "2022-12-13"},
           {"types", {"platform", "function"}},
           {"destination", {{"protocol", "HTTP"}, {"URI", "http://sandbox.localdomain:8080/in"}}}};
  all.merge_patch(change);
  return all.dump();
}

TEST(Telemetry, ASubscriptionThatIsWrongNamesAllThatIs) {
  auto good = parse_subscription(subscription({{"buffering", {{"timeoutMs", 25}}}}));
  ASSERT_TRUE(good) << good.error().message;
  EXPECT_EQ(good->port, 8080);
  EXPECT_EQ(good->path, "/in");
  EXPECT_EQ(good->timeout, 25ms);
  EXPECT_TRUE(good->platform && good->function && !good->extension);
  auto uri = [](const char* text) { return json{{"destination", {{"URI", text}}}}; };
  for (const auto& [change, says] : std::vector<std::pair<json, std::string>>{
           {{{"types", json::array()}}, "types should not be empty"},
           {{{"types", {"metrics"}}}, "there is no type"},
           {{{"schemaVersion", "1"}}, "schemaVersion"},
           {{{"buffering", {{"maxItems", 1}}}}, "buffering.maxItems must be"},
           {{{"destination", {{"protocol", "TCP"}}}}, "must be HTTP"},
           {uri("http://sandbox.localdomain/in"), "port is not provided"},
           {uri("http://example.com:80"), "host must be"},
           {uri("http://sandbox.localdomain:99999"), "not a port"},
           {uri("http://sandbox.localdomain:80/a\r\nX: y"), "must be escaped"},
           {uri("https://sandbox.localdomain:80"), "scheme"}}) {
    auto wrong = parse_subscription(subscription(change));
    ASSERT_FALSE(wrong) << change;
    EXPECT_THAT(wrong.error().message, HasSubstr(says));
  }
  auto both = parse_subscription(subscription({{"types", json::array()}, {"schemaVersion", 7}}));
  EXPECT_THAT(both.error().message, HasSubstr("; "));
}

TEST(Telemetry, ABatchGoesWhenItIsOldOrFullAndWhatIsTooMuchIsCounted) {
  TelemetrySubscription to;
  to.platform = to.function = true;
  to.timeout = 100ms;
  TelemetryBuffer buffer("1", to);
  const BootTime now{10s};
  const WallTime at{1'800'000'000s};
  EXPECT_EQ(buffer.due(), std::nullopt);
  buffer.add(now, at, "extension", "not subscribed to");
  EXPECT_EQ(buffer.take(), "");
  buffer.add(now, at, "function", "a line\n");
  buffer.add(now + 50ms, at, "platform.start", {{"requestId", "r"}});
  EXPECT_EQ(buffer.due(), now + 100ms);
  const json batch = json::parse(buffer.take());
  ASSERT_EQ(batch.size(), 2u);
  EXPECT_EQ(
      batch[0],
      (json{{"time", "2027-01-15T08:00:00.000Z"}, {"type", "function"}, {"record", "a line\n"}}));
  EXPECT_EQ(batch[1]["record"]["requestId"], "r");
  EXPECT_EQ(buffer.due(), std::nullopt);

  for (int i = 0; i < 1000; ++i) buffer.add(now, at, "function", "x");
  EXPECT_EQ(buffer.due(), now) << "full: at once";
  for (int i = 0; i < 3500; ++i) buffer.add(now, at, "function", "x");
  EXPECT_EQ(buffer.waiting(), 4000u);
  static_cast<void>(buffer.take());
  buffer.add(now, at, "function", "after");
  const json later = json::parse(buffer.take());
  ASSERT_EQ(later.size(), 2u);
  EXPECT_EQ(later[0]["type"], "platform.logsDropped");
  EXPECT_EQ(later[0]["record"]["droppedRecords"], 500);
  EXPECT_EQ(later[1]["record"], "after");
}

}  // namespace
}  // namespace leeward::functions

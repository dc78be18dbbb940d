#include "waf/bot_signals.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "waf/rule_set.h"

namespace leeward::waf {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::string_view kFirefox =
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

std::vector<std::string> signals(const std::vector<HeaderField>& fields,
                                 std::string_view protocol = "1.1") {
  std::vector<std::string> names;
  const std::uint32_t found = bot_signals(fields, protocol);
  for (std::size_t i = 0; i < kBotSignals.size(); ++i)
    if ((found >> i & 1) != 0) names.emplace_back(kBotSignals[i]);
  return names;
}

std::vector<HeaderField> browser(std::string_view agent = kFirefox) {
  return {{"Host", "shop.test"},
          {"User-Agent", agent},
          {"Accept", "text/html"},
          {"Accept-Language", "ko-KR"},
          {"Accept-Encoding", "gzip"}};
}

TEST(BotSignals, ABrowserGivesNone) {
  EXPECT_THAT(signals(browser()), IsEmpty());
  auto fields = browser();
  std::swap(fields[0], fields[1]);
  EXPECT_THAT(signals(fields, "2.0"), IsEmpty()) << "HTTP/2 has no Host at a place";
  for (const char* agent :
       {"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
        "Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (Linux; Android 9; CUBOT X18) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/120.0.0.0 Mobile Safari/537.36"})
    EXPECT_THAT(signals(browser(agent)), IsEmpty()) << agent;
}

TEST(BotSignals, WhoSaysWhatItIsIsBelieved) {
  EXPECT_THAT(signals({{"Host", "x"}}), ElementsAre("no-user-agent", "no-accept"));
  EXPECT_THAT(signals({{"Host", "x"}, {"User-Agent", "curl/8.9"}, {"Accept", "*/*"}}),
              ElementsAre("tool"));
  EXPECT_THAT(signals({{"user-agent", "python-requests/2.32"}, {"accept", "*/*"}}),
              ElementsAre("tool"));
  EXPECT_THAT(signals(browser("Mozilla/5.0 (compatible; Googlebot/2.1; +http://x/bot.html)")),
              ElementsAre("crawler"));
  EXPECT_THAT(signals(browser("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like "
                              "Gecko) HeadlessChrome/126.0.0.0 Safari/537.36")),
              ElementsAre("headless"));
}

TEST(BotSignals, WhoSaysToBeABrowserMustAskLikeOne) {
  EXPECT_THAT(signals({{"User-Agent", kFirefox}, {"Host", "x"}}, "1.0"),
              ElementsAre("no-accept", "no-accept-language", "no-accept-encoding", "old-protocol",
                          "host-not-first"));
  auto fields = browser();
  fields.pop_back();
  EXPECT_THAT(signals(fields), ElementsAre("no-accept-encoding"));
}

TEST(BotSignals, AreAVariableOfRules) {
  auto rules = RuleSet::parse(
      "SecRuleEngine On\n"
      "SecRule LEEWARD_BOT \"@streq tool\" \"id:1,phase:1,deny,status:402\"\n"
      "SecRule &LEEWARD_BOT \"@ge 2\" \"id:2,phase:1,deny,status:403\"\n"
      "SecRule LEEWARD_JA4 \"@beginsWith t10\" \"id:3,phase:1,deny,status:404\"\n"
      "SecRule LEEWARD_CRAWLER \"@streq false\" \"id:4,phase:1,deny,status:405\"\n",
      "test", {});
  ASSERT_TRUE(rules) << rules.error().message;
  Workspace workspace(*rules);
  Collections collections;
  auto status = [&](std::vector<HeaderField> fields, std::string_view ja4 = {},
                    std::string_view crawler = {}) {
    Transaction t(workspace, collections,
                  {std::chrono::steady_clock::now(), std::chrono::system_clock::now()});
    RequestHead head;
    head.method = "GET";
    head.target = "/";
    head.protocol = "1.1";
    head.fields = fields;
    head.ja4 = ja4;
    head.crawler = crawler;
    t.request_headers(head);
    return t.intervention().status;
  };
  EXPECT_EQ(status(browser()), 200);
  EXPECT_EQ(status(browser("Wget/1.21")), 402);
  EXPECT_EQ(status({{"Host", "x"}}), 403);
  EXPECT_EQ(status(browser(), "t10d000000_000000000000_000000000000"), 404);
  EXPECT_EQ(status(browser(), "t13d1516h2_8daaf6152771_e5627efa2ab1"), 200);
  EXPECT_EQ(status(browser(), {}, "false"), 405);
  EXPECT_EQ(status(browser(), {}, "unverified"), 200);
}

}  // namespace
}  // namespace leeward::waf

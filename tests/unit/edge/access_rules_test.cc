#include "edge/access_rules.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/file.h"

namespace leeward::edge {
namespace {

ClientAddress address(const std::string& text) {
  ClientAddress a;
  unsigned char v4[4];
  if (inet_pton(AF_INET, text.c_str(), v4) == 1) {
    a.bytes[10] = a.bytes[11] = 0xff;
    std::memcpy(a.bytes + 12, v4, 4);
  } else {
    EXPECT_EQ(inet_pton(AF_INET6, text.c_str(), a.bytes), 1) << text;
  }
  return a;
}

Now at(Duration since) { return Now{BootTime{} + 1h + since, WallTime{}}; }

std::string error_of(const Result<NetworkList>& list) {
  return list ? "accepted" : list.error().message;
}

TEST(NetworkList, KnowsWhatIsInEachKindOfLine) {
  auto list = NetworkList::parse(
      "# office\n192.0.2.0/24\n\n  198.51.100.7 # one\n203.0.113.2-203.0.113.9\n2001:db8::/32\n",
      "f");
  ASSERT_TRUE(list) << error_of(list);
  for (const char* in : {"192.0.2.0", "192.0.2.255", "198.51.100.7", "203.0.113.2", "203.0.113.9",
                         "2001:db8::1", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"})
    EXPECT_TRUE(list->contains(address(in))) << in;
  for (const char* out : {"192.0.1.255", "192.0.3.0", "198.51.100.6", "203.0.113.1", "203.0.113.10",
                          "2001:db7::1", "2001:db9::", "::1"})
    EXPECT_FALSE(list->contains(address(out))) << out;
}

TEST(NetworkList, JoinsWhatTouchesAndTakesTheWholeSpace) {
  auto list =
      NetworkList::parse("10.0.0.0/25\n10.0.0.128/25\n10.0.0.7\n0.0.0.0-0.0.0.0\n::/0\n", "f");
  ASSERT_TRUE(list) << error_of(list);
  EXPECT_EQ(list->size(), 3u);
  EXPECT_TRUE(list->contains(address("::")));
  auto all = NetworkList::parse("0.0.0.0/0\n255.255.255.255\n", "f");
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), 1u);
  EXPECT_TRUE(all->contains(address("255.255.255.255")));
}

TEST(NetworkList, ErrorsTellTheirPlace) {
  EXPECT_EQ(error_of(NetworkList::parse("\n  192.0.2.300\n", "f")),
            "f:2:3: '192.0.2.300' is neither an IPv4 nor an IPv6 address");
  EXPECT_EQ(error_of(NetworkList::parse("192.0.2.0/33", "f")),
            "f:1:11: '33' is not a prefix length of 0 … 32");
  EXPECT_EQ(
      error_of(NetworkList::parse("192.0.2.7/24", "f")),
      "f:1:1: '192.0.2.7/24' has bits set beyond /24; leave them 0, or write the address alone");
  EXPECT_EQ(error_of(NetworkList::parse("192.0.2.7-192.0.2.6", "f")),
            "f:1:11: the range ends before it begins");
  EXPECT_EQ(error_of(NetworkList::parse("192.0.2.7-::1", "f")), "f:1:11: a range of IPv4 to IPv6");
  EXPECT_NE(error_of(NetworkList::parse("::ffff:192.0.2.1", "f")).find("write it as IPv4"),
            std::string::npos);
  EXPECT_EQ(error_of(NetworkList::parse_countries("192.0.2.0/24", "f")),
            "f:1:1: no country; write NETWORK,COUNTRY or FIRST,LAST,COUNTRY");
  EXPECT_EQ(error_of(NetworkList::parse_countries("192.0.2.0/24,XYZ", "f")),
            "f:1:14: 'XYZ' is not a country of two letters");
  EXPECT_EQ(error_of(NetworkList::parse_countries("192.0.2.0/24,DE\n192.0.2.9,FR\n", "f")),
            "f:2:1: overlaps line 1, which is of another country");
}

TEST(NetworkList, ReadsCountryDatabases) {
  auto list = NetworkList::parse_countries(
      "192.0.2.0/24,AU\n\"198.51.100.0\",\"198.51.100.255\",\"de\"\n2001:db8::,2001:db8::ff,JP\n",
      "f");
  ASSERT_TRUE(list) << error_of(list);
  EXPECT_EQ(list->find(address("192.0.2.1")), country_value("AU"));
  EXPECT_EQ(list->find(address("198.51.100.9")), country_value("DE"));
  EXPECT_EQ(list->find(address("2001:db8::80")), country_value("JP"));
  EXPECT_EQ(list->find(address("203.0.113.1")), 0);
}

TEST(RateLimiter, LetsABurstThroughThenTheSteadyRate) {
  RateLimiter limiter(100);
  RateLimiter::Limit limit{.interval = 100ms, .tolerance = 200ms, .block_for = {}};  // burst 3
  for (int i = 0; i < 3; ++i) EXPECT_EQ(limiter.take(1, limit, at(0s).boot), 0ns) << i;
  EXPECT_EQ(limiter.take(1, limit, at(0s).boot), 100ms);
  EXPECT_EQ(limiter.take(2, limit, at(0s).boot), 0ns) << "another key has its own bucket";
  EXPECT_EQ(limiter.take(1, limit, at(99ms).boot), 1ms);
  EXPECT_EQ(limiter.take(1, limit, at(100ms).boot), 0ns);
  EXPECT_EQ(limiter.take(1, limit, at(100ms).boot), 100ms);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(limiter.take(1, limit, at(10s).boot), 0ns) << i;
}

TEST(RateLimiter, BlocksForAsLongAsAskedWhateverComesMeanwhile) {
  RateLimiter limiter(100);
  RateLimiter::Limit limit{.interval = 1s, .tolerance = 1s, .block_for = 60s};  // burst 2
  EXPECT_EQ(limiter.take(1, limit, at(0s).boot), 0ns);
  EXPECT_EQ(limiter.take(1, limit, at(0s).boot), 0ns);
  EXPECT_EQ(limiter.take(1, limit, at(0s).boot), 60s);
  EXPECT_EQ(limiter.take(1, limit, at(10s).boot), 50s);
  EXPECT_EQ(limiter.take(1, limit, at(59s).boot), 1s);
  EXPECT_EQ(limiter.take(1, limit, at(60s).boot), 0ns);
}

TEST(RateLimiter, ForgetsTheKeyNearestToAFullBucketAndCountsIt) {
  RateLimiter limiter(1);  // one set of seven
  RateLimiter::Limit limit{.interval = 1s, .tolerance = 0s, .block_for = {}};
  for (std::uint64_t key = 1; key <= 7; ++key)
    limiter.take(key, limit, at(Duration{10ms} * static_cast<int>(key)).boot);
  EXPECT_EQ(limiter.forgotten(), 0u);
  EXPECT_EQ(limiter.take(8, limit, at(100ms).boot), 0ns);
  EXPECT_EQ(limiter.forgotten(), 1u);
  EXPECT_NE(limiter.take(7, limit, at(100ms).boot), 0ns);
  EXPECT_EQ(limiter.take(9, limit, at(10s).boot), 0ns) << "all others are full again by now";
  EXPECT_EQ(limiter.forgotten(), 1u);
}

TEST(RateLimiter, CountsExactlyFromManyThreads) {
  RateLimiter limiter(1000);
  RateLimiter::Limit limit{.interval = 1h, .tolerance = 99h, .block_for = {}};  // burst 100
  std::atomic<int> passed{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i)
        if (limiter.take(42, limit, at(0s).boot) == 0ns) ++passed;
    });
  threads.clear();
  EXPECT_EQ(passed, 100);
}

class AccessRulesTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "access-" + std::to_string(getpid());
    ASSERT_TRUE(make_directories(directory_));
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string write(const std::string& name, const std::string& text) {
    std::string path = directory_ + "/" + name;
    EXPECT_TRUE(write_file_durably(path, text));
    return path;
  }
  std::shared_ptr<AccessRules> load(const EdgeFirewall& spec) {
    auto rules = AccessRules::load(spec);
    EXPECT_TRUE(rules) << rules.error().message;
    return *rules;
  }
  static Verdict ask(AccessRules& rules, const std::string& client, Duration when = 0s,
                     std::string_view target = "/", Fields fields = {}) {
    RequestView request;
    request.target = target;
    request.fields = fields;
    request.client = address(client);
    return rules.judge(request, at(when));
  }

  std::string directory_;
};

TEST_F(AccessRulesTest, WithoutRulesEverybodyPasses) {
  auto rules = load({});
  EXPECT_FALSE(ask(*rules, "192.0.2.1").refused);
}

TEST_F(AccessRulesTest, AllowGoesBeforeBlockBeforeCountry) {
  EdgeFirewall spec;
  spec.allow_file = write("allow", "192.0.2.7\n");
  spec.block_file = write("block", "192.0.2.0/24\n");
  spec.country_file = write("countries", "192.0.2.0/24,AU\n198.51.100.0/24,DE\n");
  spec.block_countries = {"AU"};
  auto rules = load(spec);
  EXPECT_FALSE(ask(*rules, "192.0.2.7").refused);
  EXPECT_EQ(ask(*rules, "192.0.2.8").rule, "block_file");
  EXPECT_FALSE(ask(*rules, "198.51.100.1").refused);
  write("block", "203.0.113.1\n");
  ASSERT_TRUE(rules->refresh());
  EXPECT_EQ(ask(*rules, "192.0.2.8").rule, "block_countries");
  EXPECT_EQ(ask(*rules, "192.0.2.8").status, 403);
  EXPECT_NE(rules->prometheus_text().find("refused_total{rule=\"block_countries\"} 2"),
            std::string::npos)
      << rules->prometheus_text();
}

TEST_F(AccessRulesTest, AFileThatIsWrongChangesNothingAndIsToldOnce) {
  EdgeFirewall spec;
  spec.block_file = write("block", "192.0.2.1\n");
  auto rules = load(spec);
  EXPECT_FALSE(*rules->refresh()) << "the same file";
  write("block", "192.0.2.1\nnonsense\n");
  auto wrong = rules->refresh();
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().message,
            spec.block_file + ":2:1: 'nonsense' is neither an IPv4 nor an IPv6 address");
  EXPECT_TRUE(ask(*rules, "192.0.2.1").refused);
  EXPECT_FALSE(*rules->refresh());
  std::filesystem::remove(spec.block_file);
  EXPECT_FALSE(rules->refresh());
  EXPECT_TRUE(ask(*rules, "192.0.2.1").refused);
  write("block", "192.0.2.2\n");
  EXPECT_TRUE(*rules->refresh());
  EXPECT_FALSE(ask(*rules, "192.0.2.1").refused);
  EXPECT_TRUE(ask(*rules, "192.0.2.2").refused);
}

TEST_F(AccessRulesTest, LimitsCountByAddressNetworkOrHeader) {
  EdgeFirewall spec;
  spec.rate_limits = {
      {.name = "login", .path = "/login", .requests = 1, .per = 10s},
      {.name = "network", .path = "/n", .key = "network", .requests = 1, .per = 10s},
      {.name = "key", .path = "/k", .key = "header:X-Key", .requests = 1, .per = 10s}};
  auto rules = load(spec);
  EXPECT_FALSE(ask(*rules, "192.0.2.1", 0s, "/login").refused);
  Verdict again = ask(*rules, "192.0.2.1", 1s, "/login");
  EXPECT_EQ(again.status, 429);
  EXPECT_EQ(again.retry_after, 9s);
  EXPECT_EQ(again.rule, "login");
  EXPECT_FALSE(ask(*rules, "192.0.2.2", 0s, "/login").refused);
  EXPECT_FALSE(ask(*rules, "192.0.2.1", 0s, "/other").refused);

  EXPECT_FALSE(ask(*rules, "192.0.2.1", 0s, "/n").refused);
  EXPECT_TRUE(ask(*rules, "192.0.2.200", 0s, "/n").refused);
  EXPECT_FALSE(ask(*rules, "192.0.3.1", 0s, "/n").refused);
  EXPECT_FALSE(ask(*rules, "2001:db8::1", 0s, "/n").refused);
  EXPECT_TRUE(ask(*rules, "2001:db8::ffff", 0s, "/n").refused);
  EXPECT_FALSE(ask(*rules, "2001:db8:0:1::1", 0s, "/n").refused);

  Field a{"x-key", "a"}, b{"X-Key", "b"};
  EXPECT_FALSE(ask(*rules, "192.0.2.1", 0s, "/k", {&a, 1}).refused);
  EXPECT_TRUE(ask(*rules, "192.0.2.2", 0s, "/k", {&a, 1}).refused);
  EXPECT_FALSE(ask(*rules, "192.0.2.1", 0s, "/k", {&b, 1}).refused);
  EXPECT_FALSE(ask(*rules, "192.0.2.1", 0s, "/k").refused) << "without the field: by address";
  EXPECT_TRUE(ask(*rules, "192.0.2.1", 0s, "/k").refused);
}

TEST_F(AccessRulesTest, ABlockedClientGets403UntilItsTimeIsUp) {
  EdgeFirewall spec;
  spec.rate_limits = {{.name = "flood",
                       .requests = 10,
                       .per = 1s,
                       .burst = 2,
                       .action = RateAction::kBlock,
                       .block_for = 30s}};
  auto rules = load(spec);
  EXPECT_FALSE(ask(*rules, "192.0.2.1").refused);
  EXPECT_FALSE(ask(*rules, "192.0.2.1").refused);
  EXPECT_EQ(ask(*rules, "192.0.2.1").status, 403);
  EXPECT_EQ(ask(*rules, "192.0.2.1", 29s).status, 403);
  EXPECT_FALSE(ask(*rules, "192.0.2.1", 30s).refused);
}

TEST_F(AccessRulesTest, WhoGoesOnAfterBeingRefusedIsBannedFromEverything) {
  EdgeFirewall spec;
  spec.rate_limits = {{.name = "login",
                       .path = "/login",
                       .requests = 2,
                       .per = 10s,
                       .action = RateAction::kBan,
                       .ban_after = 3,
                       .ban_for = 5min}};
  auto rules = load(spec);
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(ask(*rules, "192.0.2.1", 0s, "/login").refused);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask(*rules, "192.0.2.1", 0s, "/login").status, 429) << i;
  EXPECT_FALSE(ask(*rules, "192.0.2.1", 0s, "/").refused) << "not banned yet";
  const Verdict last = ask(*rules, "192.0.2.1", 0s, "/login");
  EXPECT_EQ(last.status, 403);
  EXPECT_EQ(last.retry_after, 5min);
  const Verdict elsewhere = ask(*rules, "192.0.2.1", 1min, "/");
  EXPECT_EQ(elsewhere.status, 403);
  EXPECT_EQ(elsewhere.retry_after, 4min);
  EXPECT_EQ(elsewhere.rule, "login");
  EXPECT_FALSE(ask(*rules, "192.0.2.2", 1min, "/").refused) << "somebody else";
  EXPECT_EQ(ask(*rules, "192.0.2.1", 5min - 1s, "/").status, 403);
  EXPECT_FALSE(ask(*rules, "192.0.2.1", 5min, "/").refused);
  const std::string metrics = rules->prometheus_text();
  EXPECT_NE(metrics.find("leeward_edge_bans_total{rule=\"login\"} 1"), std::string::npos)
      << metrics;
  EXPECT_NE(metrics.find("leeward_edge_rate_exceeded_total{rule=\"login\"} 4"), std::string::npos);
}

TEST_F(AccessRulesTest, ALimitThatCountsRefusesNothingAndNamesItself) {
  EdgeFirewall spec;
  spec.rate_limits = {{.name = "would", .requests = 1, .per = 10s, .action = RateAction::kCount},
                      {.name = "does", .path = "/x", .requests = 1, .per = 10s}};
  auto rules = load(spec);
  EXPECT_TRUE(ask(*rules, "192.0.2.1").rule.empty());
  const Verdict counted = ask(*rules, "192.0.2.1");
  EXPECT_FALSE(counted.refused);
  EXPECT_EQ(counted.rule, "would");
  EXPECT_FALSE(ask(*rules, "192.0.2.1", 0s, "/x").refused);
  EXPECT_EQ(ask(*rules, "192.0.2.1", 0s, "/x").rule, "does") << "limits behind it still hold";
}

TEST_F(AccessRulesTest, BansOutliveAReloadWhileTheirLimitDoes) {
  EdgeFirewall spec;
  spec.rate_limits = {
      {.name = "scan", .path = "/s", .requests = 1, .per = 10s, .action = RateAction::kBan},
      {.name = "net",
       .path = "/n",
       .key = "network",
       .requests = 1,
       .per = 10s,
       .action = RateAction::kBan}};
  auto rules = load(spec);
  for (int i = 0; i < 2; ++i) ask(*rules, "192.0.2.1", 0s, "/s");
  for (int i = 0; i < 2; ++i) ask(*rules, "198.51.100.20", Duration{1s} * i, "/n");
  EXPECT_EQ(rules->banned(at(1s).boot, 10).size(), 2u);
  EXPECT_EQ(ask(*rules, "198.51.100.99", 2s).rule, "net");

  EdgeFirewall other = spec;
  other.rate_limits[0].requests = 7;
  auto again = AccessRules::load(other, {}, nullptr, rules.get());
  ASSERT_TRUE(again);
  EXPECT_EQ(ask(**again, "192.0.2.1", 2s).rule, "scan");
  other.rate_limits.erase(other.rate_limits.begin());
  auto without = AccessRules::load(other, {}, nullptr, again->get());
  ASSERT_TRUE(without);
  EXPECT_FALSE(ask(**without, "192.0.2.1", 2s).refused);
  EXPECT_EQ((*without)->banned(at(2s).boot, 10).size(), 1u);
  EXPECT_EQ((*without)->lift(address("198.51.100.7"), at(2s).boot), 1u) << "its network's";
  EXPECT_FALSE(ask(**without, "198.51.100.99", 2s).refused);
}

TEST_F(AccessRulesTest, ExplainSaysWhoIsBannedAndHowMuchIsLeft) {
  EdgeFirewall spec;
  spec.rate_limits = {{.name = "login",
                       .path = "/login",
                       .requests = 3,
                       .per = 1min,
                       .action = RateAction::kBan,
                       .ban_for = 10min}};
  auto rules = load(spec);
  RequestView request;
  request.target = "/login";
  EXPECT_EQ(rules->explain(request, false, at(0s)),
            "firewall  limit login: 3 in 1m by address, then ban\n");
  request.client = address("192.0.2.1");
  ask(*rules, "192.0.2.1", 0s, "/login");
  EXPECT_EQ(rules->explain(request, true, at(0s)),
            "firewall  limit login: 3 in 1m by address, then ban; 2 more now\n");
  for (int i = 0; i < 3; ++i) ask(*rules, "192.0.2.1", 0s, "/login");
  EXPECT_EQ(rules->explain(request, true, at(4min)),
            "firewall  192.0.2.1 is banned by login for 6m more: 403\n"
            "firewall  limit login: 3 in 1m by address, then ban; 3 more now\n");
}

TEST(BanList, AFullSetLiftsTheBanThatEndsSoonestAndCountsIt) {
  BanList bans(1);  // one set of four
  const BootTime now = at(0s).boot;
  for (std::uint64_t key = 1; key <= 4; ++key)
    bans.add(key, {.rule = 1, .client = {}, .left = Duration{1min} * static_cast<int>(key)}, now);
  EXPECT_EQ(bans.forgotten(), 0u);
  bans.add(5, {.rule = 1, .client = {}, .left = 1h}, now);
  EXPECT_EQ(bans.forgotten(), 1u);
  EXPECT_EQ(bans.left(1, now), 0s);
  EXPECT_EQ(bans.left(2, now), 2min);
  EXPECT_EQ(bans.left(5, now), 1h);
  bans.add(5, {.rule = 1, .client = {}, .left = 1s}, now);
  EXPECT_EQ(bans.left(5, now), 1h) << "a shorter ban does not shorten it";
  bans.add(6, {.rule = 1, .client = {}, .left = 1s}, at(3min).boot);
  EXPECT_EQ(bans.forgotten(), 1u) << "two had ended";
}

}  // namespace
}  // namespace leeward::edge

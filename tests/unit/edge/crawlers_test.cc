#include "edge/crawlers.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "edge/crawler_check.h"

namespace leeward::edge {
namespace {

constexpr const char* kGooglebot =
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
constexpr SearchEngine kGoogle = SearchEngine::kGoogle;

ClientAddress address(const std::string& text) { return *parse_client_address(text); }

// Names and addresses as a person would write them down; what is not in it has none, and "!" is a
// name server that does not answer.
CrawlerLookups dns(std::map<std::string, std::vector<std::string>> zone, Duration ttl = 1h) {
  const auto ask = [zone, ttl](const std::string& what) -> Result<CrawlerLookups::Answer> {
    const auto found = zone.find(what);
    if (found == zone.end()) return CrawlerLookups::Answer{};
    if (found->second == std::vector<std::string>{"!"})
      return fail(Code::kUnavailable, "no answer");
    return CrawlerLookups::Answer{found->second, ttl};
  };
  return {.names_of = [ask](const ClientAddress& client) { return ask(to_string(client)); },
          .addresses_of = [ask](const std::string& host, bool) { return ask(host); }};
}

CrawlerState judged(const std::string& client, const CrawlerLookups& lookups) {
  return judge_crawler(kGoogle, address(client), lookups).state;
}

TEST(Crawlers, AreToldByTheirUserAgent) {
  EXPECT_EQ(claimed_engine(kGooglebot), SearchEngine::kGoogle);
  EXPECT_EQ(claimed_engine("AdsBot-Google (+http://www.google.com/adsbot.html)"),
            SearchEngine::kGoogle);
  EXPECT_EQ(claimed_engine("Mozilla/5.0 (compatible; BINGBOT/2.0)"), SearchEngine::kBing);
  EXPECT_EQ(claimed_engine("Mozilla/5.0 (Macintosh) (Applebot/0.1)"), SearchEngine::kApple);
  EXPECT_EQ(claimed_engine("Mozilla/5.0 (compatible; YandexImages/3.0; +http://yandex.com/bots)"),
            SearchEngine::kYandex);
  EXPECT_EQ(claimed_engine("Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0"), std::nullopt);
  EXPECT_EQ(claimed_engine(""), std::nullopt);
}

TEST(Crawlers, HaveNamesBelowTheirEnginesDomain) {
  EXPECT_TRUE(is_crawler_host(kGoogle, "crawl-66-249-66-1.googlebot.com"));
  EXPECT_TRUE(is_crawler_host(kGoogle, "rate-limited-proxy-66-249-90-77.google.com"));
  EXPECT_FALSE(is_crawler_host(kGoogle, "googlebot.com"));
  EXPECT_FALSE(is_crawler_host(kGoogle, "xgooglebot.com"));
  EXPECT_FALSE(is_crawler_host(kGoogle, "crawl.googlebot.com.evil.test"));
  EXPECT_FALSE(is_crawler_host(kGoogle, "1.2.3.4.bc.googleusercontent.com")) << "anybody's";
  EXPECT_FALSE(is_crawler_host(kGoogle, "msnbot-157-55-33-18.search.msn.com"));
  EXPECT_TRUE(is_crawler_host(SearchEngine::kBing, "msnbot-157-55-33-18.search.msn.com"));
}

TEST(Crawlers, AreVerifiedWhereTheNameHasTheAddressToo) {
  const std::string host = "crawl-66-249-66-1.googlebot.com";
  EXPECT_EQ(judged("66.249.66.1", dns({{"66.249.66.1", {host}}, {host, {"66.249.66.1"}}})),
            CrawlerState::kVerified);
  EXPECT_EQ(judged("2001:db8::1", dns({{"2001:db8::1", {host}}, {host, {"2001:DB8:0::1"}}})),
            CrawlerState::kVerified);
  EXPECT_EQ(judged("66.249.66.1", dns({{"66.249.66.1", {"a.test", host}},
                                       {host, {"66.249.66.2", "66.249.66.1"}}})),
            CrawlerState::kVerified)
      << "one of several";
}

TEST(Crawlers, AreFalseWhereDnsSaysSoAndUnverifiedWhereItSaysNothing) {
  const std::string host = "crawl-66-249-66-1.googlebot.com";
  EXPECT_EQ(judged("192.0.2.1", dns({})), CrawlerState::kFalse) << "no name";
  EXPECT_EQ(judged("192.0.2.1", dns({{"192.0.2.1", {"pc.test"}}})), CrawlerState::kFalse);
  // Whoever has the reverse zone can write any name there.
  EXPECT_EQ(judged("192.0.2.1", dns({{"192.0.2.1", {host}}, {host, {"66.249.66.1"}}})),
            CrawlerState::kFalse);
  EXPECT_EQ(judged("192.0.2.1", dns({{"192.0.2.1", {"!"}}})), CrawlerState::kUnverified);
  EXPECT_EQ(judged("192.0.2.1", dns({{"192.0.2.1", {host}}, {host, {"!"}}})),
            CrawlerState::kUnverified);
}

TEST(Crawlers, ThatHaveManyNamesCostFewQuestions) {
  std::vector<std::string> hosts;
  for (int i = 0; i < 16; ++i) hosts.push_back(fmt::format("h{}.googlebot.com", i));
  CrawlerLookups lookups = dns({{"192.0.2.1", hosts}});
  int asked = 0;
  lookups.addresses_of = [&asked](const std::string&, bool) -> Result<CrawlerLookups::Answer> {
    ++asked;
    return CrawlerLookups::Answer{};
  };
  EXPECT_EQ(judged("192.0.2.1", lookups), CrawlerState::kFalse);
  EXPECT_EQ(asked, 4);
}

// ---- what is known, and for how long

constexpr CrawlerVerdict kGood{CrawlerState::kVerified, 1h};
constexpr CrawlerVerdict kBad{CrawlerState::kFalse, {}};
constexpr CrawlerVerdict kNobodySays{};

class Cache : public ::testing::Test {
 protected:
  CrawlerState state(const std::string& client, SearchEngine engine = kGoogle) {
    const auto found = cache_.find(engine, address(client), now_);
    asked_ = found.ask;
    return found.state;
  }
  void learn(const std::string& client, const CrawlerVerdict& verdict) {
    cache_.learn(kGoogle, address(client), verdict, now_);
  }
  CrawlerCache cache_{100};
  BootTime now_{1000h};
  bool asked_ = false;
};

TEST_F(Cache, AsksOnceAndSaysUnverifiedUntilItKnows) {
  EXPECT_EQ(state("192.0.2.1"), CrawlerState::kUnverified);
  EXPECT_TRUE(asked_);
  EXPECT_EQ(state("192.0.2.1"), CrawlerState::kUnverified);
  EXPECT_FALSE(asked_) << "it is being asked";
  learn("192.0.2.1", kGood);
  EXPECT_EQ(state("192.0.2.1"), CrawlerState::kVerified);
  EXPECT_FALSE(asked_);
  EXPECT_EQ(state("192.0.2.1", SearchEngine::kBing), CrawlerState::kUnverified)
      << "each engine for itself";
}

TEST_F(Cache, AsksAgainAfterTheTtlAndGoesOnMeanwhile) {
  state("192.0.2.1");
  learn("192.0.2.1", kGood);
  now_ += 1h;
  EXPECT_EQ(state("192.0.2.1"), CrawlerState::kVerified);
  EXPECT_TRUE(asked_);
  learn("192.0.2.1", kBad);
  EXPECT_EQ(state("192.0.2.1"), CrawlerState::kFalse);
  now_ += CrawlerCache::kFalseFor;
  EXPECT_EQ(state("192.0.2.1"), CrawlerState::kFalse);
  EXPECT_TRUE(asked_);
}

TEST_F(Cache, ForgetsWhatNobodyConfirmsForLong) {
  state("192.0.2.1");
  learn("192.0.2.1", kGood);
  now_ += 1h;
  EXPECT_EQ(state("192.0.2.1"), CrawlerState::kVerified);
  learn("192.0.2.1", kNobodySays);
  EXPECT_EQ(state("192.0.2.1"), CrawlerState::kVerified);
  EXPECT_FALSE(asked_) << "not at once again";
  now_ += CrawlerCache::kRetryAfter;
  EXPECT_EQ(state("192.0.2.1"), CrawlerState::kVerified);
  EXPECT_TRUE(asked_);
  learn("192.0.2.1", kNobodySays);
  now_ += CrawlerCache::kStaleFor;
  EXPECT_EQ(state("192.0.2.1"), CrawlerState::kUnverified);
}

TEST_F(Cache, KeepsATtlWithinBounds) {
  state("192.0.2.1");
  learn("192.0.2.1", {CrawlerState::kVerified, 0s});
  now_ += CrawlerCache::kVerifiedMin - 1s;
  state("192.0.2.1");
  EXPECT_FALSE(asked_);
  now_ += 1s;
  state("192.0.2.1");
  EXPECT_TRUE(asked_);
  learn("192.0.2.1", {CrawlerState::kVerified, 1000h});
  now_ += CrawlerCache::kVerifiedMax;
  state("192.0.2.1");
  EXPECT_TRUE(asked_);
}

TEST_F(Cache, IsBoundedAndClaimsPushNoVerifiedOneOut) {
  state("192.0.2.1");
  learn("192.0.2.1", kGood);
  for (int i = 0; i < 1000; ++i) {
    const std::string client = fmt::format("198.51.{}.{}", i / 250, i % 250);
    state(client);
    if (i % 2 == 0) learn(client, kBad);
  }
  EXPECT_LE(cache_.size(), 200u);
  EXPECT_EQ(state("192.0.2.1"), CrawlerState::kVerified);
  learn("198.51.0.1", kGood);  // pushed out long ago: nothing happens
  EXPECT_EQ(state("198.51.0.1"), CrawlerState::kUnverified);
}

// ---- beside the requests

// Lookups that wait until they are let go.
class Gate {
 public:
  CrawlerLookups lookups() {
    return {.names_of = [this](const ClientAddress&) -> Result<CrawlerLookups::Answer> {
              std::unique_lock lock(mutex_);
              ++begun_;
              changed_.notify_all();
              changed_.wait(lock, [this] { return open_; });
              return CrawlerLookups::Answer{{"c.googlebot.com"}, 1h};
            },
            .addresses_of = [](const std::string&, bool) -> Result<CrawlerLookups::Answer> {
              return CrawlerLookups::Answer{{"192.0.2.1"}, 1h};
            }};
  }
  void open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  bool wait_for(int begun) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 20s, [&] { return begun_ >= begun; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int begun_ = 0;
  bool open_ = false;
};

TEST(CrawlerCheck, TellsAtOnceWhatIsKnownAndAsksBeside) {
  Gate gate;
  CrawlerCheck check(gate.lookups());
  const auto state = [&](const std::string& client, const char* agent = kGooglebot) {
    return check.state_of(address(client), agent, BootClock::now());
  };
  EXPECT_EQ(state("192.0.2.1", "Firefox"), std::nullopt);
  EXPECT_EQ(state("192.0.2.1"), CrawlerState::kUnverified);
  ASSERT_TRUE(gate.wait_for(1));
  EXPECT_EQ(state("192.0.2.1"), CrawlerState::kUnverified) << "and nobody waits";
  gate.open();
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  while (state("192.0.2.1") != CrawlerState::kVerified &&
         std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();
  EXPECT_EQ(state("192.0.2.1"), CrawlerState::kVerified);
  EXPECT_NE(check.prometheus_text().find("leeward_crawler_lookups_total{state=\"verified\"} 1\n"),
            std::string::npos)
      << check.prometheus_text();
}

TEST(CrawlerCheck, OneNetworkTakesNoMoreThanItsPartOfTheQueue) {
  Gate gate;
  CrawlerCheck check(gate.lookups());
  for (int i = 0; i < 200; ++i)
    check.state_of(address(fmt::format("203.0.113.{}", i)), kGooglebot, BootClock::now());
  EXPECT_NE(check.prometheus_text().find(fmt::format("leeward_crawler_postponed_total {}\n",
                                                     200 - CrawlerCheck::kNetworkMax)),
            std::string::npos)
      << check.prometheus_text();
  for (int i = 0; i < 1000; ++i)
    check.state_of(address(fmt::format("198.{}.{}.1", i / 250, i % 250)), kGooglebot,
                   BootClock::now());
  EXPECT_EQ(check.prometheus_text().find("leeward_crawler_postponed_total 192\n"),
            std::string::npos);
  gate.open();
}

}  // namespace
}  // namespace leeward::edge

#include "waf/collections.h"

#include <gtest/gtest.h>

#include <thread>

namespace leeward::waf {
namespace {

using namespace std::chrono_literals;
using Kind = Collections::Kind;
const Collections::Time kNow{1000s};

TEST(Collections, KeepValuesByKindKeyAndName) {
  Collections collections;
  collections.set(Kind::kIp, "192.0.2.1", "count", "7", kNow);
  EXPECT_EQ(collections.get(Kind::kIp, "192.0.2.1", "count", kNow), "7");
  EXPECT_FALSE(collections.get(Kind::kIp, "192.0.2.2", "count", kNow));
  EXPECT_FALSE(collections.get(Kind::kGlobal, "192.0.2.1", "count", kNow));
  collections.add(Kind::kIp, "192.0.2.1", "count", 5, kNow);
  collections.add(Kind::kIp, "192.0.2.1", "other", -2, kNow);
  EXPECT_EQ(collections.get(Kind::kIp, "192.0.2.1", "count", kNow), "12");
  EXPECT_EQ(collections.all(Kind::kIp, "192.0.2.1", kNow).size(), 2u);
  collections.unset(Kind::kIp, "192.0.2.1", "count", kNow);
  EXPECT_FALSE(collections.get(Kind::kIp, "192.0.2.1", "count", kNow));
}

TEST(Collections, ForgetValuesThatExpireAndRecordsThatNobodyWrites) {
  Collections collections(60s);
  collections.set(Kind::kIp, "a", "block", "1", kNow);
  collections.set(Kind::kIp, "a", "name", "x", kNow);
  collections.expire(Kind::kIp, "a", "block", kNow + 10s, kNow);
  EXPECT_TRUE(collections.get(Kind::kIp, "a", "block", kNow + 9s));
  EXPECT_FALSE(collections.get(Kind::kIp, "a", "block", kNow + 10s));
  EXPECT_TRUE(collections.get(Kind::kIp, "a", "name", kNow + 59s));
  EXPECT_FALSE(collections.get(Kind::kIp, "a", "name", kNow + 60s));
  EXPECT_EQ(collections.records(), 0u);
}

TEST(Collections, StayWithinTheirBounds) {
  Collections collections(1h, 1600);
  for (int i = 0; i < 10'000; ++i) collections.set(Kind::kIp, std::to_string(i), "n", "1", kNow);
  EXPECT_LE(collections.records(), 1600u);
  EXPECT_TRUE(collections.get(Kind::kIp, "9999", "n", kNow));
  for (int i = 0; i < 200; ++i)
    collections.set(Kind::kGlobal, "g", "n" + std::to_string(i), "1", kNow);
  EXPECT_EQ(collections.all(Kind::kGlobal, "g", kNow).size(), Collections::kNamesMax);
  collections.set(Kind::kIp, "k", "n", std::string(1'000'000, 'x'), kNow);
  EXPECT_EQ(collections.get(Kind::kIp, "k", "n", kNow)->size(), Collections::kValueMax);
  collections.set(Kind::kIp, "k", "big", "9223372036854775807", kNow);
  collections.add(Kind::kIp, "k", "big", 1, kNow);
  EXPECT_EQ(collections.get(Kind::kIp, "k", "big", kNow), "9223372036854775807");
}

TEST(Collections, LoseNoCountToAnotherThread) {
  Collections collections;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) collections.add(Kind::kGlobal, "g", "n", 1, kNow);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(collections.get(Kind::kGlobal, "g", "n", kNow), "4000");
}

}  // namespace
}  // namespace leeward::waf

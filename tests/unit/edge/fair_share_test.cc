// How much of something scarce one network of clients can have, and how much is left to the others.
#include "edge/fair_share.h"

#include <gtest/gtest.h>

#include <string>

namespace leeward::edge {
namespace {

constexpr std::uint64_t kWhole = 1000;

ClientAddress from(const std::string& address) { return *parse_client_address(address); }

// As much as it gets, one by one.
std::uint64_t take_all(FairShare& share, const ClientAddress& client) {
  std::uint64_t got = 0;
  while (share.take(client, 1, kWhole)) ++got;
  return got;
}

TEST(FairShare, LeavesHalfOfItToOthersHoweverGreedyOneIs) {
  FairShare share;
  EXPECT_EQ(take_all(share, from("192.0.2.1")), 500u);
  EXPECT_EQ(take_all(share, from("192.0.2.77")), 0u) << "of the same network";
  EXPECT_EQ(take_all(share, from("198.51.100.1")), 250u);
  EXPECT_TRUE(share.take(from("203.0.113.1"), 100, kWhole));
  EXPECT_EQ(share.taken(), 850u);
}

TEST(FairShare, GivesSmallSharesToManyUntilNothingIsLeft) {
  FairShare share;
  for (int i = 0; i < 200; ++i)
    ASSERT_TRUE(share.take(from("10.0." + std::to_string(i) + ".1"), 5, kWhole) || i == 199) << i;
  EXPECT_GE(share.taken(), kWhole - 5);
  EXPECT_FALSE(share.take(from("192.0.2.1"), 6, kWhole));
}

TEST(FairShare, HasASingleUnitForAnybody) {
  FairShare share;
  EXPECT_TRUE(share.take(from("192.0.2.1"), 1, 1));
  EXPECT_FALSE(share.take(from("198.51.100.1"), 1, 1));
  share.give_back(from("192.0.2.9"), 1);
  EXPECT_TRUE(share.take(from("198.51.100.1"), 1, 1));
}

TEST(FairShare, CountsASubscribersWholeNetworkAsOne) {
  FairShare share;
  EXPECT_TRUE(share.take(from("2001:db8:0:1::1"), 500, kWhole));
  EXPECT_FALSE(share.take(from("2001:db8:0:1:ffff::1"), 1, kWhole));
  EXPECT_TRUE(share.take(from("2001:db8:0:2::1"), 1, kWhole));
  share.give_back(from("2001:db8:0:1:ffff::1"), 500);
  EXPECT_EQ(share.taken(), 1u);
  EXPECT_TRUE(share.take(from("192.0.2.1"), 0, 0)) << "nothing can always be had";
}

}  // namespace
}  // namespace leeward::edge

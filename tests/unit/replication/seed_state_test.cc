#include "replication/seed_state.h"

#include <gtest/gtest.h>

namespace leeward::replication {
namespace {

mysql::GtidPosition at(std::uint64_t sequence) {
  mysql::GtidPosition position;
  position.domains[0] = {0, 1, sequence};
  return position;
}
mysql::Gtid gtid(std::uint64_t sequence) { return {0, 2, sequence}; }

TEST(SeedState, AnIntegerKeyTellsItsChunk) {
  SeedState state = make_seed_state(
      {{{"shop", "orders"}, {true, {{{"100"}, at(10)}, {{"200"}, at(30)}, {{}, at(20)}}}}});
  EXPECT_EQ(state.from, at(10));
  EXPECT_EQ(state.until, at(30));
  auto ask = [&](const char* key, std::uint64_t sequence) {
    return state.handover("shop", "orders", {key}, gtid(sequence));
  };
  EXPECT_EQ(ask("100", 10), Handover::kSkip);
  EXPECT_EQ(ask("100", 11), Handover::kApply);
  EXPECT_EQ(ask("-5", 11), Handover::kApply);
  EXPECT_EQ(ask("101", 30), Handover::kSkip);
  EXPECT_EQ(ask("1000", 20), Handover::kSkip);
  EXPECT_EQ(ask("1000", 21), Handover::kApply);
  EXPECT_EQ(ask("150", 31), Handover::kApply);
  EXPECT_FALSE(state.over(gtid(30)));
  EXPECT_TRUE(state.over(gtid(31)));
}

TEST(SeedState, AnOrderThatOnlyTheServerKnowsIsMerged) {
  SeedState state =
      make_seed_state({{{"shop", "people"}, {false, {{{"m"}, at(10)}, {{}, at(20)}}}}});
  auto ask = [&](std::uint64_t sequence) {
    return state.handover("shop", "people", {"Äpfel"}, gtid(sequence));
  };
  EXPECT_EQ(ask(10), Handover::kSkip);
  EXPECT_EQ(ask(11), Handover::kMerge);
  EXPECT_EQ(ask(20), Handover::kMerge);
  EXPECT_EQ(ask(21), Handover::kApply);
}

TEST(SeedState, CompositeKeysCompareColumnByColumn) {
  SeedState state = make_seed_state(
      {{{"s", "t"}, {true, {{{"1", "5"}, at(10)}, {{"2", "0"}, at(20)}, {{}, at(30)}}}}});
  EXPECT_EQ(state.handover("s", "t", {"1", "6"}, gtid(15)), Handover::kSkip);
  EXPECT_EQ(state.handover("s", "t", {"1", "5"}, gtid(15)), Handover::kApply);
  EXPECT_EQ(state.handover("s", "t", {"2", "1"}, gtid(30)), Handover::kSkip);
}

TEST(SeedState, ADomainThatAChunkLacksIsNotInIt) {
  mysql::GtidPosition two = at(10);
  two.domains[7] = {7, 3, 4};
  SeedState state =
      make_seed_state({{{"s", "a"}, {false, {{{}, two}}}}, {{"s", "b"}, {false, {{{}, at(12)}}}}});
  EXPECT_EQ(state.from, at(10));
  EXPECT_EQ(state.handover("s", "b", {}, {7, 3, 4}), Handover::kApply);
  EXPECT_EQ(state.handover("s", "a", {}, {7, 3, 4}), Handover::kSkip);
  EXPECT_EQ(state.handover("s", "elsewhere", {"1"}, gtid(11)), Handover::kApply);
}

}  // namespace
}  // namespace leeward::replication

#include "database/internal/rejoin_core.h"

#include <gtest/gtest.h>

#include "mysql/gtid.h"

namespace leeward::database::internal {
namespace {

mysql::GtidPosition at(const std::string& text) { return *mysql::parse_gtid_position(text); }

History history(std::uint32_t server, const std::string& position,
                std::vector<std::pair<std::uint64_t, std::string>> epochs) {
  History made;
  made.member = true;
  made.server = server;
  made.position = at(position);
  for (const auto& [epoch, promoted] : epochs)
    made.epochs.push_back({Epoch{epoch}, "site", at(promoted)});
  return made;
}

TEST(RejoinCore, StandbyThatIsBehindJustFollows) {
  auto source = history(2, "0-2-30", {{1, ""}, {2, "0-1-20"}});
  auto parting = compare(history(1, "0-1-18", {{1, ""}}), source, Epoch{2});
  ASSERT_TRUE(parting);
  EXPECT_EQ(parting->kind, Parting::Kind::kNone);
  parting = compare(history(1, "0-1-20", {{1, ""}}), source, Epoch{2});
  EXPECT_EQ(parting->kind, Parting::Kind::kNone);
}

TEST(RejoinCore, OldWriterPartsAtTheFirstPromotionThatItDoesNotKnow) {
  auto source = history(2, "0-2-99", {{1, ""}, {2, "0-1-20"}, {5, "0-2-60"}});
  auto parting = compare(history(1, "0-1-23", {{1, ""}}), source, Epoch{5});
  ASSERT_TRUE(parting);
  EXPECT_EQ(parting->kind, Parting::Kind::kAhead);
  EXPECT_EQ(to_string(parting->shared), "0-1-20");
}

TEST(RejoinCore, BothSidesPromotedSinceTheyPartAtTheEarlierOne) {
  // 2 was promoted here without the other knowing, then 3 there, from an older point.
  auto own = history(1, "0-1-40", {{1, ""}, {2, "0-2-30"}});
  auto source = history(2, "0-2-50", {{1, ""}, {3, "0-2-35"}});
  auto parting = compare(own, source, Epoch{3});
  ASSERT_TRUE(parting);
  EXPECT_EQ(parting->kind, Parting::Kind::kAhead);
  EXPECT_EQ(to_string(parting->shared), "0-2-30");
}

TEST(RejoinCore, OwnWritesUnderAnotherWritersEpochAreErrant) {
  auto source = history(1, "0-1-50", {{1, "0-1-3"}});
  auto own = history(2, "0-2-51", {{1, "0-1-3"}});
  own.state = {{0, 1, 50}, {0, 2, 51}};
  EXPECT_EQ(compare(own, source, Epoch{1})->kind, Parting::Kind::kErrant);
  own.state = {{0, 1, 50}, {0, 2, 2}};  // from before it joined
  EXPECT_EQ(compare(own, source, Epoch{1})->kind, Parting::Kind::kNone);
}

TEST(RejoinCore, WrongEpochsAreRefused) {
  auto source = history(1, "0-1-50", {{1, ""}, {4, "0-1-40"}});
  for (std::uint64_t expected : {3, 5})
    EXPECT_EQ(compare(history(2, "", {{1, ""}}), source, Epoch{expected}).error().code,
              Code::kRefused);
  auto newer = history(2, "0-2-60", {{1, ""}, {5, "0-1-45"}});
  EXPECT_EQ(compare(newer, source, Epoch{4}).error().code, Code::kRefused);
  History stranger;
  EXPECT_EQ(compare(stranger, source, Epoch{4})->kind, Parting::Kind::kFresh);
}

}  // namespace
}  // namespace leeward::database::internal

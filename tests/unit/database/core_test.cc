// The parts that decide, without a server.
#include <gtest/gtest.h>

#include "database/gtid.h"
#include "database/internal/binlog.h"
#include "database/internal/rejoin_core.h"

namespace leeward::database::internal {
namespace {

GtidPosition at(const std::string& text) { return *parse_gtid_position(text); }

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

TEST(Gtid, ListsAreReadAndWritten) {
  EXPECT_EQ(to_string(at("0-1-42,7-3-9")), "0-1-42,7-3-9");
  EXPECT_EQ(at("0-1-42,7-3-9").position(), Position{42});
  EXPECT_EQ(at("").position(), Position{0});
  for (const char* wrong : {"0-1", "0-1-", "a", "0-1-1,", "0-1-1;", "0-1-1,0-2-2",
                            "0-1-99999999999999999999", "-1-1-1"})
    EXPECT_FALSE(parse_gtid_position(wrong)) << wrong;
  EXPECT_EQ(to_string(later(at("0-1-5,1-1-1"), at("0-2-4,2-2-2"))), "0-1-5,1-1-1,2-2-2");
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

TEST(BinlogValue, Base64GoesBothWays) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  for (std::size_t size : {0, 1, 2, 3, 255, 256})
    EXPECT_EQ(unbase64(base64(all.substr(0, size))), all.substr(0, size));
  for (const char* wrong : {"a", "abc", "ab!=", "====x"}) EXPECT_FALSE(unbase64(wrong)) << wrong;
}

TEST(BinlogValue, OnlyReadableTextStaysText) {
  EXPECT_EQ(readable("grüße", TextKind::kUtf8), "grüße");
  EXPECT_EQ(readable("\xc0\xaf", TextKind::kUtf8), "base64:wK8=");              // overlong
  EXPECT_EQ(readable("\xed\xa0\x80", TextKind::kUtf8), "base64:7aCA");          // surrogate
  EXPECT_EQ(readable("\xf4\x90\x80\x80", TextKind::kUtf8), "base64:9JCAgA==");  // above U+10FFFF
  EXPECT_EQ(readable("\xe2\x82", TextKind::kUtf8), "base64:4oI=");              // cut off
  EXPECT_EQ(readable("plain", TextKind::kAscii), "plain");
  EXPECT_EQ(readable("plain", TextKind::kOpaque), "base64:cGxhaW4=");
  EXPECT_EQ(readable("base64:x", TextKind::kUtf8), "base64:YmFzZTY0Ong=");  // no forged prefix
}

}  // namespace
}  // namespace leeward::database::internal

#include "mysql/gtid_set.h"

#include <gtest/gtest.h>

namespace leeward::mysql {
namespace {

constexpr const char* kA = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
constexpr const char* kB = "ffffffff-71ca-11e1-9e33-c80aa9429562";

GtidSet set(const std::string& text) {
  auto parsed = parse_gtid_set(text);
  EXPECT_TRUE(parsed) << text;
  return parsed ? *parsed : GtidSet{};
}

TEST(GtidSet, TextIsNormalised) {
  std::string a(kA), b(kB);
  EXPECT_EQ(to_string(set("")), "");
  EXPECT_EQ(to_string(set(b + ":1, \n" + a + ":5-7:1-3:4")), a + ":1-7," + b + ":1");
  EXPECT_EQ(to_string(set(a + ":9:1-3:2-5")), a + ":1-5:9");
}

TEST(GtidSet, RefusesWhatIsNoSet) {
  for (std::string text : {"x", "3e11fa47-71ca-11e1-9e33-c80aa9429562", ":1",
                           "3e11fa47-71ca-11e1-9e33-c80aa9429562:", "3e11fa47:1"})
    EXPECT_FALSE(parse_gtid_set(text)) << text;
  for (std::string interval : {"0", "5-3", "1-", "-1", "a", "9223372036854775807", "tag:1"})
    EXPECT_FALSE(parse_gtid_set(std::string(kA) + ":" + interval)) << interval;
}

TEST(GtidSet, KnowsWhatItContains) {
  GtidSet some = set(std::string(kA) + ":1-5:7");
  Uuid a = some.sources().begin()->first;
  EXPECT_TRUE(some.contains(MysqlGtid{a, 5}));
  EXPECT_FALSE(some.contains(MysqlGtid{a, 6}));
  EXPECT_TRUE(some.contains(set(std::string(kA) + ":2-4")));
  EXPECT_FALSE(some.contains(set(std::string(kA) + ":5-7")));
  EXPECT_FALSE(some.contains(set(std::string(kB) + ":1")));
  some.add(MysqlGtid{a, 6});
  EXPECT_EQ(to_string(some), std::string(kA) + ":1-7");
}

TEST(GtidSet, BytesGoBothWays) {
  for (const std::string& text : {std::string(), std::string(kA) + ":1-5:7",
                                  std::string(kA) + ":3," + kB + ":1-100:200-300"}) {
    std::string bytes = encode_gtid_set(set(text));
    auto decoded = decode_gtid_set(bytes);
    ASSERT_TRUE(decoded) << text;
    EXPECT_EQ(to_string(*decoded), text);
    for (std::size_t size = 0; size < bytes.size(); ++size)
      EXPECT_FALSE(decode_gtid_set(std::string_view(bytes).substr(0, size))) << size;
    EXPECT_FALSE(decode_gtid_set(bytes + '\0'));
  }
}

}  // namespace
}  // namespace leeward::mysql

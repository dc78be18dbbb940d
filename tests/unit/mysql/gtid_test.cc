#include "mysql/gtid.h"

#include <gtest/gtest.h>

namespace leeward::mysql {
namespace {

GtidPosition at(const std::string& text) { return *parse_gtid_position(text); }

TEST(Gtid, ListsAreReadAndWritten) {
  EXPECT_EQ(to_string(at("0-1-42,7-3-9")), "0-1-42,7-3-9");
  EXPECT_EQ(at("0-1-42,7-3-9").position(), Position{42});
  EXPECT_EQ(at("").position(), Position{0});
  for (const char* wrong : {"0-1", "0-1-", "a", "0-1-1,", "0-1-1;", "0-1-1,0-2-2",
                            "0-1-99999999999999999999", "-1-1-1"})
    EXPECT_FALSE(parse_gtid_position(wrong)) << wrong;
  EXPECT_EQ(to_string(later(at("0-1-5,1-1-1"), at("0-2-4,2-2-2"))), "0-1-5,1-1-1,2-2-2");
}

}  // namespace
}  // namespace leeward::mysql

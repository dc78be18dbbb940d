#include <gtest/gtest.h>

#include "mysql/binlog.h"

namespace leeward::mysql {
namespace {

TEST(BinlogValue, Base64GoesBothWays) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  for (std::size_t size : {0, 1, 2, 3, 255, 256})
    EXPECT_EQ(unbase64(base64(all.substr(0, size))), all.substr(0, size));
  for (const char* wrong : {"a", "abc", "ab!=", "====x"}) EXPECT_FALSE(unbase64(wrong)) << wrong;
}

TEST(BinlogValue, OnlyReadableTextStaysText) {
  EXPECT_EQ(readable("grüße", TextKind::kUtf8), "grüße");
  EXPECT_EQ(readable("\xc0\xaf", TextKind::kUtf8), "base64:wK8=");      // overlong
  EXPECT_EQ(readable("\xed\xa0\x80", TextKind::kUtf8), "base64:7aCA");  // surrogate
  EXPECT_EQ(readable("\xf4\x90\x80\x80", TextKind::kUtf8),
            "base64:9JCAgA==");                                     // above U+10FFFF
  EXPECT_EQ(readable("\xe2\x82", TextKind::kUtf8), "base64:4oI=");  // cut off
  EXPECT_EQ(readable("plain", TextKind::kAscii), "plain");
  EXPECT_EQ(readable("plain", TextKind::kOpaque), "base64:cGxhaW4=");
  EXPECT_EQ(readable("base64:x", TextKind::kUtf8),
            "base64:YmFzZTY0Ong=");  // no forged prefix
}

}  // namespace
}  // namespace leeward::mysql

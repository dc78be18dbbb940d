#include "mysql/json.h"

#include <gtest/gtest.h>

namespace leeward::mysql {
namespace {

using namespace std::string_literals;

std::string text(const std::string& bytes) {
  auto value = parse_mysql_json(bytes);
  return value ? to_string(*value) : "malformed";
}

// {"a": 1, "bb": [true, "x"]} as MySQL stores it.
const std::string kDocument =
    "\x00\x02\x00\x22\x00"  // small object, two members, 34 bytes
    "\x12\x00\x01\x00\x13\x00\x02\x00"
    "\x05\x01\x00\x02\x15\x00"
    "a"
    "bb"
    "\x02\x00\x0d\x00\x04\x01\x00\x0c\x0a\x00\x01x\x00"s;

TEST(MysqlJson, DocumentsBecomeText) {
  EXPECT_EQ(text(""), "null");
  EXPECT_EQ(text("\x04\x00"s), "null");
  EXPECT_EQ(text("\x05\xff\xff"s), "-1");
  EXPECT_EQ(text("\x0a\xff\xff\xff\xff\xff\xff\xff\xff"s), "18446744073709551615");
  EXPECT_EQ(text("\x0b\x00\x00\x00\x00\x00\x00\xf0\x3f"s), "1.0");
  EXPECT_EQ(text("\x0c\x05"
                 "a\"\\\n\x01"s),
            R"("a\"\\\n\u0001")");
  EXPECT_EQ(text(kDocument), R"({"a": 1, "bb": [true, "x"]})");
}

TEST(MysqlJson, ValuesOfSqlTypes) {
  // DECIMAL(3,1) 12.5; TIME -01:02:03.5; DATE 2024-05-06.
  EXPECT_EQ(text("\x0f\xf6\x04\x03\x01\x8c\x05"s), "12.5");
  EXPECT_EQ(text("\x0f\x0b\x08\xe0\x5e\xf8\x7c\xef\xff\xff\xff"s), "\"-01:02:03.500000\"");
  EXPECT_EQ(text("\x0f\x0a\x08\x00\x00\x00\x00\x00\x4c\xb3\x19"s), "\"2024-05-06\"");
  EXPECT_EQ(text("\x0f\x0f\x02hi"s), "\"base64:type15:aGk=\"");
}

TEST(MysqlJson, EveryTruncationIsRefused) {
  for (std::size_t size = 1; size < kDocument.size(); ++size)
    EXPECT_EQ(text(kDocument.substr(0, size)), "malformed") << size;
}

TEST(MysqlJson, DocumentsThatPretendASizeAreRefused) {
  // An array of arrays that all share the same bytes would double at each level.
  std::string bytes = "\x02"s;
  std::string level = "\x02\x00\x0a\x00\x02\x00\x00\x02\x00\x00"s;  // two items at its own start
  EXPECT_EQ(text(bytes + level), "malformed");
}

TEST(MysqlJson, DifferencesAreApplied) {
  auto value = parse_mysql_json(kDocument);
  ASSERT_TRUE(value);
  auto difference = [](char operation, const std::string& path, const std::string& bytes) {
    std::string out(1, operation);
    out += static_cast<char>(path.size());
    out += path;
    if (operation != 2) out += static_cast<char>(bytes.size()) + bytes;
    return out;
  };
  std::string list = difference(0, "$.a", "\x05\x07\x00"s) +       // replace
                     difference(1, "$.bb[1]", "\x04\x02"s) +       // insert before "x"
                     difference(2, "$.bb[0]", "") +                // remove true
                     difference(1, "$.\"c \\\"d\"", "\x04\x00"s);  // a name to quote
  ASSERT_TRUE(apply_json_differences(*value, list));
  EXPECT_EQ(to_string(*value), R"({"a": 7, "bb": [false, "x"], "c \"d": null})");
  for (const char* missing : {"$.z", "$.bb[9]", "$.a.b", "a", "$x", "$[", "$.bb[x]"})
    EXPECT_FALSE(apply_json_differences(*value, difference(0, missing, "\x04\x00"s))) << missing;
}

}  // namespace
}  // namespace leeward::mysql

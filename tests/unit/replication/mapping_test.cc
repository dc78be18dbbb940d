#include "replication/mapping.h"

#include <gtest/gtest.h>

namespace leeward::replication {
namespace {

TEST(Mapping, CarriesEverythingButTheServersOwnSchemas) {
  Mapping mapping;
  ASSERT_TRUE(mapping.route("shop", "orders"));
  EXPECT_EQ(mapping.route("shop", "orders")->schema, "shop");
  EXPECT_FALSE(mapping.route("mysql", "user"));
  EXPECT_FALSE(mapping.route("leeward", "epoch"));
  EXPECT_FALSE(mapping.route_schema("sys"));
}

TEST(Mapping, ExclusionBeatsInclusion) {
  Mapping mapping;
  mapping.include = {{"shop", "%"}};
  mapping.exclude = {{"shop", "tmp_%"}};
  EXPECT_TRUE(mapping.route("shop", "orders"));
  EXPECT_FALSE(mapping.route("shop", "tmp_import"));
  EXPECT_FALSE(mapping.route("blog", "posts"));
  EXPECT_FALSE(mapping.route_schema("blog"));
}

TEST(Mapping, FirstRenameWinsAndKeepsWhatItDoesNotName) {
  Mapping mapping;
  mapping.renames = {{{"shop", "orders"}, "", "orders_v2"}, {{"shop", "%"}, "store", ""}};
  EXPECT_EQ(mapping.route("shop", "orders")->schema, "shop");
  EXPECT_EQ(mapping.route("shop", "orders")->table, "orders_v2");
  EXPECT_EQ(mapping.route("shop", "items")->schema, "store");
  EXPECT_EQ(mapping.route_schema("shop"), "store");
}

TEST(Mapping, ColumnRulesMakeATableNeedTheSlowPath) {
  Mapping mapping;
  mapping.columns = {{{"shop", "customers"}, {"note"}, {{"name", "full_name"}}}};
  EXPECT_TRUE(mapping.route("shop", "orders")->same_columns());
  EXPECT_FALSE(mapping.route("shop", "customers")->same_columns());
}

TEST(Mapping, PatternsMatchWholeNames) {
  EXPECT_TRUE(matches("a%b%c", "a1b2b3c"));
  EXPECT_TRUE(matches("%", ""));
  EXPECT_FALSE(matches("a%b", "a1bc"));
  EXPECT_FALSE(matches("a%", "ba"));
  EXPECT_FALSE(matches("aa%aa", "aaa"));
}

TEST(RowFilter, ComparesNumbersAsNumbersAndNeverPassesNull) {
  mysql::Table table;
  table.columns.resize(2);
  table.columns[0].name = "id";
  table.columns[1].name = "city";
  std::vector<RowCondition> from_nine = {{"id", {{Comparison::kGreaterOrEqual, {"9"}}}}};
  EXPECT_TRUE(passes(from_nine, table, {"10", "Rome"}));
  EXPECT_FALSE(passes(from_nine, table, {"8", "Rome"}));
  EXPECT_FALSE(passes(from_nine, table, {std::nullopt, "Rome"}));
  std::vector<RowCondition> either = {
      {"city", {{Comparison::kEqual, {"Rome"}}, {Comparison::kIsNull, {}}}}};
  EXPECT_TRUE(passes(either, table, {"1", std::nullopt}));
  EXPECT_FALSE(passes(either, table, {"1", "Oslo"}));
  EXPECT_FALSE(passes({{"gone", {{Comparison::kIsNotNull, {}}}}}, table, {"1", "Oslo"}));
}

}  // namespace
}  // namespace leeward::replication

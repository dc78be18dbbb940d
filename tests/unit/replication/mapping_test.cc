#include "replication/mapping.h"

#include <gtest/gtest.h>

namespace leeward::replication {
namespace {

const std::vector<std::string> kColumns = {"id", "name", "Note"};

FilterPtr filter(std::string_view text) {
  auto parsed = parse_filter(text);
  EXPECT_TRUE(parsed) << parsed.error().message;
  return parsed.value_or(nullptr);
}

TEST(Mapping, CarriesEverythingButTheServersOwnSchemas) {
  Mapping mapping;
  ASSERT_TRUE(mapping.route("shop", "orders", kColumns));
  EXPECT_EQ(mapping.route("shop", "orders", kColumns)->schema, "shop");
  EXPECT_TRUE(mapping.route("shop", "orders", kColumns)->same_columns());
  EXPECT_FALSE(mapping.carries("mysql", "user"));
  EXPECT_FALSE(mapping.route("leeward", "epoch", kColumns));
  EXPECT_FALSE(mapping.route_schema("sys"));
}

TEST(Mapping, ExclusionBeatsInclusion) {
  Mapping mapping;
  mapping.include = {{"shop", "%"}};
  mapping.exclude = {{"shop", "tmp_%"}};
  EXPECT_TRUE(mapping.carries("shop", "orders"));
  EXPECT_FALSE(mapping.carries("shop", "tmp_import"));
  EXPECT_FALSE(mapping.carries("blog", "posts"));
  EXPECT_FALSE(mapping.route_schema("blog"));
}

TEST(Mapping, RenamesApplyOneAfterTheOther) {
  using Action = NameChange::Action;
  Mapping mapping;
  mapping.renames = {{NameOf::kTable, {"shop", "orders"}, "%", {Action::kRename, "sales", ""}},
                     {NameOf::kTable, {"shop", "%"}, "%", {Action::kAddSuffix, "_v2", ""}},
                     {NameOf::kSchema, {"shop", "%"}, "%", {Action::kUppercase, "", ""}},
                     {NameOf::kSchema, {"shop", "items"}, "%", {Action::kRename, "stock", ""}}};
  EXPECT_EQ(mapping.route("shop", "orders", kColumns)->schema, "SHOP");
  EXPECT_EQ(mapping.route("shop", "orders", kColumns)->table, "sales_v2");
  EXPECT_EQ(mapping.route("shop", "items", kColumns)->schema, "stock");
  EXPECT_EQ(mapping.route("shop", "items", kColumns)->table, "items_v2");
  EXPECT_EQ(mapping.route_schema("shop"), "SHOP");
}

TEST(Mapping, EachChangeOfAName) {
  using Action = NameChange::Action;
  EXPECT_EQ(changed({Action::kLowercase, "", ""}, "OrdersÄ"), "ordersÄ");
  EXPECT_EQ(changed({Action::kAddPrefix, "a_", ""}, "t"), "a_t");
  EXPECT_EQ(changed({Action::kRemovePrefix, "a_", ""}, "a_t"), "t");
  EXPECT_EQ(changed({Action::kRemovePrefix, "b_", ""}, "a_t"), "a_t");
  EXPECT_EQ(changed({Action::kReplacePrefix, "b_", "a_"}, "a_t"), "b_t");
  EXPECT_EQ(changed({Action::kRemoveSuffix, "_x", ""}, "t_x"), "t");
  EXPECT_EQ(changed({Action::kReplaceSuffix, "_y", "_x"}, "t_x"), "t_y");
  EXPECT_EQ(changed({Action::kReplaceSuffix, "_y", "_z"}, "t_x"), "t_x");
}

TEST(Mapping, ColumnsAreDroppedKeptAndRenamedWithoutRegardToCase) {
  using Action = NameChange::Action;
  Mapping mapping;
  mapping.columns = {{{"shop", "customers"}, "note", true}, {{"shop", "narrow"}, "ID", false}};
  mapping.renames = {
      {NameOf::kColumn, {"shop", "customers"}, "NAME", {Action::kRename, "full_name", ""}}};
  auto route = mapping.route("shop", "customers", kColumns);
  ASSERT_TRUE(route);
  EXPECT_FALSE(route->same_columns());
  EXPECT_EQ(route->column("Note"), std::nullopt);
  EXPECT_EQ(route->column("name"), "full_name");
  EXPECT_EQ(route->column("id"), "id");
  auto narrow = mapping.route("shop", "narrow", kColumns);
  EXPECT_EQ(narrow->dropped_columns, (std::set<std::string>{"name", "Note"}));
  EXPECT_TRUE(mapping.route("shop", "orders", kColumns)->same_columns());
}

TEST(Mapping, PatternsMatchWholeNames) {
  EXPECT_TRUE(matches("a%b%c", "a1b2b3c"));
  EXPECT_TRUE(matches("%", ""));
  EXPECT_FALSE(matches("a%b", "a1bc"));
  EXPECT_FALSE(matches("a%", "ba"));
  EXPECT_FALSE(matches("aa%aa", "aaa"));
  EXPECT_TRUE(matches("a?c", "abc"));
  EXPECT_FALSE(matches("a?c", "ac"));
  EXPECT_TRUE(matches("a_c", "a_c"));
  EXPECT_FALSE(matches("a_c", "abc"));
  EXPECT_TRUE(matches(literal_pattern("50%?\\"), "50%?\\"));
  EXPECT_FALSE(matches(literal_pattern("50%"), "500"));
}

TEST(RowFilter, TakesPartOnlyWhenTheExpressionIsTrue) {
  std::vector<SourceColumn> columns = {
      {"id", ColumnKind::kNumber}, {"City", ColumnKind::kText}, {"pic", ColumnKind::kOther}};
  auto passes_row = [&](std::string_view text, const mysql::Row& row) {
    auto bound = RowFilter::bind(filter(text), columns);
    EXPECT_TRUE(bound) << bound.error().message;
    return bound && passes(*bound, row);
  };
  EXPECT_TRUE(passes_row("id >= 9", {"10", "Rome", ""}));
  EXPECT_FALSE(passes_row("id >= 9", {"8", "Rome", ""}));
  EXPECT_FALSE(passes_row("id >= 9", {std::nullopt, "Rome", ""}));
  // Unknown stays unknown under `not`.
  EXPECT_FALSE(passes_row("not id >= 9", {std::nullopt, "Rome", ""}));
  EXPECT_TRUE(passes_row("not id >= 9 or city = 'Rome'", {std::nullopt, "Rome", ""}));
  EXPECT_TRUE(passes_row("city = 'Rome' or city is null", {"1", std::nullopt, ""}));
  EXPECT_FALSE(passes_row("city = 'rome'", {"1", "Rome", ""}));
  EXPECT_TRUE(passes_row("id in (1, 2.0, -3) and city not in ('Oslo')", {"2", "Rome", ""}));
  EXPECT_TRUE(passes_row("id not between 3 and 5", {"2", "Rome", ""}));
  EXPECT_TRUE(passes_row("(id = 1 or id = 2) and not (city = 'Oslo')", {"2", "Rome", ""}));
  EXPECT_FALSE(passes_row("id = 1 or id = 2 and city = 'Oslo'", {"2", "Rome", ""}));
  EXPECT_TRUE(passes_row("pic is not null and `City` = 'it''s'", {"2", "it's", "x"}));
}

TEST(RowFilter, ComparesNumbersByValue) {
  EXPECT_EQ(compare_numbers("10", "9"), 1);
  EXPECT_EQ(compare_numbers("-10", "-9"), -1);
  EXPECT_EQ(compare_numbers("0.10", ".1"), 0);
  EXPECT_EQ(compare_numbers("-0", "0.00"), 0);
  EXPECT_EQ(compare_numbers("18446744073709551615", "18446744073709551614"), 1);
  EXPECT_EQ(compare_numbers("1e3", "1000"), 0);
  EXPECT_EQ(compare_numbers("abc", "1"), std::nullopt);
  EXPECT_EQ(compare_numbers("", "1"), std::nullopt);
}

TEST(RowFilter, SaysEverythingThatDoesNotFitTheTable) {
  auto bound = RowFilter::bind(
      filter("nowhere = 1 and id = 'x' and city > 3 and pic = 'a'"),
      {{"id", ColumnKind::kNumber}, {"city", ColumnKind::kText}, {"pic", ColumnKind::kOther}});
  ASSERT_FALSE(bound);
  EXPECT_EQ(bound.error().message,
            "there is no column 'nowhere'; column 'id' holds numbers and 'x' is none; column "
            "'city' holds text; write '3' in quotes; column 'pic' is of a type that takes 'is "
            "null' only");
}

TEST(RowFilter, PointsAtWhatItCannotRead) {
  auto error = [](std::string_view text) {
    auto parsed = parse_filter(text);
    return parsed ? std::string("read")
                  : fmt::format("{}: {}", parsed.error().offset, parsed.error().message);
  };
  EXPECT_EQ(error(""), "0: the name of a column is missing here");
  EXPECT_EQ(error("id == 1"), "4: a number, or text in single quotes, is missing here");
  EXPECT_EQ(error("id = eu"), "5: a number, or text in single quotes, is missing here");
  EXPECT_EQ(error("id = 'eu"), "5: a quote is not closed");
  EXPECT_EQ(error("id = 1 id = 2"), "7: unexpected 'id'; write 'and' or 'or' between two tests");
  EXPECT_EQ(error("(id = 1"), "7: ')' is missing here");
  EXPECT_EQ(error("id = 12abc"), "5: this is not a number; text stands in single quotes");
  EXPECT_EQ(error(std::string(100, '(') + "id = 1"), "65: nested more than 64 levels deep");
}

}  // namespace
}  // namespace leeward::replication

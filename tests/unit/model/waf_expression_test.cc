#include "model/waf_expression.h"

#include <gtest/gtest.h>

namespace leeward {
namespace {

using Kind = WafExpression::Kind;

std::string refusal(std::string_view text) {
  auto parsed = parse_waf_expression(text);
  return parsed ? "accepted" : parsed.error().message;
}

WafExpression parsed(std::string_view text) {
  auto e = parse_waf_expression(text);
  EXPECT_TRUE(e.has_value()) << text << ": " << (e ? "" : e.error().message);
  return e.value_or(WafExpression{});
}

// The tree with parentheses around everything.
std::string tree(const WafExpression& e) {
  if (e.kind == Kind::kTest)
    return std::to_string(static_cast<int>(e.value.field)) + (e.texts.empty() ? "" : e.texts[0]);
  std::string out = e.kind == Kind::kNot ? "(!" : "(";
  for (const WafExpression& part : e.parts) {
    if (&part != &e.parts.front()) out += e.kind == Kind::kAll ? "&" : "|";
    out += tree(part);
  }
  return out + ")";
}

TEST(WafExpression, AndBindsCloserThanOr) {
  EXPECT_EQ(tree(parsed(R"(path == "a" or path == "b" and not path == "c")")), "(4a|(4b&(!4c)))");
  EXPECT_EQ(tree(parsed(R"((path == "a" or path == "b") and path != "c")")), "((4a|4b)&(!4c))");
  EXPECT_EQ(tree(parsed(R"(path == "a" and path == "b" and path == "c")")), "(4a&4b&4c)");
}

TEST(WafExpression, FieldsTestsAndOperands) {
  WafExpression e = parsed(R"(header("User-Agent") matches "(?i)\\bcurl\"")");
  EXPECT_EQ(e.value.field, WafField::kHeaders);
  EXPECT_EQ(e.value.name, "User-Agent");
  EXPECT_EQ(e.test, WafTest::kMatches);
  EXPECT_EQ(e.texts[0], R"((?i)\bcurl")");
  EXPECT_FALSE(e.needs_body());
  e = parsed("size(args) >= 200");
  EXPECT_TRUE(e.value.size);
  EXPECT_EQ(e.test, WafTest::kGreaterOrEqual);
  EXPECT_EQ(e.number, 200u);
  EXPECT_TRUE(e.needs_body());
  e = parsed(R"(address in ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"])");
  EXPECT_EQ(e.texts.size(), 3u);
  e = parsed(R"(lower(cookie("s")) == "")");
  EXPECT_TRUE(e.value.lower);
  EXPECT_EQ(e.texts[0], "");
  e = parsed(R"(cookie("s"))");
  EXPECT_EQ(e.test, WafTest::kPresent);
}

TEST(WafExpression, MistakesAreNamedWithTheirColumn) {
  EXPECT_EQ(refusal(""), "column 1: a field was expected here");
  EXPECT_EQ(refusal("pat == \"/\"").substr(0, 33), "column 1: there is no field 'pat'");
  EXPECT_EQ(refusal("path equals \"/\""), "column 6: there is no operator 'equals'");
  EXPECT_EQ(refusal("path == \"/"), "column 9: this text has no end");
  EXPECT_EQ(refusal("path == 3"), "column 6: only size(…) is compared with a number");
  EXPECT_EQ(refusal("size(path) contains \"a\""),
            "column 12: a size is compared by ==, !=, <, <=, > or >= with a number");
  EXPECT_EQ(refusal("(path"), "column 6: ')' was expected here");
  EXPECT_EQ(refusal("path path"), "column 6: there is no operator 'path'");
  EXPECT_EQ(refusal("path == \"a\" method"), "column 13: 'and', 'or' or the end was expected here");
  EXPECT_EQ(refusal("path & method"), "column 6: '&' means nothing here");
  EXPECT_EQ(refusal(R"(address in ["10.0.0.0/33"])"),
            "column 13: '10.0.0.0/33' is no address or network");
  EXPECT_EQ(refusal(R"(path contains "")"), "column 15: an empty text is in every value");
  EXPECT_EQ(refusal("header(name)"), "column 8: a name in quotes was expected here");
  EXPECT_EQ(refusal("size(size(path)) > 1"), "column 1: size of a size is nothing");
  EXPECT_EQ(refusal(R"(bot == "tol")").substr(0, 45),
            "column 8: bot is never 'tol'; it can be no-us");
  EXPECT_EQ(refusal(R"(bot in ["tool", "x"])").substr(0, 28), "column 17: bot is never 'x';");
  EXPECT_EQ(refusal(R"(crawler == "real")"),
            "column 12: crawler is never 'real'; it can be unverified, verified, false");
}

TEST(WafExpression, DepthAndSizeHaveBounds) {
  EXPECT_NE(refusal(std::string(100, '(') + "path").find("levels of parentheses"),
            std::string::npos);
  std::string nots;
  for (int i = 0; i < 1000; ++i) nots += "not ";
  EXPECT_NE(refusal(nots + "path").find("levels of parentheses"), std::string::npos);
  std::string many = "path";
  for (int i = 0; i < 300; ++i) many += " or path";
  EXPECT_NE(refusal(many).find("more than 256 comparisons"), std::string::npos);
  EXPECT_NE(refusal(std::string(9000, ' ')).find("at most 8192 octets"), std::string::npos);
}

}  // namespace
}  // namespace leeward

#include "waf/seclang.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace leeward::waf {
namespace {

std::vector<Directive> read(std::string_view text) {
  Problems problems;
  auto directives = parse_seclang(text, "r.conf", problems);
  EXPECT_TRUE(problems.empty()) << problems.error().message;
  return directives;
}

std::string error_of(std::string_view text) {
  Problems problems;
  parse_seclang(text, "r.conf", problems);
  return problems.empty() ? "none" : problems.error().message;
}

TEST(SecLang, PartsWordsByBlanksAndTakesQuotesOff) {
  const auto d = read("SecRule  ARGS|XML:/* \"@rx a b\" \t'id:1,phase:2'\nSecMarker END");
  ASSERT_EQ(d.size(), 2u);
  EXPECT_EQ(d[0].name.text, "SecRule");
  ASSERT_EQ(d[0].arguments.size(), 3u);
  EXPECT_EQ(d[0].arguments[0].text, "ARGS|XML:/*");
  EXPECT_EQ(d[0].arguments[1].text, "@rx a b");
  EXPECT_EQ(d[0].arguments[2].text, "id:1,phase:2");
  EXPECT_EQ(d[1].arguments[0].place().text(), "r.conf:2:11");
}

TEST(SecLang, KeepsBackslashesButThatBeforeAQuote) {
  const auto d = read(R"(SecRule ARGS "@rx \d\\\"x\x5c" "id:1")");
  EXPECT_EQ(d[0].arguments[1].text, R"(@rx \d\\"x\x5c)");
}

TEST(SecLang, GoesOnAtABackslashAndStillKnowsWhereThingsStand) {
  const auto d =
      read("SecRule ARGS \\\n  \"@rx a\" \\\r\n    \"id:1,\\\n     phase:2,\\\n     bad\"\n");
  ASSERT_EQ(d.size(), 1u);
  ASSERT_EQ(d[0].arguments.size(), 3u);
  const Word& actions = d[0].arguments[2];
  EXPECT_EQ(actions.text, "id:1,     phase:2,     bad");
  EXPECT_EQ(actions.place().text(), "r.conf:3:6");
  EXPECT_EQ(actions.at(actions.text.find("phase")).text(), "r.conf:4:6");
  EXPECT_EQ(actions.at(actions.text.find("bad")).text(), "r.conf:5:6");
}

TEST(SecLang, LeavesOutCommentsAndARuleThatIsOne) {
  const auto d = read(
      "# a comment \\\nSecMarker A\n#SecRule ARGS \"@rx a\" \\\n   \"id:1\"\n  # x\nSecMarker B\n");
  ASSERT_EQ(d.size(), 2u);  // only a comment that holds a rule goes on
  EXPECT_EQ(d[0].arguments[0].text, "A");
  EXPECT_EQ(d[1].arguments[0].text, "B");
}

TEST(SecLang, NamesThePlaceOfEachThingThatIsWrong) {
  EXPECT_NE(error_of("SecRule ARGS \"@rx a\n").find("r.conf:1:14: this quote is not closed"),
            std::string::npos);
  EXPECT_NE(error_of("\nSecRule ARGS \"a\"b\n").find("r.conf:2:17: a blank is missing"),
            std::string::npos);
  const std::string two = error_of("A \"x\nB \"y\n");
  EXPECT_NE(two.find("r.conf:1:3"), std::string::npos);
  EXPECT_NE(two.find("r.conf:2:3"), std::string::npos);
  std::string many;
  for (int i = 0; i < 30; ++i) many += "A \"x\n";
  EXPECT_NE(error_of(many).find("and 10 more"), std::string::npos);
}

class Files : public ::testing::Test {
 protected:
  Files() {
    char name[] = "/tmp/leeward-seclang-XXXXXX";
    directory_ = mkdtemp(name);
  }
  ~Files() override { std::filesystem::remove_all(directory_); }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ + "/" + name) << text;
    return directory_ + "/" + name;
  }
  std::string error_of(const std::string& path) {
    Problems problems;
    auto directives = parse_seclang_file(path, problems);
    if (!directives) return directives.error().message;
    return problems.empty() ? "none" : problems.error().message;
  }
  std::string directory_;
};

TEST_F(Files, AreIncludedWhereTheyAreNamedInTheOrderOfTheirNames) {
  write("b.rules", "SecMarker B\n");
  write("a.rules", "SecMarker A\n");
  const std::string main = write("main.conf", "SecMarker X\nInclude *.rules\nSecMarker Y\n");
  Problems problems;
  auto d = parse_seclang_file(main, problems);
  ASSERT_TRUE(d);
  EXPECT_TRUE(problems.empty());
  std::string order;
  for (const Directive& directive : *d) order += directive.arguments[0].text;
  EXPECT_EQ(order, "XABY");
  EXPECT_EQ((*d)[1].name.place().text(), directory_ + "/a.rules:1:1");
}

TEST_F(Files, ThatAreNotThereAreErrorsUnlessTheyAreOptional) {
  EXPECT_NE(error_of(write("a.conf", "Include none-*.conf\n")).find("a.conf:1:9"),
            std::string::npos);
  EXPECT_EQ(error_of(write("b.conf", "IncludeOptional none-*.conf\n")), "none");
  Problems problems;
  EXPECT_EQ(parse_seclang_file("/nowhere/x.conf", problems).error().code, Code::kNotFound);
}

TEST_F(Files, ThatIncludeEachOtherComeToAnEnd) {
  EXPECT_NE(error_of(write("loop.conf", "Include loop.conf\n")).find("include each other"),
            std::string::npos);
  EXPECT_NE(
      error_of(write("wide.conf", "Include wide.conf\nInclude wide.conf\n")).find("more than"),
      std::string::npos);
}

}  // namespace
}  // namespace leeward::waf

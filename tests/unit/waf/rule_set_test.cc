#include "waf/rule_set.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace leeward::waf {
namespace {

std::string error_of(std::string_view text) {
  auto rules = RuleSet::parse(text, "r.conf", {.files = false, .cache_file = {}});
  return rules ? "none" : rules.error().message;
}

TEST(RuleSet, NamesThePlaceOfWhatItDoesNotKnow) {
  EXPECT_EQ(error_of("\nSecFoo On\n"), "r.conf:2:1: there is no directive 'SecFoo'");
  EXPECT_EQ(error_of("SecRule ARGS|FOO \"@rx a\" \"id:1\"\n"),
            "r.conf:1:14: there is no variable 'FOO'");
  EXPECT_EQ(error_of("SecRule ARGS \"@foo a\" \"id:1\"\n"),
            "r.conf:1:15: there is no operator '@foo'");
  EXPECT_EQ(error_of("SecRule ARGS \"@rx a\" \"id:1,\\\n  foo\"\n"),
            "r.conf:2:3: there is no action 'foo'");
  EXPECT_EQ(error_of("SecRule ARGS \"@rx a\" \"id:1,t:foo\"\n"),
            "r.conf:1:30: there is no transformation 't:foo'");
  EXPECT_EQ(error_of("SecRule ARGS \"@rx a\" \"id:1,msg:'%{foo}'\"\n"),
            "r.conf:1:33: there is no variable 'foo' to put here");
  EXPECT_EQ(error_of("<Location />\n").substr(0, 10), "r.conf:1:1");
}

TEST(RuleSet, NamesWhatItKnowsAndWillNotDo) {
  EXPECT_NE(error_of("SecRule ARGS \"@inspectFile x\" \"id:1\"\n").find("not supported"),
            std::string::npos);
  EXPECT_NE(error_of("SecAction \"id:1,exec:/bin/x\"\n").find("not supported"), std::string::npos);
  EXPECT_NE(error_of("SecRule FILES_TMPNAMES \"@rx a\" \"id:1\"\n").find("has no values here"),
            std::string::npos);
  EXPECT_NE(error_of("SecStatusEngine On\n").find("can only be Off"), std::string::npos);
  EXPECT_NE(error_of("SecRule XML:/a/b \"@rx a\" \"id:1\"\n").find("/* (all text)"),
            std::string::npos);
}

TEST(RuleSet, RefusesRulesThatCannotBeMeant) {
  EXPECT_NE(error_of("SecRule ARGS \"@rx (\" \"id:1\"\n").find("r.conf:1:19: the regular"),
            std::string::npos);
  EXPECT_NE(error_of("SecRule ARGS \"@rx a\" \"deny\"\n").find("has no id"), std::string::npos);
  EXPECT_NE(error_of("SecAction \"id:1\"\nSecAction \"id:1\"\n").find("r.conf:2:1: Rule id: 1 is"),
            std::string::npos);
  EXPECT_NE(error_of("SecAction \"id:1,skipAfter:NOWHERE\"\n").find("there is no such SecMarker"),
            std::string::npos);
  EXPECT_NE(error_of("SecRule ARGS \"@rx a\" \"id:1,chain\"\n").find("followed by no rule"),
            std::string::npos);
  EXPECT_NE(error_of("SecRule ARGS \"@rx a\" \"id:1,chain\"\nSecRule ARGS \"@rx b\" \"deny\"\n")
                .find("only the first rule"),
            std::string::npos);
  EXPECT_NE(error_of("SecRule ARGS|!ARGS \"@rx a\" \"id:1\"\n").find("can never match"),
            std::string::npos);
  EXPECT_NE(error_of("SecAction \"id:1,msg:'a\"\n").find("r.conf:1:21: this quote is not closed"),
            std::string::npos);
  EXPECT_NE(error_of("SecAction \"id:1,severity:9\"\n").find("0 to 7"), std::string::npos);
  EXPECT_NE(error_of("SecRule REQUEST_METHOD:x \"@rx a\" \"id:1\"\n").find("one value"),
            std::string::npos);
}

TEST(RuleSet, TellsSeveralThingsAtOnce) {
  const std::string text = error_of("SecFoo 1\nSecRule BAR \"@rx a\" \"id:1\"\nSecBaz\n");
  for (const char* place : {"r.conf:1:1", "r.conf:2:9", "r.conf:3:1"})
    EXPECT_NE(text.find(place), std::string::npos) << text;
}

TEST(RuleSet, ReadsNoFilesWhenItMayNot) {
  EXPECT_NE(error_of("Include /etc/passwd\n").find("may not include"), std::string::npos);
  EXPECT_NE(error_of("SecRule ARGS \"@pmFromFile /etc/passwd\" \"id:1\"\n").find("may not read"),
            std::string::npos);
}

TEST(RuleSet, NotesAnExclusionOfNoRule) {
  auto rules = RuleSet::parse("SecAction \"id:1,pass\"\nSecRuleRemoveById 7 9-10\n", "r.conf",
                              {.files = false, .cache_file = {}});
  ASSERT_TRUE(rules);
  EXPECT_EQ((*rules)->rules(), 1u);
  ASSERT_EQ((*rules)->notes().size(), 2u);
  EXPECT_EQ((*rules)->notes()[0], "r.conf:2:19: there is no rule with id 7");
  EXPECT_EQ((*rules)->notes()[1], "r.conf:2:21: there is no rule with id 9-10");
}

constexpr int kSetMdwe = 65, kGetMdwe = 66;  // linux/prctl.h, since 6.3

// As a process does that systemd has started with MemoryDenyWriteExecute.
[[noreturn]] void load_without_executable_memory() {
  constexpr int kRefuseExecGain = 1;
  if (::prctl(kSetMdwe, kRefuseExecGain, 0, 0, 0) != 0) ::_exit(2);
  auto rules = RuleSet::parse("SecRule ARGS \"@rx a+b\" \"id:1\"\n", "r.conf",
                              {.files = false, .cache_file = {}});
  const bool told = rules && (*rules)->notes().size() == 1 &&
                    (*rules)->notes()[0].starts_with("1 of 1 regular expressions are interpreted");
  ::_exit(told ? 0 : 1);
}

TEST(RuleSet, NotesThatItsExpressionsAreInterpreted) {
  if (::prctl(kGetMdwe, 0, 0, 0, 0) < 0) GTEST_SKIP() << "this kernel has no PR_SET_MDWE";
  // First, and in a process of its own from the start: PCRE2 keeps executable memory for the next
  // expression.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(load_without_executable_memory(), ::testing::ExitedWithCode(0), "");
  auto compiled = RuleSet::parse("SecRule ARGS \"@rx a+b\" \"id:1\"\n", "r.conf",
                                 {.files = false, .cache_file = {}});
  ASSERT_TRUE(compiled);
  EXPECT_TRUE((*compiled)->notes().empty());
}

TEST(RuleSet, ReadsTheWholeCoreRuleSetAndKeepsItsPatterns) {
  if (!std::filesystem::is_directory("/usr/share/modsecurity-crs/rules"))
    GTEST_SKIP() << "modsecurity-crs is not installed";
  char name[] = "/tmp/leeward-rules-XXXXXX";
  const std::string directory = mkdtemp(name);
  std::ofstream(directory + "/r.conf") << "Include /etc/modsecurity/crs/crs-setup.conf\n"
                                          "Include /usr/share/modsecurity-crs/rules/*.conf\n";
  const RuleSet::Options options{.cache_file = directory + "/patterns"};
  auto rules = RuleSet::load(directory + "/r.conf", options);
  ASSERT_TRUE(rules) << rules.error().message;
  EXPECT_GT((*rules)->rules(), 550u);
  EXPECT_LT((*rules)->compiled_bytes(), 100u << 20);
  EXPECT_TRUE(std::filesystem::exists(directory + "/patterns"));
  const auto written = std::filesystem::last_write_time(directory + "/patterns");
  auto again = RuleSet::load(directory + "/r.conf", options);
  ASSERT_TRUE(again);
  EXPECT_EQ(std::filesystem::last_write_time(directory + "/patterns"), written);
  EXPECT_EQ((*again)->compiled_bytes(), (*rules)->compiled_bytes());
  // A damaged file is not used, and replaced.
  std::filesystem::resize_file(directory + "/patterns", 1000);
  auto repaired = RuleSet::load(directory + "/r.conf", options);
  ASSERT_TRUE(repaired);
  EXPECT_EQ((*repaired)->compiled_bytes(), (*rules)->compiled_bytes());
  EXPECT_GT(std::filesystem::file_size(directory + "/patterns"), 1000u);
  std::filesystem::remove_all(directory);
}

std::string contents_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(RuleSet, CompilesTheSamePatternsOnAnyNumberOfThreads) {
  char name[] = "/tmp/leeward-rules-XXXXXX";
  const std::string directory = mkdtemp(name);
  // Databases of several phases, families of variables, kinds and transformations.
  std::string text;
  int id = 0;
  for (int phase = 1; phase <= 2; ++phase)
    for (const char* what : {"ARGS", "REQUEST_HEADERS", "REQUEST_URI", "REQUEST_BODY"})
      for (const char* step : {"none", "lowercase", "base64Decode", "length"})
        for (const char* how : {"@rx foo.{3}bar", "@rx ^x[0-9]+$", "@pm one two three",
                                "@rx (?:union|select)", "@rx [a-f]{4,9}z"})
          text += fmt::format("SecRule {} \"{}\" \"id:{},phase:{},pass,t:{}\"\n", what, how, ++id,
                              phase, step);
  std::string first;
  for (const unsigned threads : {1u, 2u, 5u, 0u}) {
    const std::string file = fmt::format("{}/patterns-{}", directory, threads);
    auto rules = RuleSet::parse(text, "r.conf", {.cache_file = file, .compile_threads = threads});
    ASSERT_TRUE(rules) << rules.error().message;
    if (threads == 1) first = contents_of(file);
    EXPECT_GT(first.size(), 10'000u);
    EXPECT_EQ(contents_of(file) == first, true) << threads << " threads";
  }
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace leeward::waf

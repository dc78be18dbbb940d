// Operators that look a value up in a set: addresses and phrases.
#include <gtest/gtest.h>

#include "corpus.h"
#include "reference_rule.h"
#include "waf/operator_ip.h"
#include "waf/phrase_set.h"

// libmodsecurity does not free all of its address tree.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:InsertNetmask\nleak:CPTCreateHead\n";
}

namespace leeward::waf {
namespace {

TEST(IpSet, SaysWhatTheReferenceSays) {
  const std::string lists[] = {"10.0.0.0/8,192.168.1.1",
                               "::1,2001:db8::/32",
                               "1.2.3.4/24",
                               "::ffff:1.2.3.0/120",
                               "128.0.0.0/1,0.0.0.0/1",
                               "10.1.0.0/16,10.1.2.0/24,10.1.2.3,10.2.0.0/15"};
  for (const std::string& list : lists) {
    reference::Rule theirs("@ipMatch " + list);
    const auto ours = IpSet::parse_list(list);
    ASSERT_TRUE(ours) << ours.error().message;
    std::mt19937_64 random(9);
    std::vector<std::string> addresses = {
        "",        "abc",         "10.0.0.1/8",      " 10.0.0.1",       "10.1",
        "0x0a.1",  "::1",         "::ffff:10.0.0.1", "::ffff:1.2.3.9",  "1.2.3.255",
        "1.2.4.0", "192.168.1.1", "192.168.1.2",     "2001:db8:ffff::", "2001:db9::"};
    for (int i = 0; i < 300; ++i)
      addresses.push_back(
          fmt::format("{}.{}.{}.{}", random() % 12, random() % 4, random() % 4, random() % 5));
    for (const std::string& address : addresses)
      EXPECT_EQ(ours->contains(address), theirs.match(address).has_value())
          << list << " and " << address;
  }
}

TEST(IpSet, JoinsWhatOverlaps) {
  const auto set = IpSet::parse_list("10.1.0.0/16, 10.0.0.0/8, 10.1.2.3, 192.0.2.1");
  ASSERT_TRUE(set);
  EXPECT_EQ(set->size(), 2u);
  EXPECT_TRUE(IpSet::parse_list("0.0.0.0/0")->contains("255.255.255.255"));
  EXPECT_TRUE(IpSet::parse_list("::/0")->contains("ffff::1"));
}

TEST(IpSet, SaysWhichEntryIsWrong) {
  for (const char* list : {"", "abc", "10.0.0.0/33", "10.0.0", "10.0.0.1-10.0.0.5",
                           "10.0.0.1,,10.0.0.2", "::/129", "10.0.0.0/", "10.0.0.0/+8"})
    EXPECT_FALSE(IpSet::parse_list(list)) << list;
  const auto file =
      IpSet::parse_file("# offices\n10.0.0.0/8  # all\r\n\n2001:db8::1\n10.x\n", "ip.txt");
  ASSERT_FALSE(file);
  EXPECT_TRUE(file.error().message.starts_with("ip.txt:5: '10.x'")) << file.error().message;
  const auto good = IpSet::parse_file("# offices\n10.0.0.0/8  # all\r\n\n2001:db8::1", "ip.txt");
  ASSERT_TRUE(good);
  EXPECT_TRUE(good->contains("10.200.0.1"));
  EXPECT_TRUE(good->contains("2001:db8::1"));
}

constexpr std::string_view kPieces[] = {"abc",      "ab",       "b",     "bcd", "ABC",   "x",
                                        "select",   "sel",      "elect", " ",   "union", "un",
                                        "\xc3\xa9", "\xc3\x89", "c",     "d"};

TEST(PhraseSet, FindsThePhraseThatTheReferenceFinds) {
  for (const std::string list : {"abc", "abc ab b", "bcd abcd b", "select elect union", "ABC sel",
                                 "\xc3\xa9 x", "cab abca bca", "a ab abc abcd"}) {
    reference::Rule theirs("@pm " + list);
    const auto ours = PhraseSet::parse_list(list);
    ASSERT_TRUE(ours) << ours.error().message;
    Corpus corpus(11, kPieces);
    for (std::size_t left = cases(2'000); left > 0 && !HasFailure(); --left) {
      const std::string value = corpus.next(1 + left % 6);
      const auto match = ours->first_match(value);
      const auto expected = theirs.match(value);
      EXPECT_EQ(match.has_value(), expected.has_value()) << list << " in " << shown(value);
      // Where a phrase ends inside the beginning of another, the library gives that beginning.
      if (match && expected) {
        EXPECT_TRUE(expected->ends_with(match->phrase)) << list << " in " << shown(value);
      }
    }
  }
}

TEST(PhraseSet, ReadsAFileLineByLine) {
  const auto set = PhraseSet::parse_file("# agents\nabc def\n\n  lead\nlast\r\n|41|");
  ASSERT_TRUE(set);
  EXPECT_EQ(set->phrases(), (std::vector<std::string>{"abc def", "  lead", "last", "|41|"}));
  EXPECT_TRUE(set->matches("xABC DEFx"));
  EXPECT_FALSE(set->matches("# agents"));
  EXPECT_EQ(set->first_match("at LAST")->end, 7u);
  EXPECT_FALSE(PhraseSet::parse_file("# nothing\n\n"));
}

TEST(PhraseSet, HoldsThousandsOfPhrases) {
  std::vector<std::string> phrases;
  for (int i = 0; i < 5'000; ++i)
    phrases.push_back("/path-" + std::to_string(i * 7919 % 100'003) + "/");
  const auto set = PhraseSet::make(phrases);
  ASSERT_TRUE(set);
  for (const std::string& phrase : phrases)
    EXPECT_EQ(set->first_match("x" + phrase)->phrase, phrase);
  EXPECT_LT(set->bytes(), 8u << 20);
  EXPECT_FALSE(PhraseSet::make({std::string(PhraseSet::kPhraseBytesMax + 1, 'a')}));
}

}  // namespace
}  // namespace leeward::waf

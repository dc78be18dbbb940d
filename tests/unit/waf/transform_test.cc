#include "waf/transform.h"

#include <gtest/gtest.h>
#include <modsecurity/modsecurity.h>
#include <modsecurity/rules_set.h>
#include <modsecurity/transaction.h>

#include "corpus.h"
#include "reference.h"

namespace leeward::waf {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kPieces[] = {
    "%",
    "%u",
    "%U",
    "%41",
    "%00",
    "%2f",
    "%u0041",
    "%uff1c",
    "%uFF0F",
    "%zz",
    "%u00",
    "+",
    "a",
    "B",
    "c1",
    "select",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\v",
    "\f",
    "\0"sv,
    "\xa0",
    "\\",
    "\\\\",
    "\\x41",
    "\\X4a",
    "\\x4",
    "\\u00",
    "\\u0041",
    "\\uff41",
    "\\101",
    "\\377",
    "\\400",
    "\\8",
    "\\n",
    "\\a",
    "\\q",
    "\\41",
    "\\000041 ",
    "\\ff1c",
    "\\0ff1c",
    "\\00ff1c",
    "\\1ff1c",
    "\\\n",
    "\\'",
    "\\\"",
    "\\?",
    "&",
    "&#",
    "&#x",
    "&#x41",
    "&#65;",
    "&lt;",
    "&LT",
    "&gt",
    "&quot;",
    "&amp;",
    "&nbsp;",
    "&nbspx",
    "&#99999999999999999999",
    "&#x1ffffffffffffffff;",
    "&bogus;",
    ";",
    "/",
    "//",
    "/.",
    "/./",
    "/..",
    "/../",
    "..",
    ".",
    "./",
    "../",
    "\\..\\",
    "a..",
    "/*",
    "*/",
    "--",
    "-->",
    "<!--",
    "#",
    "*",
    "-",
    "<",
    "!",
    "0x",
    "0x41",
    "0X4142",
    "0x4",
    "x",
    "^",
    "\"",
    "'",
    ",",
    "(",
    "=",
    "==",
    "QUJD",
    "YQ==",
    "YWI=",
    "Y Q",
    "\xc3\xa9",
    "\xec\x95\x88",
    "\xf0\x9f\x98\x80",
    "\xc0\xaf",
    "\xe0\x80\xaf",
    "\xed\xa0\x80",
    "\xf5\x80\x80\x80",
    "\xf0\x80\x80\x80",
    "\xe2\x82",
    "\x80",
    "\xff",
    "\xef\xbc\x9c",
    "\x7f",
    "Z",
    "z",
    "9",
    "f",
    "G",
};

// libmodsecurity asks its transaction for a unicode map; this one has none.
std::string expected_of(modsecurity::actions::Action& theirs, const std::string& value) {
  static modsecurity::ModSecurity library;
  static modsecurity::RulesSet rules;
  static modsecurity::Transaction transaction(&library, &rules, nullptr);
  return theirs.evaluate(value, &transaction);
}

void same_as_reference(Transform transform) {
  const auto theirs = reference::transformation(transform);
  const std::string_view spelling = name(transform);
  Corpus corpus(20261129 + static_cast<std::uint64_t>(transform), kPieces);
  int differences = 0;
  for (std::size_t left = cases(20'000); left > 0 && differences < 5; --left) {
    const std::string value = corpus.next(1 + left % 16);
    std::string ours = value;
    const bool changed = apply(transform, ours);
    const std::string expected = expected_of(*theirs, value);
    if (ours != expected) {
      ++differences;
      ADD_FAILURE() << "t:" << spelling << " of \"" << shown(value) << "\": \"" << shown(ours)
                    << "\", the reference says \"" << shown(expected) << "\"";
    }
    ASSERT_EQ(changed, ours != value) << "t:" << spelling << " of \"" << shown(value) << "\"";
  }
}

class EveryTransform : public testing::TestWithParam<Transform> {};

TEST_P(EveryTransform, GivesWhatTheReferenceGives) { same_as_reference(GetParam()); }

std::vector<Transform> all() {
  std::vector<Transform> transforms;
  for (std::size_t i = 0; i < kTransformCount; ++i) transforms.push_back(static_cast<Transform>(i));
  return transforms;
}

INSTANTIATE_TEST_SUITE_P(Transform, EveryTransform, testing::ValuesIn(all()),
                         [](const auto& tested) { return std::string(name(tested.param)); });

TEST(Transform, IsNamedInAnyCaseAndEitherSpelling) {
  for (const Transform transform : all()) EXPECT_EQ(transform_named(name(transform)), transform);
  EXPECT_EQ(transform_named("base64decode"), Transform::kBase64Decode);
  EXPECT_EQ(transform_named("normalisePath"), Transform::kNormalizePath);
  EXPECT_EQ(transform_named("normalisePathWin"), Transform::kNormalizePathWin);
  EXPECT_EQ(transform_named("rot13"), std::nullopt);
  EXPECT_EQ(transform_named(""), std::nullopt);
}

TEST(UnicodeMap, SaysWhichByteACharacterIs) {
  constexpr std::string_view kFile =
      "# comment\n1250  (ANSI - Central Europe)\n00a1:21\n\n20127 (US-ASCII)\r\n00a0:20 00c0:41 "
      "2044:2f\r\n\r\n28591 (Latin 1)\n00c0:42\n";
  const auto map = UnicodeMap::parse(kFile, 20127, "unicode.mapping");
  ASSERT_TRUE(map) << map.error().message;
  EXPECT_EQ(map->byte_of(0xc0), 0x41);
  EXPECT_EQ(map->byte_of(0xa1), -1);
  std::string value = "a%u2044b%u00c0%uff0fc";
  EXPECT_TRUE(apply(Transform::kUrlDecodeUni, value, &*map));
  EXPECT_EQ(value, "a/bA/c");
}

TEST(UnicodeMap, SaysWhereAFileIsWrong) {
  const auto broken = UnicodeMap::parse("20127\n00a0:20 zz:1\n", 20127, "u.map");
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, Code::kInvalid);
  EXPECT_TRUE(broken.error().message.starts_with("u.map:2:9: ")) << broken.error().message;
  const auto other = UnicodeMap::parse("20127\n00a0:20\n", 1250, "u.map");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Code::kNotFound);
}

}  // namespace
}  // namespace leeward::waf

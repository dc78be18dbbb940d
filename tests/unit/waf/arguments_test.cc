// Query strings, urlencoded bodies and cookies: what the room and libmodsecurity take them for.
#include <gtest/gtest.h>

#include "corpus.h"
#include "reference_request.h"
#include "waf/body_urlencoded.h"
#include "waf/cookies.h"

namespace leeward::waf {
namespace {

using namespace std::string_view_literals;
using reference::Pairs;

Pairs pairs(const FieldList& fields) {
  Pairs result;
  for (const Field field : fields) result.emplace_back(field.name, field.value);
  return result;
}

constexpr std::string_view kArgumentPieces[] = {
    "a",  "b", "=",  "=", "&",   "&",   "&&",   "%41",      "%00",   "%", "%zz",
    "%4", "+", "[]", ";", "%26", "%3d", "\0"sv, "\xc3\xa9", "value", "=="};

TEST(Urlencoded, GivesTheArgumentsThatTheReferenceGives) {
  reference::Engine engine("SecRuleEngine DetectionOnly\nSecRequestBodyAccess On\n");
  Corpus corpus(5, kArgumentPieces);
  for (std::size_t left = cases(20'000); left > 0 && !HasFailure(); --left) {
    const std::string text = corpus.next(1 + left % 14);
    reference::Request theirs(engine);
    theirs.transaction.extractArguments("POST", text, 0);
    FieldList fields;
    const Urlencoded ours = parse_urlencoded(text, fields);
    EXPECT_EQ(reference::sorted(pairs(fields)),
              reference::contents(theirs.transaction.m_variableArgsPost))
        << shown(text);
    EXPECT_EQ(ours.invalid_escape,
              reference::value_of(theirs.transaction.m_variableUrlEncodedError) == "1")
        << shown(text);
  }
}

TEST(Urlencoded, KeepsTheOrderAndTheDoubles) {
  FieldList fields;
  EXPECT_FALSE(parse_urlencoded("id=1&id=2&x&&id=%33", fields).invalid_escape);
  EXPECT_EQ(pairs(fields), (Pairs{{"id", "1"}, {"id", "2"}, {"x", ""}, {"", ""}, {"id", "3"}}));
  EXPECT_EQ(fields.bytes(), 10u);
}

TEST(Urlencoded, ReadsNoMoreThanItsLimits) {
  std::string many;
  for (int i = 0; i < 100'000; ++i) many += "a=b&";
  FieldList fields;
  const Urlencoded counted = parse_urlencoded(many, fields);
  ASSERT_TRUE(counted.error);
  EXPECT_EQ(counted.error->offset, 4'000u);
  EXPECT_EQ(fields.size(), 1'000u);
  fields.clear();
  const BodyLimits small{.text_bytes_max = 10};
  ASSERT_TRUE(parse_urlencoded("a=12345&b=1234567890", fields, small).error);
  EXPECT_EQ(pairs(fields), (Pairs{{"a", "12345"}}));
}

constexpr std::string_view kCookiePieces[] = {"a",  "b", "=",          "=",    ";",   "; ",
                                              ";;", " ", "  ",         "\t",   "%41", "\"q\"",
                                              "==", ",", "$Version=1", "\0"sv, "\r"};

TEST(Cookies, AreTakenApartAsByTheReference) {
  reference::Engine engine("SecRuleEngine DetectionOnly\n");
  Corpus corpus(6, kCookiePieces);
  for (std::size_t left = cases(20'000); left > 0 && !HasFailure(); --left) {
    const std::string text = corpus.next(1 + left % 14);
    reference::Request theirs(engine);
    theirs.transaction.addRequestHeader(std::string("Cookie"), text);
    FieldList cookies;
    parse_cookies(text, cookies);
    EXPECT_EQ(reference::sorted(pairs(cookies)),
              reference::contents(theirs.transaction.m_variableRequestCookies))
        << shown(text);
  }
}

TEST(Cookies, AreBounded) {
  FieldList cookies;
  EXPECT_FALSE(parse_cookies("a=1; b=2; c=3", cookies, 2));
  EXPECT_EQ(pairs(cookies), (Pairs{{"a", "1"}, {"b", "2"}}));
}

}  // namespace
}  // namespace leeward::waf

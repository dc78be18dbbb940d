#include "waf/detect_xss.h"

#include <gtest/gtest.h>

#include "corpus.h"

// libinjection as it is in Debian's libmodsecurity3.
extern "C" int libinjection_xss(const char* value, std::size_t size);

namespace leeward::waf {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kPieces[] = {"<",
                                        "<",
                                        "<",
                                        ">",
                                        ">",
                                        "/",
                                        "</",
                                        "/>",
                                        "=",
                                        "=",
                                        "'",
                                        "\"",
                                        "`",
                                        "<!",
                                        "<!--",
                                        "-->",
                                        "--!>",
                                        "-!>",
                                        "--",
                                        "-",
                                        "!",
                                        "<![CDATA[",
                                        "]]>",
                                        "<?",
                                        "<%",
                                        "%>",
                                        "%",
                                        "<!DOCTYPE",
                                        "<!doctype",
                                        " ",
                                        " ",
                                        "\t",
                                        "\n",
                                        "\f",
                                        "\v",
                                        "\r",
                                        "\0"sv,
                                        "script",
                                        "SCRIPT",
                                        "<script",
                                        "<script>",
                                        "</script>",
                                        "scr\0ipt"sv,
                                        "<svg",
                                        "svgx",
                                        "<xsl:x",
                                        "<img",
                                        "<a",
                                        "<b",
                                        "<iframe",
                                        "<object",
                                        "<embed",
                                        "<style",
                                        "<link",
                                        "<meta",
                                        "<base",
                                        "<xml",
                                        "<isindex",
                                        "<form",
                                        "<video",
                                        "<audio",
                                        "<p",
                                        "<div",
                                        "<\0"sv,
                                        " on",
                                        " onload",
                                        " onerror",
                                        " onx",
                                        " ON\0LOAD"sv,
                                        " href",
                                        " src",
                                        " HREF",
                                        " h\0ref"sv,
                                        " style",
                                        " STYLE",
                                        " xmlns",
                                        " xmlns:a",
                                        " xlink:href",
                                        " xlin",
                                        " action",
                                        " formaction",
                                        " attributename",
                                        " attributeName=href",
                                        " to",
                                        " by",
                                        " values",
                                        " from",
                                        " background",
                                        " poster",
                                        " datasrc",
                                        " filter",
                                        " title",
                                        " class",
                                        " id",
                                        " x",
                                        "javascript:",
                                        "JaVaScRiPt:",
                                        "java",
                                        " java",
                                        "java\nscript:",
                                        "&#106;avascript",
                                        "&#x6a;ava",
                                        "&#x6A",
                                        "&#106",
                                        "&#0;",
                                        "&#10;",
                                        "&#xffffffff;",
                                        "&#x1000ff;",
                                        "&#",
                                        "&#x",
                                        "&",
                                        "data:",
                                        "vbscript:",
                                        "view-source:",
                                        "http://",
                                        "[if",
                                        "[IF gte",
                                        "xml",
                                        "import",
                                        "IMPORT",
                                        "entity",
                                        "ENTITY x",
                                        "\x7f",
                                        "\x80",
                                        "\xc3\xa9",
                                        "alert(1)",
                                        "foo",
                                        "a",
                                        "1",
                                        "x y",
                                        "<3",
                                        "a < b",
                                        "a > b",
                                        "text",
                                        "?",
                                        ";"};

void same_as_reference(std::uint64_t seed, std::span<const std::string_view> pieces,
                       std::size_t longest, std::size_t attacks_of_thousand) {
  Corpus corpus(seed, pieces);
  std::size_t attacks = 0;
  int differences = 0;
  for (std::size_t left = cases(100'000); left > 0 && differences < 10; --left) {
    const std::string value = corpus.next(1 + left % longest);
    const bool expected = libinjection_xss(value.data(), value.size()) == 1;
    attacks += expected;
    if (detect_xss(value) == expected) continue;
    ++differences;
    ADD_FAILURE() << '"' << shown(value) << "\": the reference says " << expected;
  }
  EXPECT_GT(attacks * 1000, cases(100'000) * attacks_of_thousand);
}

TEST(DetectXss, GivesTheVerdictOfTheReference) { same_as_reference(20260201, kPieces, 12, 100); }
TEST(DetectXss, GivesTheVerdictOfTheReferenceForShortValues) {
  same_as_reference(20260202, kPieces, 5, 20);
}

constexpr std::string_view kAttributePieces[] = {
    "<b",    " href", " on",    "click", "style", "=",    "=",
    "'",     "\"",    "`",      " ",     "/",     ">",    "java",
    "data",  "x",     "&#106;", "\0"sv,  "\n",    " src", "attributename",
    "xmlns", "to",    "by"};

TEST(DetectXss, GivesTheVerdictOfTheReferenceForAttributes) {
  same_as_reference(20260203, kAttributePieces, 10, 3);
}

constexpr std::string_view kCommentPieces[] = {
    "<!--", "<!", "-", "-", ">",   "!",         "\0"sv, "`",        "[if", "xml", "import",
    "<?",   "<%", "%", "]", "]]>", "<![CDATA[", "a",    "<!doctyp", "e",   "<"};

TEST(DetectXss, GivesTheVerdictOfTheReferenceForComments) {
  same_as_reference(20260204, kCommentPieces, 10, 30);
}

TEST(DetectXss, KnowsAttacks) {
  for (const char* attack :
       {"<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "' onfocus='alert(1)",
        "<a href=javascript:alert(1)>", "<a href=\"java&#10;script:x\">", "<svg/onload=x>",
        "<!--[if gte IE 4]>", "<IFRAME SRC=//x>", "` onx12=1 `", "<x style=x:expression(1)>"})
    EXPECT_TRUE(detect_xss(attack)) << attack;
}

TEST(DetectXss, LetsTextPass) {
  for (const char* text :
       {"", "hello", "a < b and b > c", "I <3 you", "x=1&y=2", "e = mc^2", "<b>bold</b>",
        "<a href=\"https://example.com/\">x</a>", "\xec\x95\x88\xeb\x85\x95 <p>", "name=\"value\"",
        "if (a < b) return c;"})
    EXPECT_FALSE(detect_xss(text)) << text;
}

// The reference recurses once a slash.
TEST(DetectXss, TakesManySlashesInLinearTime) {
  EXPECT_FALSE(detect_xss("<b " + std::string(1u << 20, '/') + "x"));
  EXPECT_FALSE(detect_xss(std::string(1u << 20, '<')));
}

}  // namespace
}  // namespace leeward::waf

#include "waf/body_xml.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <modsecurity/rule_message.h>

#include <algorithm>

#include "corpus.h"
#include "reference_request.h"

namespace leeward::waf {
namespace {

using namespace std::string_view_literals;

// The library says what XML:/* is in the message of a rule; the values of attributes one by one.
constexpr char kRules[] = R"(
SecRuleEngine DetectionOnly
SecRequestBodyAccess On
SecRule REQUEST_HEADERS:Content-Type "xml" "id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule XML:/* "@unconditionalMatch" "id:2,phase:2,pass,log,logdata:'%{MATCHED_VAR}'"
SecRule XML://@* "@contains evil" "id:3,phase:2,pass,log"
)";

struct Parsed {
  std::string text;
  std::vector<std::string> attributes;
  std::optional<BodyError> error;
};

Parsed parsed(std::string_view body, std::size_t piece = std::string::npos,
              const BodyLimits& limits = {}) {
  XmlBody xml(limits);
  for (std::size_t at = 0; at < body.size(); at += std::min(piece, body.size() - at))
    if (!xml.feed(body.substr(at, piece))) break;
  xml.finish();
  return {xml.text(), xml.attributes(), xml.error()};
}

constexpr std::string_view kPieces[] = {"<a>",
                                        "</a>",
                                        "<b>",
                                        "</b>",
                                        "<c/>",
                                        "<a b=\"1\">",
                                        "<a b='evil' c=\"x\">",
                                        "<d e=\"a&lt;b&#65;\"/>",
                                        "text",
                                        "x",
                                        " ",
                                        "\n",
                                        "&lt;",
                                        "&amp;",
                                        "&#65;",
                                        "&#x41;",
                                        "&#0;",
                                        "&foo;",
                                        "&",
                                        "<",
                                        ">",
                                        "]]>",
                                        "<![CDATA[<x>]]>",
                                        "<!-- comment -->",
                                        "<!--",
                                        "<?pi data?>",
                                        "\xc3\xa9",
                                        "\xff",
                                        "\0"sv,
                                        "\"",
                                        "<a b=1>",
                                        "<a b=\"1\" b=\"2\">",
                                        "<p:q xmlns:p=\"u\" p:r=\"evil\"/>",
                                        "<p:q/>",
                                        "evil"};

TEST(XmlBody, GivesWhatTheReferenceGives) {
  reference::Engine engine(kRules);
  Corpus corpus(20260501, kPieces);
  std::size_t good = 0;
  for (std::size_t left = cases(8'000); left > 0 && !HasFailure(); --left) {
    std::string body = corpus.next(1 + left % 10);
    if (left % 4 != 0) body = "<r>" + body + "</r>";
    if (left % 16 == 0) body = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>" + body;
    if (left % 64 == 1) body = "<!DOCTYPE r>" + body;
    reference::Request theirs(engine);
    theirs.body("text/xml", body);
    const Parsed ours = parsed(body);
    EXPECT_EQ(ours.error.has_value(),
              reference::value_of(theirs.transaction.m_variableReqbodyError) == "1")
        << shown(body) << (ours.error ? ours.error->message : "");
    if (ours.error) continue;
    ++good;
    bool evil = false;
    for (const auto& message : theirs.transaction.m_rulesMessages) {
      if (message.m_ruleId == 2) {
        EXPECT_EQ(shown(ours.text), shown(message.m_data)) << shown(body);
      }
      evil = evil || message.m_ruleId == 3;
    }
    EXPECT_EQ(evil, std::any_of(
                        ours.attributes.begin(), ours.attributes.end(),
                        [](const auto& value) { return value.find("evil") != std::string::npos; }))
        << shown(body);
  }
  EXPECT_GT(good, cases(8'000) / 20);
}

TEST(XmlBody, GivesTextAndAttributes) {
  const Parsed body =
      parsed("<a b='1' xmlns:p='u' p:c='&lt;'>x<d e='2'>y<!-- n --></d><![CDATA[<z>]]></a>");
  EXPECT_FALSE(body.error);
  EXPECT_EQ(body.text, "xy<z>");
  EXPECT_EQ(body.attributes, (std::vector<std::string>{"1", "<", "2"}));
}

TEST(XmlBody, DoesNotDependOnWhereItIsCut) {
  Corpus corpus(20260502, kPieces);
  for (std::size_t left = cases(2'000); left > 0 && !HasFailure(); --left) {
    const std::string body = "<r>" + corpus.next(8) + "</r>";
    const Parsed whole = parsed(body);
    const Parsed cut = parsed(body, 1 + left % 7);
    EXPECT_EQ(cut.error.has_value(), whole.error.has_value()) << shown(body);
    if (whole.error) continue;
    EXPECT_EQ(cut.text, whole.text) << shown(body);
    EXPECT_EQ(cut.attributes, whole.attributes) << shown(body);
  }
}

TEST(XmlBody, LoadsNothingAndExpandsNothing) {
  EXPECT_FALSE(parsed("<!DOCTYPE a><a>x</a>").error);
  EXPECT_FALSE(parsed("<!DOCTYPE a SYSTEM \"http://127.0.0.1:1/x.dtd\"><a>x</a>").error);
  for (const char* body :
       {"<!DOCTYPE a [<!ENTITY e \"v\">]><a>&e;</a>", "<!DOCTYPE a [<!ENTITY e \"v\">]><a/>",
        "<!DOCTYPE a [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><a>&e;</a>",
        "<!DOCTYPE a [<!ENTITY % p SYSTEM \"http://127.0.0.1:1/\"> %p;]><a/>",
        "<!DOCTYPE a SYSTEM \"http://127.0.0.1:1/x.dtd\"><a>&e;</a>",
        "<!DOCTYPE a [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><a>&b;</a>"})
    EXPECT_TRUE(parsed(body).error) << body;
  const Parsed defaults = parsed("<!DOCTYPE a [<!ATTLIST a z CDATA \"d\">]><a y='1'/>");
  EXPECT_EQ(defaults.attributes, (std::vector<std::string>{"1"}));
}

TEST(XmlBody, SaysWhereADocumentIsWrong) {
  const Parsed body = parsed("<a>\n  <b>\n</a>");
  ASSERT_TRUE(body.error);
  EXPECT_NE(body.error->message.find("3:"), std::string::npos) << body.error->message;
  EXPECT_TRUE(parsed("").error);
}

TEST(XmlBody, OctetsThatAreNotInItsEncodingAreAnError) {
  reference::Engine engine(kRules);
  testing::internal::CaptureStderr();
  std::vector<bool> ours;
  for (const char* encoding : {"EUC-JP", "ISO-2022-JP", "UTF-7"}) {
    const std::string body = fmt::format(
        "<?xml version='1.0' encoding='{}'?><a>\xff\xff\x80<b c='evil'/></a>", encoding);
    ours.push_back(parsed(body).error.has_value());
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << "strangers could fill a disk by it";
  EXPECT_EQ(ours, std::vector(3, true));
  reference::Request theirs(engine);
  theirs.body("text/xml",
              "<?xml version='1.0' encoding='EUC-JP'?><a>\xff\xff\x80<b c='evil'/></a>");
  EXPECT_EQ(reference::value_of(theirs.transaction.m_variableReqbodyError), "1");
}

TEST(XmlBody, EndsAtItsLimits) {
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "<a>";
  const BodyLimits shallow{.depth_max = 50};
  EXPECT_NE(parsed(deep, std::string::npos, shallow).error->message.find("deeper than 50"),
            std::string::npos);
  EXPECT_TRUE(parsed(deep).error);  // libxml2's own bound
  std::string wide = "<a>";
  for (int i = 0; i < 2'000; ++i) wide += "<b c='1'/>";
  EXPECT_NE(parsed(wide).error->message.find("1000 attributes"), std::string::npos);
  const BodyLimits small{.text_bytes_max = 1'000};
  EXPECT_NE(parsed("<a>" + std::string(5'000, 'x'), std::string::npos, small)
                .error->message.find("1000 bytes"),
            std::string::npos);
}

}  // namespace
}  // namespace leeward::waf

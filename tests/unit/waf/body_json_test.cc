#include "waf/body_json.h"

#include <gtest/gtest.h>

#include "corpus.h"
#include "reference_request.h"

namespace leeward::waf {
namespace {

using namespace std::string_view_literals;
using reference::Pairs;

constexpr char kRules[] = R"(
SecRuleEngine DetectionOnly
SecRequestBodyAccess On
SecRequestBodyJsonDepthLimit 8
SecRule REQUEST_HEADERS:Content-Type "json" "id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON"
)";

constexpr BodyLimits kLimits{.depth_max = 8};

struct Parsed {
  Pairs arguments;
  std::optional<BodyError> error;
};

Parsed parsed(std::string_view body, std::size_t piece = std::string::npos,
              const BodyLimits& limits = kLimits) {
  FieldList fields;
  JsonBody json(fields, limits);
  for (std::size_t at = 0; at < body.size(); at += std::min(piece, body.size() - at))
    if (!json.feed(body.substr(at, piece))) break;
  json.finish();
  Parsed result{{}, json.error()};
  for (const Field field : fields) result.arguments.emplace_back(field.name, field.value);
  return result;
}

void same_as_reference(reference::Engine& engine, const std::string& body) {
  reference::Request theirs(engine);
  theirs.body("application/json", body);
  const Parsed ours = parsed(body);
  const bool wrong = reference::value_of(theirs.transaction.m_variableReqbodyError) == "1";
  // yajl does not see a token that begins behind the text and is not complete: 1"
  const bool only_ours = ours.error && ours.error->message.starts_with("something follows");
  EXPECT_TRUE(ours.error.has_value() == wrong || only_ours)
      << shown(body) << " is wrong for the reference: " << wrong
      << ", for us: " << (ours.error ? ours.error->message : "no");
  EXPECT_EQ(reference::sorted(ours.arguments),
            reference::contents(theirs.transaction.m_variableArgs))
      << shown(body);
}

constexpr std::string_view kPieces[] = {"{",
                                        "}",
                                        "[",
                                        "]",
                                        ",",
                                        ":",
                                        "\"",
                                        "\"a\"",
                                        "\"b\":",
                                        "\"a\":1",
                                        "\"\":",
                                        "1",
                                        "0",
                                        "01",
                                        "-",
                                        "-1",
                                        "1.",
                                        "1.5",
                                        ".5",
                                        "1e5",
                                        "1E+",
                                        "1e-2",
                                        "true",
                                        "false",
                                        "null",
                                        "tru",
                                        "nul",
                                        " ",
                                        "\n",
                                        "\t",
                                        "\f",
                                        "\"\\u0041\"",
                                        "\"\\ud83d\\ude00\"",
                                        "\"\\ud83d\"",
                                        "\"\\ud83d\\n\"",
                                        "\"\\ud83dx\"",
                                        "\"\\ude00\"",
                                        "\"\\ud83d\\u0041\"",
                                        "\"\\u00\"",
                                        "\"\\x\"",
                                        "\"\\\"\"",
                                        "\"\\n\\t\\/\\b\\f\\r\"",
                                        "\"\xc3\xa9\"",
                                        "\"\xff\"",
                                        "\"\xc0\xaf\"",
                                        "\"\xed\xa0\x80\"",
                                        "\"\xe2\x82\"",
                                        "\"\xf0\x9f\x98\x80\"",
                                        "\"\xf8\x88\x80\x80\x80\"",
                                        "\"\x01\"",
                                        "\"\0\""sv,
                                        "'a'",
                                        "/*c*/",
                                        "//",
                                        "\\",
                                        "\xef\xbb\xbf",
                                        "\0"sv,
                                        "NaN",
                                        "\"a.b\"",
                                        "{\"k\":",
                                        "[[",
                                        "]]",
                                        "}}"};

TEST(JsonBody, GivesTheArgumentsThatTheReferenceGives) {
  reference::Engine engine(kRules);
  Corpus corpus(20260301, kPieces);
  for (std::size_t left = cases(10'000); left > 0 && !HasFailure(); --left)
    same_as_reference(engine, corpus.next(1 + left % 12));
}

// Texts that are JSON nearly always, so that more than the beginning is compared.
class Writer {
 public:
  explicit Writer(std::uint64_t seed) : random_(seed) {}
  std::string text() {
    left_ = 12;
    std::string out;
    value(out, 0);
    if (random_() % 8 == 0 && !out.empty())
      out[random_() % out.size()] = "{}[],:\"\\ 0x"[random_() % 11];
    return out;
  }

 private:
  void blank(std::string& out) {
    if (random_() % 4 == 0) out += " \t\n\r"[random_() % 4];
  }
  void string(std::string& out) {
    constexpr std::string_view kTexts[] = {"",
                                           "a",
                                           "b.c",
                                           "\\u0041\\u00e9\\uffff",
                                           "\\ud83d\\ude00",
                                           "\\ud83d",
                                           "\\\"\\\\\\/",
                                           "\xec\x95\x88",
                                           "a b c d e f g h i j k l m n o p q r",
                                           "\\u0000",
                                           "\\ud83d\\\\"};
    out.append("\"").append(kTexts[random_() % std::size(kTexts)]).append("\"");
  }
  void value(std::string& out, int depth) {
    constexpr std::string_view kPlain[] = {"0",    "-0",    "12.5e-3", "1E9",
                                           "true", "false", "null",    "-123456789012"};
    blank(out);
    const auto kind = left_-- > 0 ? random_() % 5 : 0;
    if (kind <= 1) {
      out += kPlain[random_() % std::size(kPlain)];
    } else if (kind == 2) {
      string(out);
    } else {
      out += kind == 3 ? '[' : '{';
      for (auto items = random_() % 4; items > 0; --items) {
        if (kind == 4) {
          string(out);
          blank(out);
          out += ':';
        }
        value(out, depth + 1);
        if (items > 1) out += ',';
      }
      out += kind == 3 ? ']' : '}';
    }
    blank(out);
  }
  std::mt19937_64 random_;
  int left_ = 0;
};

TEST(JsonBody, GivesTheArgumentsOfWholeTextsThatTheReferenceGives) {
  reference::Engine engine(kRules);
  Writer writer(20260302);
  for (std::size_t left = cases(10'000); left > 0 && !HasFailure(); --left)
    same_as_reference(engine, writer.text());
}

TEST(JsonBody, DoesNotDependOnWhereItIsCut) {
  Writer writer(20260303);
  for (std::size_t left = cases(2'000); left > 0 && !HasFailure(); --left) {
    const std::string body = writer.text();
    const Parsed whole = parsed(body);
    for (const std::size_t piece : {1u, 2u, 3u, 7u}) {
      const Parsed cut = parsed(body, piece);
      EXPECT_EQ(cut.arguments, whole.arguments) << shown(body);
      ASSERT_EQ(cut.error.has_value(), whole.error.has_value()) << shown(body);
      if (cut.error) {
        EXPECT_EQ(cut.error->offset, whole.error->offset);
      }
    }
  }
}

TEST(JsonBody, NamesArgumentsByTheirPath) {
  const Parsed body =
      parsed(R"({"user":{"name":"x","tags":["a",{"b":null}]},"":true,"n":[[1],2]})");
  EXPECT_FALSE(body.error);
  EXPECT_EQ(body.arguments, (Pairs{{"json.user.name", "x"},
                                   {"json.user.tags.array_0", "a"},
                                   {"json.user.tags.array_1.b", ""},
                                   {"json.empty-key", "true"},
                                   {"json.n.array_0.array_0", "1"},
                                   {"json.n.array_1", "2"}}));
}

TEST(JsonBody, SaysWhereATextIsWrong) {
  const Parsed body = parsed(R"({"a":1,"b":tru})");
  ASSERT_TRUE(body.error);
  EXPECT_EQ(body.error->offset, 14u);
  EXPECT_EQ(body.arguments, (Pairs{{"json.a", "1"}}));
  EXPECT_EQ(parsed("[1").error->offset, 2u);
  EXPECT_FALSE(parsed("").error);
  EXPECT_TRUE(parsed(" ").error);
}

TEST(JsonBody, EndsAtItsLimits) {
  const std::string deep(100'000, '[');
  EXPECT_NE(parsed(deep).error->message.find("deeper than 8"), std::string::npos);
  EXPECT_EQ(parsed(deep).error->offset, 8u);
  std::string many = "[0";
  for (int i = 0; i < 100'000; ++i) many += ",0";
  const Parsed wide = parsed(many + "]");
  EXPECT_EQ(wide.arguments.size(), 1'000u);
  EXPECT_NE(wide.error->message.find("1000 arguments"), std::string::npos);
  // A long key is part of every name below it.
  const BodyLimits small{.fields_max = 100'000, .text_bytes_max = 1u << 20};
  const std::string heavy = "{\"" + std::string(100'000, 'k') + "\":" + many + "]}";
  EXPECT_LE(parsed(heavy, std::string::npos, small).arguments.size(), 10u);
  EXPECT_TRUE(parsed("\"" + std::string(2u << 20, 'x'), std::string::npos, small).error);
  EXPECT_TRUE(parsed(std::string(2u << 20, '1'), std::string::npos, small).error);
}

}  // namespace
}  // namespace leeward::waf

// Whatever is scanned together, shared or left out: rules match as they do without a prefilter.
// Requests are drawn from pieces that rules look for and pieces that transformations change.
#include <gtest/gtest.h>

#include <random>

#include "waf/transaction.h"

namespace leeward::waf {
namespace {

using namespace std::chrono_literals;

// All ways in which rules share a scan or have one of their own: chains that come to the same and
// that do not, families of variables, chosen values, lines, guards, multiMatch, phrases, chains of
// rules, and what is not taken.
constexpr std::string_view kRules = R"seclang(
SecRuleEngine On
SecRequestBodyAccess On
SecRule REQUEST_HEADERS:Content-Type "^application/json" "id:90,phase:1,nolog,pass,ctl:requestBodyProcessor=JSON"
SecRule REQUEST_HEADERS "@rx sel[e3]ct" "id:10,phase:1,pass,t:none,t:lowercase"
SecRule ARGS_GET|REQUEST_HEADERS:User-Agent "@rx ^\s*or$" "id:11,phase:1,pass,t:none,t:urlDecodeUni"
SecRule ARGS|ARGS_NAMES|REQUEST_COOKIES "@rx select.{1,8}from" "id:1,phase:2,pass,t:none,t:urlDecodeUni,t:lowercase"
SecRule ARGS|ARGS_NAMES|REQUEST_COOKIES "@rx SELECT" "id:2,phase:2,pass,t:none"
SecRule ARGS|REQUEST_FILENAME "@rx /etc/passwd" "id:3,phase:2,pass,t:none,t:urlDecodeUni,t:normalizePathWin,t:lowercase"
SecRule ARGS "@rx ^[a-z]+$" "id:4,phase:2,pass,t:none,t:lowercase"
SecRule ARGS|ARGS_NAMES "@rx (?i)<script[^>]*>" "id:5,phase:2,pass,t:none,t:utf8toUnicode,t:urlDecodeUni,t:htmlEntityDecode,t:jsDecode,t:cssDecode,t:removeNulls"
SecRule ARGS|REQUEST_HEADERS "@pm union script /etc/ <!--" "id:6,phase:2,pass,t:none,t:lowercase"
SecRule ARGS|ARGS_NAMES|XML:/* "@rx [;|&]\s*cat\b" "id:7,phase:2,pass,t:none,t:cmdLine"
SecRule ARGS "@rx \bor\s+1" "id:8,phase:2,pass,t:none,t:replaceComments,t:compressWhitespace,multiMatch"
SecRule ARGS|REQUEST_BODY "@rx (\w)\1\1" "id:9,phase:2,pass,t:none,t:base64Decode"
SecRule REQUEST_HEADERS:User-Agent "@rx zilla" "id:12,phase:2,pass,t:none"
SecRule REQUEST_HEADERS:/^x-/ "@rx (?:union|cat)" "id:13,phase:2,pass,t:none,t:lowercase"
SecRule ARGS:q|ARGS:q2 "@rx 1|select" "id:14,phase:2,pass,t:none,t:lowercase"
SecRule ARGS|!ARGS:q "@rx e" "id:15,phase:2,pass,t:none,chain"
  SecRule MATCHED_VAR "@rx t$" ""
SecRule ARGS "!@rx ^\w*$" "id:16,phase:2,pass,t:none"
SecRule ARGS "@rx \Aor\z" "id:17,phase:2,pass,t:none"
SecRule ARGS_POST|ARGS_POST_NAMES "@rx \x00|from" "id:18,phase:2,pass,t:none,t:urlDecode"
SecRule QUERY_STRING|REQUEST_URI "@rx \.\./" "id:19,phase:2,pass,t:none,t:urlDecode"
SecRule ARGS:level "@streq low" "id:20,phase:2,pass,nolog,skipAfter:END-HIGH"
SecRule ARGS|ARGS_NAMES "@rx [a-z]" "id:21,phase:2,pass,t:none,t:lowercase"
SecRule ARGS|ARGS_NAMES "@rx ^$|--" "id:22,phase:2,pass,t:none,t:removeWhitespace"
SecRule ARGS|ARGS_NAMES|REQUEST_HEADERS "@pm cat or" "id:23,phase:2,pass,t:none"
SecMarker END-HIGH
SecRule ARGS "@rx [A-Z]{2}" "id:24,phase:2,pass,t:none,t:uppercase,t:urlDecode"
SecRule ARGS "@rx 1" "id:25,phase:2,pass,t:none,t:length"
)seclang";

constexpr std::string_view kPieces[] = {"select",
                                        "SELECT",
                                        "Sel3ct",
                                        "from",
                                        "union",
                                        "or",
                                        " or 1",
                                        "/etc/passwd",
                                        "/etc/./passwd",
                                        "\\",
                                        "../",
                                        "%2e%2e",
                                        "<script>",
                                        "&lt;",
                                        "\\u0073",
                                        "cript ",
                                        "&#x73;",
                                        "--",
                                        ";cat",
                                        "|",
                                        "c^at",
                                        "/*x*/",
                                        "\t",
                                        "  ",
                                        "\n",
                                        "%00",
                                        std::string_view("\0", 1),
                                        "YWFh",
                                        "aaa",
                                        "x",
                                        "1",
                                        "17",
                                        "XL",
                                        "%",
                                        "+",
                                        "%u0073",
                                        "\xc3\xa9",
                                        "\xed\x95\x9c",
                                        "low",
                                        "",
                                        "t",
                                        "_",
                                        "'",
                                        "\"",
                                        ".",
                                        "a=b"};

class Draw {
 public:
  explicit Draw(std::uint32_t seed) : random_(seed) {}
  std::size_t below(std::size_t n) { return random_() % n; }
  std::string text() {
    std::string all;
    for (std::size_t pieces = below(5); pieces > 0; --pieces)
      all += kPieces[below(std::size(kPieces))];
    return all;
  }
  // In a query or a form: escaped as far as it must be, sometimes wholly.
  std::string escaped() {
    std::string all;
    const bool wholly = below(4) == 0;
    for (const char c : text())
      if (wholly || c <= ' ' || c == '&' || c == '#' || c == '=' || (c == '%' && below(3) == 0))
        all += fmt::format("%{:02x}", static_cast<unsigned char>(c));
      else
        all += c;
    return all;
  }
  std::string fields() {
    constexpr std::string_view kNames[] = {"q", "q2", "level", "a", "select", "<script>"};
    std::string all;
    for (std::size_t count = below(6); count > 0; --count)
      all += fmt::format("{}{}={}", all.empty() ? "" : "&", kNames[below(std::size(kNames))],
                         escaped());
    return all;
  }

 private:
  std::mt19937 random_;
};

struct Request {
  std::string target, body;
  std::vector<std::pair<std::string, std::string>> fields;
};

Request draw(Draw& from) {
  Request request;
  request.target =
      "/shop" + (from.below(3) == 0 ? "/" + from.escaped() : std::string()) + "?" + from.fields();
  request.fields = {{"Host", "a.test"},
                    {"User-Agent", from.below(2) == 0 ? "Mozilla" : from.text()}};
  if (from.below(3) == 0) request.fields.emplace_back("X-Note", from.text());
  if (from.below(3) == 0) request.fields.emplace_back("Cookie", "s=" + from.text());
  if (from.below(2) == 0) {
    request.fields.emplace_back("Content-Type", "application/x-www-form-urlencoded");
    request.body = from.fields();
  } else if (from.below(3) == 0) {
    request.fields.emplace_back("Content-Type", "application/json");
    request.body = R"({"q": ["XL", "union", "17", "a b"], "Note": "SELECT 1 FROM t"})";
  }
  return request;
}

std::string outcome(Workspace& workspace, const Request& request) {
  Collections collections(3600s);
  Transaction transaction(workspace, collections,
                          {.now = std::chrono::steady_clock::time_point(1h),
                           .wall = std::chrono::system_clock::time_point(0s)});
  std::vector<HeaderField> fields;
  for (const auto& [name, value] : request.fields) fields.push_back({name, value});
  RequestHead head;
  head.client_address = "192.0.2.7";
  head.method = request.body.empty() ? "GET" : "POST";
  head.target = request.target;
  head.protocol = "1.1";
  head.fields = fields;
  transaction.request_headers(head);
  transaction.request_body(request.body);
  transaction.logging();
  std::string all;
  for (const MatchedRule& rule : transaction.matches())
    all += fmt::format("{} {} {}\n", rule.id, rule.variable, rule.value);
  return all;
}

TEST(Prefilter, HidesNoMatchOfARule) {
  std::vector<std::unique_ptr<Workspace>> workspaces;
  for (const bool prefilter : {true, false}) {
    auto rules = RuleSet::parse(kRules, "r.conf",
                                {.files = false, .prefilter = prefilter, .cache_file = {}});
    ASSERT_TRUE(rules) << rules.error().message;
    workspaces.push_back(std::make_unique<Workspace>(*rules));
  }
  Draw from(20'240'101);
  std::size_t matched = 0;
  for (int i = 0; i < 4000; ++i) {
    const Request request = draw(from);
    const std::string with = outcome(*workspaces[0], request);
    ASSERT_EQ(with, outcome(*workspaces[1], request))
        << "request " << i << ": " << request.target << "\n"
        << request.body;
    matched += !with.empty();
  }
  EXPECT_GT(matched, 1000u);
}

}  // namespace
}  // namespace leeward::waf

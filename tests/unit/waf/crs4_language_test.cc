// What the Core Rule Set 4 writes and version 3 does not, after its documentation: scores for
// blocking and for detection, early blocking, plugins, names made while rules run, collections that
// a chain begins, responses that are left out. The rules here are our own, in that language.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "waf/transaction.h"

namespace leeward::waf {
namespace {

using namespace std::chrono_literals;

struct Asked {
  std::string target = "/";
  std::vector<HeaderField> fields = {};
  std::string body = {};
  std::vector<HeaderField> answer_fields = {};
  std::string answer = {};
};

struct Outcome {
  int status = 0;  // 0: passes
  std::string ids;
  std::string blocking, detection;
};

class Rules {
 public:
  explicit Rules(const std::string& text)
      : Rules(RuleSet::parse("SecRuleEngine On\nSecRequestBodyAccess On\nSecResponseBodyAccess On\n"
                             "SecResponseBodyMimeType text/html\n" +
                                 text,
                             "r.conf", {.files = false, .cache_file = {}})) {}
  explicit Rules(Result<std::shared_ptr<const RuleSet>> rules) {
    if (!rules) throw std::runtime_error(rules.error().message);
    workspace_ = std::make_unique<Workspace>(*rules);
  }

  Outcome ask(const Asked& asked) {
    Transaction transaction(*workspace_, collections_,
                            {.now = std::chrono::steady_clock::time_point(1000s), .wall = {}});
    Outcome outcome;
    if (run(transaction, asked)) outcome.status = transaction.intervention().status;
    transaction.logging();
    for (const MatchedRule& match : transaction.matches())
      outcome.ids += (outcome.ids.empty() ? "" : " ") + std::to_string(match.id);
    outcome.blocking = transaction.tx("blocking_inbound_anomaly_score");
    outcome.detection = transaction.tx("detection_inbound_anomaly_score");
    return outcome;
  }
  std::string ids(const Asked& asked) { return ask(asked).ids; }

 private:
  static bool run(Transaction& transaction, const Asked& asked) {
    RequestHead head;
    head.client_address = "192.0.2.7";
    head.method = asked.body.empty() ? "GET" : "POST";
    head.target = asked.target;
    head.protocol = "1.1";
    head.fields = asked.fields;
    head.unique_id = "u1";
    if (transaction.request_headers(head) || transaction.request_body(asked.body)) return true;
    return !asked.answer.empty() &&
           (transaction.response_headers(200, "1.1", asked.answer_fields) ||
            transaction.response_body(asked.answer));
  }

  std::unique_ptr<Workspace> workspace_;
  Collections collections_;
};

// Two rules of each level, and the sums as version 4 makes them.
std::string scored(int blocking, int detection, int early) {
  return fmt::format(
             "SecAction \"id:1,phase:1,pass,nolog,setvar:'tx.blocking_paranoia_level={}',"
             "setvar:'tx.detection_paranoia_level={}',setvar:'tx.early_blocking={}',"
             "setvar:'tx.inbound_anomaly_score_threshold=5',setvar:'tx.critical_anomaly_score=5'"
             "\"\n",
             blocking, detection, early) +
         R"x(
SecRule ARGS "@contains one" "id:11,phase:1,block,msg:'one',setvar:'tx.inbound_anomaly_score_pl1=+%{tx.critical_anomaly_score}'"
SecRule TX:DETECTION_PARANOIA_LEVEL "@lt 2" "id:12,phase:1,pass,nolog,tag:'OWASP_CRS',skipAfter:END-LEVELS"
SecRule ARGS "@contains two" "id:13,phase:1,block,msg:'two',setvar:'tx.inbound_anomaly_score_pl2=+%{tx.critical_anomaly_score}'"
SecMarker "END-LEVELS"
SecRule TX:BLOCKING_PARANOIA_LEVEL "@ge 1" "id:21,phase:1,pass,t:none,nolog,setvar:'tx.blocking_inbound_anomaly_score=+%{tx.inbound_anomaly_score_pl1}'"
SecRule TX:DETECTION_PARANOIA_LEVEL "@ge 1" "id:22,phase:1,pass,t:none,nolog,setvar:'tx.detection_inbound_anomaly_score=+%{tx.inbound_anomaly_score_pl1}'"
SecRule TX:BLOCKING_PARANOIA_LEVEL "@ge 2" "id:23,phase:1,pass,t:none,nolog,setvar:'tx.blocking_inbound_anomaly_score=+%{tx.inbound_anomaly_score_pl2}'"
SecRule TX:DETECTION_PARANOIA_LEVEL "@ge 2" "id:24,phase:1,pass,t:none,nolog,setvar:'tx.detection_inbound_anomaly_score=+%{tx.inbound_anomaly_score_pl2}'"
SecRule TX:BLOCKING_INBOUND_ANOMALY_SCORE "@ge %{tx.inbound_anomaly_score_threshold}" "id:31,phase:1,deny,t:none,msg:'early (%{TX.BLOCKING_INBOUND_ANOMALY_SCORE})',chain"
    SecRule TX:EARLY_BLOCKING "@eq 1"
SecAction "id:41,phase:2,pass,t:none,nolog,setvar:'tx.blocking_inbound_anomaly_score=0'"
SecRule TX:BLOCKING_PARANOIA_LEVEL "@ge 1" "id:42,phase:2,pass,t:none,nolog,setvar:'tx.blocking_inbound_anomaly_score=+%{tx.inbound_anomaly_score_pl1}'"
SecRule TX:BLOCKING_PARANOIA_LEVEL "@ge 2" "id:43,phase:2,pass,t:none,nolog,setvar:'tx.blocking_inbound_anomaly_score=+%{tx.inbound_anomaly_score_pl2}'"
SecRule TX:BLOCKING_INBOUND_ANOMALY_SCORE "@ge %{tx.inbound_anomaly_score_threshold}" "id:51,phase:2,deny,t:none,msg:'late'"
)x";
}

TEST(Crs4Language, CountsForBlockingAndForDetection) {
  Rules rules(scored(1, 2, 0));
  const Outcome one = rules.ask({.target = "/?a=one"});
  EXPECT_EQ(one.status, 403);
  EXPECT_EQ(one.blocking, "5");
  const Outcome two = rules.ask({.target = "/?a=two"});
  EXPECT_EQ(two.status, 0) << "level 2 is looked at and does not block";
  EXPECT_EQ(two.blocking, "0");
  EXPECT_EQ(two.detection, "5");
  EXPECT_EQ(Rules(scored(2, 2, 0)).ask({.target = "/?a=two"}).status, 403);
  EXPECT_EQ(Rules(scored(1, 1, 0)).ids({.target = "/?a=two"}).find("13"), std::string::npos);
}

TEST(Crs4Language, BlocksEarlyWhenItIsToldTo) {
  const std::string early = Rules(scored(1, 1, 1)).ids({.target = "/?a=one"});
  EXPECT_NE(early.find("31"), std::string::npos) << early;
  EXPECT_EQ(early.find("51"), std::string::npos) << early;
  const std::string late = Rules(scored(1, 1, 0)).ids({.target = "/?a=one"});
  EXPECT_EQ(late.find("31"), std::string::npos) << late;
  EXPECT_NE(late.find("51"), std::string::npos) << late;
}

TEST(Crs4Language, NamesVariablesByNumbersAndByCounting) {
  Rules rules(R"x(
SecRule &MULTIPART_PART_HEADERS:_charset_ "!@eq 0" "id:1,phase:2,pass,t:none,setvar:'tx.922100_charset=|%{ARGS._charset_}|',chain"
    SecRule TX:922100_CHARSET "!@within |utf-8| |iso-8859-1|" "t:lowercase"
SecRule &MULTIPART_PART_HEADERS "@gt 0" "id:2,phase:2,pass,t:none,nolog,setvar:'tx.types_counter=0'"
SecRule MULTIPART_PART_HEADERS "@rx ^content-type\s*:\s*(.*)$" "id:3,phase:2,pass,capture,t:none,t:lowercase,nolog,setvar:'tx.types_%{tx.types_counter}=%{tx.1}',setvar:'tx.types_counter=+1'"
SecRule TX:/TYPES_\d+/ "@rx ^text/x-" "id:4,phase:2,pass,t:none"
SecRule TX:types_counter "@eq 2" "id:5,phase:2,pass"
)x");
  const auto asked = [](const std::string& charset, const std::string& second) {
    return Asked{.target = "/",
                 .fields = {{"Content-Type", "multipart/form-data; boundary=x"}},
                 .body = "--x\r\nContent-Disposition: form-data; name=\"_charset_\"\r\n\r\n" +
                         charset +
                         "\r\n--x\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Type: "
                         "text/plain\r\n\r\n1\r\n--x\r\nContent-Disposition: form-data; "
                         "name=\"b\"\r\nContent-Type: " +
                         second + "\r\n\r\n1\r\n--x--\r\n"};
  };
  EXPECT_EQ(rules.ids(asked("UTF-8", "text/csv")), "2 3 5");
  EXPECT_EQ(rules.ids(asked("utf-7", "TEXT/X-c")), "1 2 3 4 5");
}

TEST(Crs4Language, BeginsACollectionInAChain) {
  Rules rules(R"x(
SecRule &TX:ENABLE_DEFAULT_COLLECTIONS "@eq 0" "id:1,phase:1,pass,nolog,setvar:'tx.enable_default_collections=1'"
SecRule TX:ENABLE_DEFAULT_COLLECTIONS "@eq 1" "id:2,phase:1,pass,nolog,setvar:'tx.ua_hash=%{REQUEST_HEADERS.User-Agent}',chain"
    SecRule TX:ua_hash "@unconditionalMatch" "t:none,t:sha1,t:hexEncode,initcol:global=global,initcol:ip=%{remote_addr}_%{MATCHED_VAR}"
SecAction "id:3,phase:1,pass,nolog,setvar:'ip.seen=+1'"
SecRule IP:SEEN "@ge 2" "id:4,phase:1,pass"
)x");
  EXPECT_EQ(rules.ids({.fields = {{"User-Agent", "a"}}}), "1 2 3");
  EXPECT_EQ(rules.ids({.fields = {{"User-Agent", "b"}}}), "1 2 3");
  EXPECT_EQ(rules.ids({.fields = {{"User-Agent", "a"}}}), "1 2 3 4");
}

TEST(Crs4Language, TakesAllItsRulesOutByTheirTag) {
  Rules rules(R"x(
SecRule UNIQUE_ID "@rx ^[a-f]*([0-9])[a-f]*([0-9])" "id:1,phase:1,pass,capture,t:sha1,t:hexEncode,nolog,setvar:'TX.sampling_rnd100=%{TX.1}%{TX.2}'"
SecRule TX:sampling_rnd100 "!@lt %{tx.sampling_percentage}" "id:2,phase:1,pass,log,noauditlog,ctl:ruleRemoveByTag=OWASP_CRS"
SecRule ARGS "@contains x" "id:3,phase:2,deny,tag:'OWASP_CRS'"
SecRule ARGS "@contains x" "id:4,phase:2,pass,tag:'OTHER'"
)x");
  EXPECT_EQ(rules.ids({.target = "/?a=x"}), "1 2 4") << "no percentage is set: nothing is below it";
}

TEST(Crs4Language, ComparesWithWhatTheRequestSaysElsewhere) {
  Rules rules(R"x(
SecRule &TX:may_rename "@eq 0" "id:1,phase:2,pass,t:none,logdata:'%{ARGS._as}',chain"
    SecRule REQUEST_METHOD "!@streq %{ARGS._as}" "t:none,t:lowercase,chain"
        SecRule ARGS:_as "@rx ^[a-z]{2,}$" "t:none,t:urlDecodeUni,t:lowercase"
SecRule REQUEST_HEADERS_NAMES "@rx .+" "id:2,phase:1,pass,nolog,capture,t:none,t:lowercase,setvar:'tx.seen_%{tx.0}=<%{tx.0}>',chain"
    SecRule TX:/^seen_/ "@within <hop> <x-odd>" "setvar:'tx.score=+5'"
SecRule TX:score "@eq 5" "id:3,phase:2,pass"
)x");
  EXPECT_EQ(rules.ids({.target = "/?_as=DELETE"}), "1");
  EXPECT_EQ(rules.ids({.target = "/?_as=get"}), "");
  EXPECT_EQ(rules.ids({.target = "/?_as=x"}), "");
  EXPECT_EQ(rules.ids({.fields = {{"X-Odd", "a"}, {"Accept", "b"}}}), "2 3");
  EXPECT_EQ(rules.ids({.fields = {{"Accept", "b"}}}), "");
}

TEST(Crs4Language, TakesARuleOutForTheRestOfItsPhase) {
  Rules rules(R"x(
SecRule REQUEST_HEADERS:Content-Type "^application/json" "id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQBODY_PROCESSOR "@streq JSON" "id:2,phase:2,pass,nolog,t:none,ctl:ruleRemoveById=3"
SecRule REQUEST_HEADERS|ARGS "@rx (?i)\x5cx[0-9a-f]{2}" "id:3,phase:2,block,capture,t:none"
SecRule TX:LEVEL "@ge 1" "id:4,phase:2,pass,chain"
    SecRule TX:EARLY "@eq 1"

SecAction \
    "id:5,\
    phase:5,\
    pass,\
    msg:'Scores: \
(a=%{tx.level}) - \
(none)'"
)x");
  EXPECT_EQ(rules.ids({.target = "/?a=%5cx41"}), "3 5");
  EXPECT_EQ(rules.ids({.target = "/",
                       .fields = {{"Content-Type", "application/json"}, {"X-A", "\\x41"}},
                       .body = "{}"}),
            "1 2 5");
}

TEST(Crs4Language, LeavesCookiesOutByExpression) {
  Rules rules(R"x(
SecRule REQUEST_COOKIES|!REQUEST_COOKIES:/^_ga(?:_\w+)?$/|!REQUEST_COOKIES:/__utm/|ARGS|XML://@* "@rx (?i)\bselect\b(?!ed)" "id:1,phase:2,pass,t:none,t:utf8toUnicode,t:urlDecodeUni,t:removeNulls,t:escapeSeqDecode,multiMatch"
)x");
  EXPECT_EQ(rules.ids({.fields = {{"Cookie", "_ga=select; _ga_A1=select; x__utmz=select"}}}), "");
  EXPECT_EQ(rules.ids({.fields = {{"Cookie", "_gat=sel\\x65ct"}}}), "1");
}

TEST(Crs4Language, LeavesPackedAnswersOut) {
  Rules rules(R"x(
SecRule RESPONSE_HEADERS:Content-Encoding "@pm gzip compress deflate br zstd" "id:1,phase:4,pass,nolog,skipAfter:END"
SecRule RESPONSE_BODY "@rx ^<html>\n<title>a[^~]*~ b</title>\r\n" "id:2,phase:4,block,t:none,msg:'lama\'s\'shell'"
SecRule RESPONSE_BODY "@contains <title>a</title>" "id:3,phase:4,pass,t:none,t:removeWhitespace,t:lowercase"
SecMarker "END"
)x");
  const std::string shell = "<html>\n<title>a c ~ b</title>\r\n";
  EXPECT_EQ(rules.ids({.answer_fields = {{"Content-Type", "text/html"}}, .answer = shell}), "2");
  EXPECT_EQ(
      rules.ids({.answer_fields = {{"Content-Type", "text/html"}}, .answer = "<Title> A </title>"}),
      "3");
  EXPECT_EQ(
      rules.ids({.answer_fields = {{"Content-Type", "text/html"}, {"Content-Encoding", "gzip"}},
                 .answer = shell}),
      "1");
}

TEST(Crs4Language, IncludesPluginsAroundTheRules) {
  const std::filesystem::path directory = testing::TempDir() + "crs4-" + std::to_string(::getpid());
  std::filesystem::create_directories(directory / "plugins");
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(directory / name) << text;
  };
  write("main.conf",
        "SecRuleEngine On\nInclude plugins/*-config.conf\nInclude plugins/*-before.conf\n"
        "Include rules.conf\nInclude plugins/*-after.conf\n");
  write("rules.conf", "SecRule ARGS \"@contains x\" \"id:942100,phase:2,deny,tag:'OWASP_CRS'\"\n");
  write("plugins/empty-config.conf", "# nothing\n");
  write("plugins/empty-before.conf", "");
  write("plugins/empty-after.conf", "");
  const auto status = [&] {
    Rules rules(RuleSet::load((directory / "main.conf").string(), {}));
    return rules.ask({.target = "/wp-admin/post.php?content=x"}).status;
  };
  EXPECT_EQ(status(), 403);
  write("plugins/press-config.conf",
        "SecRule &TX:press-plugin_enabled \"@eq 0\" \"id:9507010,phase:1,pass,nolog,"
        "setvar:'tx.press-plugin_enabled=1'\"\n");
  write("plugins/press-before.conf",
        "SecRule TX:press-plugin_enabled \"@eq 0\" \"id:9507099,phase:1,pass,nolog,"
        "ctl:ruleRemoveById=9507100-9507999\"\n"
        "SecRule REQUEST_FILENAME \"@endsWith /wp-admin/post.php\" \"id:9507100,phase:2,pass,"
        "nolog,ctl:ruleRemoveTargetByTag=OWASP_CRS;ARGS:content\"\n");
  EXPECT_EQ(status(), 0);
  write("plugins/press-config.conf",
        "SecAction \"id:9507010,phase:1,pass,nolog,setvar:'tx.press-plugin_enabled=0'\"\n");
  EXPECT_EQ(status(), 403);
  write("plugins/press-after.conf", "SecRuleRemoveById 942100\n");
  EXPECT_EQ(status(), 0);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace leeward::waf

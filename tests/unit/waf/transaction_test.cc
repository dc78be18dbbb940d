#include "waf/transaction.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace leeward::waf {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kOn = "SecRuleEngine On\nSecRequestBodyAccess On\n";

// One request after the other under some rules; each twice, with and without the prefilter.
class Rules {
 public:
  explicit Rules(std::string_view text, std::string_view head = kOn) {
    for (bool prefilter : {true, false}) {
      auto rules = RuleSet::parse(std::string(head) + std::string(text), "r.conf",
                                  {.files = false, .prefilter = prefilter, .cache_file = {}});
      if (!rules) ADD_FAILURE() << rules.error().message;
      (prefilter ? filtered_ : plain_) = std::make_unique<Workspace>(*rules);
    }
  }

  struct Outcome {
    Intervention intervention;
    std::vector<MatchedRule> matches;
    std::uint32_t limits = 0;
    bool matched(std::uint32_t id) const {
      return std::any_of(matches.begin(), matches.end(),
                         [&](const MatchedRule& m) { return m.id == id; });
    }
    std::string ids() const {
      std::string all;
      for (const MatchedRule& m : matches) all += (all.empty() ? "" : " ") + std::to_string(m.id);
      return all;
    }
  };

  Outcome ask(std::string_view target, std::vector<HeaderField> fields = {},
              std::string_view body = {}) {
    Outcome a = run(*filtered_, target, fields, body);
    Outcome b = run(*plain_, target, fields, body);
    EXPECT_EQ(a.ids(), b.ids());
    EXPECT_EQ(a.intervention.status, b.intervention.status);
    return a;
  }
  Outcome form(std::string_view body) {
    return ask("/", {{"Content-Type", "application/x-www-form-urlencoded"}}, body);
  }
  Outcome once(std::string_view target) { return run(*plain_, target, {}, {}); }
  void wait(std::chrono::seconds time) { now_ += time; }

 private:
  Outcome run(Workspace& workspace, std::string_view target, std::span<const HeaderField> fields,
              std::string_view body) {
    Transaction transaction(workspace, collections_,
                            {.now = now_, .wall = std::chrono::system_clock::time_point(0s)});
    RequestHead head;
    head.client_address = "192.0.2.7";
    head.method = body.empty() ? "GET" : "POST";
    head.target = target;
    head.protocol = "1.1";
    head.fields = fields;
    head.unique_id = "u1";
    head.country = "KR";
    if (!transaction.request_headers(head)) transaction.request_body(body);
    transaction.logging();
    const auto matches = transaction.matches();
    return {transaction.intervention(), {matches.begin(), matches.end()}, transaction.limits()};
  }

  std::unique_ptr<Workspace> filtered_, plain_;
  Collections collections_;
  std::chrono::steady_clock::time_point now_{1000s};
};

TEST(Transaction, RefusesWithTheStatusOfTheRule) {
  Rules rules(
      "SecRule ARGS:a \"@streq x\" \"id:1,phase:2,deny,status:406,msg:'%{MATCHED_VAR} in "
      "%{MATCHED_VAR_NAME}',logdata:'%{tx.n}',tag:'t1',severity:CRITICAL,setvar:tx.n=5\"\n");
  const auto no = rules.ask("/?a=y");
  EXPECT_FALSE(no.intervention.due);
  EXPECT_TRUE(no.matches.empty());
  const auto yes = rules.ask("/?a=x");
  EXPECT_TRUE(yes.intervention.due);
  EXPECT_EQ(yes.intervention.status, 406);
  EXPECT_EQ(yes.intervention.rule, 1u);
  ASSERT_EQ(yes.matches.size(), 1u);
  EXPECT_EQ(yes.matches[0].message, "x in ARGS:a");
  EXPECT_EQ(yes.matches[0].data, "5");
  EXPECT_EQ(yes.matches[0].severity, 2);
  EXPECT_EQ(yes.matches[0].tags, std::vector<std::string>{"t1"});
  EXPECT_TRUE(yes.matches[0].disruptive);
}

// Whose secret a value is cannot be told by MATCHED_VAR or TX, which rules see as ever.
TEST(Transaction, SaysWhereAMatchedValueCameFrom) {
  Rules rules(
      "SecRule ARGS \"@contains a\" \"id:1,phase:2,pass,chain,msg:'%{MATCHED_VAR_NAME}'\"\n"
      "  SecRule MATCHED_VAR \"@contains b\" \"chain\"\n"
      "  SecRule MATCHED_VAR \"@contains c\" \"\"\n"
      "SecRule ARGS \"@contains b\" \"id:2,phase:2,pass,chain\"\n"
      "  SecRule MATCHED_VARS \"@contains c\" \"\"\n"
      "SecRule ARGS \"@rx ^(.)(.)\" \"id:3,phase:2,pass,capture,chain\"\n"
      "  SecRule TX:2 \"@streq b\" \"chain\"\n"
      "  SecRule TX:/^1$/ \"@streq a\" \"\"\n"
      "SecRule ARGS \"@rx (.)$\" \"id:4,phase:2,pass,capture,setvar:'tx.kept=%{tx.1}',chain\"\n"
      "  SecRule TX:kept \"@streq c\" \"\"\n"
      "SecRule ARGS \"@rx ^\" "
      "\"id:5,phase:2,pass,setvar:'tx.two=%{ARGS.q}%{REQUEST_METHOD}',setvar:tx.n=7,chain\"\n"
      "  SecRule TX:two \"@beginsWith abc\" \"\"\n"
      "SecRule TX:n \"@eq 7\" \"id:6,phase:2,pass\"\n"
      "SecRule ARGS \"@rx ^()\" \"id:7,phase:2,pass,capture\"\n"
      "SecRule TX:1 \"@eq 0\" \"id:8,phase:2,pass\"\n");
  const auto outcome = rules.ask("/?q=abc");
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"MATCHED_VAR", "ARGS:q"},  {"MATCHED_VARS:ARGS:q", "ARGS:q"},
      {"TX:1", "ARGS:q"},         {"TX:kept", "ARGS:q"},
      {"TX:two", "FULL_REQUEST"}, {"TX:n", "TX:n"},
      {"ARGS:q", "ARGS:q"},       {"TX:1", "ARGS:q"}};
  ASSERT_EQ(outcome.ids(), "1 2 3 4 5 6 7 8");
  EXPECT_EQ(outcome.matches[0].message, "MATCHED_VAR");
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const MatchedRule& rule = outcome.matches[i];
    EXPECT_EQ(std::pair(rule.variable, rule.origin), expected[i]) << rule.id;
  }
}

// RFC 9110 §5.3: the field may be there once. Some origins go by the first and some by the last.
TEST(Transaction, MoreThanOneContentTypeIsAnErrorOfTheBody) {
  Rules rules(
      "SecRule REQBODY_ERROR \"!@eq 0\" "
      "\"id:1,phase:2,deny,status:400,msg:'%{REQBODY_ERROR_MSG}'\"\n");
  const HeaderField form{"Content-Type", "application/x-www-form-urlencoded"};
  const HeaderField xml{"content-type", "text/xml"};
  EXPECT_FALSE(rules.ask("/", {form}, "a=1").intervention.due);
  const auto two = rules.ask("/", {form, xml}, "<a><!--&q=1&--></a>");
  EXPECT_EQ(two.intervention.status, 400);
  ASSERT_EQ(two.matches.size(), 1u);
  EXPECT_EQ(two.matches[0].message, "Request body: there is more than one Content-Type");
  EXPECT_EQ(rules.ask("/", {form, form}).intervention.status, 400);
}

TEST(Transaction, RedirectsOnlyToWhatIsAnAddress) {
  Rules rules("SecRule ARGS:to \"@rx .\" \"id:1,phase:1,redirect:'https://x.test/%{ARGS.to}'\"\n");
  const auto away = rules.ask("/?to=a");
  EXPECT_EQ(away.intervention.status, 302);
  EXPECT_EQ(away.intervention.location, "https://x.test/a");
  const auto split = rules.ask("/?to=a%0d%0aSet-Cookie:x");
  EXPECT_EQ(split.intervention.status, 403);
  EXPECT_TRUE(split.intervention.location.empty());
}

TEST(Transaction, DoesNothingWhenItOnlyDetectsAndNothingAtAllWhenOff) {
  constexpr std::string_view kRule = "SecRule ARGS \"@rx x\" \"id:1,phase:1,deny\"\n";
  const auto detect = Rules(kRule, "SecRuleEngine DetectionOnly\n").ask("/?a=x");
  EXPECT_FALSE(detect.intervention.due);
  EXPECT_TRUE(detect.matched(1));
  EXPECT_TRUE(Rules(kRule, "SecRuleEngine Off\n").ask("/?a=x").matches.empty());
}

TEST(Transaction, RunsAChainOnlyAsAWhole) {
  Rules rules(
      "SecRule ARGS:a \"@rx ^(x+)$\" \"id:1,phase:2,deny,capture,chain,setvar:tx.head=+1\"\n"
      "  SecRule ARGS:b \"@streq %{tx.1}\" \"chain\"\n"
      "  SecRule &ARGS \"@eq 2\" \"setvar:tx.tail=+1\"\n"
      "SecRule TX:head \"@eq 1\" \"id:2,phase:2,pass\"\n"
      "SecRule TX:tail \"@eq 1\" \"id:3,phase:2,pass\"\n");
  EXPECT_TRUE(rules.ask("/?a=xx&b=xx").intervention.due);
  EXPECT_EQ(rules.ask("/?a=xx&b=x").ids(), "2");
  EXPECT_EQ(rules.ask("/?a=xx&b=xx&c=1").ids(), "2");
  EXPECT_EQ(rules.ask("/?a=y&b=y").ids(), "");
}

TEST(Transaction, CountsOnceForEachValueThatMatches) {
  Rules rules(
      "SecRule ARGS|ARGS_NAMES|!ARGS:c \"@contains x\" "
      "\"id:1,phase:2,pass,setvar:tx.s=+5,setvar:'tx.by_%{MATCHED_VAR_NAME}=+1'\"\n"
      "SecRule TX:s \"@eq 15\" \"id:2,phase:2,pass\"\n"
      "SecRule TX:/^by_ARGS:/ \"@eq 2\" \"id:3,phase:2,pass\"\n"
      "SecRule &TX:/^by_/ \"@eq 2\" \"id:4,phase:2,pass\"\n");
  EXPECT_EQ(rules.ask("/?a=x&a=x&b=y&c=x&x=1").ids(), "1 2 3 4");
  EXPECT_EQ(rules.ask("/?c=x").ids(), "");
}

TEST(Transaction, ChoosesValuesByNameByExpressionAndByCount) {
  Rules rules(
      "SecRule REQUEST_HEADERS:x-a \"@streq 1\" \"id:1,phase:1,pass\"\n"
      "SecRule ARGS:/^n\\d$/ \"@streq 1\" \"id:2,phase:1,pass\"\n"
      "SecRule ARGS|!ARGS:/^n/ \"@streq 1\" \"id:3,phase:1,pass\"\n"
      "SecRule &REQUEST_HEADERS:X-B \"@eq 0\" \"id:4,phase:1,pass\"\n"
      "SecRule &ARGS \"!@lt 3\" \"id:5,phase:1,pass\"\n");
  EXPECT_EQ(rules.ask("/?n1=1", {{"X-A", "1"}}).ids(), "1 2 4");
  EXPECT_EQ(rules.ask("/?N2=1&b=1&c=2", {{"X-B", "1"}}).ids(), "2 3 5");
}

TEST(Transaction, SkipsRulesAndJumpsToMarkers) {
  Rules rules(
      "SecRule ARGS:skip \"@eq 1\" \"id:1,phase:1,pass,nolog,skip:2\"\n"
      "SecRule ARGS:jump \"@eq 1\" \"id:2,phase:1,pass,nolog,skipAfter:END\"\n"
      "SecAction \"id:3,phase:1,pass\"\n"
      "SecAction \"id:4,phase:1,pass\"\n"
      "SecMarker END\n"
      "SecAction \"id:5,phase:1,pass\"\n");
  EXPECT_EQ(rules.ask("/").ids(), "3 4 5");
  EXPECT_EQ(rules.ask("/?skip=1").ids(), "1 4 5");
  EXPECT_EQ(rules.ask("/?jump=1").ids(), "2 5");
}

TEST(Transaction, AllowsForAPhaseForTheRequestAndForGood) {
  constexpr std::string_view kRest =
      "SecAction \"id:2,phase:1,pass\"\nSecAction \"id:3,phase:2,pass\"\n"
      "SecAction \"id:4,phase:5,pass\"\n";
  const auto with = [&](std::string allow) {
    return Rules("SecAction \"id:1,phase:1," + allow + "\"\n" + std::string(kRest)).ask("/").ids();
  };
  EXPECT_EQ(with("pass"), "1 2 3 4");
  EXPECT_EQ(with("allow:phase"), "1 3 4");
  EXPECT_EQ(with("allow:request"), "1 4");
  EXPECT_EQ(with("allow"), "1 4");
}

TEST(Transaction, ChangesItselfByCtl) {
  Rules rules(
      "SecRule ARGS:c \"@streq id\" \"id:1,phase:1,pass,nolog,ctl:ruleRemoveById=10-11\"\n"
      "SecRule ARGS:c \"@streq tag\" \"id:2,phase:1,pass,nolog,ctl:ruleRemoveByTag=t\"\n"
      "SecRule ARGS:c \"@streq target\" "
      "\"id:3,phase:1,pass,nolog,ctl:ruleRemoveTargetById=10;ARGS:a\"\n"
      "SecRule ARGS:c \"@streq all\" "
      "\"id:4,phase:1,pass,nolog,ctl:ruleRemoveTargetByTag=t;ARGS\"\n"
      "SecRule ARGS:c \"@streq off\" \"id:5,phase:1,pass,nolog,ctl:ruleEngine=Off\"\n"
      "SecRule ARGS \"@rx x\" \"id:10,phase:2,pass,tag:t\"\n"
      "SecRule ARGS_NAMES \"@rx a\" \"id:11,phase:2,pass,tag:t\"\n");
  EXPECT_EQ(rules.ask("/?a=x").ids(), "10 11");
  EXPECT_EQ(rules.ask("/?a=x&c=id").ids(), "1");
  EXPECT_EQ(rules.ask("/?a=x&c=tag").ids(), "2");
  EXPECT_EQ(rules.ask("/?a=x&c=target").ids(), "3 11");
  EXPECT_EQ(rules.ask("/?a=x&b=x&c=target").ids(), "3 10 11");
  EXPECT_EQ(rules.ask("/?a=x&c=all").ids(), "4 11");
  EXPECT_EQ(rules.ask("/?a=x&c=off").ids(), "5");
  EXPECT_EQ(rules.ask("/?a=x").ids(), "10 11");  // only for that request
}

TEST(Transaction, TransformsBeforeItLooksAndInBetweenWithMultiMatch) {
  Rules rules(
      "SecRule ARGS \"@streq <a>\" \"id:1,phase:1,pass,t:none,t:htmlEntityDecode,t:lowercase\"\n"
      "SecRule ARGS \"@streq <A>\" "
      "\"id:2,phase:1,pass,multiMatch,t:none,t:htmlEntityDecode,t:lowercase\"\n"
      "SecRule ARGS \"@rx ^<A>$\" \"id:3,phase:1,pass,t:htmlEntityDecode\"\n");
  EXPECT_EQ(rules.ask("/?a=%26lt;A%26gt;").ids(), "1 2 3");
  EXPECT_EQ(rules.ask("/?a=%26lt;a>").ids(), "1");
}

TEST(Transaction, FollowsTheDefaultActionsOfItsPhase) {
  Rules rules(
      "SecDefaultAction \"phase:2,deny,status:418,nolog,t:lowercase\"\n"
      "SecRule ARGS \"@rx ^x$\" \"id:1,block\"\n"
      "SecRule ARGS \"@rx ^Y$\" \"id:2,pass,log\"\n"
      "SecRule ARGS \"@rx ^Y$\" \"id:3,pass,log,t:none\"\n");
  const auto blocked = rules.ask("/?a=X");
  EXPECT_EQ(blocked.intervention.status, 418);
  ASSERT_EQ(blocked.matches.size(), 1u);
  EXPECT_FALSE(blocked.matches[0].told);
  const auto passed = rules.ask("/?a=Y");
  EXPECT_EQ(passed.ids(), "3");
  EXPECT_TRUE(passed.matches[0].told);
}

TEST(Transaction, ChangesRulesByDirective) {
  Rules rules(
      "SecRule ARGS \"@rx x\" \"id:1,phase:2,deny,tag:a,msg:m1\"\n"
      "SecRule ARGS \"@rx x\" \"id:2,phase:2,pass,tag:b\"\n"
      "SecRule ARGS \"@rx x\" \"id:3,phase:2,pass,tag:b\"\n"
      "SecRuleUpdateActionById 1 \"pass,msg:m2\"\n"
      "SecRuleUpdateTargetById 2 \"!ARGS:a\"\n"
      "SecRuleUpdateTargetById 3 \"REQUEST_HEADERS:X\"\n"
      "SecRuleRemoveById 9\n");
  const auto first = rules.ask("/?a=x");
  EXPECT_EQ(first.ids(), "1 3");
  EXPECT_EQ(first.matches[0].message, "m2");
  EXPECT_FALSE(first.intervention.due);
  EXPECT_EQ(rules.ask("/?b=x").ids(), "1 2 3");
  EXPECT_EQ(rules.ask("/", {{"X", "x"}}).ids(), "3");
}

TEST(Transaction, RemembersBetweenRequests) {
  Rules rules(
      "SecAction \"id:1,phase:1,pass,nolog,initcol:ip=%{REMOTE_ADDR}\"\n"
      "SecAction \"id:2,phase:1,pass,nolog,setvar:ip.n=+1,expirevar:ip.n=60\"\n"
      "SecRule IP:n \"@gt 2\" \"id:3,phase:1,deny,status:429\"\n");
  EXPECT_FALSE(rules.once("/").intervention.due);
  EXPECT_FALSE(rules.once("/").intervention.due);
  EXPECT_EQ(rules.once("/").intervention.status, 429);
  rules.wait(61s);
  EXPECT_FALSE(rules.once("/").intervention.due);
}

TEST(Transaction, ReadsFormsAndCookiesAndParts) {
  Rules rules(
      "SecRule ARGS_POST:a \"@streq x y\" \"id:1,phase:2,pass\"\n"
      "SecRule REQUEST_COOKIES:sid \"@streq 1\" \"id:2,phase:1,pass\"\n"
      "SecRule REQUEST_BASENAME \"@streq c d\" \"id:3,phase:1,pass\"\n"
      "SecRule REQUEST_BODY_LENGTH \"@gt 0\" \"id:4,phase:2,pass\"\n"
      "SecRule GEO:COUNTRY_CODE \"@streq KR\" \"id:6,phase:2,pass\"\n"
      "SecRule REMOTE_ADDR \"@geoLookup\" \"id:5,phase:1,pass\"\n");
  EXPECT_EQ(rules.form("a=x+y").ids(), "5 1 4 6");
  EXPECT_EQ(rules.ask("/b/c%20d?x", {{"Cookie", "a=2; sid=1"}}).ids(), "2 3 5 6");
}

TEST(Transaction, CountsASearchThatIsGivenUpAsAMatch) {
  // A value in TX is not scanned before, so that the search is tried.
  Rules rules(
      "SecAction \"id:9,phase:1,pass,nolog,setvar:tx.v=%{ARGS.x}\"\n"
      "SecRule TX:v \"@rx ^(?:a|aa)+$\" \"id:1,phase:2,deny\"\n"
      "SecRule TX:v \"!@rx ^(?:a|aa)+$\" \"id:2,phase:1,pass\"\n",
      "SecRuleEngine On\nSecPcreMatchLimit 1000\n");
  const auto outcome = rules.ask("/?x=" + std::string(60, 'a') + "d");
  EXPECT_TRUE(outcome.intervention.due);
  EXPECT_GE(outcome.limits, 2u);
  EXPECT_TRUE(outcome.matched(1) && outcome.matched(2));
}

// Each place of this text is the beginning of a match that fails at the text's end only.
TEST(Transaction, EndsWhenItsSearchesTakeTooLong) {
  const std::string_view text =
      "SecAction \"id:9,phase:2,pass,nolog,setvar:tx.v=%{ARGS.x}\"\n"
      "SecRule TX:v \"@rx a(?=.*c[0-9])\" \"id:1,phase:2,pass\"\n"
      "SecAction \"id:2,phase:2,pass\"\n";
  const std::string head =
      "SecRequestBodyAccess On\nSecRequestBodyLimit 1000000\nSecRequestBodyNoFilesLimit 1000000\n";
  std::string slow = "x=";
  while (slow.size() < 100'000) slow += "ab";
  slow += "c";
  Rules strict(text, head + "SecRuleEngine On\n");
  const auto refused = strict.form(slow);
  EXPECT_EQ(refused.intervention.status, 413);
  EXPECT_EQ(refused.limits, 1u);
  EXPECT_FALSE(refused.matched(2));
  EXPECT_EQ(strict.form("x=abc").ids(), "9 2") << "the next one has its own time";
  Rules lenient(text, head + "SecRuleEngine DetectionOnly\n");
  const auto passed = lenient.form(slow);
  EXPECT_FALSE(passed.intervention.due);
  EXPECT_EQ(passed.limits, 1u);
  EXPECT_FALSE(passed.matched(2)) << "what is only detected ends too";
}

// The same matches are found in parts as in one.
TEST(Transaction, FindsInLongTextsWhatIsAtTheirEnd) {
  Rules rules(
      "SecAction \"id:9,phase:2,pass,nolog,setvar:tx.v=%{ARGS.x}\"\n"
      "SecRule TX:v \"@rx (?<=[^b])(b+)end$\" \"id:1,phase:2,pass,capture,setvar:tx.n=%{tx.1}\"\n"
      "SecRule TX:n \"@rx ^b{150}$\" \"id:2,phase:2,pass\"\n"
      "SecRule TX:v \"@rx ^x\" \"id:3,phase:2,pass\"\n"
      "SecRule TX:v \"@rx absent\" \"id:4,phase:2,pass\"\n",
      "SecRuleEngine On\nSecRequestBodyAccess On\nSecRequestBodyLimit "
      "1000000\nSecRequestBodyNoFilesLimit 1000000\n");
  for (const std::size_t length : {50u, 199u, 200u, 201u, 5'000u, 100'000u}) {
    const std::string before(length, 'x');
    EXPECT_EQ(rules.form("x=" + before + std::string(150, 'b') + "end").ids(), "9 1 2 3") << length;
    EXPECT_EQ(rules.form("x=" + before + std::string(150, 'b') + "and").ids(), "9 3") << length;
  }
}

TEST(Transaction, GivesUpWhenItIsInAHurryAndNeverHalfway) {
  auto rules = RuleSet::parse(
      "SecRuleEngine On\nSecAction \"id:9,phase:1,pass,nolog,setvar:tx.v=%{ARGS.x}\"\n"
      "SecRule TX:v \"@rx ^(?:a|aa)+$\" \"id:1,phase:1,deny\"\n",
      "r.conf", {.files = false});
  ASSERT_TRUE(rules);
  Workspace workspace(*rules);
  Collections collections;
  const auto now = std::chrono::steady_clock::now();
  const auto run = [&](const std::string& value, auto deadline) {
    Transaction transaction(workspace, collections, {.now = now, .wall = {}, .deadline = deadline});
    const std::string target = "/?x=" + value;
    RequestHead head;
    head.method = "GET";
    head.target = target;
    head.protocol = "1.1";
    if (!transaction.request_headers(head)) transaction.request_body({});
    return std::pair(transaction.unfinished(), transaction.intervention().due);
  };
  const auto never = std::chrono::steady_clock::time_point::max();
  const std::string slow = std::string(40, 'a') + "d";
  EXPECT_EQ(run("b", now + 1h), std::pair(false, false));
  EXPECT_EQ(run("aa", now + 1h), std::pair(false, true));
  EXPECT_TRUE(run(slow, now + 1h).first);               // more steps than one in a hurry takes
  EXPECT_EQ(run(slow, never), std::pair(false, true));  // given up with time: a match
  EXPECT_EQ(run("b", never), std::pair(false, false));
}

TEST(Transaction, RefusesMoreThanItLooksAt) {
  Rules rules("SecAction \"id:1,phase:2,pass\"\n");
  std::string target = "/?";
  for (int i = 0; i < 30'000; ++i) target += "a&";
  EXPECT_EQ(rules.ask(target).intervention.status, 413);
  Rules limited("SecRule &ARGS \"@ge 100\" \"id:1,phase:2,deny,status:400\"\n",
                "SecRuleEngine On\nSecArgumentsLimit 100\n");
  EXPECT_EQ(limited.ask(target).intervention.status, 400);
  Rules small("SecAction \"id:1,phase:2,pass\"\n",
              "SecRuleEngine On\nSecRequestBodyAccess On\nSecRequestBodyLimit 10\n");
  EXPECT_EQ(small.form("a=1").ids(), "1");
  EXPECT_EQ(small.form("a=1234567890").intervention.status, 413);
}

// What makes one text of many values could join or part what belongs to one of them.
TEST(Transaction, FindsWithThePrefilterWhatItFindsWithout) {
  Rules rules(
      "SecRule ARGS|ARGS_NAMES \"@rx ^x$\" \"id:1,phase:2,pass\"\n"
      "SecRule ARGS|ARGS_NAMES \"@rx \\Ay\\z\" \"id:2,phase:2,pass\"\n"
      "SecRule ARGS|ARGS_NAMES \"@rx (?-m)^z$\" \"id:3,phase:2,pass\"\n"
      "SecRule ARGS|ARGS_NAMES \"@rx \\bor\\b\" \"id:4,phase:2,pass\"\n"
      "SecRule ARGS|ARGS_NAMES \"@rx ^$\" \"id:5,phase:2,pass\"\n"
      "SecRule ARGS|ARGS_NAMES \"@rx (\\w)\\1\\1\" \"id:6,phase:2,pass\"\n"
      "SecRule ARGS|ARGS_NAMES \"@rx a(?!b)c?$\" \"id:7,phase:2,pass\"\n"
      "SecRule ARGS|ARGS_NAMES \"@rx (?<=q)r\" \"id:8,phase:2,pass\"\n"
      "SecRule ARGS|ARGS_NAMES \"@rx .*\" \"id:9,phase:2,pass\"\n"
      "SecRule ARGS|ARGS_NAMES \"@pm sel|65|ct Insert\" \"id:10,phase:2,pass\"\n"
      "SecRule ARGS|ARGS_NAMES \"@rx \\Br\" \"id:11,phase:2,pass\"\n"
      "SecRule ARGS|ARGS_NAMES \"@rx n\\Zd?\" \"id:12,phase:2,pass\"\n");
  EXPECT_EQ(rules.ask("/?k=x").ids(), "1 9");
  EXPECT_EQ(rules.ask("/?k=x%0a1").ids(), "1 9");
  EXPECT_EQ(rules.ask("/?k=y").ids(), "2 9");
  EXPECT_EQ(rules.ask("/?k=1&l=z").ids(), "3 9");
  EXPECT_EQ(rules.ask("/?k=or&l=n").ids(), "4 9 11 12");
  EXPECT_EQ(rules.ask("/?k=xor&k2=orx").ids(), "9 11");
  EXPECT_EQ(rules.ask("/?k=").ids(), "5 9");
  EXPECT_EQ(rules.ask("/?k=mmm&l=qr&m=ac").ids(), "6 7 8 9 11");
  EXPECT_EQ(rules.ask("/?k=SELECT&b=ainserta").ids(), "7 9 10 11");
  EXPECT_EQ(rules.ask("/").ids(), "");
}

}  // namespace
}  // namespace leeward::waf

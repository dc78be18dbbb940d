// Policies, by what the rules made of them do to requests.
#include "waf/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <modsecurity/rule_message.h>

#include <cstdlib>
#include <filesystem>

#include "reference_request.h"
#include "waf/rule_set.h"
#include "waf/transaction.h"

namespace leeward::waf {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

struct Ask {
  std::string method = "GET", target = "/", address = "192.0.2.7";
  std::vector<std::pair<std::string, std::string>> fields = {};
  std::string body = {};
};
struct Outcome {
  int status = 0;  // 0: passes
  std::vector<std::string> messages = {};
};

std::vector<std::pair<std::string, std::string>> fields_of(const Ask& ask) {
  std::vector<std::pair<std::string, std::string>> fields = {
      {"Host", "shop.test"}, {"User-Agent", "Mozilla/5.0"}, {"Accept", "*/*"}};
  fields.insert(fields.end(), ask.fields.begin(), ask.fields.end());
  return fields;
}

Outcome by_our_engine(const std::string& text, const Ask& ask) {
  RuleSet::Options options;
  options.prefilter = false;  // its compilation takes longer than all requests here
  auto rules = RuleSet::parse(text, "policy", options);
  EXPECT_TRUE(rules.has_value()) << (rules ? "" : rules.error().message);
  if (!rules) return {};
  Workspace workspace(*rules);
  Collections collections;
  Transaction t(workspace, collections,
                {std::chrono::steady_clock::now(), std::chrono::system_clock::now()});
  std::vector<HeaderField> fields;
  const auto texts = fields_of(ask);
  for (const auto& [name, value] : texts) fields.push_back({name, value});
  RequestHead head;
  head.client_address = ask.address;
  head.method = ask.method;
  head.target = ask.target;
  head.protocol = "1.1";
  head.fields = fields;
  if (!t.request_headers(head)) t.request_body(ask.body);
  t.logging();
  Outcome out;
  out.status = t.intervention().due ? t.intervention().status : 0;
  for (const MatchedRule& m : t.matches())
    if (m.told) out.messages.push_back(m.message);
  return out;
}

Outcome by_the_reference(const std::string& text, const Ask& ask) {
  reference::Engine engine(text);
  modsecurity::Transaction t(&engine.library_, &engine.rules_, nullptr);
  t.processConnection(ask.address.c_str(), 40000, "192.0.2.1", 80);
  t.processURI(ask.target.c_str(), ask.method.c_str(), "1.1");
  for (const auto& [name, value] : fields_of(ask)) t.addRequestHeader(name, value);
  t.processRequestHeaders();
  Outcome out;
  modsecurity::ModSecurityIntervention it{};
  it.status = 200;
  auto intervened = [&] {
    if (t.intervention(&it) == 0) return false;
    out.status = it.status;
    std::free(it.log);
    std::free(it.url);
    return true;
  };
  if (!intervened()) {
    if (!ask.body.empty())
      t.appendRequestBody(reinterpret_cast<const unsigned char*>(ask.body.data()), ask.body.size());
    t.processRequestBody();
    intervened();
  }
  for (const auto& m : t.m_rulesMessages) out.messages.push_back(m.m_message);
  return out;
}

// Both engines must agree.
Outcome under(const WafPolicy& policy, const Ask& ask) {
  auto text = seclang_of(policy);
  EXPECT_TRUE(text.has_value()) << (text ? "" : text.error().message);
  if (!text) return {};
  Outcome ours = by_our_engine(*text, ask), reference = by_the_reference(*text, ask);
  EXPECT_EQ(ours.status, reference.status) << ask.method << " " << ask.target;
  return ours;
}

WafPolicy own(std::string when, WafAction action = WafAction::kBlock) {
  WafPolicy p;
  p.core_rules.clear();
  p.rules = {{"mine", std::move(when), action, 403}};
  return p;
}
bool holds(const std::string& when, const Ask& ask) { return under(own(when), ask).status == 403; }

TEST(WafPolicyRules, FieldsMeanWhatTheySay) {
  const Ask ask{.method = "POST",
                .target = "/a/../Admin%2fx?q=1&q=two%20words",
                .address = "10.1.2.3",
                .fields = {{"Cookie", "s=abc; t=1"},
                           {"X-Token", "a\"b\\c%{tx.0}"},
                           {"Content-Type", "application/x-www-form-urlencoded"}},
                .body = "note=hello&n=5"};
  for (const char* yes :
       {R"(method == "POST")",
        R"(path == "/Admin/x")",
        R"(lower(path) starts_with "/admin")",
        R"(query contains "two%20words")",
        R"(arg("q") == "two words")",
        R"(host == "shop.test")",
        R"(address in ["10.0.0.0/8", "192.0.2.7"])",
        R"(address == "10.1.2.3")",
        R"(cookie("s") == "abc")",
        R"(cookie_names == "t")",
        R"(header("x-token") == "a\"b\\c%{tx.0}")",
        R"(header("x-token") ends_with "\\c%{tx.0}")",
        R"(arg("note") starts_with "hel")",
        R"(args in ["x", "5"])",
        R"(size(args) == 4)",
        R"(size(arg("note")) >= 5)",
        R"(path matches "(?i)^/ADMIN/")",
        R"(body contains "note=hello")",
        R"(cookie("s"))",
        R"(not cookie("none"))",
        R"(method != "GET")",
        R"(header_names == "X-Token")",
        R"(method == "GET" or path == "/Admin/x" and not address in ["192.0.2.0/24"])"})
    EXPECT_TRUE(holds(yes, ask)) << yes;
  for (const char* no :
       {R"(method == "POS")", R"(path == "/admin/x")", R"(address in ["10.2.0.0/16"])",
        R"(arg("none"))", R"(args in ["two"])", R"(size(args) > 4)", R"(size(arg("note")) < 5)",
        R"(header("x-token") == "a")", R"(not method == "POST")",
        R"((method == "GET" or path == "/Admin/x") and address == "10.1.2.4")"})
    EXPECT_FALSE(holds(no, ask)) << no;
}

TEST(WafPolicyRules, BlockCountAndAllow) {
  const Ask attack{.target = "/?id=1%27%20or%20%271%27=%271"};
  WafPolicy p;
  p.rules = {{"office", R"(address == "192.0.2.7")", WafAction::kAllow, 403}};
  EXPECT_EQ(under(p, attack).status, 0);
  p.rules = {{"watched", R"(path == "/")", WafAction::kCount, 403}};
  Outcome counted = under(p, {});
  EXPECT_EQ(counted.status, 0);
  EXPECT_THAT(counted.messages, Contains("watched (counts only)"));
  p.rules = {{"closed", R"(path == "/")", WafAction::kBlock, 451}};
  EXPECT_EQ(under(p, {}).status, 451);
}

TEST(WafPolicyRules, AChallengeIsForThoseWithoutAPassAndEndsNothingForOthers) {
  WafPolicy policy;
  policy.core_rules.clear();
  policy.rules = {{.name = "asked", .when = "path == \"/a\"", .action = WafAction::kChallenge},
                  {.name = "closed", .when = "header(\"x-closed\")", .status = 451}};
  const auto text = seclang_of(policy);
  ASSERT_TRUE(text);
  auto rules = RuleSet::parse(*text, "policy", {});
  ASSERT_TRUE(rules) << rules.error().message;
  const HeaderField passed[] = {{kPassedFact, "1"}};
  const HeaderField closed[] = {{"X-Closed", "yes"}};
  Collections collections;
  Workspace workspace(*rules);
  auto rule_of = [&](bool has_pass, bool is_closed, std::vector<std::string>& tags) {
    Transaction t(workspace, collections,
                  {std::chrono::steady_clock::now(), std::chrono::system_clock::now()});
    RequestHead head;
    head.method = "GET";
    head.target = "/a";
    head.protocol = "1.1";
    if (has_pass) head.facts = passed;
    if (is_closed) head.fields = closed;
    if (!t.request_headers(head)) t.request_body({});
    for (const MatchedRule& m : t.matches())
      if (m.disruptive) tags = m.tags;
    return t.intervention().status;
  };
  std::vector<std::string> tags;
  EXPECT_EQ(rule_of(false, false, tags), 403);
  EXPECT_THAT(tags, Contains(std::string(kChallengeTag)));
  EXPECT_EQ(rule_of(true, false, tags), 200);
  EXPECT_EQ(rule_of(true, true, tags), 451);
  EXPECT_THAT(tags, Not(Contains(std::string(kChallengeTag))));
}

TEST(WafPolicyRules, GroupsBlockCountOrAreOff) {
  if (!std::filesystem::exists(WafPolicy{}.core_rules)) GTEST_SKIP() << "modsecurity-crs is needed";
  const Ask sqli{.target = "/?id=1%27%20or%20%271%27=%271"};
  const Ask xss{.target = "/?q=%3Cscript%3Ealert(1)%3C/script%3E"};
  WafPolicy p;
  EXPECT_EQ(under(p, {}).status, 0);
  EXPECT_EQ(under(p, sqli).status, 403);
  EXPECT_EQ(under(p, xss).status, 403);

  p.groups[static_cast<std::size_t>(WafGroup::kSqli)] = WafAction::kCount;
  Outcome counted = under(p, sqli);
  EXPECT_EQ(counted.status, 0);
  EXPECT_THAT(counted.messages,
              Contains(HasSubstr("would have been refused by sqli (counts only), score 5")));
  EXPECT_EQ(under(p, xss).status, 403);

  p.groups[static_cast<std::size_t>(WafGroup::kSqli)] = WafAction::kOff;
  Outcome off = under(p, sqli);
  EXPECT_EQ(off.status, 0);
  EXPECT_THAT(off.messages, Not(Contains(HasSubstr("SQL"))));
}

TEST(WafPolicyRules, ExclusionsHoldBelowTheirPathOnly) {
  if (!std::filesystem::exists(WafPolicy{}.core_rules)) GTEST_SKIP() << "modsecurity-crs is needed";
  const std::string attack = "?note=1%27%20or%20%271%27=%271";
  auto status = [&](const WafExclusion& e, const std::string& target) {
    WafPolicy p;
    p.exclusions = {e};
    return under(p, {.target = target}).status;
  };
  EXPECT_EQ(status({.path = "/notes", .rules = {}, .groups = {"sqli"}, .values = {}},
                   "/notes/1" + attack),
            0);
  EXPECT_EQ(
      status({.path = "/notes", .rules = {}, .groups = {"sqli"}, .values = {}}, "/other" + attack),
      403);
  const WafExclusion note{
      .path = "/notes", .rules = {"942100"}, .groups = {}, .values = {R"(arg("note"))"}};
  EXPECT_EQ(status(note, "/notes" + attack), 0);
  EXPECT_EQ(status(note, "/notes?other=1%27%20or%20%271%27=%271"), 403);
  EXPECT_EQ(status({.path = "/", .rules = {}, .groups = {}, .values = {}}, "/x" + attack), 0);
}

TEST(WafPolicyRules, SensitivityAndThresholdDecide) {
  if (!std::filesystem::exists(WafPolicy{}.core_rules)) GTEST_SKIP() << "modsecurity-crs is needed";
  const Ask harmless{.target = "/?q=" + std::string(1, '\'') + "%20-%20%3B%23"};
  WafPolicy p;
  EXPECT_EQ(under(p, harmless).status, 0);
  p.sensitivity = 4;
  EXPECT_EQ(under(p, harmless).status, 403);
  p.threshold = 10'000;
  EXPECT_EQ(under(p, harmless).status, 0);
  WafPolicy few;
  few.methods = {"GET"};
  EXPECT_EQ(under(few, {.method = "DELETE"}).status, 403);
  EXPECT_EQ(under(WafPolicy{}, {.method = "DELETE"}).status, 0);
}

TEST(WafPolicyRules, WhatCannotBeReadNamesItsRule) {
  auto refused = seclang_of(own("path = 1"));
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message, HasSubstr("rule 'mine': column 6"));
}

}  // namespace
}  // namespace leeward::waf

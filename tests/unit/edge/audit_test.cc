#include "edge/audit.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "edge/audit_body.h"
#include "edge/internal/access_log.h"

namespace leeward::edge {
namespace {

using Json = nlohmann::json;

Result<AuditPolicy> result_of(WafAudit setting, std::string_view engine,
                              const std::string& statuses) {
  EdgeWaf settings;
  settings.audit_log = setting;
  waf::Settings rules;
  rules.audit_engine = engine;
  rules.audit_relevant_status = statuses;
  return AuditPolicy::of(settings, rules);
}

AuditPolicy policy_of(WafAudit setting, std::string_view engine = "Off",
                      const std::string& statuses = "") {
  auto policy = result_of(setting, engine, statuses);
  EXPECT_TRUE(policy) << policy.error().message;
  return policy ? *policy : AuditPolicy{};
}

AuditEntry entry_of(int status, std::vector<RuleMatch> matches = {}) {
  AuditEntry entry;
  entry.request.client = *parse_client_address("192.0.2.7");
  entry.request.method = "GET";
  entry.request.protocol = "1.1";
  entry.request.host = "shop.test";
  entry.request.target = "/?q=\"1\"&pass=word";
  entry.request.fields = {
      {"Cookie", "session=s"}, {"Referer", "http://shop.test/?token=t"}, {"X-Odd", "a\tb"}};
  entry.verdict.matches = std::move(matches);
  entry.status = status;
  entry.id = "1-2";
  return entry;
}

TEST(Audit, TheRulesDirectivesAreFollowedUnlessTheSettingSaysOtherwise) {
  using Which = AuditPolicy::Which;
  EXPECT_EQ(policy_of(WafAudit::kRules).which, Which::kNone);
  EXPECT_EQ(policy_of(WafAudit::kRules, "on").which, Which::kAll);
  EXPECT_EQ(policy_of(WafAudit::kRules, "RelevantOnly").which, Which::kRelevant);
  EXPECT_EQ(policy_of(WafAudit::kNone, "On").which, Which::kNone);
  EXPECT_EQ(policy_of(WafAudit::kAll, "Off").which, Which::kAll);
  EXPECT_EQ(result_of(WafAudit::kRules, "RelevantOnly", "(").error().message,
            "SecAuditLogRelevantStatus: '(' is no regular expression");
}

TEST(Audit, BodiesAreKeptWhereTheSettingAndTheRulesPartsSaySo) {
  const auto kept = [](WafAudit which, std::uint64_t bytes, const std::string& parts) {
    EdgeWaf settings;
    settings.audit_log = which;
    settings.audit_body_bytes_max = bytes;
    waf::Settings rules;
    rules.audit_parts = parts;
    return AuditPolicy::of(settings, rules)->body_bytes_max;
  };
  EXPECT_EQ(kept(WafAudit::kAll, 0, "ABC"), 0u);
  EXPECT_EQ(kept(WafAudit::kAll, 4096, "AB"), 4096u);
  EXPECT_EQ(kept(WafAudit::kRules, 4096, "ABHZ"), 0u);
  EXPECT_EQ(kept(WafAudit::kRules, 4096, "ABCZ"), 4096u);
  EXPECT_EQ(kept(WafAudit::kRules, 4096, "ABIZ"), 4096u);
}

TEST(Audit, RelevantIsWhatRulesToldOrAStatusThatWasAskedFor) {
  // As Debian's modsecurity.conf-recommended has it.
  const AuditPolicy policy = policy_of(WafAudit::kRules, "RelevantOnly", "^(?:5|4(?!04))");
  EXPECT_FALSE(is_relevant(policy, entry_of(200)));
  EXPECT_FALSE(is_relevant(policy, entry_of(404)));
  EXPECT_TRUE(is_relevant(policy, entry_of(403)));
  EXPECT_TRUE(is_relevant(policy, entry_of(502)));
  EXPECT_TRUE(is_relevant(policy, entry_of(200, {{.rule = "1", .message = "m"}})));
  EXPECT_FALSE(is_relevant(policy, entry_of(200, {{.rule = "1", .message = "m", .audit = false}})));
  const AuditPolicy by_rules = policy_of(WafAudit::kRelevant);
  EXPECT_FALSE(is_relevant(by_rules, entry_of(502)));
  EXPECT_TRUE(is_relevant(policy_of(WafAudit::kAll), entry_of(200)));
}

TEST(Audit, ALineIsJsonWithoutSecrets) {
  std::string text;
  format_audit(entry_of(403, {{.rule = "942100",
                               .message = "SQL \"injection\"",
                               .variable = "ARGS:q",
                               .value = "1",
                               .place = "rules.conf:3:1",
                               .severity = 2},
                              {.rule = "7", .message = "quiet", .audit = false}}),
               SecretMask(), text);
  ASSERT_TRUE(text.ends_with("}\n")) << text;
  const Json t = Json::parse(text)["transaction"];
  EXPECT_EQ(t["client_ip"], "192.0.2.7");
  EXPECT_EQ(t["unique_id"], "1-2");
  EXPECT_EQ(t["request"]["uri"], "/?q=\"1\"&pass=***");
  EXPECT_EQ(t["request"]["headers"]["Cookie"], "***");
  EXPECT_EQ(t["request"]["headers"]["Referer"], "http://shop.test/?token=***");
  EXPECT_EQ(t["request"]["headers"]["X-Odd"], "a\tb");
  EXPECT_EQ(t["response"]["http_code"], 403);
  ASSERT_EQ(t["messages"].size(), 1u);
  EXPECT_EQ(t["messages"][0]["message"], "SQL \"injection\"");
  EXPECT_EQ(t["messages"][0]["details"]["ruleId"], "942100");
  EXPECT_EQ(t["messages"][0]["details"]["file"], "rules.conf:3:1");
}

TEST(Audit, ABodyIsInItWithoutSecretsAndWithItsSize) {
  AuditEntry entry = entry_of(403);
  entry.request.fields.emplace_back("Content-Type", "application/json");
  entry.request.body = R"({"user": "Kim", "password": "x"})";
  entry.body_bytes = 90'000;
  std::string text;
  format_audit(entry, SecretMask(), text);
  const Json request = Json::parse(text)["transaction"]["request"];
  EXPECT_EQ(request["body"], "json.user=Kim&json.password=***");
  EXPECT_EQ(request["body_bytes"], 90'000);
  EXPECT_EQ(request["headers"]["Content-Type"], "application/json");
  text.clear();
  entry.request.body_coded = true;
  format_audit(entry, SecretMask(), text);
  EXPECT_EQ(Json::parse(text)["transaction"]["request"]["body"], "***");
  text.clear();
  format_audit(entry_of(200), SecretMask(), text);
  EXPECT_FALSE(Json::parse(text)["transaction"]["request"].contains("body"));
}

TEST(AuditBody, IsAFormOfWhateverCameWithNames) {
  const SecretMask mask({"iban"});
  const std::string form = "application/x-www-form-urlencoded";
  EXPECT_EQ(audit_body(form, "a=1+2&Password=p&my%5fiban=DE0&x=%ED%95%9C", mask),
            "a=1+2&Password=***&my_iban=***&x=%ED%95%9C");
  EXPECT_EQ(audit_body("Application/Vnd.Api+JSON ; charset=utf-8",
                       R"({"a":[1,"b\nc"],"credentials":{"k":"v"}})", mask),
            "json.a.array_0=1&json.a.array_1=b%0Ac&json.credentials.k=***");
  EXPECT_EQ(audit_body("application/json", R"({"a":"1","pass)", mask), "json.a=1") << "cut off";
  EXPECT_EQ(audit_body("application/json", R"({"a":"1","password":"se)", mask), "json.a=1");
  EXPECT_EQ(audit_body(form, R"({"password":"secret"})", mask), "***=") << "no name of a value";
  EXPECT_EQ(audit_body("text/plain", "password: secret", mask), "***");
  EXPECT_EQ(audit_body("application/xml", "<password>secret</password>", mask), "***");
  EXPECT_EQ(audit_body("", "secret", mask), "***");
  EXPECT_EQ(audit_body(form, "a=\n\"{}\"", mask), "a=%0A%22%7B%7D%22") << "one line, always";
}

TEST(AuditBody, OfPartsHasTheFieldsAndOfOnesThatAreCutOffTheNames) {
  const std::string type = "multipart/form-data; boundary=b";
  const auto part = [](const std::string& name, const std::string& value) {
    return "--b\r\nContent-Disposition: form-data; " + name + "\r\n\r\n" + value + "\r\n";
  };
  const std::string body = part("name=\"a\"", "1&2") + part("name=\"token\"", "t") +
                           part("name=\"f\"; filename=\"x.png\"", "PNG");
  EXPECT_EQ(audit_body(type, body + "--b--\r\n", SecretMask()), "a=1%262&token=***");
  EXPECT_EQ(audit_body(type, body, SecretMask()), "a=***&token=***&f=***");
}

TEST(AuditLog, RotatesAtItsSizeByWholeLinesAndKeepsSoManyFiles) {
  const std::string directory = testing::TempDir() + "audit-" + std::to_string(getpid());
  std::filesystem::create_directories(directory);
  const std::string path = directory + "/audit.log";
  {
    auto log = AccessLog::rotating(path, 1, 100, 2);
    EXPECT_FALSE(std::filesystem::exists(path)) << "before the first line";
    for (int i = 0; i < 20; ++i) log->append(0, fmt::format("line {:02} of twenty-six bytes\n", i));
    log->append(0, std::string(300, 'x') + "\n");
  }
  auto read = [](const std::string& name) {
    std::ifstream file(name);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  EXPECT_EQ(read(path), std::string(300, 'x') + "\n") << "longer than a file, and yet whole";
  EXPECT_EQ(read(path + ".1"), "line 18 of twenty-six bytes\nline 19 of twenty-six bytes\n");
  EXPECT_EQ(read(path + ".2").substr(0, 7), "line 15");
  EXPECT_FALSE(std::filesystem::exists(path + ".3"));
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace leeward::edge

#include "app/waf_judge.h"

#include <gtest/gtest.h>

#include <cstdio>

namespace leeward::app {
namespace {

TEST(WafJudge, KeepsSecretsOfATargetOutOfTheLog) {
  auto rules = waf::RuleSet::parse(
      "SecRuleEngine On\nSecRule ARGS:q \"@streq evil\" \"id:1,phase:1,deny,status:403\"\n",
      "r.conf", {.files = false});
  ASSERT_TRUE(rules);
  std::FILE* const file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  Registry registry;
  WafJudge judge(*rules, true, edge::SecretMask({"iban"}),
                 Logger(fileno(file), LogLevel::kInfo, LogFormat::kText), registry);
  OfferedRequest request;
  request.address = "192.0.2.7";
  request.target = "/pay?token=t0p&my_iban=DE0&q=evil";
  std::optional<waf::Workspace> workspace;
  EXPECT_TRUE(judge.judge(request, workspace).enforced);
  std::rewind(file);
  std::string log(4096, '\0');
  log.resize(std::fread(log.data(), 1, log.size(), file));
  std::fclose(file);
  EXPECT_NE(log.find("/pay?token=***&my_iban=***&q=evil"), std::string::npos) << log;
}

}  // namespace
}  // namespace leeward::app

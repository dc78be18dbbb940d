#include "waf/load_rules.h"

#include <filesystem>

#include "base/check.h"
#include "waf/policy.h"

namespace leeward::waf {

Result<std::shared_ptr<const RuleSet>> load_rules(const EdgeWaf& settings,
                                                  const std::string& directory,
                                                  RuleSet::Options options) {
  options.coded_body = settings.body_limit_action == WafBodyLimit::kReject ? CodedBody::kRefused
                                                                           : CodedBody::kPartly;
  LEEWARD_CHECK(settings.policy || !settings.rules_file.empty());
  if (!settings.policy) {
    const auto file = std::filesystem::path(directory) / settings.rules_file;
    return RuleSet::load(file.lexically_normal().string(), options);
  }
  auto text = seclang_of(*settings.policy, settings.responses);
  if (!text) return fail(std::move(text.error()));
  return RuleSet::parse(*text, "policy", options);
}

}  // namespace leeward::waf

// The rules that a platform's firewall runs: those of its file, or those that its policy stands
// for.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "model/edge.h"
#include "waf/rule_set.h"

namespace leeward::waf {

// `directory`: where a relative rules_file begins. REQUIRES: the settings have a policy or a file.
// Errors as RuleSet::load(); those of a policy's rules name "policy".
Result<std::shared_ptr<const RuleSet>> load_rules(const EdgeWaf& settings,
                                                  const std::string& directory,
                                                  RuleSet::Options options = {});

}  // namespace leeward::waf

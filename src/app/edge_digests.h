// What the firewall of an edge runs, as digests: sites that have the same ones do the same. Paths
// are no part of them, the files' contents are; nor is what fits a machine, such as the number of
// threads.
#pragma once

#include <map>
#include <string>

#include "edge/access_rules.h"
#include "edge/waf.h"

namespace leeward::app {

// By part: rules (of the web application firewall), inspection (its settings), limits (of rates),
// lists (of addresses and countries), challenge (only with `secret_parts`, for operators).
// 16 digits each; "none" where there is none. `waf` may be null.
std::map<std::string, std::string> firewall_digests(const edge::AccessRules& rules,
                                                    const edge::Waf* waf, bool secret_parts);
std::string firewall_metrics(const edge::AccessRules& rules, const edge::Waf* waf,
                             bool reload_refused);

}  // namespace leeward::app

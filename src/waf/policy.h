// A policy (model/waf_policy.h) as rules in SecLang, for any engine that reads the language: rules
// of one's own first, then what is left out, then the groups of the Core Rule Set (3.3 and 4), then
// its evaluation of the anomaly score.
//
// A group that only counts keeps its rules, but what they add to the score is taken back after its
// last rule and kept apart: when that alone would have refused the request, a message says so.
//
// Ids: rules of one's own and what belongs to them from kPolicyIdFirst on, in the range that
// ModSecurity leaves to local use.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "model/waf_policy.h"

namespace leeward::waf {

inline constexpr std::uint32_t kPolicyIdFirst = 10'000;

// A rule with action challenge denies, with this tag, what comes without this fact
// (RequestHead::facts).
inline constexpr std::string_view kChallengeTag = "leeward-challenge";
inline constexpr std::string_view kPassedFact = "leeward_challenge_passed";

// kInvalid: an expression or value of the policy cannot be read; the message names the rule.
// `responses`: with the Core Rule Set's rules about responses, of the groups that block.
Result<std::string> seclang_of(const WafPolicy& policy, bool responses = false);

}  // namespace leeward::waf

// A policy of the web application firewall, for who would rather not write SecLang: groups of
// OWASP's Core Rule Set under the names that AWS WAF and Cloud Armor give them, how sensitive they
// are, what is left out where, and rules of one's own. Plain data; waf/policy.h makes SecLang of
// it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace leeward {

enum class WafGroup : std::uint8_t {
  kScanner,
  kProtocol,
  kLfi,
  kRfi,
  kRce,
  kPhp,
  kNode,
  kXss,
  kSqli,
  kSessionFixation,
  kJava,
};
constexpr std::array<std::string_view, 11> kWafGroups = {
    "scanner", "protocol",         "lfi", "rfi", "rce", "php", "node", "xss",
    "sqli",    "session_fixation", "java"};

enum class WafAction : std::uint8_t {
  kBlock,
  kCount,      // matches are logged and counted, and refuse nothing
  kOff,        // of a group
  kAllow,      // of a rule: nothing else is asked
  kChallenge,  // of a rule: who has no pass gets the challenge (edge/challenge.h)
};

// What is not looked at, or by whom, below a path. Rules and groups empty: by all of them.
struct WafExclusion {
  std::string path = "/";           // beginning of the path
  std::vector<std::string> rules;   // ids, "942100"
  std::vector<std::string> groups;  // names of kWafGroups
  std::vector<std::string> values;  // parse_waf_value(): not looked at; empty: the rules are off
  bool operator==(const WafExclusion&) const = default;
};

struct WafCustomRule {
  std::string name;
  std::string when;  // parse_waf_expression()
  WafAction action = WafAction::kBlock;
  int status = 403;
  bool operator==(const WafCustomRule&) const = default;
};

struct WafPolicy {
  std::string core_rules = "/usr/share/modsecurity-crs";  // directory with rules/; empty: none
  int sensitivity = 1;                                    // CRS's paranoia level, 1 to 4
  int threshold = 5;  // of the anomaly score; a critical match counts 5
  std::array<WafAction, kWafGroups.size()> groups{};  // kBlock, kCount or kOff
  std::vector<std::string> methods = {"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"};
  std::vector<WafExclusion> exclusions;
  std::vector<WafCustomRule> rules;
  bool operator==(const WafPolicy&) const = default;
};

}  // namespace leeward

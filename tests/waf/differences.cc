#include "differences.h"

#include <algorithm>
#include <initializer_list>

namespace leeward::waf::compared {
namespace {

// Rules of the Core Rule Set with @pm or @pmFromFile.
bool has_phrases(std::uint32_t rule) {
  constexpr std::uint32_t kRules[] = {913100, 913101, 913102, 913110, 913120, 930120, 930130,
                                      931110, 932120, 932160, 932180, 933110, 933120, 933130,
                                      933150, 934100, 941180, 942251, 944130, 944210};
  return std::find(std::begin(kRules), std::end(kRules), rule) != std::end(kRules);
}

bool is_sum(std::uint32_t rule) { return rule == 949110 || (rule >= 980130 && rule <= 980145); }

// A part of multipart/form-data whose content is more than one line.
bool has_content_of_lines(const std::string& body) {
  for (std::size_t at = 0; (at = body.find("\r\n\r\n", at)) != std::string::npos;) {
    at += 4;
    const std::string content = body.substr(at, body.find("\r\n--b0undary", at) - at);
    if (content.find('\n') != std::string::npos) return true;
  }
  return false;
}

bool has_any(const Seen& seen, std::initializer_list<std::uint32_t> rules) {
  return std::ranges::any_of(rules, [&](std::uint32_t rule) { return seen.rules.contains(rule); });
}

bool is_multipart(const Request& request) {
  return std::any_of(request.fields.begin(), request.fields.end(), [](const auto& field) {
    return field.first == "Content-Type" && field.second.starts_with("multipart/");
  });
}

const Difference kPhrases = {
    "@pm finds a phrase that begins within another",
    "libmodsecurity 3.0.9 loses the beginning of a phrase that overlaps one that it had begun "
    "(\"etc/etc/passwd\" for the phrases \"etc/e…\" and \"etc/passwd\"). Aho and Corasick's "
    "algorithm finds all; an attacker only has to write the beginning twice"};

const Difference kLines = {
    "line ends within a part of multipart/form-data are kept",
    "libmodsecurity 3.0.9 takes some of them out of the value, so that \"<source\\nonerror=…>\" "
    "becomes \"<sourceonerror=…>\" and is not seen. RFC 2046 §5.1.1: only the CRLF before a "
    "delimiter belongs to it; all others are content, and the application gets them"};

const Difference kEngineOff = {
    "ctl:ruleEngine=Off ends the phase",
    "libmodsecurity 3.0.9 runs the rest of the phase, and tells of its rules, though none can "
    "intervene any more. The reference manual: \"Off: do not process rules\""};

const Difference kRanges = {
    "ctl:ruleRemoveTargetById takes a range of ids",
    "libmodsecurity 3.0.9 reads its first number only, so that the exclusion has no effect. The "
    "rules that have one (9003125, 9003310, 9004100, 9004370) mean a range, as version 2 has it"};

const Difference kOrder = {
    "values are looked at in the order of the request",
    "libmodsecurity 3.0.9 keeps arguments in a hash table, and looks at them in its order. 932200 "
    "looks in its chain at the value that matched last (MATCHED_VAR), so which one that is depends "
    "on the names' hashes there, and on the request alone here"};

bool is_only_about_order(const Seen& ours, const Seen& reference) {
  constexpr std::uint32_t kLooksAtTheLast = 932200;
  const auto known = [](const Seen& seen, const Seen& other) {
    return std::ranges::all_of(seen.rules, [&](std::uint32_t rule) {
      return other.rules.contains(rule) || rule == kLooksAtTheLast || is_sum(rule);
    });
  };
  return known(ours, reference) && known(reference, ours) &&
         ours.rules.contains(kLooksAtTheLast) != reference.rules.contains(kLooksAtTheLast);
}

bool has_only_less(const Seen& ours, const Seen& reference) {
  return std::includes(reference.rules.begin(), reference.rules.end(), ours.rules.begin(),
                       ours.rules.end());
}

}  // namespace

const Difference* explained(const Request& request, const Seen& ours, const Seen& reference) {
  // Nothing passes here that does not pass there.
  if (reference.status != 0 && ours.status == 0) return nullptr;
  const bool surplus_of_phrases =
      std::includes(ours.rules.begin(), ours.rules.end(), reference.rules.begin(),
                    reference.rules.end()) &&
      std::all_of(ours.rules.begin(), ours.rules.end(), [&](std::uint32_t rule) {
        return reference.rules.contains(rule) || has_phrases(rule) || is_sum(rule);
      });
  if (surplus_of_phrases && ours.rules.size() > reference.rules.size()) return &kPhrases;
  if (is_only_about_order(ours, reference)) return &kOrder;
  if (has_any(ours, {901450, 905110}) && ours.status == reference.status &&
      has_only_less(ours, reference))
    return &kEngineOff;
  if (has_any(ours, {9003125, 9003310, 9004100, 9004370}) && has_only_less(ours, reference))
    return &kRanges;
  if (is_multipart(request) && has_content_of_lines(request.body)) return &kLines;
  return nullptr;
}

}  // namespace leeward::waf::compared

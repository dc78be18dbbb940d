#include "differences.h"

#include <algorithm>

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
  if (is_multipart(request) && has_content_of_lines(request.body)) return &kLines;
  return nullptr;
}

}  // namespace leeward::waf::compared

#include "edge/secret_mask.h"

#include <algorithm>
#include <array>

#include "waf/transform.h"

namespace leeward::edge {
namespace {

constexpr std::array<std::string_view, 19> kWords = {
    "pass",    "pwd",    "secret",  "token",   "authoriz",  "oauth",      "session",
    "cookie",  "apikey", "api-key", "api_key", "api key",   "credential", "signature",
    "private", "jwt",    "cvv",     "cvc",     "cardnumber"};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  return out;
}

}  // namespace

SecretMask::SecretMask(const std::vector<std::string>& more) {
  words_.assign(kWords.begin(), kWords.end());
  for (const std::string& word : more) words_.push_back(lower(word));
}

bool SecretMask::is_secret(std::string_view name) const {
  const std::string text = lower(name);
  return std::any_of(words_.begin(), words_.end(),
                     [&](const std::string& word) { return text.find(word) != std::string::npos; });
}

std::string SecretMask::target(std::string_view target) const {
  const std::size_t question = std::min(target.find('?'), target.size());
  std::string out(target.substr(0, question));
  for (std::size_t at = question; at < target.size();) {
    const std::size_t end = std::min(target.find('&', at + 1), target.size());
    const std::string_view pair = target.substr(at + 1, end - at - 1);
    const std::size_t equals = pair.find('=');
    out += target[at];
    std::string name(equals == std::string_view::npos ? std::string_view()
                                                      : pair.substr(0, equals));
    waf::apply(waf::Transform::kUrlDecode, name);
    if (is_secret(name))
      out.append(pair.substr(0, equals + 1)).append(kMasked);
    else
      out.append(pair);
    at = end;
  }
  return out;
}

std::string SecretMask::matched(std::string_view variable, std::string_view value) const {
  const std::size_t colon = variable.find(':');
  const std::string_view collection = variable.substr(0, colon);
  const std::string_view name =
      colon == std::string_view::npos ? std::string_view() : variable.substr(colon + 1);
  // What is left of TX when the origin is asked for: what rules have made up, such as scores.
  if (collection.ends_with("_NAMES") || collection == "TX") return std::string(value);
  if (collection == "REQUEST_URI" || collection == "REQUEST_URI_RAW") return target(value);
  if (collection == "REQUEST_HEADERS" && lower(name) == "referer") return target(value);
  if (collection == "QUERY_STRING") return target("?" + std::string(value)).substr(1);
  // Of MATCHED_VAR it is not known here what it holds.
  constexpr std::array<std::string_view, 9> kWhole = {
      "REQUEST_COOKIES", "REQUEST_BODY", "FULL_REQUEST", "REQUEST_LINE", "XML",
      "RESPONSE_BODY",   "MATCHED_VAR",  "MATCHED_VARS", "SESSIONID"};
  if (std::find(kWhole.begin(), kWhole.end(), collection) != kWhole.end() || is_secret(name))
    return std::string(kMasked);
  return std::string(value);
}

}  // namespace leeward::edge

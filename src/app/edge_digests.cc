#include "app/edge_digests.h"

#include <fmt/format.h>

#include <iterator>

#include "base/sha256.h"

namespace leeward::app {
namespace {

constexpr std::size_t kDigits = 16;

std::string short_digest(std::string_view text) { return sha256_hex(text).substr(0, kDigits); }

std::string text_of(const EdgeWaf& waf) {
  return fmt::format("{} {} {} {} {} {} {} {} {} {}", static_cast<int>(waf.mode),
                     static_cast<int>(waf.on_failure), waf.before_cache, waf.body_bytes_max,
                     static_cast<int>(waf.body_limit_action), waf.timeout.count(), waf.responses,
                     waf.response_bytes_max, waf.response_hold.count(), waf.crawlers.verify);
}

std::string text_of(const std::vector<EdgeRateLimit>& limits) {
  std::string out;
  for (const EdgeRateLimit& l : limits)
    fmt::format_to(std::back_inserter(out), "{} {} {} {} {} {} {} {} {} {}\n", l.name, l.path,
                   l.key, l.requests, l.per.count(), l.burst, static_cast<int>(l.action),
                   l.block_for.count(), l.ban_after, l.ban_for.count());
  return out;
}

}  // namespace

std::map<std::string, std::string> firewall_digests(const edge::AccessRules& rules,
                                                    const edge::Waf* waf, bool secret_parts) {
  const EdgeFirewall& spec = rules.spec();
  std::map<std::string, std::string> parts;
  parts["rules"] = waf == nullptr ? "none" : waf->digest.substr(0, kDigits);
  parts["inspection"] = waf == nullptr ? "none" : short_digest(text_of(waf->settings));
  parts["limits"] = spec.rate_limits.empty() ? "none" : short_digest(text_of(spec.rate_limits));
  std::string lists = rules.lists_digest();
  for (const std::string& code : spec.block_countries) lists.append(" ").append(code);
  const bool any =
      !spec.allow_file.empty() || !spec.block_file.empty() || !spec.country_file.empty();
  parts["lists"] = any ? short_digest(lists) : "none";
  if (secret_parts)
    parts["challenge"] =
        rules.challenge() == nullptr ? "none" : rules.challenge()->digest().substr(0, kDigits);
  return parts;
}

std::string firewall_metrics(const edge::AccessRules& rules, const edge::Waf* waf,
                             bool reload_refused) {
  std::string text =
      "# HELP leeward_edge_firewall_info What is in force, by part: the same digest at all sites, "
      "or "
      "they differ.\n"
      "# TYPE leeward_edge_firewall_info gauge\n";
  for (const auto& [part, digest] : firewall_digests(rules, waf, false))
    text +=
        fmt::format("leeward_edge_firewall_info{{part=\"{}\",digest=\"{}\"}} 1\n", part, digest);
  return text +
         fmt::format(
             "# HELP leeward_edge_reload_refused The last reload was refused; what was before "
             "is in force.\n"
             "# TYPE leeward_edge_reload_refused gauge\n"
             "leeward_edge_reload_refused {}\n",
             reload_refused ? 1 : 0);
}

}  // namespace leeward::app

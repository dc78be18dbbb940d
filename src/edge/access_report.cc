// AccessRules for people: what it would say of a request, and who is banned.
#include <algorithm>
#include <iterator>

#include "edge/access_rules.h"
#include "edge/match_path.h"

namespace leeward::edge {
namespace {

std::string_view name(RateAction action) {
  switch (action) {
    case RateAction::kThrottle:
      return "throttle";
    case RateAction::kBlock:
      return "block";
    case RateAction::kBan:
      return "ban";
    case RateAction::kCount:
      return "count";
    case RateAction::kChallenge:
      return "challenge";
  }
  return "";
}

}  // namespace

std::string AccessRules::explain(const RequestView& request, bool client_known, Now now) const {
  std::string out;
  const auto line = [&out](std::string_view text) {
    out.append("firewall  ").append(text) += '\n';
  };
  if (client_known) {
    const Lists& l = lists();
    const std::string client = to_string(request.client);
    if (l.allow.contains(request.client)) {
      line(client + " is in allow_file: passes all that follows here");
      return out;
    }
    if (l.block.contains(request.client)) line(client + " is in block_file: 403");
    const NetworkList::Value country = l.countries.find(request.client);
    if (country != 0 &&
        std::binary_search(blocked_countries_.begin(), blocked_countries_.end(), country))
      line(client + " is of a country of block_countries: 403");
    for (const auto& rule : rates_)
      if (const Duration left = banned_for(*rule, request, now.boot); left > 0ns)
        line(fmt::format("{} is banned by {} for {} more: 403", client, rule->name,
                         format_duration(std::chrono::ceil<std::chrono::seconds>(left))));
  }
  explain_limits(request, client_known, now.boot, out);
  return out;
}

void AccessRules::explain_limits(const RequestView& request, bool client_known, BootTime now,
                                 std::string& out) const {
  std::string storage;
  const std::string_view path = match_path(request.target, storage);
  for (std::size_t i = 0; i < rates_.size(); ++i) {
    const RateRule& rule = *rates_[i];
    if (!path.starts_with(rule.path)) continue;
    const EdgeRateLimit& limit = spec_.rate_limits[i];
    fmt::format_to(std::back_inserter(out), "firewall  limit {}: {} in {} by {}, then {}",
                   rule.name, limit.requests, format_duration(limit.per), limit.key,
                   name(rule.action));
    if (client_known && rule.header.empty()) {
      const auto room = limiter_.room(key(rule, KeyOf::kLimit, request), rule.limit, now);
      if (room.wait > 0ns)
        fmt::format_to(std::back_inserter(out), "; above it for {} more",
                       format_duration(std::chrono::ceil<std::chrono::milliseconds>(room.wait)));
      else
        fmt::format_to(std::back_inserter(out), "; {} more now", room.requests);
    }
    out += '\n';
  }
}

// Null: there is no such limit, or none that bans, since a reload.
const AccessRules::RateRule* AccessRules::banning(std::uint64_t id) const {
  const auto found = std::find_if(rates_.begin(), rates_.end(), [id](const auto& rule) {
    return rule->id == id && rule->action == RateAction::kBan;
  });
  return found == rates_.end() ? nullptr : found->get();
}

std::vector<AccessRules::Banned> AccessRules::banned(BootTime now, std::size_t most) const {
  std::vector<BanList::Ban> bans;
  if (bans_ != nullptr)
    bans_->each(now, [&](const BanList::Ban& ban) {
      if (banning(ban.rule) != nullptr) bans.push_back(ban);
    });
  const std::size_t kept = std::min(bans.size(), most);
  std::partial_sort(bans.begin(), bans.begin() + static_cast<std::ptrdiff_t>(kept), bans.end(),
                    [](const BanList::Ban& a, const BanList::Ban& b) { return a.left > b.left; });
  std::vector<Banned> all;
  for (std::size_t i = 0; i < kept; ++i)
    all.push_back({.rule = banning(bans[i].rule)->name,
                   .client = to_string(bans[i].client),
                   .left = bans[i].left});
  return all;
}

std::size_t AccessRules::count_banned(BootTime now) const {
  std::size_t count = 0;
  bans_->each(now, [&](const BanList::Ban& ban) { count += banning(ban.rule) != nullptr; });
  return count;
}

std::size_t AccessRules::lift(const ClientAddress& client, BootTime now) {
  if (bans_ == nullptr) return 0;
  const auto same = [](const ClientAddress& a, const ClientAddress& b) {
    return std::equal(std::begin(a.bytes), std::end(a.bytes), std::begin(b.bytes));
  };
  const ClientAddress network = subscriber_network(client);
  return bans_->lift(
      [&](const BanList::Ban& ban) {
        return same(ban.client, client) || same(ban.client, network);
      },
      now);
}

std::size_t AccessRules::lift_all(BootTime now) {
  return bans_ == nullptr ? 0 : bans_->lift([](const BanList::Ban&) { return true; }, now);
}

}  // namespace leeward::edge

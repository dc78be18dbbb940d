#include "edge/access_rules.h"

#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/file.h"
#include "base/sha256.h"
#include "edge/cache_policy.h"
#include "edge/match_path.h"

namespace leeward::edge {
namespace {

constexpr std::size_t kListBytesMax = 256u << 20;
constexpr std::string_view kHeaderPrefix = "header:";

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed) seed = 0x9e3779b97f4a7c15;
  return seed;
}

std::uint64_t next_identity() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

Result<NetworkList> read_list(const std::string& path, bool countries, std::string& digests) {
  digests += '\n';
  if (path.empty()) return NetworkList{};
  auto text = read_file(path, kListBytesMax);
  if (!text) return fail(std::move(text.error()));
  digests.append(sha256_hex(*text));
  return countries ? NetworkList::parse_countries(*text, path) : NetworkList::parse(*text, path);
}

Verdict refused_by(std::string_view list) {
  return {.refused = true, .status = 403, .retry_after = {}, .challenge = false, .rule = list};
}

bool bans(const EdgeFirewall& spec) {
  return std::any_of(spec.rate_limits.begin(), spec.rate_limits.end(),
                     [](const EdgeRateLimit& l) { return l.action == RateAction::kBan; });
}

}  // namespace

AccessRules::AccessRules(const EdgeFirewall& spec, const Logger& logger,
                         std::shared_ptr<const Challenge> challenge, const AccessRules* before)
    : spec_(spec),
      logger_(logger.with("firewall")),
      challenge_(std::move(challenge)),
      seed_(before != nullptr ? before->seed_ : random_seed()),
      identity_(next_identity()),
      limiter_(spec.rate_limits.empty() ? 0 : spec.keys_max) {
  for (const std::string& code : spec.block_countries)
    blocked_countries_.push_back(country_value(code));
  std::sort(blocked_countries_.begin(), blocked_countries_.end());
  for (const EdgeRateLimit& limit : spec.rate_limits) {
    auto rule = std::make_unique<RateRule>();
    rule->name = limit.name;
    rule->path = limit.path;
    rule->by_prefix = limit.key == "network";
    if (limit.key.starts_with(kHeaderPrefix)) rule->header = limit.key.substr(kHeaderPrefix.size());
    rule->action = limit.action;
    rule->id = hash_bytes(limit.name, seed_);
    rule->limit.interval = std::max<Duration>(1ns, limit.per / limit.requests);
    const std::int64_t burst = limit.burst > 0 ? limit.burst : limit.requests;
    rule->limit.tolerance = rule->limit.interval * (burst - 1);
    if (limit.action == RateAction::kBlock) rule->limit.block_for = limit.block_for;
    if (limit.ban_after > 0)
      rule->borne.interval = std::max<Duration>(1ns, limit.per / limit.ban_after);
    rule->borne.tolerance = rule->borne.interval * (limit.ban_after - 1);
    rule->ban_for = limit.ban_for;
    rates_.push_back(std::move(rule));
  }
  if (!bans(spec)) return;
  bans_ = before != nullptr ? before->bans_ : nullptr;
  if (bans_ == nullptr || bans_->bans_max() != spec.bans_max)
    bans_ = std::make_shared<BanList>(spec.bans_max);
}

Result<std::shared_ptr<AccessRules>> AccessRules::load(const EdgeFirewall& spec,
                                                       const Logger& logger,
                                                       std::shared_ptr<const Challenge> challenge,
                                                       const AccessRules* before) {
  std::shared_ptr<AccessRules> rules(new AccessRules(spec, logger, std::move(challenge), before));
  rules->files_ = rules->look_at_files();
  auto lists = rules->read_lists();
  if (!lists) return fail(std::move(lists.error()));
  rules->replace(std::move(*lists));
  return rules;
}

Result<std::shared_ptr<const AccessRules::Lists>> AccessRules::read_lists() const {
  auto lists = std::make_shared<Lists>();
  auto allow = read_list(spec_.allow_file, false, lists->digest);
  if (!allow) return fail(std::move(allow.error()));
  auto block = read_list(spec_.block_file, false, lists->digest);
  if (!block) return fail(std::move(block.error()));
  auto countries = read_list(spec_.country_file, true, lists->digest);
  if (!countries) return fail(std::move(countries.error()));
  lists->allow = std::move(*allow);
  lists->block = std::move(*block);
  lists->countries = std::move(*countries);
  return lists;
}

std::vector<AccessRules::FileState> AccessRules::look_at_files() const {
  std::vector<FileState> files;
  for (const std::string& path : {spec_.allow_file, spec_.block_file, spec_.country_file}) {
    FileState& file = files.emplace_back();
    struct stat s {};
    if (path.empty() || stat(path.c_str(), &s) != 0) continue;
    file = {s.st_mtim.tv_sec * 1'000'000'000 + s.st_mtim.tv_nsec, s.st_size, s.st_ino};
  }
  return files;
}

Result<bool> AccessRules::refresh() {
  std::vector<FileState> files = look_at_files();
  {
    std::lock_guard lock(mutex_);
    if (files == files_) return false;
    files_ = std::move(files);
  }
  auto lists = read_lists();
  if (!lists) return fail(std::move(lists.error()));
  replace(std::move(*lists));
  return true;
}

void AccessRules::replace(std::shared_ptr<const Lists> lists) {
  std::lock_guard lock(mutex_);
  current_ = std::move(lists);
  generation_.fetch_add(1, std::memory_order_release);
}

std::string AccessRules::lists_digest() const {
  std::lock_guard lock(mutex_);
  return sha256_hex(current_->digest);
}

// Each thread holds on to the lists that it last used, so that a look costs no shared write.
const AccessRules::Lists& AccessRules::lists() const {
  struct Held {
    std::uint64_t identity = 0;
    std::uint64_t generation = 0;
    std::shared_ptr<const Lists> lists;
  };
  thread_local Held held;
  if (held.identity != identity_ ||
      held.generation != generation_.load(std::memory_order_acquire)) {
    std::lock_guard lock(mutex_);
    held = {identity_, generation_.load(std::memory_order_relaxed), current_};
  }
  return *held.lists;
}

Verdict AccessRules::judge(const RequestView& request, Now now) {
  const Lists& l = lists();
  if (l.allow.contains(request.client)) return {};
  if (l.block.contains(request.client)) {
    blocked_addresses_.fetch_add(1, std::memory_order_relaxed);
    return refused_by("block_file");
  }
  if (!blocked_countries_.empty()) {
    NetworkList::Value country = l.countries.find(request.client);
    if (country != 0 &&
        std::binary_search(blocked_countries_.begin(), blocked_countries_.end(), country)) {
      blocked_by_country_.fetch_add(1, std::memory_order_relaxed);
      return refused_by("block_countries");
    }
  }
  for (const auto& rule : rates_) {
    const Duration left = banned_for(*rule, request, now.boot);
    if (left == 0ns) continue;
    rule->refused.fetch_add(1, std::memory_order_relaxed);
    return {.refused = true,
            .status = 403,
            .retry_after = left,
            .challenge = false,
            .rule = rule->name};
  }
  std::string storage;
  const std::string_view path = rates_.empty() ? "/" : match_path(request.target, storage);
  Verdict verdict;
  for (const auto& rule : rates_) {
    if (!path.starts_with(rule->path)) continue;
    const Duration wait = limiter_.take(key(*rule, KeyOf::kLimit, request), rule->limit, now.boot);
    if (wait == 0ns) continue;
    const Verdict found = exceeded(*rule, wait, request, now);
    if (found.refused) return found;
    if (found.challenge || !verdict.challenge) verdict = found;
  }
  return verdict;
}

Verdict AccessRules::exceeded(RateRule& rule, Duration wait, const RequestView& request, Now now) {
  rule.exceeded.fetch_add(1, std::memory_order_relaxed);
  Verdict verdict{
      .refused = true, .status = 429, .retry_after = wait, .challenge = false, .rule = rule.name};
  switch (rule.action) {
    case RateAction::kCount:
      verdict.refused = false;
      return verdict;
    case RateAction::kChallenge:
      verdict.refused = false;
      verdict.challenge = challenge_ == nullptr || !challenge_->passed(request, now.wall);
      return verdict;
    case RateAction::kThrottle:
      break;
    case RateAction::kBlock:
      verdict.status = 403;
      break;
    case RateAction::kBan:
      if (rule.borne.interval > 0ns &&
          limiter_.take(key(rule, KeyOf::kBorne, request), rule.borne, now.boot) == 0ns)
        break;
      ban(rule, request, now.boot);
      verdict.status = 403;
      verdict.retry_after = rule.ban_for;
      break;
  }
  rule.refused.fetch_add(1, std::memory_order_relaxed);
  return verdict;
}

// ---- bans

Duration AccessRules::banned_for(const RateRule& rule, const RequestView& request,
                                 BootTime now) const {
  if (rule.action != RateAction::kBan || !bans_->any(now)) return {};
  return bans_->left(key(rule, KeyOf::kBan, request), now);
}

void AccessRules::ban(RateRule& rule, const RequestView& request, BootTime now) {
  rule.bans.fetch_add(1, std::memory_order_relaxed);
  const ClientAddress client = rule.by_prefix ? subscriber_network(request.client) : request.client;
  bans_->add(key(rule, KeyOf::kBan, request),
             {.rule = rule.id, .client = client, .left = rule.ban_for}, now);
  if (log_budget_.take(now).granted)
    logger_.warn("a client is banned", {{"rule", rule.name},
                                        {"client", to_string(client)},
                                        {"for", format_duration(rule.ban_for)}});
}

// Of whom a limit counts together, apart for each limit. Not 0.
std::uint64_t AccessRules::key(const RateRule& rule, KeyOf of, const RequestView& request) const {
  std::uint64_t seed = rule.id + static_cast<std::uint64_t>(of);
  std::uint64_t hash = 0;
  // Without the field there is nothing to tell clients apart by: those count by address.
  const std::string_view value =
      rule.header.empty() ? std::string_view() : find_field(request.fields, rule.header);
  if (value.data() != nullptr) {
    hash = hash_bytes(value, seed);
  } else {
    if (!rule.header.empty()) seed = ~seed;
    const ClientAddress client =
        rule.by_prefix ? subscriber_network(request.client) : request.client;
    hash = hash_bytes({reinterpret_cast<const char*>(client.bytes), sizeof client.bytes}, seed);
  }
  return hash == 0 ? 1 : hash;
}

std::string AccessRules::prometheus_text() const {
  std::string text =
      "# HELP leeward_edge_firewall_refused_total Requests refused, by rule.\n"
      "# TYPE leeward_edge_firewall_refused_total counter\n";
  auto sample = [&](std::string_view rule, const std::atomic<std::uint64_t>& count) {
    text += fmt::format("leeward_edge_firewall_refused_total{{rule=\"{}\"}} {}\n", rule,
                        count.load(std::memory_order_relaxed));
  };
  if (!spec_.block_file.empty()) sample("block_file", blocked_addresses_);
  if (!spec_.block_countries.empty()) sample("block_countries", blocked_by_country_);
  for (const auto& rule : rates_) sample(rule->name, rule->refused);
  text +=
      "# HELP leeward_edge_rate_exceeded_total Requests above a rate limit, whatever its action.\n"
      "# TYPE leeward_edge_rate_exceeded_total counter\n";
  for (const auto& rule : rates_)
    text += fmt::format("leeward_edge_rate_exceeded_total{{rule=\"{}\"}} {}\n", rule->name,
                        rule->exceeded.load(std::memory_order_relaxed));
  text += fmt::format(
      "# HELP leeward_edge_firewall_keys_forgotten_total Clients forgotten before their limit was "
      "full again, because firewall.keys_max is too small.\n"
      "# TYPE leeward_edge_firewall_keys_forgotten_total counter\n"
      "leeward_edge_firewall_keys_forgotten_total {}\n",
      limiter_.forgotten());
  if (challenge_) text += challenge_->prometheus_text();
  if (bans_ == nullptr) return text;
  text +=
      "# HELP leeward_edge_bans_total Bans by a rate limit.\n"
      "# TYPE leeward_edge_bans_total counter\n";
  for (const auto& rule : rates_)
    if (rule->action == RateAction::kBan)
      text += fmt::format("leeward_edge_bans_total{{rule=\"{}\"}} {}\n", rule->name,
                          rule->bans.load(std::memory_order_relaxed));
  text += fmt::format(
      "# HELP leeward_edge_banned Clients that are banned now.\n"
      "# TYPE leeward_edge_banned gauge\nleeward_edge_banned {}\n"
      "# HELP leeward_edge_bans_forgotten_total Bans that ended early, because firewall.bans_max "
      "is too small.\n"
      "# TYPE leeward_edge_bans_forgotten_total counter\n"
      "leeward_edge_bans_forgotten_total {}\n",
      count_banned(BootClock::now()), bans_->forgotten());
  return text;
}

}  // namespace leeward::edge

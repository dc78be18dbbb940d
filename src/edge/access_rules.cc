#include "edge/access_rules.h"

#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "base/file.h"
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

Result<NetworkList> read_list(const std::string& path, bool countries) {
  if (path.empty()) return NetworkList{};
  auto text = read_file(path, kListBytesMax);
  if (!text) return fail(std::move(text.error()));
  return countries ? NetworkList::parse_countries(*text, path) : NetworkList::parse(*text, path);
}

// The network that one subscriber usually has: /24 of IPv4, /64 of IPv6.
ClientAddress subscriber(ClientAddress address) {
  std::size_t kept = address.is_v4() ? 15 : 8;
  std::memset(address.bytes + kept, 0, sizeof address.bytes - kept);
  return address;
}

}  // namespace

AccessRules::AccessRules(const EdgeFirewall& spec, std::uint64_t seed)
    : spec_(spec),
      seed_(seed),
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
    rule->block = limit.action == RateAction::kBlock;
    rule->limit.interval = std::max<Duration>(1ns, limit.per / limit.requests);
    const std::int64_t burst = limit.burst > 0 ? limit.burst : limit.requests;
    rule->limit.tolerance = rule->limit.interval * (burst - 1);
    if (rule->block) rule->limit.block_for = limit.block_for;
    rates_.push_back(std::move(rule));
  }
}

Result<std::shared_ptr<AccessRules>> AccessRules::load(const EdgeFirewall& spec) {
  std::shared_ptr<AccessRules> rules(new AccessRules(spec, random_seed()));
  rules->files_ = rules->look_at_files();
  auto lists = rules->read_lists();
  if (!lists) return fail(std::move(lists.error()));
  rules->replace(std::move(*lists));
  return rules;
}

Result<std::shared_ptr<const AccessRules::Lists>> AccessRules::read_lists() const {
  auto lists = std::make_shared<Lists>();
  auto allow = read_list(spec_.allow_file, false);
  if (!allow) return fail(std::move(allow.error()));
  auto block = read_list(spec_.block_file, false);
  if (!block) return fail(std::move(block.error()));
  auto countries = read_list(spec_.country_file, true);
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

// Each thread holds on to the lists that it last used, so that a look costs no shared write.
const AccessRules::Lists& AccessRules::lists() {
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
    return {.refused = true, .status = 403, .retry_after = {}, .rule = "block_file"};
  }
  if (!blocked_countries_.empty()) {
    NetworkList::Value country = l.countries.find(request.client);
    if (country != 0 &&
        std::binary_search(blocked_countries_.begin(), blocked_countries_.end(), country)) {
      blocked_by_country_.fetch_add(1, std::memory_order_relaxed);
      return {.refused = true, .status = 403, .retry_after = {}, .rule = "block_countries"};
    }
  }
  std::string storage;
  const std::string_view path = rates_.empty() ? "/" : match_path(request.target, storage);
  for (std::size_t i = 0; i < rates_.size(); ++i) {
    RateRule& rule = *rates_[i];
    Duration wait = path.starts_with(rule.path) ? take(rule, i, request, now.boot) : 0ns;
    if (wait == 0ns) continue;
    rule.refused.fetch_add(1, std::memory_order_relaxed);
    return {
        .refused = true, .status = rule.block ? 403 : 429, .retry_after = wait, .rule = rule.name};
  }
  return {};
}

Duration AccessRules::take(RateRule& rule, std::size_t index, const RequestView& request,
                           BootTime now) {
  std::uint64_t seed = seed_ + index;
  if (!rule.header.empty()) {
    std::string_view value = find_field(request.fields, rule.header);
    // Without the field there is nothing to tell clients apart by: those count by address.
    if (value.data() != nullptr) return limiter_.take(hash_bytes(value, seed), rule.limit, now);
    seed = ~seed;
  }
  ClientAddress client = rule.by_prefix ? subscriber(request.client) : request.client;
  std::string_view bytes(reinterpret_cast<const char*>(client.bytes), sizeof client.bytes);
  return limiter_.take(hash_bytes(bytes, seed), rule.limit, now);
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
  text += fmt::format(
      "# HELP leeward_edge_firewall_keys_forgotten_total Clients forgotten before their limit was "
      "full again, because firewall.keys_max is too small.\n"
      "# TYPE leeward_edge_firewall_keys_forgotten_total counter\n"
      "leeward_edge_firewall_keys_forgotten_total {}\n",
      limiter_.forgotten());
  return text;
}

}  // namespace leeward::edge

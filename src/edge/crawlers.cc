#include "edge/crawlers.h"

#include <algorithm>
#include <cstring>
#include <span>

namespace leeward::edge {
namespace {

constexpr std::size_t kHostsMax = 4;
constexpr std::size_t kAgentMax = 512;  // of a User-Agent, looked at

struct Facts {
  SearchEngine engine;
  std::span<const std::string_view> words;    // of a User-Agent in lower case, anywhere in it
  std::span<const std::string_view> domains;  // that the names of its crawlers are below
};

constexpr std::array<std::string_view, 7> kGoogleWords = {
    "googlebot",   "adsbot-google",         "mediapartners-google", "storebot-google",
    "googleother", "google-inspectiontool", "apis-google"};
constexpr std::array<std::string_view, 2> kGoogleDomains = {"googlebot.com", "google.com"};
constexpr std::array<std::string_view, 4> kBingWords = {"bingbot", "bingpreview", "adidxbot",
                                                        "msnbot"};
constexpr std::array<std::string_view, 1> kBingDomains = {"search.msn.com"};
constexpr std::array<std::string_view, 1> kAppleWords = {"applebot"};
constexpr std::array<std::string_view, 1> kAppleDomains = {"applebot.apple.com"};
constexpr std::array<std::string_view, 2> kYandexWords = {"yandexbot", "yandex.com/bots"};
constexpr std::array<std::string_view, 3> kYandexDomains = {"yandex.ru", "yandex.net",
                                                            "yandex.com"};

constexpr std::array<Facts, 4> kEngines = {
    Facts{SearchEngine::kGoogle, kGoogleWords, kGoogleDomains},
    Facts{SearchEngine::kBing, kBingWords, kBingDomains},
    Facts{SearchEngine::kApple, kAppleWords, kAppleDomains},
    Facts{SearchEngine::kYandex, kYandexWords, kYandexDomains}};

}  // namespace

std::optional<SearchEngine> claimed_engine(std::string_view user_agent) {
  char lower[kAgentMax];
  const std::size_t size = std::min(user_agent.size(), kAgentMax);
  std::transform(user_agent.begin(), user_agent.begin() + static_cast<std::ptrdiff_t>(size), lower,
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  const std::string_view text(lower, size);
  for (const Facts& facts : kEngines)
    for (const std::string_view word : facts.words)
      if (text.find(word) != std::string_view::npos) return facts.engine;
  return std::nullopt;
}

bool is_crawler_host(SearchEngine engine, std::string_view host) {
  const std::span<const std::string_view> domains =
      kEngines[static_cast<std::size_t>(engine)].domains;
  return std::any_of(domains.begin(), domains.end(), [host](std::string_view domain) {
    return host.size() > domain.size() && host.ends_with(domain) &&
           host[host.size() - domain.size() - 1] == '.';
  });
}

std::string_view name(CrawlerState state) {
  return kCrawlerStates[static_cast<std::size_t>(state)];
}

CrawlerVerdict judge_crawler(SearchEngine engine, const ClientAddress& client,
                             const CrawlerLookups& lookups) {
  const auto names = lookups.names_of(client);
  if (!names) return {};
  std::size_t hosts = 0;
  bool sure = true;
  for (const std::string& host : names->values) {
    if (!is_crawler_host(engine, host)) continue;
    if (++hosts > kHostsMax) break;
    const auto addresses = lookups.addresses_of(host, client.is_v4());
    sure = sure && addresses;
    if (!addresses) continue;
    for (const std::string& text : addresses->values)
      if (const auto address = parse_client_address(text);
          address && std::memcmp(address->bytes, client.bytes, sizeof client.bytes) == 0)
        return {CrawlerState::kVerified, std::min(names->ttl, addresses->ttl)};
  }
  return {sure ? CrawlerState::kFalse : CrawlerState::kUnverified, {}};
}

CrawlerCache::Key CrawlerCache::key_of(SearchEngine engine, const ClientAddress& client) {
  Key key;
  std::memcpy(key.data(), client.bytes, sizeof client.bytes);
  key.back() = static_cast<std::uint8_t>(engine);
  return key;
}

void CrawlerCache::bound(Entries& shelf) {
  while (shelf.size() > entries_max_) {
    by_key_.erase(shelf.back().key);
    shelf.pop_back();
  }
}

CrawlerCache::Found CrawlerCache::find(SearchEngine engine, const ClientAddress& client,
                                       BootTime now) {
  const Key key = key_of(engine, client);
  auto found = by_key_.find(key);
  if (found == by_key_.end()) {
    others_.push_front({.key = key});
    found = by_key_.emplace(key, others_.begin()).first;
    bound(others_);
  }
  Entry& entry = *found->second;
  const bool ask = !entry.asked && now >= entry.ask_again;
  entry.asked |= ask;
  return {now < entry.known_until ? entry.state : CrawlerState::kUnverified, ask};
}

void CrawlerCache::postpone(SearchEngine engine, const ClientAddress& client) {
  if (const auto found = by_key_.find(key_of(engine, client)); found != by_key_.end())
    found->second->asked = false;
}

void CrawlerCache::learn(SearchEngine engine, const ClientAddress& client,
                         const CrawlerVerdict& verdict, BootTime now) {
  const auto found = by_key_.find(key_of(engine, client));
  if (found == by_key_.end()) return;  // pushed out meanwhile
  const Entries::iterator at = found->second;
  at->asked = false;
  if (verdict.state == CrawlerState::kUnverified) {  // what was known stays, for its time
    at->ask_again = now + kRetryAfter;
    return;
  }
  Entries& from = shelf_of(at->state);
  Entries& to = shelf_of(verdict.state);
  at->state = verdict.state;
  at->ask_again = now + (verdict.state == CrawlerState::kVerified
                             ? std::clamp(verdict.ttl, kVerifiedMin, kVerifiedMax)
                             : kFalseFor);
  at->known_until = at->ask_again + kStaleFor;
  to.splice(to.begin(), from, at);
  bound(to);
}

}  // namespace leeward::edge

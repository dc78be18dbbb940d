// Who says to be a search engine's crawler, and whether DNS says so too. The engines document how:
// the address's name (PTR) is below a domain of theirs, and that name has the address.
//
//   Google  googlebot.com, google.com   developers.google.com/search/docs/crawling-indexing/
//                                       verifying-googlebot
//   Bing    search.msn.com              bing.com/webmasters/help/verify-bingbot-2195837f
//   Apple   applebot.apple.com          support.apple.com/119829
//   Yandex  yandex.ru, .net, .com yandex.com/support/webmaster/robot-workings/check-yandex-robots
//
// Google's googleusercontent.com is not taken: its customers' machines have names there.
//
// Pure: CrawlerCache keeps what is known and says whom to ask about; CrawlerCheck (crawler_check.h)
// asks.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "edge/exchange.h"
#include "model/waf_expression.h"

namespace leeward::edge {

enum class SearchEngine : std::uint8_t { kGoogle, kBing, kApple, kYandex };

// Whose crawler the User-Agent says it is.
std::optional<SearchEngine> claimed_engine(std::string_view user_agent);
// `host` in lower case without the final dot.
bool is_crawler_host(SearchEngine engine, std::string_view host);

// In the order of kCrawlerStates (model/waf_expression.h), which has their names.
enum class CrawlerState : std::uint8_t {
  kUnverified,  // not yet, or DNS cannot say
  kVerified,
  kFalse,  // DNS says that it is not
};
std::string_view name(CrawlerState state);

// What DNS is asked. No values: it is known that there are none. Errors: it cannot be told.
struct CrawlerLookups {
  struct Answer {
    std::vector<std::string> values;
    Duration ttl{};
  };
  std::function<Result<Answer>(const ClientAddress& client)> names_of;
  std::function<Result<Answer>(const std::string& host, bool v4)> addresses_of;
};

struct CrawlerVerdict {
  CrawlerState state = CrawlerState::kUnverified;  // that one: DNS cannot say
  Duration ttl{};                                  // of what was told
};
// Asks for the address's names, and for the addresses of at most kHostsMax of them.
CrawlerVerdict judge_crawler(SearchEngine engine, const ClientAddress& client,
                             const CrawlerLookups& lookups);

// Bounds: kEntriesMax verified ones and as many others, of which the one learnt first goes; so
// whoever only claims pushes no verified one out.
class CrawlerCache {
 public:
  static constexpr std::size_t kEntriesMax = 8192;
  static constexpr Duration kVerifiedMin = 5min, kVerifiedMax = 24h;  // bounds of the TTL
  static constexpr Duration kFalseFor = 10min, kRetryAfter = 30s;
  // What is known is still said so long while DNS is asked again, or does not answer.
  static constexpr Duration kStaleFor = 1h;

  explicit CrawlerCache(std::size_t entries_max = kEntriesMax) : entries_max_(entries_max) {}

  struct Found {
    CrawlerState state = CrawlerState::kUnverified;
    bool ask = false;  // DNS; the caller learn()s what it says, or postpone()s
  };
  Found find(SearchEngine engine, const ClientAddress& client, BootTime now);
  // There was no room to ask: the next find() says so again.
  void postpone(SearchEngine engine, const ClientAddress& client);
  void learn(SearchEngine engine, const ClientAddress& client, const CrawlerVerdict& verdict,
             BootTime now);
  std::size_t size() const { return by_key_.size(); }

 private:
  using Key = std::array<std::uint8_t, 17>;  // the address and the engine
  struct Entry {
    Key key;
    CrawlerState state = CrawlerState::kUnverified;
    bool asked = false;  // and not learnt yet
    BootTime ask_again{}, known_until{};
  };
  using Entries = std::list<Entry>;  // the one learnt last is first

  static Key key_of(SearchEngine engine, const ClientAddress& client);
  Entries& shelf_of(CrawlerState state) {
    return state == CrawlerState::kVerified ? verified_ : others_;
  }
  void bound(Entries& shelf);

  std::size_t entries_max_;
  Entries verified_, others_;
  std::map<Key, Entries::iterator> by_key_;
};

}  // namespace leeward::edge

// The firewall that needs no look into a request's meaning: which addresses and countries may come
// in, and how often each client may ask. Rules go in this order: an address of the allow list
// passes everything; an address of the block list or of a blocked country is refused (403), and so
// is a client that a rate limit has banned; then each rate limit counts the request (429 with
// Retry-After, or 403 while a client is blocked).
//
// Limits and bans are this edge's own: a client that divides its requests over two sites gets both
// rates.
//
// Threading: judge() from every loop; load, refresh and prometheus_text from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/log_budget.h"
#include "edge/ban_list.h"
#include "edge/challenge.h"
#include "edge/exchange.h"
#include "edge/network_list.h"
#include "edge/rate_limiter.h"
#include "model/edge.h"

namespace leeward::edge {

class AccessRules final : public Firewall {
 public:
  // Reads the lists; paths are taken as they are. kInvalid with file:line:column, kNotFound, kIo.
  // `challenge`: who has its pass is not challenged; null: nobody has one. `before`: whose place it
  // takes; its bans go on where a limit of that name still bans. May be null. New bans are logged,
  // ten a second.
  static Result<std::shared_ptr<AccessRules>> load(const EdgeFirewall& spec,
                                                   const Logger& logger = {},
                                                   std::shared_ptr<const Challenge> challenge = {},
                                                   const AccessRules* before = nullptr);

  const EdgeFirewall& spec() const { return spec_; }
  const std::shared_ptr<const Challenge>& challenge() const { return challenge_; }
  Verdict judge(const RequestView& request, Now now) override;
  std::string explain(const RequestView& request, bool client_known, Now now) const override;

  struct Banned {
    std::string rule, client;  // an address, or with the key network the beginning of one
    Duration left{};
  };
  std::vector<Banned> banned(BootTime now, std::size_t most) const;  // the longest first
  // Ends the bans of this address and of its network; returns how many.
  std::size_t lift(const ClientAddress& client, BootTime now);
  std::size_t lift_all(BootTime now);

  // Looks whether a list's file is another than the one that was read, and reads it again if so;
  // true then. On an error the lists stay as they were, and the error comes once per file version.
  Result<bool> refresh();
  std::string prometheus_text() const;
  std::string lists_digest() const;

 private:
  struct Lists {
    NetworkList allow;
    NetworkList block;
    NetworkList countries;
    std::string digest;  // of their files
  };
  struct FileState {
    std::int64_t modified_ns = 0;
    std::int64_t size = -1;
    std::uint64_t inode = 0;
    bool operator==(const FileState&) const = default;
  };
  struct RateRule {
    std::string name;
    std::string path;    // prefix
    std::string header;  // empty: by address
    bool by_prefix = false;
    RateAction action = RateAction::kThrottle;
    RateLimiter::Limit limit;
    // Bans: how many refusals are borne (interval 0: none), for how long, and who is meant.
    RateLimiter::Limit borne;
    Duration ban_for{};
    std::uint64_t id = 0;  // of its name; not 0
    std::atomic<std::uint64_t> exceeded{0}, refused{0}, bans{0};
  };

  AccessRules(const EdgeFirewall& spec, const Logger& logger,
              std::shared_ptr<const Challenge> challenge, const AccessRules* before);
  Result<std::shared_ptr<const Lists>> read_lists() const;
  std::vector<FileState> look_at_files() const;
  void replace(std::shared_ptr<const Lists> lists);
  const Lists& lists() const;
  Duration banned_for(const RateRule& rule, const RequestView& request, BootTime now) const;
  Verdict exceeded(RateRule& rule, Duration wait, const RequestView& request, Now now);
  void ban(RateRule& rule, const RequestView& request, BootTime now);
  const RateRule* banning(std::uint64_t id) const;
  std::size_t count_banned(BootTime now) const;
  enum class KeyOf : std::uint64_t { kLimit, kBorne, kBan };
  std::uint64_t key(const RateRule& rule, KeyOf of, const RequestView& request) const;
  void explain_limits(const RequestView& request, bool client_known, BootTime now,
                      std::string& out) const;

  const EdgeFirewall spec_;
  const Logger logger_;
  const std::shared_ptr<const Challenge> challenge_;
  const std::uint64_t seed_;      // kept over reloads, as the bans are
  const std::uint64_t identity_;  // of this object among all that there ever were
  std::vector<NetworkList::Value> blocked_countries_;  // sorted
  std::vector<std::unique_ptr<RateRule>> rates_;
  std::shared_ptr<BanList> bans_;  // null: no limit bans
  RateLimiter limiter_;
  std::atomic<std::uint64_t> blocked_addresses_{0};
  std::atomic<std::uint64_t> blocked_by_country_{0};
  LogBudget log_budget_;

  std::atomic<std::uint64_t> generation_{0};  // of current_
  mutable std::mutex mutex_;                  // of what follows
  std::shared_ptr<const Lists> current_;
  std::vector<FileState> files_;  // allow, block, countries, as last looked at
};

}  // namespace leeward::edge

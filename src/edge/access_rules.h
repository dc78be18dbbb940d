// The firewall that needs no look into a request's meaning: which addresses and countries may come
// in, and how often each client may ask. Rules go in this order: an address of the allow list
// passes everything; an address of the block list or of a blocked country is refused (403); then
// each rate limit counts the request (429 with Retry-After, or 403 while a client is blocked).
//
// Limits are this edge's own: a client that divides its requests over two sites gets both rates.
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
#include "edge/exchange.h"
#include "edge/network_list.h"
#include "edge/rate_limiter.h"
#include "model/edge.h"

namespace leeward::edge {

class AccessRules final : public Firewall {
 public:
  // Reads the lists; paths are taken as they are. kInvalid with file:line:column, kNotFound, kIo.
  static Result<std::shared_ptr<AccessRules>> load(const EdgeFirewall& spec);

  const EdgeFirewall& spec() const { return spec_; }
  Verdict judge(const RequestView& request, Now now) override;

  // Looks whether a list's file is another than the one that was read, and reads it again if so;
  // true then. On an error the lists stay as they were, and the error comes once per file version.
  Result<bool> refresh();
  std::string prometheus_text() const;

 private:
  struct Lists {
    NetworkList allow;
    NetworkList block;
    NetworkList countries;
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
    bool block = false;
    RateLimiter::Limit limit;
    std::atomic<std::uint64_t> refused{0};
  };

  AccessRules(const EdgeFirewall& spec, std::uint64_t seed);
  Result<std::shared_ptr<const Lists>> read_lists() const;
  std::vector<FileState> look_at_files() const;
  void replace(std::shared_ptr<const Lists> lists);
  const Lists& lists();
  Duration take(RateRule& rule, std::size_t index, const RequestView& request, BootTime now);

  const EdgeFirewall spec_;
  const std::uint64_t seed_;
  const std::uint64_t identity_;  // of this object among all that there ever were
  std::vector<NetworkList::Value> blocked_countries_;  // sorted
  std::vector<std::unique_ptr<RateRule>> rates_;
  RateLimiter limiter_;
  std::atomic<std::uint64_t> blocked_addresses_{0};
  std::atomic<std::uint64_t> blocked_by_country_{0};

  std::atomic<std::uint64_t> generation_{0};  // of current_
  mutable std::mutex mutex_;                  // of what follows
  std::shared_ptr<const Lists> current_;
  std::vector<FileState> files_;  // allow, block, countries, as last looked at
};

}  // namespace leeward::edge

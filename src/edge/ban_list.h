// Clients that are kept out for a time. A table of fixed size, shared by all loops and kept over
// reloads.
//
// Bounds: `bans_max` clients, rounded up, 48 bytes each. When the four entries of a client's set
// are all in force, the ban that ends soonest is lifted early; forgotten() counts that.
//
// Threading: everything from any thread; two clients of one set exclude each other for some
// nanoseconds. Without a ban in force a look costs one load.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/time.h"
#include "edge/exchange.h"

namespace leeward::edge {

class BanList {
 public:
  struct Ban {
    std::uint64_t rule = 0;  // whoever bans knows his rules by it
    ClientAddress client;    // whose request it was, or the beginning of its network; without port
    Duration left{};
  };

  explicit BanList(std::size_t bans_max);
  ~BanList();
  BanList(const BanList&) = delete;
  BanList& operator=(const BanList&) = delete;

  std::size_t bans_max() const { return bans_max_; }
  // REQUIRES: key is not 0. A client that is banned already stays so until the later end.
  void add(std::uint64_t key, const Ban& ban, BootTime now);
  bool any(BootTime now) const {
    return last_end_.load(std::memory_order_relaxed) > now.time_since_epoch().count();
  }
  // How long the client is still banned; 0: it is not.
  Duration left(std::uint64_t key, BootTime now) const;
  // Those in force, in no order. `visit` must not call back.
  void each(BootTime now, const std::function<void(const Ban&)>& visit) const;
  // Ends the bans that are meant; returns how many. For operators.
  std::size_t lift(const std::function<bool(const Ban&)>& meant, BootTime now);
  std::uint64_t forgotten() const { return forgotten_.load(std::memory_order_relaxed); }

 private:
  struct Set;

  const std::size_t bans_max_;
  std::size_t mask_;
  std::unique_ptr<Set[]> sets_;
  std::atomic<std::int64_t> last_end_{0};  // of all bans
  std::atomic<std::uint64_t> forgotten_{0};
};

}  // namespace leeward::edge

// How something scarce is shared among the networks of clients (subscriber_network): none may have
// more of it than it leaves free, beside a first unit. So one network alone gets a half, n greedy
// ones get 1/(n + 1) each, and who comes then finds as much as each of them has.
//
// Bounds: an entry for each network that has something just now, so never more than were given out.
//
// Threads: one at a time; the owner locks.
#pragma once

#include <array>
#include <cstdint>
#include <map>

#include "edge/exchange.h"

namespace leeward::edge {

class FairShare {
 public:
  // False: nothing was given. `whole`: how many units there are for all.
  bool take(const ClientAddress& client, std::uint64_t units, std::uint64_t whole);
  // REQUIRES: clients of that network were given so many.
  void give_back(const ClientAddress& client, std::uint64_t units);
  std::uint64_t taken() const { return taken_; }  // by all

 private:
  using Network = std::array<std::uint8_t, 16>;
  static Network network_of(const ClientAddress& client);

  std::uint64_t taken_ = 0;
  std::map<Network, std::uint64_t> shares_;
};

}  // namespace leeward::edge

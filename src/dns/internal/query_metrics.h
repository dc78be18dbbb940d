// Counting queries without touching shared memory for each: a thread tallies a batch in its own
// arrays and adds the sums to the registry's counters before the replies leave, so that a client
// that has its answer also finds it counted.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/metrics.h"
#include "dns/responder.h"

namespace leeward::dns::internal {

class QueryTally {
 public:
  // `protocol`: "udp" or "tcp".
  QueryTally(Registry& registry, std::string_view protocol);

  void count(const Reply& reply);
  void flush();

 private:
  static constexpr std::size_t kTypes = 12;  // those with a name, then "other"
  static constexpr std::size_t kRcodes = 7;
  std::array<std::uint32_t, kTypes> types_{};
  std::array<std::uint32_t, kRcodes> rcodes_{};
  std::uint32_t dropped_ = 0;
  std::array<Counter*, kTypes> type_counters_{};
  std::array<Counter*, kRcodes> rcode_counters_{};
  Counter* dropped_counter_ = nullptr;

  static std::size_t type_index(std::uint16_t type);
  static std::size_t rcode_index(Rcode rcode);
};

}  // namespace leeward::dns::internal

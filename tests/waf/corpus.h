// Seeded requests for the comparison: what attackers send, written in many ways and put in every
// place of a request, and what honest clients send. The same seed gives the same requests.
#pragma once

#include <cstdint>
#include <vector>

#include "request.h"

namespace leeward::waf::compared {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {  // SplitMix64
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  std::size_t below(std::size_t bound) { return next() % bound; }
  bool one_in(std::size_t bound) { return below(bound) == 0; }

 private:
  std::uint64_t state_;
};

Request attack(Random& random);
Request benign(Random& random);
Request odd(Random& random);  // the protocol bent: methods, fields, targets, bodies

// Two attacks for each odd or honest request.
Request any(Random& random);

}  // namespace leeward::waf::compared

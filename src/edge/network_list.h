// IP networks, each with a small value: who may come in, who may not, and which country an address
// is registered in. Made from a file, then never changed; a lookup is a binary search.
//
// Threading: const after parse, so any number of threads may look up at the same time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "edge/exchange.h"

namespace leeward::edge {

class NetworkList {
 public:
  using Value = std::uint16_t;  // 0: not in the list
  static constexpr std::size_t kLinesMax = 4'000'000;

  // One network a line, IPv4 or IPv6: "192.0.2.0/24", "2001:db8::/32", "192.0.2.7" or a range
  // "192.0.2.7-192.0.2.9". '#' begins a comment; empty lines mean nothing. Networks may overlap;
  // the value of each is 1. `file` is only for errors, which are kInvalid and begin
  // "FILE:LINE:COLUMN: ".
  static Result<NetworkList> parse(std::string_view text, std::string_view file);
  // One network or range and its country (ISO 3166-1, two letters) a line, as the free country
  // databases are: "192.0.2.0/24,AU" or "192.0.2.0,192.0.2.255,AU", with or without double quotes.
  // The value is country_value(). Networks of two countries must not overlap.
  static Result<NetworkList> parse_countries(std::string_view text, std::string_view file);

  Value find(const ClientAddress& address) const;
  bool contains(const ClientAddress& address) const { return find(address) != 0; }
  std::size_t size() const { return v4_.size() + v6_.size(); }  // ranges, after joining neighbours

  template <typename Address>
  struct Range {
    Address first;
    Address last;  // inclusive
    Value value;
    std::uint32_t line;
  };

 private:
  __extension__ using Wide = unsigned __int128;
  std::vector<Range<std::uint32_t>> v4_;  // sorted, without overlap
  std::vector<Range<Wide>> v6_;

  friend class NetworkListParser;
};

// "AU" or "au" as a number that is not 0; 0 when it is not two letters.
NetworkList::Value country_value(std::string_view code);

}  // namespace leeward::edge

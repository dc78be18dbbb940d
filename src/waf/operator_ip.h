// @ipMatch and @ipMatchFromFile: is an address in a set of networks? Made once, then constant, so
// any number of threads may look up at the same time; a lookup is a binary search.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace leeward::waf {

class IpSet {
 public:
  static constexpr std::size_t kNetworksMax = 4'000'000;

  // The argument of @ipMatch: addresses and networks, IPv4 and IPv6, separated by commas. Errors
  // are kInvalid and name the entry.
  static Result<IpSet> parse_list(std::string_view list);
  // The text of a file of @ipMatchFromFile: one a line, '#' begins a comment, empty lines mean
  // nothing. Errors begin "FILE:LINE: ".
  static Result<IpSet> parse_file(std::string_view text, std::string_view file);

  // `address` as in REMOTE_ADDR; false for text that is no address.
  bool contains(std::string_view address) const;
  std::size_t size() const { return v4_.size() + v6_.size(); }  // after joining what overlaps

 private:
  __extension__ using Wide = unsigned __int128;
  template <typename Address>
  struct Range {
    Address first;
    Address last;  // inclusive
  };

  Status add(std::string_view network);
  void seal();

  std::vector<Range<std::uint32_t>> v4_;  // sorted, without overlap
  std::vector<Range<Wide>> v6_;
};

}  // namespace leeward::waf

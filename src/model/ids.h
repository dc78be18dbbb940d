// Names of things inside the cores. Small and cheap, because the simulator copies them millions of
// times; text names live in Platform and are looked up at the edges.
#pragma once

#include <cstdint>

#include "base/strong.h"

namespace leeward {

// Index of a site in Platform::sites. kNoSite means "no site".
using SiteId = Strong<struct SiteTag, std::uint8_t>;
inline constexpr SiteId kNoSite{0xff};
inline constexpr std::size_t kSitesMax = 8;

// Number of one grant of the writer lease; it only grows, and it is the fencing token. 0: none yet.
using Epoch = Strong<struct EpochTag, std::uint64_t>;

using PlanId = Strong<struct PlanTag, std::uint64_t>;

// Index of a database server in its site's list; a site has one or two.
using NodeId = Strong<struct NodeTag, std::uint8_t>;
inline constexpr NodeId kFirstNode{0};
inline constexpr NodeId kSecondNode{1};
inline constexpr std::size_t kNodesMax = 2;
constexpr NodeId other_node(NodeId node) { return node == kFirstNode ? kSecondNode : kFirstNode; }

// Number of a promotion inside one epoch: 0 when the epoch begins, one more each time that another
// node of the site becomes the primary. Only the holder of the epoch's lease counts it.
using Term = Strong<struct TermTag, std::uint64_t>;

// What a promotion writes into the data, and what orders all promotions of a service.
struct Promotion {
  Epoch epoch;
  Term term;
  auto operator<=>(const Promotion&) const = default;
};

}  // namespace leeward

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

}  // namespace leeward

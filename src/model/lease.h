// The writer lease: time-limited right of one site to accept writes (design §5).
#pragma once

#include <cstdint>

#include "base/time.h"
#include "model/ids.h"

namespace leeward {

// Timings of the lease. With clock rates within 1 ± drift it is safe if
//   takeover ≥ (duration + grace) · (1 + drift) / (1 − drift)
// (design §5.3; derivation in docs/internals/lease.md).
struct LeaseTimings {
  Duration duration = 3s;      // the holder's own count, from before sending a renewal
  Duration grace = 1s;         // at most this long to stop writing after `duration`
  Duration takeover = 4500ms;  // an observer must see the value unchanged this long
  double clock_drift = 0.01;   // ρ
  Duration renew_every = 500ms;

  // The smallest safe takeover for the other values.
  Duration takeover_min() const;
  bool safe() const { return takeover >= takeover_min(); }
};

// The lease as it lies in the store. Every change gives another value: a renewal bumps `sequence`.
struct LeaseValue {
  SiteId holder = kNoSite;  // kNoSite: released, nobody may write
  Epoch epoch;
  std::uint64_t sequence = 0;
  auto operator<=>(const LeaseValue&) const = default;
};

}  // namespace leeward

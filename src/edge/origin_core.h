// Which origin of a group gets a request, and what an origin has to do to get none.
//
// Ranks come first: rank 0 is the active site, rank 1 what may stand in for it. A request goes to
// the lowest rank in which an origin is available; among those the policy decides. When none is
// available anywhere, one is tried all the same (the least bad): a request is never refused because
// of an opinion alone.
//
// An origin is not available while
//   - its active check says down;
//   - it is ejected: `failures_to_eject` requests in a row failed (no connection, 5xx, no first
//   byte in
//     time, broken off), or it went silent: `silent_requests` or more that were sent to their end
//     wait for it and none has heard from it for max(silence, 4 × the group's p99). An ejection
//     lasts ejection · 2^n, n the number of ejections lately, at most ejection_max; a passed active
//     check ends it. Then the origin gets one request at a time until one succeeds, and from then
//     on a share that grows over `slow_start`;
//   - it has `requests_max` requests under way.
//
// Retries and hedges are paid from budgets that requests fill: a group that fails as a whole sees
// at most 1 + budget times its load, never a storm.
//
// Pure: no clock, no randomness of its own. Each loop has its own, for its own requests; checks are
// fed to all.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "model/edge.h"

namespace leeward::edge {

// How long answers take, of late: counts in steps of a quarter, halved every 4096 answers.
class LatencyCore {
 public:
  void observe(Duration d);
  // The time within which that share of the answers came, rounded up to a step. Nothing before 32
  // answers.
  std::optional<Duration> quantile(double share) const;

 private:
  static constexpr std::size_t kSteps = 64;  // from 100 µs to 2.5 minutes
  std::array<std::uint32_t, kSteps> counts_{};
  std::uint32_t total_ = 0;
};

class OriginCore {
 public:
  static constexpr std::size_t kOriginsMax = 64;
  using Mask = std::uint64_t;  // a set of origins, by index

  // REQUIRES: weights.size() ≤ kOriginsMax, each ≥ 1.
  OriginCore(const OriginPolicy& policy, const std::vector<std::uint32_t>& weights);

  std::size_t size() const { return origins_.size(); }
  void set_rank(std::size_t origin, std::uint8_t rank) { origins_[origin].rank = rank; }
  // An active check ended. `up`: what the checker's core says after it.
  void on_check(BootTime now, std::size_t origin, bool passed, bool up);

  struct Choice {
    std::size_t origin = 0;
    bool available = true;  // false: none is; this one is the least bad
  };
  // None when all are in `except`, or full. `random` is any number, `key` the request's for kHash.
  // `sticky` is taken when it is available and of the best rank. `expendable`: the request can be
  // sent again elsewhere, so it may be the one that tries an origin after an ejection.
  std::optional<Choice> pick(BootTime now, Mask except, std::uint64_t random, std::uint64_t key,
                             bool expendable = true, std::optional<std::size_t> sticky = {});
  bool available(BootTime now, std::size_t origin, bool expendable = true) const;

  // One request's life at an origin: started; asked once the origin has all of it, for only then
  // does its silence mean anything; at most one of heard and failed; ended.
  void started(BootTime now, std::size_t origin);
  void asked(BootTime now, std::size_t origin);
  // `first_byte`: how long after it was asked; nothing when it answered before that.
  void heard(BootTime now, std::size_t origin, std::optional<Duration> first_byte,
             bool server_error);
  // `was_asked`: asked() was called for it. `counts` is false when it says nothing about the origin
  // (the client left).
  void failed(BootTime now, std::size_t origin, bool was_asked, bool counts);
  // The other origin answered a hedged request first. Counts as a failure only if nobody has heard
  // from this one since the request was sent to it: slow once is not silent.
  void lost(BootTime now, std::size_t origin, BootTime sent);
  void ended(std::size_t origin);

  // A new request of a client: fills the budgets.
  void request();
  bool take_retry();  // false: the budget is used up
  bool take_hedge();
  Duration hedge_after() const;

  // For people: "available", "down by its check", "ejected for 800ms", "tried again" …
  std::string describe(BootTime now, std::size_t origin) const;
  std::uint32_t under_way(std::size_t origin) const { return origins_[origin].under_way; }
  bool ejected(BootTime now, std::size_t origin) const;
  std::uint64_t ejections() const { return ejections_; }

 private:
  struct Origin {
    std::uint32_t weight = 1;
    std::uint8_t rank = 0;
    bool down = false;       // by the active check
    bool probation = false;  // one request at a time
    std::uint32_t under_way = 0;
    std::uint32_t waiting = 0;  // of those, asked and not heard
    BootTime silent_since{};    // while waiting > 0
    int failures = 0;           // in a row
    int ejection_level = 0;
    BootTime ejected_until{};
    BootTime ejected_at{};
    std::optional<BootTime> warming_since;
    double current = 0;  // smooth weighted round robin
  };

  void eject(BootTime now, Origin& o);
  void recover(BootTime now, Origin& o);
  void check_silence(BootTime now, Origin& o);
  double share(BootTime now, const Origin& o) const;
  std::size_t choose(BootTime now, Mask among, std::uint64_t random, std::uint64_t key);
  std::size_t round_robin(BootTime now, Mask among);
  Mask warm(BootTime now, Mask among, std::uint64_t random) const;
  std::size_t two_choices(Mask among, std::uint64_t random) const;
  std::size_t least(Mask among, std::uint64_t random) const;
  std::size_t rendezvous(BootTime now, Mask among, std::uint64_t key) const;

  OriginPolicy policy_;
  std::vector<Origin> origins_;
  LatencyCore latency_;
  Duration p99_{};  // 0: not known yet
  std::uint32_t since_p99_ = 0;
  double retry_tokens_;
  double hedge_tokens_;
  std::uint64_t ejections_ = 0;
};

}  // namespace leeward::edge

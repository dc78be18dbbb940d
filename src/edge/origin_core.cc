#include "edge/origin_core.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace leeward::edge {
namespace {

// Budgets start full, so that the first fault of a quiet group is covered.
constexpr double kRetryTokensMax = 100;
constexpr double kHedgeTokensMax = 200;
constexpr int kEjectionLevelMax = 10;
constexpr double kColdShare = 0.1;

std::uint64_t mix(std::uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

double fraction(std::uint64_t x) {  // within (0, 1)
  return (static_cast<double>(mix(x) >> 11) + 0.5) * 0x1.0p-53;
}

template <typename Each>
void each_of(OriginCore::Mask mask, Each each) {
  for (; mask != 0; mask &= mask - 1) each(static_cast<std::size_t>(std::countr_zero(mask)));
}

// The n-th member of the mask. REQUIRES: n < popcount(mask).
std::size_t nth(OriginCore::Mask mask, std::uint64_t n) {
  while (n-- > 0) mask &= mask - 1;
  return static_cast<std::size_t>(std::countr_zero(mask));
}

}  // namespace

// ---- latency

void LatencyCore::observe(Duration d) {
  const double steps =
      std::log(std::max(1.0, static_cast<double>(d / 1us) / 100.0)) / std::log(1.25);
  ++counts_[std::min(kSteps - 1, static_cast<std::size_t>(std::ceil(steps)))];
  if (++total_ < 4096) return;
  total_ = 0;
  for (std::uint32_t& count : counts_) total_ += count /= 2;
}

std::optional<Duration> LatencyCore::quantile(double share) const {
  if (total_ < 32) return std::nullopt;
  const double wanted = share * total_;
  std::uint32_t seen = 0;
  std::size_t step = 0;
  while (step + 1 < kSteps && (seen += counts_[step]) < wanted) ++step;
  return Duration(static_cast<std::int64_t>(1e5 * std::pow(1.25, static_cast<double>(step))));
}

// ---- origins

OriginCore::OriginCore(const OriginPolicy& policy, const std::vector<std::uint32_t>& weights)
    : policy_(policy), retry_tokens_(kRetryTokensMax), hedge_tokens_(kHedgeTokensMax) {
  LEEWARD_CHECK(weights.size() <= kOriginsMax);
  for (std::uint32_t weight : weights) origins_.emplace_back().weight = weight;
}

void OriginCore::on_check(BootTime now, std::size_t origin, bool passed, bool up) {
  Origin& o = origins_[origin];
  const bool was_down = std::exchange(o.down, !up);
  if (!up || !passed) return;
  // A check that began before the ejection may have passed before the fault.
  const bool ends_ejection = o.ejected_until > now && now - o.ejected_at > 200ms;
  if (ends_ejection) o.ejected_until = now;
  if (was_down || ends_ejection) recover(now, o);
}

void OriginCore::recover(BootTime now, Origin& o) {
  o.probation = false;
  o.failures = 0;
  o.silent_since = now;
  if (policy_.slow_start > Duration{}) o.warming_since = now;
}

bool OriginCore::ejected(BootTime now, std::size_t origin) const {
  return origins_[origin].ejected_until > now;
}

bool OriginCore::available(BootTime now, std::size_t origin, bool expendable) const {
  const Origin& o = origins_[origin];
  if (o.down || o.ejected_until > now || o.under_way >= policy_.requests_max) return false;
  return !o.probation || (o.under_way == 0 && expendable);
}

void OriginCore::eject(BootTime now, Origin& o) {
  const Duration length =
      std::min(policy_.ejection_max, policy_.ejection * (1 << o.ejection_level));
  o.ejection_level = std::min(o.ejection_level + 1, kEjectionLevelMax);
  o.ejected_at = now;
  o.ejected_until = now + length;
  o.probation = true;
  o.failures = 0;
  ++ejections_;
}

void OriginCore::check_silence(BootTime now, Origin& o) {
  if (o.ejected_until > now || static_cast<int>(o.waiting) < policy_.silent_requests) return;
  if (now - o.silent_since > std::max(policy_.silence, 4 * p99_)) eject(now, o);
}

double OriginCore::share(BootTime now, const Origin& o) const {
  if (!o.warming_since) return o.weight;
  const double grown = seconds(now - *o.warming_since) / seconds(policy_.slow_start);
  return o.weight * std::clamp(grown, kColdShare, 1.0);
}

std::optional<OriginCore::Choice> OriginCore::pick(BootTime now, Mask except, std::uint64_t random,
                                                   std::uint64_t key, bool expendable,
                                                   std::optional<std::size_t> sticky) {
  Mask best = 0, rest = 0;
  std::uint8_t best_rank = std::numeric_limits<std::uint8_t>::max();
  for (std::size_t i = 0; i < origins_.size(); ++i) {
    Origin& o = origins_[i];
    check_silence(now, o);
    const Mask bit = Mask{1} << i;
    if ((except & bit) != 0 || o.under_way >= policy_.requests_max) continue;
    if (!available(now, i, expendable)) {
      rest |= bit;
    } else if (o.rank <= best_rank) {
      best = o.rank < best_rank ? bit : best | bit;
      best_rank = o.rank;
    }
  }
  if (best != 0) {
    if (sticky && *sticky < origins_.size() && (best >> *sticky & 1) != 0)
      return Choice{.origin = *sticky, .available = true};
    return Choice{.origin = choose(now, best, random, key), .available = true};
  }
  if (rest == 0) return std::nullopt;
  // The least bad: not called down by a check, then of the lowest rank, then the one whose ejection
  // ends first.
  std::optional<std::size_t> least_bad;
  auto badness = [&](std::size_t i) {
    const Origin& o = origins_[i];
    return std::tuple(o.down, o.rank, o.ejected_until, mix(random + i));
  };
  each_of(rest, [&](std::size_t i) {
    if (!least_bad || badness(i) < badness(*least_bad)) least_bad = i;
  });
  return Choice{.origin = *least_bad, .available = false};
}

// Without those that warm up and do not draw this request: each gets its share by lot. Their load
// says nothing here: where requests are short, the others hardly ever have one under way.
OriginCore::Mask OriginCore::warm(BootTime now, Mask among, std::uint64_t random) const {
  Mask drawn = among;
  each_of(among, [&](std::size_t i) {
    const Origin& o = origins_[i];
    if (o.warming_since && fraction(~random + i) * o.weight >= share(now, o))
      drawn &= ~(Mask{1} << i);
  });
  return drawn != 0 ? drawn : among;
}

std::size_t OriginCore::choose(BootTime now, Mask among, std::uint64_t random, std::uint64_t key) {
  const bool by_load =
      policy_.balancing == Balancing::kLeastRequests || policy_.balancing == Balancing::kTwoChoices;
  if (by_load) among = warm(now, among, random);
  if (std::has_single_bit(among)) return nth(among, 0);
  switch (policy_.balancing) {
    case Balancing::kRoundRobin:
      return round_robin(now, among);
    case Balancing::kLeastRequests:
      return least(among, random);
    case Balancing::kTwoChoices:
      return two_choices(among, random);
    case Balancing::kHash:
      return rendezvous(now, among, key);
  }
  return nth(among, 0);
}

std::size_t OriginCore::round_robin(BootTime now, Mask among) {
  double total = 0;
  std::size_t chosen = nth(among, 0);
  each_of(among, [&](std::size_t i) {
    Origin& o = origins_[i];
    const double weight = share(now, o);
    o.current += weight;
    total += weight;
    if (o.current > origins_[chosen].current) chosen = i;
  });
  origins_[chosen].current -= total;
  return chosen;
}

std::size_t OriginCore::least(Mask among, std::uint64_t random) const {
  std::size_t chosen = 0;
  double chosen_load = std::numeric_limits<double>::infinity();
  std::uint64_t chosen_tie = 0;
  each_of(among, [&](std::size_t i) {
    const double load = static_cast<double>(origins_[i].under_way + 1) / origins_[i].weight;
    const std::uint64_t tie = mix(random + i);
    if (load < chosen_load || (load == chosen_load && tie < chosen_tie))
      chosen = i, chosen_load = load, chosen_tie = tie;
  });
  return chosen;
}

std::size_t OriginCore::two_choices(Mask among, std::uint64_t random) const {
  const auto count = static_cast<std::uint64_t>(std::popcount(among));
  const std::uint64_t first = mix(random) % count;
  const std::uint64_t second = (first + 1 + mix(random + 1) % (count - 1)) % count;
  const Mask pair = Mask{1} << nth(among, first) | Mask{1} << nth(among, second);
  return least(pair, random);
}

// Each origin draws a number from the key; the highest weighted score wins (Thaler and Ravishankar,
// 1998; weights by Schindelhauer and Schomaker, 2005).
std::size_t OriginCore::rendezvous(BootTime now, Mask among, std::uint64_t key) const {
  std::size_t chosen = 0;
  double best = -1;
  each_of(among, [&](std::size_t i) {
    const double draw = fraction(key ^ mix(i));
    const double score = share(now, origins_[i]) / -std::log(draw);
    if (score > best) chosen = i, best = score;
  });
  return chosen;
}

// ---- a request's life

void OriginCore::started(BootTime now, std::size_t origin) {
  Origin& o = origins_[origin];
  ++o.under_way;
  if (o.warming_since && now - *o.warming_since >= policy_.slow_start) o.warming_since.reset();
}

void OriginCore::asked(BootTime now, std::size_t origin) {
  Origin& o = origins_[origin];
  if (o.waiting++ == 0) o.silent_since = now;
}

void OriginCore::heard(BootTime now, std::size_t origin, std::optional<Duration> first_byte,
                       bool server_error) {
  Origin& o = origins_[origin];
  LEEWARD_CHECK(o.waiting > 0 || !first_byte);
  if (first_byte) --o.waiting;
  o.silent_since = now;
  if (server_error) {
    if (++o.failures >= policy_.failures_to_eject && o.ejected_until <= now) eject(now, o);
    return;
  }
  o.failures = 0;
  if (o.probation && o.ejected_until <= now) {
    recover(now, o);
  } else if (!o.probation && now - o.ejected_at > policy_.ejection_max) {
    o.ejection_level = 0;
  }
  if (!first_byte) return;
  latency_.observe(*first_byte);
  if (++since_p99_ >= 64) {
    since_p99_ = 0;
    p99_ = latency_.quantile(0.99).value_or(Duration{});
  }
}

void OriginCore::failed(BootTime now, std::size_t origin, bool was_asked, bool counts) {
  Origin& o = origins_[origin];
  LEEWARD_CHECK(o.waiting > 0 || !was_asked);
  if (was_asked) --o.waiting;
  if (counts && ++o.failures >= policy_.failures_to_eject && o.ejected_until <= now) eject(now, o);
}

void OriginCore::lost(BootTime now, std::size_t origin, BootTime sent) {
  failed(now, origin, true, origins_[origin].silent_since <= sent);
}

void OriginCore::ended(std::size_t origin) {
  LEEWARD_CHECK(origins_[origin].under_way > 0);
  --origins_[origin].under_way;
}

std::string OriginCore::describe(BootTime now, std::size_t origin) const {
  const Origin& o = origins_[origin];
  std::string text = fmt::format("rank {}, ", o.rank);
  if (o.down) return text + "down by its check";
  if (o.ejected_until > now)
    return text + "ejected for " + format_duration((o.ejected_until - now) / 1ms * 1ms);
  if (o.probation) return text + "tried with one request at a time";
  if (o.under_way >= policy_.requests_max) return text + "full";
  return text + (o.warming_since ? "available, warming up" : "available");
}

// ---- budgets

void OriginCore::request() {
  retry_tokens_ = std::min(kRetryTokensMax, retry_tokens_ + policy_.retry_budget);
  hedge_tokens_ = std::min(kHedgeTokensMax, hedge_tokens_ + policy_.hedge_budget);
}

bool OriginCore::take_retry() {
  if (retry_tokens_ < 1) return false;
  retry_tokens_ -= 1;
  return true;
}

bool OriginCore::take_hedge() {
  if (hedge_tokens_ < 1) return false;
  hedge_tokens_ -= 1;
  return true;
}

Duration OriginCore::hedge_after() const {
  if (p99_ == Duration{}) return policy_.hedge_max;
  return std::clamp(p99_, policy_.hedge_min, policy_.hedge_max);
}

}  // namespace leeward::edge

// How exact limits are when very many clients ask at once: 100,000 requests a second from a million
// addresses, on a clock of the test, beside a limiter that has a place for every address.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

#include "edge/rate_limiter.h"

namespace leeward::edge {
namespace {

constexpr std::size_t kAddresses = 1'000'000;
constexpr std::int64_t kRate = 100'000;
constexpr BootTime kStart = BootTime{} + 1h;

std::uint64_t mixed(std::uint64_t z) {  // SplitMix64
  z += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// The algorithm as ITU-T I.371 writes it, one time for each address.
class Exact {
 public:
  bool take(std::size_t address, const RateLimiter::Limit& limit, BootTime now) {
    BootTime& arrival = arrivals_[address];
    if (now < arrival - limit.tolerance) return false;
    arrival = std::max(arrival, now) + limit.interval;
    return true;
  }

 private:
  std::vector<BootTime> arrivals_ = std::vector<BootTime>(kAddresses);
};

struct Count {
  std::uint32_t asked = 0, passed = 0, due = 0;
};

struct Outcome {
  std::vector<Count> counts = std::vector<Count>(kAddresses);
  std::uint64_t passed = 0, due = 0, forgotten = 0;
};

// `who` draws the address of a request from a random number.
Outcome run(std::size_t keys_max, const RateLimiter::Limit& limit, Duration length,
            const std::function<std::size_t(std::uint64_t)>& who) {
  RateLimiter limiter(keys_max);
  Exact exact;
  Outcome outcome;
  const std::int64_t requests =
      kRate * std::chrono::duration_cast<std::chrono::seconds>(length).count();
  for (std::int64_t i = 0; i < requests; ++i) {
    const std::uint64_t random = mixed(static_cast<std::uint64_t>(i));
    const std::size_t address = who(random);
    const BootTime now = kStart + Duration{1s} * i / kRate;
    Count& count = outcome.counts[address];
    ++count.asked;
    const bool passes = limiter.take(mixed(~address), limit, now) == 0ns;
    const bool is_due = exact.take(address, limit, now);
    count.passed += passes;
    count.due += is_due;
    outcome.passed += passes;
    outcome.due += is_due;
  }
  outcome.forgotten = limiter.forgotten();
  return outcome;
}

double apart(std::uint64_t a, std::uint64_t b) {
  return std::abs(double(a) - double(b)) / double(b);
}

TEST(RateAccuracy, ThousandsOfLoudAddressesAmongAMillionGetTheirRate) {
  // A thousand ask 90 times a second and may ask 20 times; the others ask once in a hundred
  // seconds.
  const RateLimiter::Limit limit{.interval = 50ms, .tolerance = 950ms, .block_for = {}};
  const Outcome outcome = run(1 << 18, limit, 30s, [](std::uint64_t random) {
    const std::size_t address = (random >> 20) % kAddresses;
    return random % 10 != 0 ? address % 1000 : address;
  });
  for (std::size_t address = 0; address < 1000; ++address) {
    const Count& count = outcome.counts[address];
    ASSERT_GT(count.asked, 2000u);
    // 20 at once, and 20 a second for thirty seconds.
    EXPECT_LT(apart(count.passed, 20 + 20 * 30), 0.01) << address << ": " << count.passed;
    EXPECT_EQ(count.passed, count.due) << address;
  }
  std::uint64_t wronged = 0;
  for (std::size_t address = 1000; address < kAddresses; ++address)
    wronged += outcome.counts[address].asked != outcome.counts[address].passed;
  EXPECT_EQ(wronged, 0u) << "quiet addresses are never refused";
}

TEST(RateAccuracy, AMillionAddressesThatAllAskTooOften) {
  // Each asks six times a minute and may ask three times.
  const RateLimiter::Limit limit{.interval = 20s, .tolerance = 0s, .block_for = {}};
  const Outcome outcome = run(2'000'000, limit, 60s, [](std::uint64_t random) {
    return static_cast<std::size_t>((random >> 20) % kAddresses);
  });
  EXPECT_GT(outcome.due, 2'000'000u);
  EXPECT_LT(apart(outcome.passed, outcome.due), 0.01)
      << outcome.passed << " of " << outcome.due << ", forgotten: " << outcome.forgotten;
  EXPECT_GE(outcome.passed, outcome.due) << "what is forgotten is forgiven";
}

TEST(RateAccuracy, ATableThatIsTooSmallForgivesAndSaysSo) {
  const RateLimiter::Limit limit{.interval = 20s, .tolerance = 0s, .block_for = {}};
  const Outcome outcome = run(100'000, limit, 30s, [](std::uint64_t random) {
    return static_cast<std::size_t>((random >> 20) % kAddresses);
  });
  EXPECT_GT(outcome.forgotten, 100'000u);
  EXPECT_GT(apart(outcome.passed, outcome.due), 0.01);
  EXPECT_GT(outcome.passed, outcome.due);
}

}  // namespace
}  // namespace leeward::edge

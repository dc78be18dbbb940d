// A rate rule under many clients, in this process and on its clock: 100,000 requests a second in an
// open loop, from a million addresses of which a thousand ask more often than they may. How many of
// those requests pass, against what the rule says; what a decision costs; what the table takes.
//
//   leeward-bench-limits [SECONDS]       JSON on standard output
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "edge/access_rules.h"

namespace leeward::edge {
namespace {

constexpr std::uint32_t kAddresses = 1'000'000, kLoud = 1000;
constexpr std::int64_t kRate = 100'000, kAllowed = 20;  // of a loud address, a second

std::uint64_t mixed(std::uint64_t z) {  // SplitMix64
  z += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

std::int64_t clock_ns(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

std::int64_t resident_bytes() {
  std::ifstream in("/proc/self/statm");
  std::int64_t size = 0, resident = 0;
  in >> size >> resident;
  return resident * 4096;
}

RequestView request_of(std::uint32_t address) {
  RequestView request;
  request.target = "/shop";
  request.client.bytes[10] = request.client.bytes[11] = 0xff;
  std::memcpy(request.client.bytes + 12, &address, sizeof address);
  return request;
}

std::uint32_t drawn(std::uint64_t random) {
  const auto address = static_cast<std::uint32_t>((random >> 20) % kAddresses);
  return random % 10 != 0 ? address % kLoud : address;
}

EdgeFirewall limited() {
  EdgeFirewall spec;
  EdgeRateLimit limit;
  limit.name = "each";
  limit.key = "address";
  limit.path = "/";
  limit.requests = static_cast<int>(kAllowed);
  limit.per = 1s;
  spec.rate_limits.push_back(limit);
  return spec;
}

int run(int seconds) {
  const EdgeFirewall spec = limited();
  const std::int64_t before = resident_bytes();
  auto rules = AccessRules::load(spec);
  if (!rules) {
    fmt::print(stderr, "{}\n", rules.error().message);
    return 1;
  }
  std::vector<std::uint32_t> passed(kAddresses), asked(kAddresses);
  const std::int64_t counters = 2 * kAddresses * 4;
  const std::int64_t begin = clock_ns(CLOCK_BOOTTIME), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  const std::int64_t requests = kRate * seconds;
  std::int64_t late = 0, idle = 0;
  for (std::int64_t i = 0; i < requests; ++i) {
    const std::int64_t due = begin + i * (1'000'000'000 / kRate);
    std::int64_t now = clock_ns(CLOCK_BOOTTIME);
    late = std::max(late, now - due);
    if (now < due) {
      const std::int64_t from = clock_ns(CLOCK_THREAD_CPUTIME_ID);
      while (now < due) now = clock_ns(CLOCK_BOOTTIME);
      idle += clock_ns(CLOCK_THREAD_CPUTIME_ID) - from;
    }
    const std::uint32_t address = drawn(mixed(static_cast<std::uint64_t>(i)));
    const Now at{BootTime{} + Duration{now}, WallTime{}};
    ++asked[address];
    passed[address] += !(*rules)->judge(request_of(address), at).refused;
  }
  const double length = double(clock_ns(CLOCK_BOOTTIME) - begin) / 1e9;
  const double used = double(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu - idle);
  const double allowed = double(kAllowed) + double(kAllowed) * length;
  double worst = 0;
  std::int64_t all = 0, refused_quiet = 0;
  for (std::uint32_t a = 0; a < kAddresses; ++a) {
    if (a < kLoud) {
      worst = std::max(worst, std::abs(passed[a] - allowed) / allowed);
      all += passed[a];
    } else {
      refused_quiet += asked[a] - passed[a];
    }
  }
  fmt::print(
      "{{\"requests_per_second\": {:.0f}, \"seconds\": {:.2f}, \"addresses\": {}, \"loud\": {}, "
      "\"loud_passed_of_allowed\": {:.4f}, \"worst_address_off\": {:.4f}, \"quiet_refused\": {}, "
      "\"ns_per_request\": {:.0f}, \"table_bytes\": {}, \"latest_ms\": {:.2f}}}\n",
      double(requests) / length, length, kAddresses, kLoud, double(all) / (allowed * kLoud), worst,
      refused_quiet, used / double(requests), resident_bytes() - before - counters,
      double(late) / 1e6);
  return 0;
}

}  // namespace
}  // namespace leeward::edge

int main(int argc, char** argv) { return leeward::edge::run(argc > 1 ? std::atoi(argv[1]) : 30); }

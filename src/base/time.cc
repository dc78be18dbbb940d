#include "base/time.h"

#include <array>
#include <charconv>
#include <cmath>
#include <ctime>
#include <fstream>

namespace leeward {
namespace {

struct Unit {
  std::string_view suffix;
  std::int64_t nanoseconds;
};
constexpr std::array<Unit, 7> kUnits{{{"ns", 1},
                                      {"us", 1'000},
                                      {"ms", 1'000'000},
                                      {"s", 1'000'000'000},
                                      {"m", 60'000'000'000},
                                      {"h", 3'600'000'000'000},
                                      {"d", 86'400'000'000'000}}};

}  // namespace

BootTime BootClock::now() {
  timespec ts{};
  clock_gettime(CLOCK_BOOTTIME, &ts);
  return BootTime(std::chrono::seconds(ts.tv_sec) + std::chrono::nanoseconds(ts.tv_nsec));
}

Now SystemClock::now() const {
  return Now{BootClock::now(),
             std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now())};
}

std::string boot_id() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(in, id);
  return id;
}

Result<Duration> parse_duration(std::string_view text) {
  double number = 0;
  const char* end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
  if (error != std::errc{} || number < 0 || !std::isfinite(number))
    return fail(Code::kInvalid, "'{}' is not a duration; write for example 250ms, 3s, 30m, 2h",
                text);
  if (suffix.empty() && number == 0) return Duration{0};
  for (const Unit& unit : kUnits) {
    if (unit.suffix != suffix) continue;
    double total = number * static_cast<double>(unit.nanoseconds);
    if (total > 9.2e18) return fail(Code::kInvalid, "'{}' is longer than 292 years", text);
    return Duration(std::llround(total));
  }
  if (suffix.empty())
    return fail(Code::kInvalid, "'{}' has no unit; write for example {}s or {}ms", text, text,
                text);
  return fail(Code::kInvalid, "unknown unit '{}' in '{}'; units are ns, us, ms, s, m, h, d", suffix,
              text);
}

std::string format_duration(Duration d) {
  if (d.count() == 0) return "0s";
  std::int64_t ns = std::abs(d.count());
  const Unit* best = &kUnits[0];
  for (const Unit& unit : kUnits) {
    // A larger unit is taken while at most three decimals express the value exactly.
    if (ns >= unit.nanoseconds &&
        (unit.nanoseconds < 1000 || ns % (unit.nanoseconds / 1000) == 0) &&
        (unit.suffix == "ns" || unit.suffix == "us" || unit.suffix == "ms" || unit.suffix == "s" ||
         ns % unit.nanoseconds == 0))
      best = &unit;
  }
  double value = static_cast<double>(ns) / static_cast<double>(best->nanoseconds);
  return fmt::format("{}{}{}", d.count() < 0 ? "-" : "", value, best->suffix);
}

std::string format_wall(WallTime t) {
  auto ms = std::chrono::floor<std::chrono::milliseconds>(t.time_since_epoch());
  std::time_t whole = std::chrono::floor<std::chrono::seconds>(ms).count();
  std::tm utc{};
  gmtime_r(&whole, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                     ms.count() - std::int64_t{1000} * whole);
}

double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace leeward

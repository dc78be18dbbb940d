#include "edge/internal/cache_date.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string_view>

#include "edge/exchange.h"
#include "edge/internal/cache_text.h"

namespace leeward::edge {
namespace {

constexpr std::array<std::string_view, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<std::string_view, 7> kLongDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                       "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

// A cursor over the text; the first mismatch makes it bad, and it stays bad.
struct Scan {
  std::string_view rest;
  bool ok = true;

  bool begins_with(std::string_view text) const {
    return same_name(rest.substr(0, text.size()), text);
  }
  void literal(std::string_view text) {
    if (!begins_with(text)) {
      ok = false;
      return;
    }
    rest.remove_prefix(text.size());
  }
  int digits(std::size_t count) {
    if (rest.size() < count) {
      ok = false;
      return 0;
    }
    int value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (!is_digit(rest[i])) ok = false;
      value = value * 10 + (rest[i] - '0');
    }
    rest.remove_prefix(count);
    return ok ? value : 0;
  }
  template <std::size_t N>
  int name(const std::array<std::string_view, N>& names) {
    for (std::size_t i = 0; i < N; ++i) {
      if (begins_with(names[i])) {
        rest.remove_prefix(names[i].size());
        return static_cast<int>(i);
      }
    }
    ok = false;
    return 0;
  }
};

struct Civil {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
};

void time_of_day(Scan& s, Civil& c) {
  c.hour = s.digits(2);
  s.literal(":");
  c.minute = s.digits(2);
  s.literal(":");
  c.second = s.digits(2);
}

std::optional<std::int64_t> to_seconds(const Civil& c) {
  std::chrono::year_month_day date{std::chrono::year(c.year),
                                   std::chrono::month(static_cast<unsigned>(c.month + 1)),
                                   std::chrono::day(static_cast<unsigned>(c.day))};
  // 60: a leap second is valid in the grammar and counts as the next minute.
  if (!date.ok() || c.hour > 23 || c.minute > 59 || c.second > 60) return std::nullopt;
  std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return days * 86400 + c.hour * 3600 + c.minute * 60 + c.second;
}

int year_of(std::int64_t seconds) {
  std::int64_t bounded = std::clamp<std::int64_t>(seconds, 0, 200'000'000'000);
  std::chrono::sys_days day{std::chrono::days(static_cast<int>(bounded / 86400))};
  return static_cast<int>(std::chrono::year_month_day(day).year());
}

}  // namespace

std::optional<std::int64_t> parse_http_date(std::string_view text, std::int64_t now_seconds) {
  Civil c;
  Scan s{text};
  std::size_t comma = text.find(',');
  if (comma == 3) {  // IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT
    s.name(kDays);
    s.literal(", ");
    c.day = s.digits(2);
    s.literal(" ");
    c.month = s.name(kMonths);
    s.literal(" ");
    c.year = s.digits(4);
    s.literal(" ");
    time_of_day(s, c);
    s.literal(" GMT");
  } else if (comma != std::string_view::npos) {  // RFC 850: Sunday, 06-Nov-94 08:49:37 GMT
    s.name(kLongDays);
    s.literal(", ");
    c.day = s.digits(2);
    s.literal("-");
    c.month = s.name(kMonths);
    s.literal("-");
    int this_year = year_of(now_seconds);
    c.year = s.digits(2) + this_year / 100 * 100;
    if (c.year > this_year + 50) c.year -= 100;
    s.literal(" ");
    time_of_day(s, c);
    s.literal(" GMT");
  } else {  // asctime: Sun Nov  6 08:49:37 1994
    s.name(kDays);
    s.literal(" ");
    c.month = s.name(kMonths);
    s.literal(" ");
    bool padded = s.rest.starts_with(" ");
    if (padded) s.rest.remove_prefix(1);
    c.day = s.digits(padded ? 1 : 2);
    s.literal(" ");
    time_of_day(s, c);
    s.literal(" ");
    c.year = s.digits(4);
  }
  if (!s.ok || !s.rest.empty()) return std::nullopt;
  return to_seconds(c);
}

std::string format_http_date(std::int64_t seconds) {
  std::int64_t day_number = seconds / 86400 - (seconds % 86400 < 0 ? 1 : 0);
  std::int64_t in_day = seconds - day_number * 86400;
  std::chrono::sys_days day{std::chrono::days(static_cast<int>(day_number))};
  std::chrono::year_month_day date(day);
  return fmt::format(
      "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[std::chrono::weekday(day).c_encoding()],
      static_cast<unsigned>(date.day()), kMonths[static_cast<unsigned>(date.month()) - 1],
      static_cast<int>(date.year()), in_day / 3600, in_day / 60 % 60, in_day % 60);
}

}  // namespace leeward::edge

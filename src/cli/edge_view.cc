#include "cli/internal/edge_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/metrics.h"
#include "cli/internal/terminal.h"

namespace leeward::cli {
namespace {

std::vector<double> numbers(const Json& json, std::string_view key) {
  std::vector<double> all;
  const Json& list = member(json, key);
  if (!list.is_array()) return all;
  for (const Json& item : list) all.push_back(item.is_number() ? item.get<double>() : 0);
  return all;
}

const Json* find_item(const Json& list, std::string_view key, const std::string& value,
                      std::string_view key2 = {}, const std::string& value2 = {}) {
  if (!list.is_array()) return nullptr;
  for (const Json& item : list)
    if (text_of(item, key) == value && (key2.empty() || text_of(item, key2) == value2))
      return &item;
  return nullptr;
}

double grown(const Json* before, const Json& now, std::string_view key) {
  return number_of(now, key) - (before == nullptr ? 0 : number_of(*before, key));
}

std::string rate(double count, double seconds) {
  return seconds > 0 ? fmt::format("{:.0f}/s", count / seconds) : fmt::format("{:.0f}", count);
}

std::string milliseconds(double seconds) { return fmt::format("{:.1f} ms", seconds * 1000); }

std::string share(double part, double whole) {
  return whole > 0 ? fmt::format("{:.0f}%", 100 * part / whole) : "-";
}

}  // namespace

double quantile_of(const std::vector<double>& counts, double quantile) {
  const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
  double left = total * quantile;
  if (total <= 0) return 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (left > counts[i] || counts[i] <= 0) {
      left -= counts[i];
      continue;
    }
    const std::size_t last = std::size(Histogram::kBounds) - 1;
    if (i > last) return Histogram::kBounds[last];
    const double low = i == 0 ? 0 : Histogram::kBounds[i - 1];
    return low + (Histogram::kBounds[i] - low) * left / counts[i];
  }
  return Histogram::kBounds[std::size(Histogram::kBounds) - 1];
}

std::string render_top(const std::string& site, const Json& before, const Json& now,
                       double seconds) {
  const Json& old_routes = member(before, "routes");
  std::vector<std::vector<std::string>> rows{
      {"ROUTE", "REQUESTS", "ERRORS", "CACHED", "P50", "P99", "RETRIES", "HEDGES"}};
  for (const Json& route : member(now, "routes")) {
    const Json* old = find_item(old_routes, "route", text_of(route, "route"));
    std::vector<double> buckets = numbers(route, "buckets");
    if (old != nullptr) {
      const std::vector<double> earlier = numbers(*old, "buckets");
      for (std::size_t i = 0; i < std::min(buckets.size(), earlier.size()); ++i)
        buckets[i] -= earlier[i];
    }
    const double requests = grown(old, route, "requests");
    rows.push_back(
        {text_of(route, "route"), rate(requests, seconds),
         rate(grown(old, route, "errors"), seconds), share(grown(old, route, "hits"), requests),
         milliseconds(quantile_of(buckets, 0.5)), milliseconds(quantile_of(buckets, 0.99)),
         rate(grown(old, route, "retries"), seconds), rate(grown(old, route, "hedges"), seconds)});
  }
  std::vector<std::vector<std::string>> origins{
      {"ORIGIN", "GROUP", "REQUESTS", "FAILURES", "CONNECTS"}};
  for (const Json& origin : member(now, "origins")) {
    const Json* old = find_item(member(before, "origins"), "origin", text_of(origin, "origin"),
                                "group", text_of(origin, "group"));
    origins.push_back({text_of(origin, "origin"), text_of(origin, "group"),
                       rate(grown(old, origin, "requests"), seconds),
                       rate(grown(old, origin, "failures"), seconds),
                       rate(grown(old, origin, "connects"), seconds)});
  }
  return fmt::format("edge of {}: {:.0f} clients, {:.0f} parked, epoch {:.0f}{}\n\n{}\n{}", site,
                     number_of(now, "clients"), number_of(now, "parked"), number_of(now, "epoch"),
                     flag_of(now, "moving") ? ", the writer moves" : "", columns(rows),
                     columns(origins));
}

SpeedSummary summary_of(std::vector<double> seconds) {
  if (seconds.empty()) return {};
  std::sort(seconds.begin(), seconds.end());
  auto at = [&](double q) {  // nearest rank
    const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(seconds.size())));
    return seconds[std::max<std::size_t>(rank, 1) - 1];
  };
  const double sum = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  return {.min = seconds.front(),
          .mean = sum / static_cast<double>(seconds.size()),
          .median = at(0.5),
          .p95 = at(0.95),
          .max = seconds.back()};
}

double percent_lower(double first_mean, double second_mean) {
  return first_mean > 0 ? 100 * (1 - second_mean / first_mean) : 0;
}

std::string render_speed(const std::string& url, const std::vector<SpeedSample>& samples) {
  constexpr std::size_t kWidth = 60;
  std::vector<std::vector<std::string>> rows{
      {"WAY", "REQUESTS", "STATUS", "BYTES", "FIRST BYTE", "MIN", "MEAN", "MEDIAN", "P95", "MAX"}};
  double longest = 0;
  for (const SpeedSample& s : samples) {
    const SpeedSummary t = summary_of(s.seconds);
    longest = std::max(longest, t.max);
    rows.push_back({s.way, fmt::format("{}", s.seconds.size()), fmt::format("{}", s.status),
                    fmt::format("{}", s.bytes), milliseconds(summary_of(s.first_byte).median),
                    milliseconds(t.min), milliseconds(t.mean), milliseconds(t.median),
                    milliseconds(t.p95), milliseconds(t.max)});
  }
  std::string out = fmt::format("{}\n{}", url, columns(rows));
  for (const SpeedSample& s : samples) {
    std::vector<std::size_t> density(kWidth, 0);
    for (double seconds : s.seconds) {
      const double at = longest > 0 ? seconds / longest * static_cast<double>(kWidth) : 0;
      ++density[std::min(static_cast<std::size_t>(at), kWidth - 1)];
    }
    const std::size_t most = *std::max_element(density.begin(), density.end());
    constexpr std::string_view kLevels[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    std::string line;
    for (std::size_t n : density)
      line +=
          kLevels[n == 0 ? 0 : std::max<std::size_t>(1, n * 8 / std::max<std::size_t>(most, 1))];
    out += fmt::format("{:>8} |{}|\n", s.way, line);
  }
  out += fmt::format("{:>8}  0{:>{}}\n", "", milliseconds(longest), kWidth);
  for (const SpeedSample& s : samples)
    if (!s.cache_status.empty())
      out += fmt::format("{:>8}  Cache-Status: {}\n", s.way, s.cache_status);
  if (samples.size() == 2)
    out += fmt::format(
        "mean through the edge: {:.1f} % lower\n",
        percent_lower(summary_of(samples[0].seconds).mean, summary_of(samples[1].seconds).mean));
  return out;
}

FirewallComparison compare_firewalls(const std::vector<std::pair<std::string, Json>>& sites) {
  FirewallComparison compared;
  std::string& out = compared.text;
  std::vector<std::string> parts;
  for (const auto& [site, answer] : sites) {
    out += fmt::format("edge of {}: mode {}, {:.0f} rules\n", site, text_of(answer, "mode"),
                       number_of(answer, "rules"));
    if (const std::string why = text_of(answer, "reload_refused"); !why.empty())
      out += fmt::format("  the last reload was refused, what was before is in force: {}\n", why);
    const Json& of_site = member(answer, "parts");
    if (!of_site.is_object()) continue;
    for (const auto& [part, digest] : of_site.items())
      if (std::find(parts.begin(), parts.end(), part) == parts.end()) parts.push_back(part);
  }
  for (const std::string& part : parts) {
    std::vector<std::string> digests;
    for (const auto& [site, answer] : sites)
      digests.push_back(text_of(member(answer, "parts"), part));
    const bool same = std::all_of(digests.begin(), digests.end(),
                                  [&](const std::string& d) { return d == digests.front(); });
    if (!same) compared.differ.push_back(part);
    out += fmt::format("{:12}", printable(part));
    if (sites.size() < 2 || same) {
      out += fmt::format("{}{}\n", sites.size() < 2 ? "" : "same      ", digests.front());
      continue;
    }
    out += "differs  ";
    for (std::size_t i = 0; i < sites.size(); ++i)
      out += fmt::format(" {} {}", sites[i].first, digests[i]);
    out += '\n';
  }
  return compared;
}

}  // namespace leeward::cli

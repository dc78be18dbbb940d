#include "cli/internal/render.h"

#include <cmath>
#include <cstdio>
#include <ctime>

namespace leeward::cli {
namespace {

// What happens in a step, told with the names of the sites.
std::string step_text(const Json& plan, const std::string& step) {
  std::string from = text_of(plan, "from");
  std::string to = text_of(plan, "to");
  if (step == "prepare") return to + " gets ready";
  if (step == "drain") return from + " finishes what is running and holds the rest";
  if (step == "catch_up") return to + " applies the last changes";
  if (step == "transfer") return to + " takes the right to write";
  if (step == "traffic") return "DNS points at " + to;
  if (step == "done") return to + " serves";
  if (step == "aborted") return "given up: " + text_of(plan, "outcome");
  return "";
}

std::string cell(const Json& value) {
  if (value.is_string()) return printable(value.get_ref<const std::string&>());
  return printable(value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::string row_text(const Json& row) {
  if (!row.is_object()) return "–";
  std::string out;
  for (const auto& [column, value] : row.items())
    out += fmt::format("{}{}={}", out.empty() ? "" : " ", printable(column), cell(value));
  return out;
}

std::optional<double> unix_seconds(const std::string& text) {
  std::tm utc{};
  double second = 0;
  if (std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%lf", &utc.tm_year, &utc.tm_mon, &utc.tm_mday,
                  &utc.tm_hour, &utc.tm_min, &second) != 6 ||
      !std::isfinite(second) || second < 0 || second > 61)
    return std::nullopt;
  utc.tm_year -= 1900;
  utc.tm_mon -= 1;
  return static_cast<double>(timegm(&utc)) + second;
}

}  // namespace

std::string format_seconds(double seconds) {
  if (!std::isfinite(seconds)) return "–";
  if (seconds < 9.95) return fmt::format("{:.1f} s", seconds);
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  if (seconds < 7200)
    return fmt::format("{:.0f} min {:.0f} s", std::floor(seconds / 60), std::fmod(seconds, 60));
  return fmt::format("{:.1f} h", seconds / 3600);
}

std::optional<double> seconds_between(const std::string& from, const std::string& to) {
  auto a = unix_seconds(from);
  auto b = unix_seconds(to);
  if (!a || !b) return std::nullopt;
  return *b - *a;
}

std::string render_event(const Json& event) {
  std::string site = text_of(event, "site");
  double epoch = number_of(event, "epoch");
  return fmt::format("{:>6}  {}  {:<20} {:<8} {}  {}", number_of(event, "sequence"),
                     text_of(event, "time"), text_of(event, "kind"), site.empty() ? "–" : site,
                     epoch > 0 ? fmt::format("epoch {}", epoch) : "", text_of(event, "message"));
}

std::string render_step(const Json& plan, std::size_t index) {
  const Json& history = member(plan, "history");
  if (!history.is_array() || index >= history.size()) return "";
  std::string step = text_of(history[index], "step");
  auto elapsed =
      seconds_between(text_of(history[0], "entered"), text_of(history[index], "entered"));
  return fmt::format("{:>8}  {:<9} {}", elapsed ? fmt::format("{:.1f} s", *elapsed) : "", step,
                     step_text(plan, step));
}

std::string render_plan(const Json& plan) {
  const Json& history = member(plan, "history");
  std::string step = text_of(plan, "step");
  std::string out = fmt::format("plan {}: {} {} → {}: ", number_of(plan, "id"),
                                text_of(plan, "kind"), text_of(plan, "from"), text_of(plan, "to"));
  std::optional<double> took;
  if (history.is_array() && !history.empty())
    took = seconds_between(text_of(history.front(), "entered"), text_of(history.back(), "entered"));
  std::string outcome = text_of(plan, "outcome");
  if (step == "done")
    return out + "done" + (took ? " in " + format_seconds(*took) : "") +
           (outcome.empty() ? "" : ", " + outcome);
  if (step == "aborted")
    return out + "given up: " + (outcome.empty() ? "no reason given" : outcome);
  return out + step + ", " + step_text(plan, step);
}

std::string render_ledger(const std::vector<Json>& answers) {
  std::vector<std::vector<std::string>> rows{
      {"ID", "SITE", "EPOCH", "TIME", "STATE", "CHANGES", "CHANGED SINCE"}};
  for (const Json& answer : answers) {
    for (const Json& entry : member(answer, "entries")) {
      const Json& changes = member(entry, "changes");
      std::size_t conflicts = 0;
      for (const Json& change : changes)
        if (flag_of(change, "changed_since")) ++conflicts;
      rows.push_back({text_of(entry, "id"), text_of(entry, "site"),
                      fmt::format("{}", number_of(entry, "epoch")), text_of(entry, "time"),
                      text_of(entry, "state"), fmt::format("{}", changes.size()),
                      conflicts == 0 ? "–" : fmt::format("{}", conflicts)});
    }
  }
  if (rows.size() == 1) return "no lost writes\n";
  return columns(rows);
}

std::string render_ledger_entry(const Json& entry) {
  std::string out =
      fmt::format("{}: {}, lost on site {} in epoch {}, written {}\n", text_of(entry, "id"),
                  text_of(entry, "state"), text_of(entry, "site"), number_of(entry, "epoch"),
                  text_of(entry, "time"));
  for (const Json& change : member(entry, "changes")) {
    const Json& since = member(change, "changed_since");
    out += fmt::format("\n  {} {} {}\n", text_of(change, "operation"), text_of(change, "table"),
                       row_text(member(change, "key")));
    out += fmt::format("    before  {}\n", row_text(member(change, "before")));
    out += fmt::format("    after   {}\n", row_text(member(change, "after")));
    if (since.is_boolean())
      out += since.get<bool>() ? "    the row has changed since; a replay would overwrite it\n"
                               : "    the row has not changed since\n";
  }
  return out;
}

}  // namespace leeward::cli

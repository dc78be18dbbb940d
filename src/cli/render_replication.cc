// Replication tasks as text for people.
#include "cli/internal/render.h"

namespace leeward::cli {
namespace {

std::string amount(double value) { return fmt::format("{:.0f}", value); }

std::string lag_cell(const Json& position) {
  const Json& time = member(position, "seconds");
  return time.is_number() ? format_seconds(time.get<double>()) : "unknown";
}

}  // namespace

std::string render_findings(const Json& answer, bool color) {
  std::string out;
  std::size_t errors = 0;
  for (const Json& each : member(answer, "findings")) {
    std::string severity = text_of(each, "severity");
    if (severity == "error") ++errors;
    std::string shown = severity;
    if (color && severity == "error") shown = "\033[31m" + severity + "\033[0m";
    if (color && severity == "warning") shown = "\033[33m" + severity + "\033[0m";
    out += fmt::format("{}  {}: {}  [{}]\n", shown, text_of(each, "where"), text_of(each, "what"),
                       text_of(each, "code"));
    if (std::string cure = text_of(each, "cure"); !cure.empty())
      out += fmt::format("    mend: {}\n", cure);
  }
  if (errors == 0) return out + fmt::format("task {} can run\n", text_of(answer, "task"));
  return out + fmt::format("task {} cannot run: {} error{}\n", text_of(answer, "task"), errors,
                           errors == 1 ? "" : "s");
}

std::string render_task_status(const Json& status) {
  std::string out =
      fmt::format("task {}: {}{}\n", text_of(status, "task"), text_of(status, "state"),
                  flag_of(status, "paused") ? ", paused" : "");
  out += fmt::format("{} → {}\n", text_of(status, "source"), text_of(status, "target"));
  if (std::string error = text_of(status, "error"); !error.empty()) out += "error: " + error + "\n";
  if (std::string why = text_of(status, "throttle"); !why.empty())
    out += "held back: " + why + "\n";
  if (const Json& seed = member(status, "seed"); seed.is_object()) {
    double total = number_of(seed, "rows_total"), left = number_of(seed, "seconds_left", -1);
    out += fmt::format("{}: {}{} rows, {:.1f} MB, {} rows/s{}\n", text_of(seed, "phase"),
                       amount(number_of(seed, "rows")),
                       total > 0 ? fmt::format(" of ~{}", amount(total)) : "",
                       number_of(seed, "bytes") / 1e6, amount(number_of(seed, "rows_a_second")),
                       left >= 0 ? ", " + format_seconds(left) + " left" : "");
  }
  std::vector<std::vector<std::string>> rows{{"", "POSITION", "LAG", "TRANSACTIONS BEHIND"}};
  for (const char* which : {"received", "durable", "applied"}) {
    const Json& at = member(status, which);
    rows.push_back(
        {which, text_of(at, "gtid"), lag_cell(at), amount(number_of(at, "transactions"))});
  }
  out += "\n" + columns(rows) + "\n";
  out += fmt::format("{} transactions, {} rows applied since the start; {} conflicts\n",
                     amount(number_of(status, "transactions")), amount(number_of(status, "rows")),
                     amount(number_of(status, "conflicts")));
  const Json& verify = member(status, "verify");
  const Json& report = member(verify, "report");
  if (flag_of(verify, "running")) out += text_of(member(verify, "progress"), "phase") + "\n";
  if (report.is_object())
    out += fmt::format("last comparison: {} of {} rows differ, at {}\n",
                       amount(number_of(report, "different")), amount(number_of(report, "rows")),
                       text_of(verify, "ended_at"));
  return out;
}

std::string render_verify(const Json& report) {
  std::string out = fmt::format("{} tables, {} rows compared, the last at {}\n",
                                amount(number_of(report, "tables")),
                                amount(number_of(report, "rows")), text_of(report, "at"));
  double different = number_of(report, "different");
  if (different == 0) return out + "both ends are equal\n";
  std::vector<std::vector<std::string>> rows{{"TABLE", "ROW", "DIFFERENCE", "COLUMNS"}};
  for (const Json& each : member(report, "differences")) {
    std::string names;
    for (const Json& column : member(each, "columns"))
      if (column.is_string())
        names += (names.empty() ? "" : ", ") + printable(column.get_ref<const std::string&>());
    rows.push_back({text_of(each, "table"), text_of(each, "key"), text_of(each, "kind"), names});
  }
  out += columns(rows);
  if (different > static_cast<double>(rows.size() - 1))
    out += fmt::format("… and {} more\n", amount(different - static_cast<double>(rows.size() - 1)));
  return out + fmt::format("{} rows differ, {} repaired\n", amount(different),
                           amount(number_of(report, "repaired")));
}

std::string render_conflicts(const Json& answer) {
  const Json& conflicts = member(answer, "conflicts");
  if (!conflicts.is_array() || conflicts.empty()) return "no conflicts\n";
  std::vector<std::vector<std::string>> rows(1);
  for (const auto& [column, value] : conflicts[0].items()) rows[0].push_back(printable(column));
  for (const Json& each : conflicts) {
    rows.emplace_back();
    for (const std::string& column : rows[0]) {
      const Json& value = member(each, column);
      rows.back().push_back(value.is_null() ? "NULL" : text_of(each, column));
    }
  }
  return columns(rows);
}

}  // namespace leeward::cli

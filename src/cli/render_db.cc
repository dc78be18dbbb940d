#include <algorithm>

#include "cli/internal/render.h"

namespace leeward::cli {
namespace {

std::string size_text(double bytes) {
  if (bytes < 1e6) return fmt::format("{:.0f} kB", bytes / 1e3);
  if (bytes < 1e9) return fmt::format("{:.1f} MB", bytes / 1e6);
  return fmt::format("{:.2f} GB", bytes / 1e9);
}

std::string count_text(double count) {
  if (count < 10'000) return fmt::format("{:.0f}", count);
  if (count < 1e6) return fmt::format("{:.0f} k", count / 1e3);
  return fmt::format("{:.2f} M", count / 1e6);
}

// What its commits wait for, or what it does for the writer's.
std::string copies_text(const Json& site) {
  bool writer = text_of(site, "role") == "writer";
  if (!writer) return flag_of(site, "acknowledges") ? "acknowledges" : "no";
  std::string state = text_of(site, "semi_sync");
  std::string text = state == "on" ? "waits" : state == "fallen" ? "gave up waiting" : "no";
  if (double alone = number_of(site, "commits_alone"); alone > 0)
    text += fmt::format(", {} alone", count_text(alone));
  return text;
}

std::string protection_text(const Json& databases) {
  const Json& protection = member(databases, "protection");
  std::string state = text_of(protection, "state");
  std::string writer = text_of(databases, "writer");
  std::string standby = text_of(protection, "standby");
  if (state == "on")
    return fmt::format("protected: every acknowledged commit of {} is on disk at {}", writer,
                       standby);
  if (state == "arming") return fmt::format("not protected yet: {} has not everything", standby);
  return "not protected: a failover is judged by its estimated loss";
}

// What the standby's comparison of itself with the writer has found.
std::string comparison_text(const Json& site) {
  const Json& compared = member(site, "comparison");
  if (!compared.is_object()) return {};
  std::string name = text_of(site, "name");
  std::string rows = count_text(number_of(compared, "rows"));
  if (double differ = number_of(compared, "different"); differ > 0)
    return fmt::format("{}: {} rows differ from the writer's, such as {}: leeward db verify\n",
                       name, count_text(differ), text_of(compared, "first"));
  if (number_of(compared, "passes") == 0)
    return fmt::format("{}: being compared with the writer, {} rows so far\n", name, rows);
  return fmt::format("{}: equal to the writer in every row at {} ({} rows compared so far)\n", name,
                     text_of(compared, "completed"), rows);
}

std::string number_or_dash(const Json& json, std::string_view key) {
  const Json& value = member(json, key);
  return value.is_number() ? fmt::format("{}", value.get<double>()) : "–";
}

}  // namespace

Json databases_of(const Json& status) {
  Json databases{{"platform", text_of(status, "platform")},
                 {"writer", member(status, "writer")},
                 {"epoch", member(status, "epoch")},
                 {"protection", member(status, "protection")},
                 {"sites", Json::array()}};
  double written = 0;
  for (const Json& site : member(status, "sites"))
    if (text_of(site, "role") == "writer")
      written = number_of(member(member(site, "agent"), "database"), "written");
  for (const Json& site : member(status, "sites")) {
    if (text_of(site, "role") == "witness") continue;
    const Json& agent = member(site, "agent");
    const Json& database = member(agent, "database");
    bool standby = text_of(site, "role") == "standby";
    bool reachable = flag_of(database, "reachable");
    Json row{
        {"name", member(site, "name")}, {"role", member(site, "role")}, {"reachable", reachable}};
    for (const char* key : {"written", "received", "durable", "applied"})
      row[key] = reachable && (standby || std::string_view(key) == "written")
                     ? member(database, key)
                     : Json();
    row["lag_seconds"] = nullptr;
    row["transactions_behind"] = nullptr;
    if (standby && reachable) {
      if (member(database, "lag_ms").is_number())
        row["lag_seconds"] = number_of(database, "lag_ms") / 1000;
      double newest = std::max(written, number_of(database, "received"));
      row["transactions_behind"] =
          static_cast<std::uint64_t>(std::max(0.0, newest - number_of(database, "applied")));
    }
    row["semi_sync"] = member(database, "semi_sync");
    row["acknowledges"] = flag_of(database, "acknowledges");
    row["semi_sync_fallbacks"] = member(database, "fallbacks");
    row["commits_alone"] = member(database, "alone");
    row["ledger_open"] = member(agent, "ledger_open");
    row["replication"] = standby ? member(database, "replication") : Json();
    row["comparison"] = member(agent, "comparison");
    row["rejoining"] = flag_of(agent, "rejoining");
    row["problem"] = agent.is_object() ? text_of(agent, "problem") : "the agent does not report";
    databases["sites"].push_back(std::move(row));
  }
  return databases;
}

std::string render_databases(const Json& databases) {
  std::string writer = text_of(databases, "writer");
  std::string out = fmt::format(
      "{}: {}\n", text_of(databases, "platform"),
      writer.empty() ? "no site may write"
                     : fmt::format("{} writes at epoch {}", writer, number_of(databases, "epoch")));
  out += protection_text(databases) + "\n\n";
  std::vector<std::vector<std::string>> rows{{"SITE", "ROLE", "WRITTEN", "RECEIVED", "DURABLE",
                                              "APPLIED", "LAG", "BEHIND", "COPIES", "LEDGER",
                                              "STATE"}};
  for (const Json& site : member(databases, "sites")) {
    std::string state = flag_of(site, "reachable") ? text_of(site, "replication") : "";
    std::string problem = text_of(site, "problem");
    if (flag_of(site, "rejoining")) state = problem = "rejoining";
    if (!problem.empty() && problem != state) state += (state.empty() ? "" : ": ") + problem;
    const Json& lag = member(site, "lag_seconds");
    rows.push_back({text_of(site, "name"), text_of(site, "role"), number_or_dash(site, "written"),
                    number_or_dash(site, "received"), number_or_dash(site, "durable"),
                    number_or_dash(site, "applied"),
                    lag.is_number() ? format_seconds(lag.get<double>()) : "–",
                    number_or_dash(site, "transactions_behind"), copies_text(site),
                    number_or_dash(site, "ledger_open"), state.empty() ? "–" : state});
  }
  out += columns(rows);
  std::string compared;
  for (const Json& site : member(databases, "sites")) compared += comparison_text(site);
  if (!compared.empty()) out += "\n" + compared;
  return out +
         "\nPositions are sequence numbers of GTID domain 0; BEHIND counts transactions, LEDGER "
         "open "
         "entries.\n";
}

std::string render_lag(const Json& lag) {
  std::vector<std::vector<std::string>> rows{
      {"TIME", "STANDBY", "LAG", "BEHIND", "WRITTEN", "RECEIVED", "DURABLE", "APPLIED"}};
  for (const Json& sample : member(lag, "samples")) {
    const Json& value = member(sample, "lag_seconds");
    rows.push_back({text_of(sample, "time"), text_of(sample, "standby"),
                    value.is_number() ? format_seconds(value.get<double>()) : "–",
                    number_or_dash(sample, "transactions_behind"),
                    number_or_dash(sample, "written"), number_or_dash(sample, "received"),
                    number_or_dash(sample, "durable"), number_or_dash(sample, "applied")});
  }
  return rows.size() == 1 ? "no sample yet\n" : columns(rows);
}

std::string render_rejoin(const Json& rejoin) {
  std::string state = text_of(rejoin, "state");
  std::string phase = state == "running" ? text_of(rejoin, "phase") : state;
  std::string out =
      fmt::format("{:>8}  {:<8}", format_seconds(number_of(rejoin, "seconds")), phase);
  if (double lost = number_of(rejoin, "transactions"); lost > 0)
    out += fmt::format(" {} lost transactions;", count_text(lost));
  if (double bytes = number_of(rejoin, "bytes"); bytes > 0) {
    double rows = number_of(rejoin, "rows");
    double total = number_of(rejoin, "rows_total");
    out += fmt::format(" {}{} rows, {}, {} rows/s", count_text(rows),
                       state == "running" && total > rows ? " of about " + count_text(total) : "",
                       size_text(bytes), count_text(number_of(rejoin, "rows_per_second")));
    if (const Json& left = member(rejoin, "seconds_left"); left.is_number())
      out += fmt::format(", {} left", format_seconds(left.get<double>()));
  }
  if (out.ends_with(';')) out.pop_back();
  out.erase(out.find_last_not_of(' ') + 1);
  return out;
}

}  // namespace leeward::cli

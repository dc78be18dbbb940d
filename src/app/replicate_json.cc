#include "app/replicate_json.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "replication/verify_json.h"

namespace leeward::app {
namespace {

using Json = nlohmann::ordered_json;
using replication::LinkLag;
using replication::LinkState;
using replication::Progress;

Json seconds_or_null(Duration d) {
  return d == kNever ? Json() : Json(std::round(seconds(d) * 1000) / 1000);
}

Json lag_json(const LinkLag& lag) {
  return {{"seconds", seconds_or_null(lag.time)}, {"transactions", lag.transactions}};
}

Json position_json(const mysql::GtidPosition& at, const LinkLag& lag) {
  Json json{{"gtid", to_string(at)}};
  json.update(lag_json(lag));
  return json;
}

Json progress_json(const Progress& p) {
  return {{"phase", p.phase},
          {"rows", p.rows},
          {"rows_total", p.rows_total == 0 ? Json() : Json(p.rows_total)},
          {"bytes", p.bytes},
          {"rows_a_second", std::round(p.rows_a_second)},
          {"seconds_left", seconds_or_null(p.eta)}};
}

Json sample_json(const LagSample& s) {
  return {{"time", format_wall(s.at)},
          {"state", name(s.state)},
          {"received", lag_json(s.received)},
          {"durable", lag_json(s.durable)},
          {"applied", lag_json(s.applied)},
          {"transactions", s.transactions},
          {"rows", s.rows}};
}

Json verify_object(const VerifyState& v) {
  Json json{{"running", v.running}};
  if (v.running) json["progress"] = progress_json(v.progress);
  if (v.report) {
    json["report"] = Json::parse(replication::to_json(*v.report));
    json["ended_at"] = format_wall(v.ended_at);
  }
  json["error"] = v.error;
  return json;
}

std::string text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string amount(double bytes) {
  if (bytes >= 1e9) return fmt::format("{:.2f} GB", bytes / 1e9);
  return fmt::format("{:.1f} MB", bytes / 1e6);
}

std::string duration_text(Duration d) {
  if (d == kNever) return "?";
  double s = seconds(d);
  if (s < 120) return fmt::format("{:.1f} s", s);
  return fmt::format("{:.0f} min", s / 60);
}

}  // namespace

std::string status_json(const replication::Task& task, const ReplicateSnapshot& now,
                        const std::vector<LagSample>& history) {
  const replication::LinkStatus& link = now.link;
  Json json{
      {"task", task.name},
      {"source", fmt::format("{}:{}", task.source.host, task.source.port)},
      {"target", fmt::format("{}:{}", task.target.host, task.target.port)},
      {"state", name(link.state)},
      {"paused", now.paused},
      {"error", now.error.empty() ? link.error : now.error},
      {"source_gtid", to_string(link.source)},
      {"received", position_json(link.received, link.received_lag)},
      {"durable", position_json(link.durable, link.durable_lag)},
      {"applied", position_json(link.applied, link.applied_lag())},
      {"transactions", link.transactions},
      {"rows", link.rows},
      {"conflicts", link.conflicts},
      {"throttle", link.throttle},
      {"semi_sync", name(link.semi_sync)},
      {"semi_sync_fallbacks", link.semi_sync_fallbacks},
      {"seed", now.seed ? progress_json(*now.seed) : Json()},
      {"verify", verify_object(now.verify)},
  };
  if (link.error_at != WallTime{}) json["error_at"] = format_wall(link.error_at);
  json["history"] = Json::array();
  for (const LagSample& sample : history) json["history"].push_back(sample_json(sample));
  return text(json);
}

std::string verify_json(const VerifyState& state) { return text(verify_object(state)); }

std::string status_line(const ReplicateSnapshot& now, const ReplicateSnapshot& before,
                        Duration between) {
  if (!now.error.empty()) return now.error;
  if (now.seed) {
    const Progress& p = *now.seed;
    std::string part = p.rows_total > 0
                           ? fmt::format(" of ~{} rows ({:.0f} %)", p.rows_total,
                                         std::min(100.0, 100.0 * static_cast<double>(p.rows) /
                                                             static_cast<double>(p.rows_total)))
                           : " rows";
    return fmt::format("{}: {}{}, {}, {:.0f} rows/s, {} left", p.phase, p.rows, part,
                       amount(static_cast<double>(p.bytes)), p.rows_a_second, duration_text(p.eta));
  }
  const replication::LinkStatus& link = now.link;
  double rate = static_cast<double>(link.transactions - before.link.transactions) /
                std::max(0.001, seconds(between));
  std::string line =
      fmt::format("{}: lag {}, {} transactions behind, {:.0f}/s, {} rows applied", name(link.state),
                  duration_text(link.lag), link.behind, rate, link.rows);
  if (now.verify.running) line += "; " + now.verify.progress.phase;
  if (!link.error.empty()) line += "; " + link.error;
  return line;
}

}  // namespace leeward::app

#include "console/lag_history.h"

#include <nlohmann/json.hpp>

namespace leeward::console {

std::uint64_t transactions_behind(Position written, Position applied) {
  return written > applied ? written.value - applied.value : 0;
}

void LagHistory::look(Now now, const control::ControlCore& core) {
  if (last_ != BootTime{} && now.boot - last_ < kEvery) return;
  SiteId writer = core.record().intent.writer;
  SiteId standby = writer == kNoSite ? kNoSite : core.other_site(writer);
  const AgentReport* behind = standby == kNoSite ? nullptr : core.agent(standby);
  if (behind == nullptr || core.agent_age(now, standby) > kEvery || !behind->database.reachable)
    return;
  last_ = now.boot;
  const DatabaseStatus& db = behind->database;
  const AgentReport* ahead = core.agent(writer);
  Position written = std::max(ahead ? ahead->database.written : Position{}, db.received);
  samples_.push_back(
      {now.wall, writer, standby, db.lag, written, db.received, db.durable, db.applied});
  if (samples_.size() > kSamplesMax) samples_.pop_front();
}

std::string LagHistory::json(const Platform& platform) const {
  nlohmann::json list = nlohmann::json::array();
  for (const Sample& s : samples_) {
    list.push_back(
        {{"time", format_wall(s.time)},
         {"writer", platform.site(s.writer).name},
         {"standby", platform.site(s.standby).name},
         {"lag_seconds", s.lag == kNever ? nlohmann::json() : nlohmann::json(seconds(s.lag))},
         {"written", s.written.value},
         {"received", s.received.value},
         {"durable", s.durable.value},
         {"applied", s.applied.value},
         {"transactions_behind", transactions_behind(s.written, s.applied)}});
  }
  return nlohmann::json{{"interval_ms", kEvery / std::chrono::milliseconds(1)},
                        {"samples", std::move(list)}}
      .dump();
}

}  // namespace leeward::console

#include "console/status_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "console/lag_history.h"
#include "model/json.h"

namespace leeward::console {
namespace {

using Json = nlohmann::json;

std::int64_t milliseconds(Duration d) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
}

Json site_name(const Platform& platform, SiteId site) {
  return site == kNoSite ? Json() : Json(platform.site(site).name);
}

std::string_view mode_name(FailoverMode mode) {
  constexpr std::string_view kNames[] = {"automatic", "approve", "manual"};
  return kNames[static_cast<std::size_t>(mode)];
}

Json site_json(const Platform& platform, const control::ControlCore& core, Now now, SiteId id) {
  const Site& site = platform.site(id);
  Json json{{"name", site.name}, {"address", site.address}};
  if (site.role == SiteRole::kWitness) {
    json["role"] = "witness";
    json["health"] = "up";  // it is the one that answers
    json["votes"] = Json::object();
    json["agent"] = nullptr;
    return json;
  }
  json["role"] = core.record().intent.writer == id ? "writer" : "standby";
  json["health"] = core.degraded(now, id) ? "degraded" : name(core.verdict(now, id));
  Json votes = Json::object();
  for (std::size_t v = 0; v < platform.sites.size(); ++v) {
    SiteId vantage{static_cast<std::uint8_t>(v)};
    votes[platform.sites[v].name] = name(core.opinion(now, vantage, id));
  }
  json["votes"] = std::move(votes);
  json["agent"] = nullptr;
  if (const AgentReport* report = core.agent(id)) {
    Json agent = encode_json(platform, *report);
    agent["age_ms"] = milliseconds(core.agent_age(now, id));
    json["agent"] = std::move(agent);
  }
  return json;
}

Json replication_json(const Platform& platform, const control::ControlCore& core, SiteId standby) {
  const AgentReport* report = standby == kNoSite ? nullptr : core.agent(standby);
  if (!report || report->database.lag == kNever) return nullptr;
  Json json{{"standby", site_name(platform, standby)},
            {"lag_seconds", seconds(report->database.lag)}};
  json["transactions_behind"] = nullptr;
  if (const AgentReport* writer = core.agent(core.record().intent.writer)) {
    json["transactions_behind"] = transactions_behind(
        std::max(writer->database.written, report->database.received), report->database.applied);
  }
  return json;
}

Json failover_json(const Platform& platform, const control::Readiness& ready) {
  Json json{{"possible", ready.why_not.empty()}, {"to", site_name(platform, ready.to)}};
  json["estimated_loss_seconds"] = ready.loss_known ? Json(seconds(ready.estimated_loss)) : Json();
  json["why_not"] = ready.why_not;
  return json;
}

}  // namespace

std::string status_json(const Platform& platform, const control::ControlCore& core, Now now) {
  const ServiceRecord& record = core.record();
  SiteId standby =
      record.intent.writer == kNoSite ? kNoSite : core.other_site(record.intent.writer);
  Json json{{"platform", platform.name},
            {"mode", mode_name(platform.failover.mode)},
            {"paused", record.paused},
            {"blocked", record.blocked},
            {"version", record.version},
            {"writer", site_name(platform, record.intent.writer)},
            {"epoch", record.intent.epoch.value},
            {"active", site_name(platform, record.active)}};
  json["lease"] = {{"holder", site_name(platform, core.lease().holder)},
                   {"epoch", core.lease().epoch.value},
                   {"unchanged_ms", milliseconds(core.lease_unchanged(now))}};
  Json sites = Json::array();
  for (std::size_t i = 0; i < platform.sites.size(); ++i)
    sites.push_back(site_json(platform, core, now, SiteId{static_cast<std::uint8_t>(i)}));
  json["sites"] = std::move(sites);
  json["replication"] = replication_json(platform, core, standby);
  json["failover"] = failover_json(platform, core.readiness(now, standby));
  json["proposal"] = nullptr;
  json["protection"] = encode_json(platform, record.protection);
  if (record.proposal)
    json["proposal"] = {{"from", site_name(platform, record.proposal->from)},
                        {"to", site_name(platform, record.proposal->to)},
                        {"why_not_automatic", record.proposal->why_not_automatic}};
  json["plan"] = record.plan ? encode_json(platform, *record.plan) : Json();
  return json.dump();
}

std::string plan_json(const Platform& platform, const control::ControlCore& core) {
  const ServiceRecord& record = core.record();
  return Json{{"plan", record.plan ? encode_json(platform, *record.plan) : Json()}}.dump();
}

}  // namespace leeward::console

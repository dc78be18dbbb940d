#include "app/scaling_json.h"

#include <nlohmann/json.hpp>

namespace leeward::app {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kEntriesMax = 2000;
constexpr int kCountMax = 1'000'000;

std::int64_t seconds_of(WallTime t) {
  return std::chrono::floor<std::chrono::seconds>(t.time_since_epoch()).count();
}
WallTime wall_of(std::int64_t s) { return WallTime{std::chrono::seconds(s)}; }

bool count(const Json& json) { return json.is_number_integer() && json >= 0 && json <= kCountMax; }
// Of time, so that arithmetic with it cannot overflow: up to the year 2200.
bool moment(const Json& json) {
  return json.is_number_integer() && json >= 0 && json <= 7'258'118'400;
}

// [[hour, count, count…], …]
bool rows(const Json& json, std::size_t width) {
  if (!json.is_array() || json.size() > kEntriesMax) return false;
  for (const Json& row : json) {
    if (!row.is_array() || row.size() != width || !moment(row[0])) return false;
    for (std::size_t i = 1; i < width; ++i)
      if (!count(row[i])) return false;
  }
  return true;
}

}  // namespace

Json encode_scaling(const compute::AutoscalerMemory& memory) {
  Json json{{"desired", memory.desired}, {"failover_floor", memory.failover_floor}};
  if (memory.bounds) {
    Json bounds{{"until", seconds_of(memory.bounds->until)}};
    if (memory.bounds->min) bounds["min"] = *memory.bounds->min;
    if (memory.bounds->max) bounds["max"] = *memory.bounds->max;
    json["bounds"] = bounds;
  }
  if (memory.frozen_until) json["frozen_until"] = seconds_of(*memory.frozen_until);
  json["peaks"] = Json::array();
  for (const auto& [hour, needed] : memory.peaks) json["peaks"].push_back({hour, needed});
  json["needs"] = Json::array();
  for (const auto& [hour, needed] : memory.forecast.needs) json["needs"].push_back({hour, needed});
  json["outcomes"] = Json::array();
  for (const compute::ForecastOutcome& o : memory.forecast.outcomes)
    json["outcomes"].push_back({o.hour, o.predicted, o.actual});
  return json;
}

Result<compute::AutoscalerMemory> decode_scaling(const Json& json) {
  auto corrupt = [](std::string_view what) {
    return fail(Code::kCorrupt, "'{}' is not what it should be", what);
  };
  if (!json.is_object()) return corrupt("tier");
  auto at = [&](const char* key) { return json.contains(key) ? json[key] : Json(); };
  compute::AutoscalerMemory memory;
  for (auto [key, target] : {std::pair{"desired", &memory.desired},
                             std::pair{"failover_floor", &memory.failover_floor}}) {
    if (!count(at(key))) return corrupt(key);
    *target = at(key).get<int>();
  }
  if (Json bounds = at("bounds"); !bounds.is_null()) {
    if (!bounds.is_object() || !bounds.contains("until") || !moment(bounds["until"]))
      return corrupt("bounds");
    compute::OperatorBounds b;
    b.until = wall_of(bounds["until"].get<std::int64_t>());
    for (auto [key, target] : {std::pair{"min", &b.min}, std::pair{"max", &b.max}}) {
      if (!bounds.contains(key)) continue;
      if (!count(bounds[key])) return corrupt("bounds");
      *target = bounds[key].get<int>();
    }
    memory.bounds = b;
  }
  if (Json frozen = at("frozen_until"); !frozen.is_null()) {
    if (!moment(frozen)) return corrupt("frozen_until");
    memory.frozen_until = wall_of(frozen.get<std::int64_t>());
  }
  for (auto [key, target] :
       {std::pair{"peaks", &memory.peaks}, std::pair{"needs", &memory.forecast.needs}}) {
    if (!rows(at(key), 2)) return corrupt(key);
    for (const Json& row : at(key))
      target->emplace_back(row[0].get<std::int64_t>(), row[1].get<int>());
  }
  if (!rows(at("outcomes"), 3)) return corrupt("outcomes");
  for (const Json& row : at("outcomes"))
    memory.forecast.outcomes.push_back(
        {row[0].get<std::int64_t>(), row[1].get<int>(), row[2].get<int>()});
  return memory;
}

Json encode_decision(const ScalingSpec& spec, const compute::Decision& d) {
  Json policies = Json::array();
  for (std::size_t i = 0; i < d.policies && i < spec.policies.size(); ++i) {
    const compute::Proposal& p = d.proposals[i];
    policies.push_back({{"name", spec.policies[i].name},
                        {"value", p.value ? Json(*p.value) : Json()},
                        {"wanted", p.proposes() ? Json(p.wanted) : Json()},
                        {"why", name(p.reason)}});
  }
  Json reasons = Json::array();
  for (std::size_t i = 0; i < d.reason_count; ++i)
    reasons.push_back({{"why", name(d.reasons[i].why)}, {"number", d.reasons[i].number}});
  return {{"at", format_wall(d.at.wall)},
          {"before", d.before},
          {"desired", d.desired},
          {"counted", d.counted},
          {"warming", d.warming},
          {"needed", d.needed},
          {"predicted", d.predicted ? Json(*d.predicted) : Json()},
          {"policies", policies},
          {"reasons", reasons},
          {"text", explain(spec, d)}};
}

}  // namespace leeward::app

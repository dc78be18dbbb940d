#include "app/agent_memory.h"

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "model/json.h"

namespace leeward::app {

using Json = nlohmann::json;

namespace {

Json encode_heartbeats(const Platform& platform, const control::HeartbeatMemory& memory) {
  if (memory.least == kNever || memory.source == kNoSite) return nullptr;
  return {{"source", platform.site(memory.source).name},
          {"node", memory.node.value},
          {"epoch", memory.epoch.value},
          {"least_ns", memory.least.count()}};
}

std::optional<control::HeartbeatMemory> decode_heartbeats(const Platform& platform,
                                                          const Json& json) {
  auto unsigned_at = [&](const char* key) {
    return json.contains(key) && json[key].is_number_unsigned();
  };
  bool whole = json.contains("source") && json["source"].is_string() && unsigned_at("node") &&
               unsigned_at("epoch") && json.contains("least_ns") &&
               json["least_ns"].is_number_integer();
  if (!whole) return std::nullopt;
  auto site = platform.find_site(json["source"].get<std::string>());
  auto node = json["node"].get<std::uint64_t>();
  if (!site || node >= kNodesMax) return std::nullopt;
  return control::HeartbeatMemory{*site, NodeId{static_cast<std::uint8_t>(node)},
                                  Epoch{json["epoch"].get<std::uint64_t>()},
                                  Duration(json["least_ns"].get<std::int64_t>())};
}

}  // namespace

Result<control::AgentMemory> load_memory(const Platform& platform, const std::string& path,
                                         Now now) {
  auto text = read_file(path, 1u << 16);
  if (!text && text.error().code == Code::kNotFound) {
    control::AgentMemory none;
    none.promise_until = now.boot + platform.lease.takeover;  // the directory may have been lost
    return none;
  }
  if (!text) return fail(text.error());
  auto corrupt = [&](std::string_view why) {
    return fail(Code::kCorrupt,
                "{}: {}; if this site's agent made no promise in the last minute, remove the file",
                path, why);
  };
  Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object()) return corrupt("not JSON");
  for (const char* key : {"life", "highest", "held", "active_epoch", "promise_until_ns"})
    if (!json[key].is_number_unsigned()) return corrupt(fmt::format("'{}' is not a number", key));
  control::AgentMemory memory;
  memory.life = json["life"].get<std::uint64_t>();
  memory.highest = Epoch{json["highest"].get<std::uint64_t>()};
  memory.held = Epoch{json["held"].get<std::uint64_t>()};
  memory.active_epoch = Epoch{json["active_epoch"].get<std::uint64_t>()};
  auto intent = decode_json<Intent>(platform, json["intent"]);
  if (!intent) return corrupt(intent.error().message);
  memory.intent = *intent;
  auto protection = decode_json<Protection>(platform, json["protection"]);
  if (!protection) return corrupt(protection.error().message);
  memory.protection = *protection;
  if (json["active"].is_string()) {
    auto site = platform.find_site(json["active"].get<std::string>());
    if (!site) return corrupt("'active' is not a site");
    memory.active = *site;
  }
  if (const Json& nodes = json["nodes"]; nodes.is_object()) {  // written since sites may have two
    for (const char* key : {"epoch", "term", "primary"})
      if (!nodes.contains(key) || !nodes[key].is_number_unsigned())
        return corrupt(fmt::format("'nodes.{}' is not a number", key));
    auto primary = nodes["primary"].get<std::uint64_t>();
    if (primary >= kNodesMax) return corrupt("'nodes.primary' is not a node");
    memory.nodes.epoch = Epoch{nodes["epoch"].get<std::uint64_t>()};
    memory.nodes.term = Term{nodes["term"].get<std::uint64_t>()};
    memory.nodes.primary = NodeId{static_cast<std::uint8_t>(primary)};
    memory.nodes.in_sync = nodes.contains("in_sync") && nodes["in_sync"] == true;
    memory.nodes.unopened = nodes.contains("unopened") && nodes["unopened"] == true;
  }
  bool same_boot = json["boot_id"] == boot_id() && !boot_id().empty();
  const Json& heartbeats = json["heartbeats"];  // absent: none was known
  if (heartbeats.is_object() && same_boot) {
    auto kept = decode_heartbeats(platform, heartbeats);
    if (!kept) return corrupt("'heartbeats' lacks a site, a node, an epoch or a delay");
    memory.heartbeats = *kept;
  }
  std::uint64_t promise = json["promise_until_ns"].get<std::uint64_t>();
  if (promise != 0)
    memory.promise_until =
        same_boot ? BootTime(Duration(promise)) : now.boot + platform.lease.takeover;
  return memory;
}

Status save_memory(const Platform& platform, const std::string& path,
                   const control::AgentMemory& memory) {
  Json json{{"boot_id", boot_id()},
            {"life", memory.life},
            {"highest", memory.highest.value},
            {"held", memory.held.value},
            {"active", memory.active == kNoSite ? Json() : Json(platform.site(memory.active).name)},
            {"active_epoch", memory.active_epoch.value},
            {"intent", encode_json(platform, memory.intent)},
            {"protection", encode_json(platform, memory.protection)},
            {"nodes",
             {{"epoch", memory.nodes.epoch.value},
              {"term", memory.nodes.term.value},
              {"primary", memory.nodes.primary.value},
              {"in_sync", memory.nodes.in_sync},
              {"unopened", memory.nodes.unopened}}},
            {"heartbeats", encode_heartbeats(platform, memory.heartbeats)},
            {"promise_until_ns",
             static_cast<std::uint64_t>(memory.promise_until.time_since_epoch().count())}};
  return write_file_durably(path, json.dump(1) + "\n");
}

}  // namespace leeward::app

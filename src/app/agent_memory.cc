#include "app/agent_memory.h"

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "model/json.h"

namespace leeward::app {

using Json = nlohmann::json;

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
  std::uint64_t promise = json["promise_until_ns"].get<std::uint64_t>();
  bool same_boot = json["boot_id"] == boot_id() && !boot_id().empty();
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
            {"promise_until_ns",
             static_cast<std::uint64_t>(memory.promise_until.time_since_epoch().count())}};
  return write_file_durably(path, json.dump(1) + "\n");
}

}  // namespace leeward::app

#include "app/function_orders.h"

#include <nlohmann/json.hpp>

#include "app/deploy_json.h"

namespace leeward::app {

using Json = nlohmann::json;

std::string encode_orders(const FunctionOrders& orders) {
  Json instances = Json::array();
  for (const Endpoint& instance : orders.instances) instances.push_back(to_string(instance));
  return Json{{"process", encode_process(orders.process)}, {"instances", instances}}.dump(
      -1, ' ', false, Json::error_handler_t::replace);
}

Result<FunctionOrders> decode_orders(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("process") || !json.contains("instances") ||
      !json["instances"].is_array())
    return fail(Code::kCorrupt, "no process and list of instances");
  FunctionOrders orders;
  auto process = decode_process(json["process"]);
  if (!process) return fail(Code::kCorrupt, "process: {}", process.error().message);
  if (!process->image.empty()) return fail(Code::kCorrupt, "process: functions run from no image");
  orders.process = std::move(*process);
  for (const Json& instance : json["instances"]) {
    auto server = instance.is_string() ? parse_endpoint(instance.get<std::string>())
                                       : fail(Code::kCorrupt, "not a text");
    if (!server) return fail(Code::kCorrupt, "instances: {}", server.error().message);
    orders.instances.push_back(std::move(*server));
  }
  return orders;
}

}  // namespace leeward::app

// The registry as JSON: as it is kept on disk, and in the shapes of the Lambda API.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/error.h"
#include "functions/registry.h"

namespace leeward::functions {

// On disk. load_registry: kCorrupt for anything but what save_registry makes.
std::string save_registry(const Registry& registry);
Status load_registry(Registry& registry, std::string_view text);

// Shapes of the API: FunctionConfiguration, AliasConfiguration, FunctionUrlConfig,
// FunctionEventInvokeConfig. `address` is where function URLs are served: "http://…:PORT".
nlohmann::json function_shape(const Registry& registry, const std::string& name,
                              const std::string& version, const FunctionSettings& settings);
nlohmann::json alias_shape(const Registry& registry, const std::string& name,
                           const std::string& alias, const Alias& value);
nlohmann::json url_shape(const Registry& registry, const std::string& name,
                         const std::string& qualifier, const UrlSettings& url,
                         const std::string& address);
nlohmann::json event_shape(const Registry& registry, const std::string& name,
                           const std::string& qualifier, const EventSettings& settings);

// The members of a CreateFunction or UpdateFunctionConfiguration request that are there, put over
// `settings`. An error for a member of a wrong type, or one that asks for what there is not here
// (images, layers, VPC, file systems), because ignoring it would not be what was asked for.
ApiStatus apply_members(const nlohmann::json& request, FunctionSettings& settings);
ApiStatus apply_members(const nlohmann::json& request, Alias& alias);
ApiStatus apply_members(const nlohmann::json& request, EventSettings& settings);

// A request's body as an object; {} when it is empty.
ApiResult<nlohmann::json> parse_request(std::string_view body);
// A member as text; "" when it is not there or null.
ApiResult<std::string> text_member(const nlohmann::json& request, const char* name);

// SHA-256 in the API's base64 and back to hexadecimal digits.
std::string base64_of_hex(std::string_view hexadecimal);

}  // namespace leeward::functions

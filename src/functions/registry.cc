#include "functions/registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace leeward::functions {
namespace {

constexpr std::size_t kNameBytesMax = 64;
constexpr std::size_t kEnvironmentBytesMax = 4096;
constexpr std::size_t kHandlerBytesMax = 1024;
constexpr std::size_t kAliasesMax = 100;

bool is_name(std::string_view text, std::size_t bytes_max) {
  return !text.empty() && text.size() <= bytes_max &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_';
         });
}

bool is_number(std::string_view text) {
  return !text.empty() && text.size() <= 9 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::uint64_t number_of(const std::string& version) { return std::stoull(version); }

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  for (;;) {
    const auto colon = text.find(':');
    parts.emplace_back(text.substr(0, colon));
    if (colon == std::string_view::npos || parts.size() > 16) return parts;
    text.remove_prefix(colon + 1);
  }
}

// Names that Lambda sets itself ("Defined runtime environment variables").
bool is_reserved(const std::string& name) {
  static const std::set<std::string, std::less<>> kReserved = {"_HANDLER",
                                                               "AWS_LAMBDA_RUNTIME_API",
                                                               "LAMBDA_TASK_ROOT",
                                                               "LAMBDA_RUNTIME_DIR",
                                                               "AWS_EXECUTION_ENV",
                                                               "AWS_LAMBDA_FUNCTION_NAME",
                                                               "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
                                                               "AWS_LAMBDA_FUNCTION_VERSION",
                                                               "AWS_LAMBDA_INITIALIZATION_TYPE",
                                                               "AWS_LAMBDA_LOG_GROUP_NAME",
                                                               "AWS_LAMBDA_LOG_STREAM_NAME"};
  return kReserved.contains(name);
}

// Whether a published version would say the same.
bool same_but_names(const FunctionSettings& a, const FunctionSettings& b) {
  return a.runtime == b.runtime && a.handler == b.handler && a.role == b.role &&
         a.timeout_seconds == b.timeout_seconds && a.memory_megabytes == b.memory_megabytes &&
         a.tmp_megabytes == b.tmp_megabytes && a.environment == b.environment &&
         a.dead_letter_arn == b.dead_letter_arn && a.code_sha256 == b.code_sha256;
}

}  // namespace

tl::unexpected<ApiError> invalid_parameter(std::string message) {
  return tl::unexpected(ApiError{400, "InvalidParameterValueException", std::move(message)});
}
tl::unexpected<ApiError> not_found(std::string message) {
  return tl::unexpected(ApiError{404, "ResourceNotFoundException", std::move(message)});
}
tl::unexpected<ApiError> conflict(std::string message) {
  return tl::unexpected(ApiError{409, "ResourceConflictException", std::move(message)});
}

std::string api_time(WallTime t) {
  std::string text = format_wall(t);  // …000Z
  if (text.ends_with('Z')) text.replace(text.size() - 1, 1, "+0000");
  return text;
}

std::string Registry::arn(const std::string& name, const std::string& qualifier) const {
  return fmt::format("arn:aws:lambda:{}:{}:function:{}{}{}", rule_.region, rule_.account, name,
                     qualifier.empty() ? "" : ":", qualifier);
}

ApiResult<FunctionReference> Registry::parse_reference(const std::string& text) const {
  std::vector<std::string> parts = split(text);
  // arn:aws:lambda:REGION:ACCOUNT:function:NAME, ACCOUNT:function:NAME, or NAME itself.
  if (parts.size() >= 7 && parts[0] == "arn" && parts[2] == "lambda" && parts[5] == "function")
    parts.erase(parts.begin(), parts.begin() + 6);
  else if (parts.size() >= 3 && parts[1] == "function")
    parts.erase(parts.begin(), parts.begin() + 2);
  const bool sound = (parts.size() == 1 || parts.size() == 2) && is_name(parts[0], kNameBytesMax) &&
                     (parts.size() == 1 || parts[1] == kLatest || is_name(parts[1], 128));
  if (!sound)
    return tl::unexpected(ApiError{
        400, "ValidationException",
        fmt::format("1 validation error detected: Value '{}' at 'functionName' failed to satisfy "
                    "constraint: a name of letters, digits, '-' and '_', or its ARN",
                    text.substr(0, 170))});
  return FunctionReference{parts[0], parts.size() == 2 ? parts[1] : ""};
}

ApiResult<FunctionReference> Registry::parse_reference(const std::string& text,
                                                       const std::string& qualifier) const {
  auto reference = parse_reference(text);
  if (!reference || qualifier.empty()) return reference;
  if (!reference->qualifier.empty() && reference->qualifier != qualifier)
    return invalid_parameter(
        "The derived qualifier from the function name does not match the specified qualifier.");
  reference->qualifier = qualifier;
  return reference;
}

ApiResult<Function*> Registry::find(const std::string& name) {
  auto found = functions_.find(name);
  if (found == functions_.end()) return not_found("Function not found: " + arn(name));
  return &found->second;
}

ApiStatus Registry::check(const FunctionSettings& s) const {
  auto in_range = [](std::uint32_t n, std::uint32_t low, std::uint32_t high) {
    return n >= low && n <= high;
  };
  if (!in_range(s.timeout_seconds, 1, 900))
    return invalid_parameter("Timeout must be between 1 and 900 seconds.");
  if (!in_range(s.memory_megabytes, 128, rule_.memory_megabytes_max))
    return invalid_parameter(
        fmt::format("'MemorySize' value failed to satisfy constraint: Member "
                    "must have value between 128 and {}",
                    rule_.memory_megabytes_max));
  if (!in_range(s.tmp_megabytes, 512, 10'240))
    return invalid_parameter("EphemeralStorage must be between 512 and 10240 MB.");
  if (s.handler.size() > kHandlerBytesMax) return invalid_parameter("Handler is too long.");
  std::size_t bytes = 0;
  for (const auto& [name, value] : s.environment) {
    bytes += name.size() + value.size();
    if (is_reserved(name))
      return invalid_parameter(
          "Lambda was unable to configure your environment variables because the environment "
          "variables you have provided contains reserved keys that are currently not supported "
          "for modification. Reserved keys used in this request: " +
          name);
    const bool sound = !name.empty() && !(name[0] >= '0' && name[0] <= '9') &&
                       name.find('-') == std::string::npos && is_name(name, 256) &&
                       value.find('\0') == std::string::npos;
    if (!sound) return invalid_parameter("'" + name.substr(0, 80) + "' cannot name a variable.");
  }
  if (bytes > kEnvironmentBytesMax)
    return invalid_parameter(
        "Lambda was unable to configure your environment variables because the environment "
        "variables you have provided exceeded the 4KB limit.");
  return {};
}

ApiStatus Registry::create(WallTime now, const std::string& name, FunctionSettings settings) {
  if (functions_.contains(name)) return conflict("Function already exist: " + name);
  if (functions_.size() >= rule_.functions_max)
    return tl::unexpected(
        ApiError{400, "CodeStorageExceededException",
                 fmt::format("There are {} functions already.", rule_.functions_max)});
  if (ApiStatus sound = check(settings); !sound) return sound;
  settings.last_modified = api_time(now);
  settings.revision_id = unique_();
  functions_[name].latest = std::move(settings);
  return {};
}

ApiStatus Registry::update(WallTime now, const std::string& name, FunctionSettings settings,
                           const std::string& revision) {
  auto function = find(name);
  if (!function) return tl::unexpected(function.error());
  if (!revision.empty() && revision != (*function)->latest.revision_id)
    return tl::unexpected(ApiError{412, "PreconditionFailedException",
                                   "The Revision Id provided does not match the latest Revision "
                                   "Id. Call the GetFunction/GetAlias API to retrieve the latest "
                                   "Revision Id"});
  if (ApiStatus sound = check(settings); !sound) return sound;
  settings.last_modified = api_time(now);
  settings.revision_id = unique_();
  (*function)->latest = std::move(settings);
  return {};
}

ApiStatus Registry::remove(const std::string& name) {
  if (auto function = find(name); !function) return tl::unexpected(function.error());
  functions_.erase(name);
  return {};
}

ApiStatus Registry::remove_version(const std::string& name, const std::string& version) {
  auto function = find(name);
  if (!function) return tl::unexpected(function.error());
  if (version == kLatest)
    return invalid_parameter("$LATEST version cannot be deleted without deleting the function.");
  if (ApiStatus known = check_version(**function, name, version); !known) return known;
  for (const auto& [alias, value] : (*function)->aliases)
    if (value.version == version || value.weights.contains(version))
      return conflict(
          fmt::format("Cannot delete version {}, alias {} points to it.", version, alias));
  (*function)->versions.erase(number_of(version));
  return {};
}

ApiResult<std::string> Registry::publish(WallTime now, const std::string& name,
                                         const std::string& description,
                                         const std::string& sha256) {
  auto found = find(name);
  if (!found) return tl::unexpected(found.error());
  Function& function = **found;
  if (!sha256.empty() && sha256 != function.latest.code_sha256)
    return invalid_parameter("CodeSHA256 is different from that of $LATEST.");
  if (!function.versions.empty() &&
      same_but_names(function.versions.rbegin()->second, function.latest))
    return std::to_string(function.versions.rbegin()->first);
  if (function.versions.size() >= rule_.versions_max)
    return tl::unexpected(
        ApiError{400, "CodeStorageExceededException",
                 fmt::format("{} has {} versions; delete some.", name, rule_.versions_max)});
  FunctionSettings version = function.latest;
  if (!description.empty()) version.description = description;
  version.last_modified = api_time(now);
  version.revision_id = unique_();
  function.versions[++function.last_version] = std::move(version);
  return std::to_string(function.last_version);
}

ApiStatus Registry::check_version(const Function& function, const std::string& name,
                                  const std::string& version) const {
  const bool known =
      version == kLatest || (is_number(version) && function.versions.contains(number_of(version)));
  if (!known) return not_found("Function not found: " + arn(name, version));
  return {};
}

ApiStatus Registry::set_alias(const std::string& name, const std::string& alias, Alias value,
                              bool must_exist) {
  auto found = find(name);
  if (!found) return tl::unexpected(found.error());
  Function& function = **found;
  if (!is_name(alias, 128) || is_number(alias))
    return invalid_parameter("An alias has letters, digits, '-' and '_' and is not a number.");
  const bool exists = function.aliases.contains(alias);
  if (must_exist && !exists) return not_found("Cannot find alias arn: " + arn(name, alias));
  if (!must_exist && exists) return conflict("Alias already exists: " + arn(name, alias));
  if (!exists && function.aliases.size() >= kAliasesMax)
    return invalid_parameter(fmt::format("{} aliases are the most.", kAliasesMax));
  if (ApiStatus known = check_version(function, name, value.version); !known) return known;
  if (value.weights.size() > 1)
    return invalid_parameter(
        "Number of items in AdditionalVersionWeights cannot be greater than 1");
  for (const auto& [version, weight] : value.weights) {
    if (version == kLatest || value.version == kLatest)
      return invalid_parameter(
          "$LATEST is not supported for an alias pointing to more than 1 version");
    if (ApiStatus known = check_version(function, name, version); !known) return known;
    if (version == value.version)
      return invalid_parameter("Invalid function version " + version + ". Function version " +
                               version +
                               " is already included in routing "
                               "configuration.");
    if (!(weight >= 0 && weight <= 1))
      return invalid_parameter("A weight must be between 0.0 and 1.0.");
  }
  value.revision_id = unique_();
  function.aliases[alias] = std::move(value);
  return {};
}

ApiStatus Registry::remove_alias(const std::string& name, const std::string& alias) {
  auto function = find(name);
  if (!function) return tl::unexpected(function.error());
  (*function)->aliases.erase(alias);  // deleting what is not there succeeds, as at AWS
  (*function)->urls.erase(alias);
  (*function)->events.erase(alias);
  return {};
}

ApiStatus Registry::set_concurrency(const std::string& name,
                                    std::optional<std::uint32_t> reserved) {
  auto function = find(name);
  if (!function) return tl::unexpected(function.error());
  if (reserved.value_or(0) > rule_.concurrency_max)
    return invalid_parameter(fmt::format(
        "Specified ReservedConcurrentExecutions for function is above this host's limit of {}.",
        rule_.concurrency_max));
  (*function)->reserved_concurrency = reserved;
  return {};
}

ApiResult<Registry::Resolved> Registry::resolve(const FunctionReference& reference,
                                                double chance) const {
  auto found = functions_.find(reference.name);
  auto unknown = [&] {
    return not_found("Function not found: " + arn(reference.name, reference.qualifier));
  };
  if (found == functions_.end()) return unknown();
  const Function& function = found->second;
  std::string version = reference.qualifier.empty() ? kLatest : reference.qualifier;
  if (auto alias = function.aliases.find(version); alias != function.aliases.end()) {
    version = alias->second.version;
    for (const auto& [other, weight] : alias->second.weights)
      if (chance < weight) version = other;
  }
  if (version == kLatest) return Resolved{reference.name, version, function.latest};
  if (!is_number(version)) return unknown();
  auto numbered = function.versions.find(number_of(version));
  if (numbered == function.versions.end()) return unknown();
  return Resolved{reference.name, version, numbered->second};
}

std::optional<FunctionReference> Registry::find_url(const std::string& id) const {
  for (const auto& [name, function] : functions_)
    for (const auto& [qualifier, url] : function.urls)
      if (url.id == id) return FunctionReference{name, qualifier};
  return std::nullopt;
}

std::vector<std::string> Registry::used_code() const {
  std::set<std::string> used;
  for (const auto& [name, function] : functions_) {
    used.insert(function.latest.code_sha256);
    for (const auto& [number, version] : function.versions) used.insert(version.code_sha256);
  }
  return {used.begin(), used.end()};
}

}  // namespace leeward::functions

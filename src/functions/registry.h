// What functions there are: the state behind the control plane of the Lambda API.
//
// A function has a working configuration ($LATEST), numbered versions that never change, and
// aliases that name a version, or two by weight. Operations check as AWS does and fail with AWS's
// error names, because unmodified clients read them. Pure: `now` is given, and what must be unique
// comes from the caller's randomness (Names). Code is known by its SHA-256; where it lies on disk
// is the caller's business (function_service.h).
//
// Source: AWS Lambda API reference 2015-03-31 and the quotas page. Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "base/time.h"

namespace leeward::functions {

// An error as the API tells it: HTTP status, name (x-amzn-ErrorType), sentence.
struct ApiError {
  int status = 500;
  std::string type;
  std::string message;
};
template <typename T>
using ApiResult = tl::expected<T, ApiError>;
using ApiStatus = ApiResult<void>;

tl::unexpected<ApiError> invalid_parameter(std::string message);  // 400
tl::unexpected<ApiError> not_found(std::string message);          // 404
tl::unexpected<ApiError> conflict(std::string message);           // 409

inline constexpr char kLatest[] = "$LATEST";

struct FunctionSettings {
  std::string runtime;
  std::string handler;
  std::string role;  // kept and returned; nothing is granted by it
  std::string description;
  std::uint32_t timeout_seconds = 3;     // 1 … 900
  std::uint32_t memory_megabytes = 128;  // 128 … 10,240
  std::uint32_t tmp_megabytes = 512;     // 512 … 10,240
  std::map<std::string, std::string> environment;
  std::string dead_letter_arn;
  std::string code_sha256;  // hexadecimal
  std::uint64_t code_bytes = 0;
  std::string last_modified;
  std::string revision_id;
};

struct Alias {
  std::string version;
  std::map<std::string, double> weights;  // at most one further version, 0 … 1
  std::string description;
  std::string revision_id;
};

struct UrlSettings {
  std::string id;  // of the address
  std::string auth_type = "NONE";
  bool streams = false;  // InvokeMode RESPONSE_STREAM
  std::string created, last_modified;
};

struct EventSettings {
  std::uint32_t retries_max = 2;           // 0 … 2
  std::uint32_t age_seconds_max = 21'600;  // 60 … 21,600
  std::string on_success_arn, on_failure_arn;
  std::string last_modified;
};

struct Function {
  FunctionSettings latest;
  std::map<std::uint64_t, FunctionSettings> versions;
  std::uint64_t last_version = 0;
  std::map<std::string, Alias> aliases;
  std::optional<std::uint32_t> reserved_concurrency;
  std::map<std::string, UrlSettings> urls;      // by qualifier; "" is the function itself
  std::map<std::string, EventSettings> events;  // by qualifier
  std::map<std::string, std::string> tags;
};

struct RegistryRule {
  std::string region = "local";
  std::string account = "000000000000";
  std::size_t functions_max = 1000;
  std::size_t versions_max = 100;  // of one function
  std::uint32_t concurrency_max = 64;
  std::uint32_t memory_megabytes_max = 10'240;
};

// Name and qualifier of a function as clients write it: NAME, NAME:QUALIFIER, ACCOUNT:function:NAME
// or an ARN, each with an optional qualifier.
struct FunctionReference {
  std::string name;
  std::string qualifier;  // empty: none
};

class Registry {
 public:
  // `unique` gives a new UUID each time it is called.
  Registry(RegistryRule rule, std::function<std::string()> unique)
      : rule_(std::move(rule)), unique_(std::move(unique)) {}

  ApiResult<FunctionReference> parse_reference(const std::string& text) const;
  // The reference with a qualifier from the query; an error when both have one and differ.
  ApiResult<FunctionReference> parse_reference(const std::string& text,
                                               const std::string& qualifier) const;
  std::string arn(const std::string& name, const std::string& qualifier = "") const;

  ApiResult<Function*> find(const std::string& name);
  const std::map<std::string, Function>& all() const { return functions_; }

  ApiStatus create(WallTime now, const std::string& name, FunctionSettings settings);
  // Replaces $LATEST by `settings`, which started as a copy. `revision`, if given, must be the
  // current one (412 otherwise).
  ApiStatus update(WallTime now, const std::string& name, FunctionSettings settings,
                   const std::string& revision);
  ApiStatus remove(const std::string& name);
  ApiStatus remove_version(const std::string& name, const std::string& version);

  // The new version, or the last one when nothing changed since (as AWS does). `sha256`, if given,
  // must be that of the code.
  ApiResult<std::string> publish(WallTime now, const std::string& name,
                                 const std::string& description, const std::string& sha256);

  ApiStatus set_alias(const std::string& name, const std::string& alias, Alias value,
                      bool must_exist);
  ApiStatus remove_alias(const std::string& name, const std::string& alias);

  ApiStatus set_concurrency(const std::string& name, std::optional<std::uint32_t> reserved);

  // What a reference means: the version, and its settings. `chance` in [0, 1) chooses between the
  // versions of an alias with weights.
  struct Resolved {
    std::string name;
    std::string version;  // "$LATEST" or a number
    FunctionSettings settings;
  };
  ApiResult<Resolved> resolve(const FunctionReference& reference, double chance = 0) const;

  // The function and qualifier of a function URL.
  std::optional<FunctionReference> find_url(const std::string& id) const;

  // Hashes of code that some version needs.
  std::vector<std::string> used_code() const;

  // For persistence: replaces everything.
  void load(std::map<std::string, Function> functions) { functions_ = std::move(functions); }
  const RegistryRule& rule() const { return rule_; }
  std::string unique() const { return unique_(); }

 private:
  ApiStatus check(const FunctionSettings& settings) const;
  ApiStatus check_version(const Function& function, const std::string& name,
                          const std::string& version) const;

  RegistryRule rule_;
  std::function<std::string()> unique_;
  std::map<std::string, Function> functions_;
};

// "2026-01-31T12:00:00.000+0000", as the API writes LastModified.
std::string api_time(WallTime t);

}  // namespace leeward::functions

// The control API and the agents' API as seen by the command line: JSON in, JSON or Error out.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/time.h"
#include "cli/internal/terminal.h"
#include "model/platform.h"

namespace leeward::cli {

using Json = nlohmann::ordered_json;

// What every command may be given.
struct Globals {
  std::string config_path = "leeward.yaml";
  std::string address;  // empty: LEEWARD_ADDRESS, then control.listen
  bool json = false;    // -o json
  bool color = false;
};

inline constexpr Duration kCallTimeout = 10s;

class Api {
 public:
  // `what` names the other end in errors: "the control API at 10.77.3.1:7400".
  Api(Endpoint endpoint, std::string token, std::string_view what);

  // The body of a successful answer. Errors: what the other end says, or kUnavailable, kTimeout and
  // kCorrupt, with the other end named.
  Result<Json> get(const std::string& path, std::map<std::string, std::string> query = {},
                   Duration timeout = kCallTimeout) const;
  Result<Json> post(const std::string& path, const Json& body,
                    Duration timeout = kCallTimeout) const;

 private:
  Result<Json> call(std::string method, const std::string& path,
                    std::map<std::string, std::string> query, std::string body,
                    Duration timeout) const;

  Endpoint endpoint_;
  std::string token_;
  std::string what_;
};

// The configuration; its problems are printed to io.err. kInvalid when there is any.
Result<Platform> load_platform(const Globals& globals, Io& io);

// The control API by flag, environment and configuration. The file is read only if something is
// still missing.
Result<Api> control_api(const Globals& globals, Io& io);

// The operator token by environment and configuration.
Result<std::string> operator_token(const Platform& platform);

// `json` as text that ends with a line break; bytes that are not UTF-8 are replaced.
std::string to_text(const Json& json, int indent = 2);

// Members of an object that may be missing or of another type than expected; never throws. Texts
// are made printable.
std::string text_of(const Json& json, std::string_view key);
double number_of(const Json& json, std::string_view key, double otherwise = 0);
bool flag_of(const Json& json, std::string_view key);
const Json& member(const Json& json, std::string_view key);  // null when missing

}  // namespace leeward::cli

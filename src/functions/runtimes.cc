#include "functions/runtimes.h"

#include <unistd.h>

#include <algorithm>

#include "functions/python_bootstrap.h"

namespace leeward::functions {
namespace {

constexpr char kInterpreters[] = "/usr/bin/";

bool all_digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool executable(const std::string& path) { return ::access(path.c_str(), X_OK) == 0; }

Status python(FunctionVersion& version) {
  const std::string minor = version.runtime.substr(std::string_view("python3.").size());
  const std::string path = kInterpreters + version.runtime;
  if (!all_digits(minor) || (version.root.empty() && !executable(path)))
    return fail(Code::kInvalid, "there is no {}; install Debian's package of that name", path);
  version.argv = {path, "-u", "/var/runtime/bootstrap.py"};
  version.files.push_back({"/var/runtime/bootstrap.py", kPythonBootstrap});
  version.environment.try_emplace("PYTHONDONTWRITEBYTECODE", "1");
  return {};
}

Status node(FunctionVersion& version, const RuntimeTools& tools) {
  if (tools.node_client_folder.empty())
    return fail(Code::kInvalid,
                "{} needs aws-lambda-ric: npm install it into a folder and name that folder",
                version.runtime);
  version.argv = {"/usr/bin/node", "/opt/runtime/node_modules/aws-lambda-ric/bin/index.mjs",
                  version.handler};
  version.binds.push_back({tools.node_client_folder, "/opt/runtime"});
  return {};
}

}  // namespace

Status apply_runtime(FunctionVersion& version, const RuntimeTools& tools) {
  const std::string_view runtime = version.runtime;
  if (runtime.starts_with("python3.")) return python(version);
  if (runtime.starts_with("nodejs") && runtime.ends_with(".x")) return node(version, tools);
  if (runtime == "provided" || runtime.starts_with("provided.")) {
    version.argv = {"/var/task/bootstrap"};
    return {};
  }
  if (runtime == "http") {
    if (version.argv.empty()) return fail(Code::kInvalid, "the runtime http needs a command");
    version.argv.insert(version.argv.begin(), {"/var/runtime/leeward-http-adapter", "--"});
    version.binds.push_back({tools.adapter_executable, "/var/runtime/leeward-http-adapter"});
    return {};
  }
  return fail(Code::kInvalid,
              "unknown runtime '{}'; there are python3.N, nodejsN.x, provided and http",
              version.runtime);
}

}  // namespace leeward::functions

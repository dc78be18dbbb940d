// The runtimes that a function may name, and what runs for each in its sandbox.
//
//   python3.N          Debian's interpreter of that version, with a bootstrap of ours
//   nodejsN.x          node of that version, with AWS's own aws-lambda-ric from a folder
//   provided[.…]       /var/task/bootstrap, which speaks the Runtime API itself (C++, Go, Rust)
//   http               any HTTP application: a command, behind the adapter (http_adapter_main.cc)
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "functions/invocation.h"

namespace leeward::functions {

struct RuntimeTools {
  std::string adapter_executable;  // leeward-http-adapter; needed by `http`
  std::string node_client_folder;  // holds node_modules with aws-lambda-ric; needed by nodejs
};

// Fills in argv, binds and files of `version` from its runtime and handler. kInvalid, with the
// runtimes that are there, for one that this machine cannot run.
Status apply_runtime(FunctionVersion& version, const RuntimeTools& tools);

}  // namespace leeward::functions

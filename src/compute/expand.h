// Placeholders in the commands and environment of application processes.
//
// "{name}" is replaced by values["name"]; "{{" and "}}" stand for the braces themselves. The names
// that Leeward offers: site, address, port, state, and gateway.NAME for each database. Values are
// inserted as they are and never expanded again, and no shell sees them.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "model/platform.h"

namespace leeward::compute {

// A process ready to be started.
struct ExpandedProcess {
  std::vector<std::string> argv;           // argv[0] is looked up in PATH when it has no '/'
  std::map<std::string, std::string> env;  // added to the environment of the supervising process
  std::string directory;                   // working directory; empty: the supervising process's
};

using PlaceholderValues = std::map<std::string, std::string>;

// kInvalid for an unknown placeholder (the message lists the known ones) or an unmatched brace.
Result<std::string> expand_text(std::string_view text, const PlaceholderValues& values);

// Expands command, env values and directory. kInvalid as above, naming the argument or variable.
Result<ExpandedProcess> expand(const ProcessSpec& spec, const PlaceholderValues& values);

}  // namespace leeward::compute

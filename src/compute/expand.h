// Placeholders in the commands and environment of application processes.
//
// "{name}" is replaced by values["name"]; "{{" and "}}" stand for the braces themselves. The names
// that Leeward offers: site, address, port, state, and gateway.NAME for each database. Values are
// inserted as they are and never expanded again, and no shell sees them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "model/platform.h"

namespace leeward::compute {

// The root file system of an image (image.h), for a process.
struct OwnRoot {
  std::string root;       // directory
  std::string directory;  // the working directory in it
  std::uint32_t uid = 0;  // who the process is
  std::uint32_t gid = 0;
  std::vector<std::uint32_t> groups;  // besides gid
};

// A process ready to be started.
struct ExpandedProcess {
  std::vector<std::string> argv;  // argv[0] is looked up in PATH when it has no '/'
  // Added to the environment of the supervising process; with a root, all that there is.
  std::map<std::string, std::string> env;
  std::string directory;          // working directory; empty: the supervising process's
  std::optional<OwnRoot> root{};  // none: the machine's
  int stop_signal = 0;            // 0: the tier's
};

using PlaceholderValues = std::map<std::string, std::string>;

// kInvalid for an unknown placeholder (the message lists the known ones) or an unmatched brace.
Result<std::string> expand_text(std::string_view text, const PlaceholderValues& values);

// Expands command, env values and directory. kInvalid as above, naming the argument or variable.
Result<ExpandedProcess> expand(const ProcessSpec& spec, const PlaceholderValues& values);

}  // namespace leeward::compute

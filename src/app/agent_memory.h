// The agent's memory on disk: what it must not forget across a crash (control/agent_core.h).
#pragma once

#include <string>

#include "control/agent_core.h"
#include "model/platform.h"

namespace leeward::app {

// Nothing on disk is an empty memory, bound by a promise that may have been made just before it was
// lost. A promise made before a reboot is taken to have just begun as well: its time was counted on
// a clock that has started anew. kCorrupt, naming the file, for anything that save_memory never
// wrote: then a person must look, for a promise may be forgotten.
Result<control::AgentMemory> load_memory(const Platform& platform, const std::string& path,
                                         Now now);

// Durable when it returns.
Status save_memory(const Platform& platform, const std::string& path,
                   const control::AgentMemory& memory);

}  // namespace leeward::app

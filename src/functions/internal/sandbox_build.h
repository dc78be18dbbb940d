// Building the inside of a sandbox: the steps that run in the new namespaces, before the program.
//
// REQUIRES of all of them: the calling process has one thread and is alone in new user, mount,
// process, network, IPC and UTS namespaces. Each step leaves the process nearer to the program's
// rights and none can be undone, so after an error the only thing to do is to report it and exit.
#pragma once

#include <sys/types.h>

#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "functions/internal/sandbox_plan.h"

namespace leeward::functions {

// Puts `process` into each of the plan's control groups. In the namespaces of the host. On a kernel
// without favordynmods the first one takes some 10 ms, in which nothing is computed.
Status join_cgroups(const SandboxPlan& plan, pid_t process);

// Writes the user and group map of `process`, which waits in its new user namespace.
Status map_identity(const SandboxPlan& plan, pid_t process);

// Root file system: builds it, pivots into it, detaches the old one, makes it read-only; then
// identity, host name and limits. Keeps the capabilities inside the user namespace.
Status enter_root(const SandboxPlan& plan);

// Brings the loopback up, gives it the addresses of the plan's listeners and listens.
Result<std::vector<UniqueFd>> open_listeners(const SandboxPlan& plan);

// Drops every capability for good, sets no_new_privs and installs the filter of system calls.
Status drop_rights();

// Becomes `command`, the program or a companion: signal state, descriptors (`output` is its
// standard output and error, all others above are closed), directory, execve. Returns only on
// failure.
Status become_program(const SandboxPlan& plan, const std::vector<std::string>& command, int output);

}  // namespace leeward::functions

// A child process with namespaces of its own (namespaces(7)).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/file.h"

namespace leeward {

// As fork_into() (cgroup.h). `namespaces`: CLONE_NEW… flags of what the child gets its own of.
// REQUIRES: a process with one thread.
Result<pid_t> fork_with_namespaces(const std::string& directory, UniqueFd& pidfd,
                                   std::uint64_t namespaces);

}  // namespace leeward

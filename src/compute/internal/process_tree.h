// Descendants of this process, read from /proc. Used by the keeper, which is single-threaded where
// it matters: it reaps its children itself, so the pids of its own children cannot be reused
// meanwhile.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

namespace leeward::compute {

// True if the kernel lists children in /proc (CONFIG_PROC_CHILDREN).
bool kernel_lists_children();

// Children of process `pid`, of all its threads. Empty when it is gone. The kernel may miss some
// while the list changes; callers repeat until waitpid(2) says that there is no child.
std::vector<pid_t> children_of(pid_t pid);

// Sends `signal` to every descendant of this process, nearest first, each as soon as it is found,
// so that a parent can no longer fork when its children are looked at. (Between finding a pid and
// signalling it lie microseconds; the kernel hands out pids in a cycle, so it is not reused by
// then.)
void signal_descendants(int signal);

// Processes other than this one whose environment has the entry `entry` ("NAME=value"). Sees what
// this user may read.
std::vector<pid_t> processes_with_environment(std::string_view entry);

}  // namespace leeward::compute

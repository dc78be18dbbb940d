// The system calls that code in a sandbox may make: an allow-list.
//
// Allowed is what ordinary programs and language runtimes need to compute, to use files, memory,
// threads, processes, pipes and sockets of their own. Everything else fails with EPERM: namespaces
// and mounts, ptrace and other processes' memory, keyrings, BPF, performance events, user faults,
// io_uring, modules, clocks, swap, quotas, handles of files. Of allowed calls, the arguments are
// checked where a part is dangerous: clone without namespace flags, sockets of the Unix, IPv4, IPv6
// and routing families only (VSOCK, ALG and others reach beyond the network namespace), no
// injection into terminals. clone3 fails with ENOSYS, because its flags cannot be seen; C libraries
// then use clone. Foreign architectures (i386, x32) are killed.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "base/error.h"

namespace leeward::functions {

std::vector<sock_filter> seccomp_program();

// Installs it for the calling thread and all that come from it. REQUIRES: no_new_privs is set.
Status install_seccomp();

}  // namespace leeward::functions

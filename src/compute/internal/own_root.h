// A process enters the root file system of an image (image.h), which it shares read-only with other
// instances. Its own are an empty /tmp, /run and /dev/shm in memory, and a /proc of its own process
// namespace; from the machine are the plain devices of /dev, /sys read-only, and /etc/hosts and
// /etc/resolv.conf, where the image's are plain files. The network is the machine's.
//
// Not a jail for hostile code, but what is in an image neither sees nor changes the machine's files
// and processes: no capabilities but those that step down from root and open low ports, none to be
// gained, and what a root's user could change in /proc is read-only.
//
// As root the process becomes the image's user. Otherwise user namespaces are needed: the one who
// runs Leeward is called by the image's user's number in there, and has no capabilities.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "base/error.h"
#include "compute/expand.h"

namespace leeward::compute {

// Who runs Leeward, seen from outside of any namespace made for a root.
struct OutsideUser {
  uid_t uid = 0;
  gid_t gid = 0;
};

// CLONE_NEW… flags for the process that will call enter_root().
std::uint64_t own_root_namespaces(OutsideUser outside);

// For the only thread of such a process, which is then in own.directory and the image's user. kIo.
Status enter_root(const OwnRoot& own, OutsideUser outside);

// The caller, the first process of its process namespace, starts a child and goes on as that.
// Itself it waits for it, ends what else is left with SIGTERM and after a second with SIGKILL, and
// exits with the child's status (128 + signal number). kIo.
Status become_second_process();

}  // namespace leeward::compute

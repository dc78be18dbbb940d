// How the kernel shares processors among threads, as far as Leeward asks for it.
#pragma once

#include "base/error.h"
#include "base/time.h"

namespace leeward {

// Gives the calling thread a time slice of that length, 100 µs to 100 ms, its policy and nice value
// unchanged. Its share of the processor stays the same; it gets it in smaller pieces and, when it
// wakes, before threads with longer slices (EEVDF, Linux 6.12 and later: sched_setattr(2),
// sched_attr::sched_runtime of SCHED_OTHER). Earlier kernels have no such slices and ignore it.
// kIo where the call is forbidden, as by a seccomp filter; the thread goes on as it was.
Status set_time_slice(Duration slice);

}  // namespace leeward

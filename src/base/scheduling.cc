#include "base/scheduling.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace leeward {
namespace {

// struct sched_attr of linux/sched/types.h in its first version: glibc has none before 2.41, and
// the kernel's header cannot stand beside glibc's <sched.h>.
struct SchedAttributes {
  std::uint32_t size;
  std::uint32_t policy;
  std::uint64_t flags;
  std::int32_t nice;
  std::uint32_t priority;
  std::uint64_t runtime;  // ns
  std::uint64_t deadline;
  std::uint64_t period;
};

}  // namespace

Status set_time_slice(Duration slice) {
  SchedAttributes attributes{};
  if (::syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0)
    return fail(os_error(errno, "sched_getattr"));
  attributes.runtime = static_cast<std::uint64_t>(slice.count());
  if (::syscall(SYS_sched_setattr, 0, &attributes, 0) != 0)
    return fail(os_error(errno, "sched_setattr"));
  return {};
}

}  // namespace leeward

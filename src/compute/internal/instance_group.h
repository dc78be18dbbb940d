// The control group of one instance, with what stands in for it on a machine without groups.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/cgroup.h"
#include "base/log.h"

namespace leeward::compute {

class InstanceGroup {
 public:
  // Makes the group `label` below `tree` (may be null) with the limits. Never fails: what cannot be
  // kept is warned of.
  void open(const CgroupTree* tree, const std::string& label, const CgroupLimits& limits,
            const Logger& logger);
  bool is_open() const { return open_; }
  // Ends what is left in it, and removes it once it is empty.
  void close();

  // For the keeper: --cgroup, --join, --data-bytes-max.
  std::vector<std::string> keeper_options() const;
  // Ends what escaped the keeper. The group is closed then: nothing can start any more in one that
  // was killed (CgroupTree::create()).
  void kill_rest();
  // From the group; without one, of `keeper`'s descendants, from /proc.
  CgroupUsage usage(pid_t keeper) const;
  // Processes killed at the memory limit since the last call.
  std::uint64_t new_memory_kills();

 private:
  bool open_ = false;
  std::optional<Cgroup> group_;
  std::uint64_t data_bytes_max_ = 0;
  std::uint64_t memory_kills_ = 0;  // seen
};

}  // namespace leeward::compute

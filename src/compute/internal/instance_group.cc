#include "compute/internal/instance_group.h"

#include <fmt/format.h>
#include <unistd.h>

#include <sstream>
#include <utility>

#include "compute/internal/process_tree.h"

namespace leeward::compute {
namespace {

// Fields 14 and 15 of /proc/PID/stat, in ticks (proc(5)).
Duration processor_time_of(pid_t pid) {
  auto text = read_file(fmt::format("/proc/{}/stat", pid));
  if (!text) return {};
  std::size_t name_end = text->rfind(')');  // the name may hold anything
  if (name_end == std::string::npos) return {};
  std::istringstream fields(text->substr(name_end + 1));
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  long user = 0;
  long system = 0;
  fields >> user >> system;
  static const long kTicks = ::sysconf(_SC_CLK_TCK);
  return std::chrono::milliseconds(1000 * (user + system) / kTicks);
}

std::uint64_t memory_of(pid_t pid) {
  auto text = read_file(fmt::format("/proc/{}/statm", pid));
  if (!text) return 0;
  std::istringstream fields(*text);
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  fields >> size >> resident;
  static const long kPage = ::sysconf(_SC_PAGESIZE);
  return resident * static_cast<std::uint64_t>(kPage);
}

}  // namespace

void InstanceGroup::open(const CgroupTree* tree, const std::string& label,
                         const CgroupLimits& limits, const Logger& logger) {
  open_ = true;
  data_bytes_max_ = 0;
  group_.reset();
  Status limited;
  if (tree != nullptr && tree->kind() != CgroupKind::kNone) {
    auto made = tree->create(label);
    if (made) {
      limited = made->limit(limits);
      group_ = std::move(*made);
      if (auto usage = group_->usage()) memory_kills_ = usage->memory_kills;
    } else {
      limited = fail(std::move(made.error()));
    }
  } else if (limits.any()) {
    limited = fail(Code::kUnavailable, "this machine offers no control groups{}{}",
                   tree == nullptr || tree->why().empty() ? "" : ": ",
                   tree == nullptr ? "" : tree->why());
  }
  if (limited) return;
  data_bytes_max_ = limits.memory_bytes;
  logger.warn("limits cannot be kept; the memory limit is that of each process's own data",
              {{"instance", label}, {"why", limited.error().message}});
}

void InstanceGroup::close() {
  if (group_) static_cast<void>(group_->kill());
  group_.reset();
  open_ = false;
}

std::vector<std::string> InstanceGroup::keeper_options() const {
  std::vector<std::string> options;
  if (data_bytes_max_ != 0)
    options.insert(options.end(), {"--data-bytes-max", std::to_string(data_bytes_max_)});
  if (!group_) return options;
  if (!group_->directory().empty())
    options.insert(options.end(), {"--cgroup", group_->directory()});
  for (const std::string& file : group_->joins()) options.insert(options.end(), {"--join", file});
  return options;
}

void InstanceGroup::kill_rest() {
  if (group_ && group_->populated()) close();
}

CgroupUsage InstanceGroup::usage(pid_t keeper) const {
  CgroupUsage usage;
  if (group_)
    if (auto read = group_->usage()) usage = *read;
  if (usage.processor_time && usage.memory_bytes) return usage;
  if (keeper <= 0) return usage;
  Duration time{};
  std::uint64_t memory = 0;
  std::vector<pid_t> found = children_of(keeper);
  for (std::size_t i = 0; i < found.size() && i < 4096; ++i) {
    time += processor_time_of(found[i]);
    memory += memory_of(found[i]);
    for (pid_t child : children_of(found[i])) found.push_back(child);
  }
  if (!usage.processor_time) usage.processor_time = time;
  if (!usage.memory_bytes) usage.memory_bytes = memory;
  return usage;
}

std::uint64_t InstanceGroup::new_memory_kills() {
  if (!group_) return 0;
  auto usage = group_->usage();
  if (!usage || usage->memory_kills <= memory_kills_) return 0;
  return usage->memory_kills - std::exchange(memory_kills_, usage->memory_kills);
}

}  // namespace leeward::compute

#include "base/cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <map>
#include <sstream>
#include <thread>

#include "base/namespaces.h"

namespace leeward {
namespace {

// Beside the groups of instances: of ours, since a group with controllers for others has no
// process.
constexpr std::string_view kSelf = "/leeward-self";
constexpr std::size_t kProcBytesMax = 1u << 20;
constexpr Duration kEmptyingLimit = 1s;
constexpr int kPeriodMicroseconds = 100'000;  // of a processor limit, the kernel's default
constexpr std::string_view kControllers[] = {"memory", "cpu", "pids", "cpuacct", "freezer"};

// A control file takes a value in one write and is never created by it.
Status write_control(const std::string& path, std::string_view value) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return fail(os_error(errno, "open " + path));
  if (::write(fd.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size()))
    return fail(os_error(errno, fmt::format("write '{}' to {}", value, path)));
  return {};
}

std::optional<std::uint64_t> read_number(const std::string& path) {
  auto text = read_file(path, kProcBytesMax);
  std::uint64_t value = 0;
  if (!text) return std::nullopt;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  return error == std::errc{} ? std::optional(value) : std::nullopt;
}

// The number behind `key` in a file of lines "key number".
std::optional<std::uint64_t> read_keyed(const std::string& path, std::string_view key) {
  auto text = read_file(path, kProcBytesMax);
  if (!text) return std::nullopt;
  std::istringstream lines(*text);
  std::string word;
  std::uint64_t value = 0;
  while (lines >> word >> value)
    if (word == key) return value;
  return std::nullopt;
}

std::vector<std::string> words_of(const std::string& path) {
  auto text = read_file(path, kProcBytesMax);
  if (!text) return {};
  std::istringstream in(*text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

std::vector<pid_t> processes_of(const std::string& directory) {
  std::vector<pid_t> pids;
  for (const std::string& word : words_of(directory + "/cgroup.procs"))
    if (pid_t pid = std::atoi(word.c_str()); pid > 0) pids.push_back(pid);
  return pids;
}

bool directory_exists(const std::string& path) {
  struct stat about {};
  return ::stat(path.c_str(), &about) == 0 && S_ISDIR(about.st_mode);
}

bool contains(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

// The directories of this process's own groups: controller → directory, "" for the unified one.
std::map<std::string, std::string> own_groups(const std::string& proc) {
  std::map<std::string, std::string> paths;  // controller → path inside its hierarchy
  auto membership = read_file(proc + "/self/cgroup", kProcBytesMax);
  auto mounts = read_file(proc + "/self/mountinfo", kProcBytesMax);
  if (!membership || !mounts) return {};
  for (const std::string& line : split(*membership, '\n')) {
    auto first = line.find(':');
    auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (controllers.empty()) paths[""] = path;
    for (const std::string& c : split(controllers, ',')) paths[c] = path;
  }
  std::map<std::string, std::string> groups;
  for (const std::string& line : split(*mounts, '\n')) {
    std::vector<std::string> fields = split(line, ' ');
    auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() < 5 || fields.end() - dash < 4) continue;
    bool unified = dash[1] == "cgroup2";
    if (!unified && dash[1] != "cgroup") continue;
    std::vector<std::string> controllers =
        unified ? std::vector<std::string>{""} : split(dash[3], ',');
    for (const std::string& c : controllers) {
      auto own = paths.find(c);
      if (own == paths.end()) continue;
      std::string path = own->second;
      const std::string& root = fields[3];  // what of the hierarchy is mounted
      if (root != "/" && path.starts_with(root)) path = path.substr(root.size());
      std::string directory = fields[4] + (path == "/" ? "" : path);
      groups[c] = directory_exists(directory) ? directory : fields[4];
    }
  }
  return groups;
}

// One that is there already may be somebody else's.
Status make_group(const std::string& directory) {
  const bool made = ::mkdir(directory.c_str(), 0755) == 0;
  if (made ||
      (errno == EEXIST && ::faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) == 0))
    return {};
  return fail(os_error(errno, "make group " + directory));
}

// Where a process makes its groups that is in `own`. What we were moved out of the way of, we are
// not moved out of again: a second process of a service, or one started by the first, goes beside
// it.
std::string delegated_group(const std::string& own) {
  return own.ends_with(kSelf) ? own.substr(0, own.size() - kSelf.size()) : own;
}

// Turns the controllers on for the children of `directory`. Its own processes have to leave it.
Status enable_controllers(const std::string& directory) {
  std::vector<std::string> available = words_of(directory + "/cgroup.controllers");
  std::vector<std::string> enabled = words_of(directory + "/cgroup.subtree_control");
  for (std::string_view wanted : {"memory", "cpu", "pids"}) {
    if (!contains(available, wanted) || contains(enabled, wanted)) continue;
    std::string word = "+" + std::string(wanted);
    auto written = write_control(directory + "/cgroup.subtree_control", word);
    if (written) continue;
    std::string leaf = directory + std::string(kSelf);
    if (auto made = make_group(leaf); !made) return made;
    for (pid_t pid : processes_of(directory))
      if (auto moved = write_control(leaf + "/cgroup.procs", std::to_string(pid)); !moved)
        return moved;
    written = write_control(directory + "/cgroup.subtree_control", word);
    if (!written) return written;
  }
  return {};
}

void remove_group(const std::string& directory) {
  if (!directory.empty()) ::rmdir(directory.c_str());  // fails when it is not empty, as it should
}

}  // namespace

std::string_view name(CgroupKind kind) {
  switch (kind) {
    case CgroupKind::kNone:
      return "none";
    case CgroupKind::kHybrid:
      return "hybrid";
    case CgroupKind::kUnified:
      return "unified";
  }
  return "unknown";
}

// ----------------------------------------------------------------------------------- one group

Cgroup::~Cgroup() {
  for (const auto& [controller, directory] : separate_) remove_group(directory);
  remove_group(unified_);
}

Cgroup& Cgroup::operator=(Cgroup&& other) noexcept {
  std::swap(kind_, other.kind_);
  std::swap(unified_, other.unified_);
  std::swap(separate_, other.separate_);
  return *this;
}

std::string Cgroup::controller(std::string_view wanted) const {
  for (const auto& [controller, directory] : separate_)
    if (controller == wanted) return directory;
  if (kind_ == CgroupKind::kUnified && contains(words_of(unified_ + "/cgroup.controllers"), wanted))
    return unified_;
  return {};
}

std::vector<std::string> Cgroup::joins() const {
  std::vector<std::string> files;
  for (const auto& [controller, directory] : separate_) {
    std::string file = directory + "/cgroup.procs";
    if (!contains(files, file)) files.push_back(file);
  }
  return files;
}

Status Cgroup::limit(const CgroupLimits& limits) {
  bool unified = kind_ == CgroupKind::kUnified;
  auto directory = [&](std::string_view wanted) -> Result<std::string> {
    std::string found = controller(wanted);
    if (found.empty())
      return fail(Code::kUnavailable, "this machine offers no control group with '{}'", wanted);
    return found;
  };
  if (limits.memory_bytes != 0) {
    auto memory = directory("memory");
    if (!memory) return fail(memory.error());
    std::string bytes = std::to_string(limits.memory_bytes);
    auto set = write_control(*memory + (unified ? "/memory.max" : "/memory.limit_in_bytes"), bytes);
    if (!set) return set;
    // Without this the group would swap instead of meeting its limit. Not every kernel counts swap.
    static_cast<void>(unified ? write_control(*memory + "/memory.swap.max", "0")
                              : write_control(*memory + "/memory.memsw.limit_in_bytes", bytes));
    if (unified) static_cast<void>(write_control(*memory + "/memory.oom.group", "1"));
  }
  if (limits.processors != 0) {
    auto cpu = directory("cpu");
    if (!cpu) return fail(cpu.error());
    auto quota = static_cast<long>(std::lround(limits.processors * kPeriodMicroseconds));
    quota = std::max(quota, 1000L);  // the kernel's least
    Status set;
    if (unified) {
      set = write_control(*cpu + "/cpu.max", fmt::format("{} {}", quota, kPeriodMicroseconds));
    } else {
      set = write_control(*cpu + "/cpu.cfs_period_us", std::to_string(kPeriodMicroseconds));
      if (set) set = write_control(*cpu + "/cpu.cfs_quota_us", std::to_string(quota));
    }
    if (!set) return set;
  }
  if (limits.processes != 0) {
    auto pids = directory("pids");
    if (!pids) return fail(pids.error());
    return write_control(*pids + "/pids.max", std::to_string(limits.processes));
  }
  return {};
}

Result<CgroupUsage> Cgroup::usage() const {
  CgroupUsage usage;
  if (kind_ == CgroupKind::kNone) return usage;
  bool unified = kind_ == CgroupKind::kUnified;
  if (auto used = read_keyed(unified_ + "/cpu.stat", "usage_usec"); used && !unified_.empty())
    usage.processor_time = std::chrono::microseconds(*used);
  else if (std::string cpu = controller("cpuacct"); !cpu.empty())
    if (auto nanoseconds = read_number(cpu + "/cpuacct.usage"))
      usage.processor_time = Duration(static_cast<std::int64_t>(*nanoseconds));
  std::string memory = controller("memory");
  if (memory.empty()) return usage;
  auto total = read_number(memory + (unified ? "/memory.current" : "/memory.usage_in_bytes"));
  if (!total) return fail(Code::kIo, "the group {} cannot be read", memory);
  auto idle =
      read_keyed(memory + "/memory.stat", unified ? "inactive_file" : "total_inactive_file");
  usage.memory_bytes = *total - std::min(*total, idle.value_or(0));
  // memory.peak came with Linux 5.19.
  if (auto peak = read_number(memory + (unified ? "/memory.peak" : "/memory.max_usage_in_bytes")))
    usage.memory_peak_bytes = *peak;
  usage.memory_kills =
      read_keyed(memory + (unified ? "/memory.events" : "/memory.oom_control"), "oom_kill")
          .value_or(0);
  return usage;
}

Status Cgroup::freeze(bool frozen) {
  if (!unified_.empty()) return write_control(unified_ + "/cgroup.freeze", frozen ? "1" : "0");
  std::string freezer = controller("freezer");
  if (freezer.empty()) return fail(Code::kUnavailable, "this machine offers no freezer");
  return write_control(freezer + "/freezer.state", frozen ? "FROZEN" : "THAWED");
}

Status Cgroup::kill() {
  if (kind_ == CgroupKind::kNone) return {};
  if (!unified_.empty() && write_control(unified_ + "/cgroup.kill", "1")) return {};
  // Before Linux 5.14, or without a unified hierarchy: one after the other, and what they forked
  // meanwhile again.
  constexpr int kRounds = 100;
  for (int round = 0; round < kRounds && populated(); ++round) {
    std::vector<std::string> all =
        unified_.empty() ? std::vector<std::string>{} : std::vector<std::string>{unified_};
    for (const auto& [controller, directory] : separate_) all.push_back(directory);
    for (const std::string& directory : all)
      for (pid_t pid : processes_of(directory)) ::kill(pid, SIGKILL);
    std::this_thread::sleep_for(1ms);
  }
  return {};
}

bool Cgroup::populated() const {
  if (!unified_.empty() && !processes_of(unified_).empty()) return true;
  return std::any_of(separate_.begin(), separate_.end(),
                     [](const auto& group) { return !processes_of(group.second).empty(); });
}

// ----------------------------------------------------------------------------------- the tree

CgroupTree CgroupTree::detect(const std::string& name, const std::string& proc) {
  CgroupTree tree;
  std::map<std::string, std::string> own = own_groups(proc);
  auto note = [&tree](const std::string& text) {
    tree.why_ += (tree.why_.empty() ? "" : "; ") + text;
  };
  if (own.empty()) {
    note("no control groups are mounted");
    return tree;
  }
  bool controllers_unified = false;
  if (auto unified = own.find(""); unified != own.end()) {
    const std::string above = delegated_group(unified->second);
    controllers_unified = contains(words_of(above + "/cgroup.controllers"), "memory");
    Status usable;
    if (controllers_unified) usable = enable_controllers(above);
    std::string directory = above + "/" + name;
    if (usable) usable = make_group(directory);
    if (usable && controllers_unified) usable = enable_controllers(directory);
    if (usable)
      tree.unified_ = directory;
    else
      note(usable.error().message);
  }
  if (controllers_unified) {
    if (!tree.unified_.empty()) tree.kind_ = CgroupKind::kUnified;
    return tree;
  }
  for (std::string_view wanted : kControllers) {
    auto found = own.find(std::string(wanted));
    if (found == own.end()) continue;
    std::string directory = found->second + "/" + name;
    if (auto made = make_group(directory); made)
      tree.separate_.emplace_back(wanted, directory);
    else
      note(made.error().message);
  }
  if (!tree.separate_.empty() || !tree.unified_.empty()) tree.kind_ = CgroupKind::kHybrid;
  return tree;
}

CgroupTree::~CgroupTree() {
  for (const auto& [controller, directory] : separate_) remove_group(directory);
  remove_group(unified_);
}

CgroupTree& CgroupTree::operator=(CgroupTree&& other) noexcept {
  std::swap(kind_, other.kind_);
  std::swap(why_, other.why_);
  std::swap(unified_, other.unified_);
  std::swap(separate_, other.separate_);
  return *this;
}

Result<Cgroup> CgroupTree::create(const std::string& name) const {
  if (name.empty() || name.front() == '.' || name.find('/') != std::string::npos)
    return fail(Code::kInvalid, "'{}' cannot name a control group", name);
  Cgroup group;
  if (kind_ == CgroupKind::kNone) return group;
  group.kind_ = kind_;
  if (!unified_.empty()) {
    group.unified_ = unified_ + "/" + name;
    if (auto made = make_group(group.unified_); !made) return fail(made.error());
  }
  for (const auto& [controller, directory] : separate_) {
    group.separate_.emplace_back(controller, directory + "/" + name);
    if (auto made = make_group(group.separate_.back().second); !made) return fail(made.error());
  }
  for (BootTime end = BootClock::now() + kEmptyingLimit; group.populated();) {
    if (auto killed = group.kill(); !killed) return fail(killed.error());
    if (BootClock::now() > end)
      return fail(Code::kTimeout, "processes of an earlier life do not leave the group '{}'", name);
    std::this_thread::sleep_for(1ms);
  }
  // Linux (seen: 6.18) kills whatever is cloned into a group on which cgroup.kill was ever used: a
  // group that has had a life is made anew. One that cannot be removed has groups in it.
  if (!group.unified_.empty() && ::rmdir(group.unified_.c_str()) == 0)
    if (auto made = make_group(group.unified_); !made) return fail(made.error());
  return group;
}

// ---------------------------------------------------------------------------------- processes

Result<pid_t> fork_into(const std::string& directory, UniqueFd& pidfd) {
  return fork_with_namespaces(directory, pidfd, 0);
}

Status join_groups(const std::vector<std::string>& joins) {
  for (const std::string& file : joins) {
    UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd.valid() || ::write(fd.get(), "0", 1) != 1) return fail(os_error(errno, "join " + file));
  }
  return {};
}

}  // namespace leeward

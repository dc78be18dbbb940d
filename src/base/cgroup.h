// Control groups: limits on memory, processors and processes for a tree of processes, and a way to
// end all of it that none can escape.
//
// One interface over what machines have, found out at run time:
//   kUnified  the unified hierarchy (v2) with its controllers: servers with systemd, delegated by
//             `Delegate=yes` in the unit
//   kHybrid   controllers in hierarchies of their own (v1), beside a unified one that kills,
//             freezes and counts processor time, or without it
//   kNone     no hierarchy that this process may write; limit() then fails, the rest does nothing
//
// How to start a process inside: fork_into() with Cgroup::directory(), and in the child
// join_groups(Cgroup::joins()) before exec. With a unified hierarchy the child is in the group from
// its first instruction (CLONE_INTO_CGROUP, clone3(2)).
//
// Sources: Linux Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/{memory,pids}.rst,
// cgroups(7), clone(2).
//
// Threading: objects are not thread-safe; different groups may be used by different threads.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/time.h"

namespace leeward {

enum class CgroupKind : std::uint8_t { kNone, kHybrid, kUnified };
std::string_view name(CgroupKind kind);

struct CgroupLimits {
  std::uint64_t memory_bytes = 0;  // swap included; 0: no limit
  double processors = 0;           // 1.5: one and a half; 0: no limit
  std::uint32_t processes = 0;     // threads count too; 0: no limit
  bool any() const { return memory_bytes != 0 || processors != 0 || processes != 0; }
  bool operator==(const CgroupLimits&) const = default;
};

// What a group has used; a value is missing where the machine does not count it.
struct CgroupUsage {
  std::optional<Duration> processor_time;          // of all processes that ever were in it
  std::optional<std::uint64_t> memory_bytes;       // without file pages that are not in use
  std::optional<std::uint64_t> memory_peak_bytes;  // the most at once, file pages included
  std::uint64_t memory_kills = 0;                  // processes killed at the memory limit
};

// One group. Removed, if empty, when the object ends.
class Cgroup {
 public:
  Cgroup() = default;  // of kind kNone
  ~Cgroup();
  Cgroup(Cgroup&& other) noexcept = default;
  Cgroup& operator=(Cgroup&& other) noexcept;

  // kUnavailable when the machine lacks a controller that is needed, naming it; kIo.
  Status limit(const CgroupLimits& limits);
  Result<CgroupUsage> usage() const;
  // Stops every process, or lets them go on. kUnavailable without a unified hierarchy or freezer.
  Status freeze(bool frozen);
  // SIGKILL to every process in it. They may need a moment to be gone: see populated(). What is
  // started in it later may be killed as well (Linux 6.18 does); CgroupTree::create() it anew.
  Status kill();
  bool populated() const;

  // The unified hierarchy's directory, for fork_into(); empty: none.
  const std::string& directory() const { return unified_; }
  // The files to be joined in the child.
  std::vector<std::string> joins() const;

 private:
  friend class CgroupTree;
  std::string controller(std::string_view name) const;  // directory that has it; empty: none

  CgroupKind kind_ = CgroupKind::kNone;
  std::string unified_;
  std::vector<std::pair<std::string, std::string>> separate_;  // v1 controller → directory
};

// Where this process may make groups.
class CgroupTree {
 public:
  CgroupTree() = default;  // kNone
  // Looks for a place below this process's own group and makes the group `name` there. In a
  // unified hierarchy that is delegated to it, moves the processes of its own group into a child
  // group, because a group with controllers must not have processes itself; so call it before
  // starting any. Never fails: kNone, and why() says what was tried. `proc` is for tests.
  static CgroupTree detect(const std::string& name, const std::string& proc = "/proc");
  ~CgroupTree();
  CgroupTree(CgroupTree&& other) noexcept = default;
  CgroupTree& operator=(CgroupTree&& other) noexcept;

  CgroupKind kind() const { return kind_; }
  const std::string& why() const { return why_; }  // for people

  // A group of that name; one that exists, left by an earlier life, is emptied (SIGKILL) and, in
  // the unified hierarchy, made anew.
  // `name` must not contain '/'. kTimeout when its old processes do not end within a second.
  Result<Cgroup> create(const std::string& name) const;

 private:
  CgroupKind kind_ = CgroupKind::kNone;
  std::string why_;
  std::string unified_;
  std::vector<std::pair<std::string, std::string>> separate_;
};

// fork(2) into the group whose unified directory is `directory` (empty: like fork). In the child it
// returns 0. The pidfd becomes readable when the child ends. REQUIRES: a process with one thread.
Result<pid_t> fork_into(const std::string& directory, UniqueFd& pidfd);
// Moves the calling process into each group. Safe between fork and exec.
Status join_groups(const std::vector<std::string>& joins);

}  // namespace leeward

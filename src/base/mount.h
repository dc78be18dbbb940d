// Steps of giving a process a root file system of its own, in a mount namespace of its own. What is
// put together, and in which order, is the caller's: the sandboxes of functions and the instances
// that run in an image.
//
// REQUIRES of all of them: one thread, and a mount namespace that no other process is in. None can
// be undone, so after an error (kIo) the only thing to do is to report it and exit.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "base/error.h"
#include "base/file.h"

namespace leeward {

// Where the new root is put together: a directory that exists on every system and is mounted over.
inline constexpr char kRootStage[] = "/tmp";

// The devices that any program may need and that give access to nothing.
inline constexpr char kPlainDevices[][13] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random",
                                             "/dev/urandom"};

// A file or directory to be mounted elsewhere, opened while it can still be reached.
struct MountSource {
  UniqueFd fd;
  bool directory = false;
};
Result<MountSource> open_mount_source(const std::string& path);

// Makes the directories above `path`, which begins with kRootStage.
Status make_mount_parents(const std::string& path);
// Makes `path` with its parents, a directory or an empty file, unless it is there.
Status make_mount_point(const std::string& path, bool directory);

// Sets MOUNT_ATTR_… (mount_setattr(2)) of `path` and of all that is mounted below it.
Status set_mount_attributes(const std::string& path, std::uint64_t attributes);
// Mounts `source` with all below it at `target`, which is made if need be, with these attributes.
Status mount_bound(const MountSource& source, const std::string& target, std::uint64_t attributes);
// An empty file system in memory, without devices and set-user-ID files. `options`: of tmpfs(5).
Status mount_memory(const std::string& target, const std::string& options);
// A procfs of the calling process's own process namespace.
Status mount_proc(const std::string& target);

// From now on no mount here reaches other namespaces.
Status make_mounts_private();
// Makes what is mounted at kRootStage the root, read-only, and the old root unreachable.
Status pivot_to_stage();

// Takes every capability but `kept` from this process and from whatever it executes, and lets none
// come back (no_new_privs).
Status drop_capabilities(std::initializer_list<int> kept = {});

}  // namespace leeward

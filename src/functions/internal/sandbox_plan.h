// What a sandbox is to be, as handed from the host process to `leeward-sandbox` in a sealed memory
// file, and the messages on the control socket between the two. Plain data; no I/O.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace leeward::functions {

struct SandboxPlan {
  struct Bind {  // `source` of the host appears at `target`, read-only, without submounts' rights
    std::string source, target;
  };
  struct Link {
    std::string path, to;
  };
  struct File {  // made in the sandbox's own root
    std::string path, text;
  };
  struct Listener {  // a TCP socket that listens inside; its descriptor is given to the host
    std::string address;
    std::uint16_t port = 0;
  };

  std::vector<std::string> argv;         // argv[0]: a path inside the sandbox
  std::vector<std::string> companions;   // programs that run beside it, paths inside; started first
  std::vector<std::string> environment;  // "NAME=value", all of it
  std::string directory = "/";
  std::string hostname = "localhost";
  std::string root;  // a directory that becomes the root, read-only; empty: an empty root is made
  std::vector<Bind> binds;
  std::vector<Link> links;
  std::vector<File> files;
  std::vector<Listener> listeners;
  std::vector<std::string> cgroup_procs;  // files that process ids are written to
  std::uint64_t tmp_bytes = 0;            // size of /tmp
  std::uint64_t processes_max = 0;        // RLIMIT_NPROC
  std::uint64_t open_files_max = 0;       // RLIMIT_NOFILE
  std::uint64_t data_bytes_max = 0;       // RLIMIT_DATA; 0: none, because a cgroup limits memory
  std::uint32_t inside_id = 1000;         // user and group inside
  std::uint32_t outside_user = 0;         // what they are outside
  std::uint32_t outside_group = 0;
};

inline constexpr std::size_t kPlanBytesMax = 1u << 20;

std::string encode(const SandboxPlan& plan);
// kCorrupt for anything but what encode() makes.
Result<SandboxPlan> decode_plan(std::string_view bytes);

// First byte of a datagram on the control socket. To the host:
inline constexpr char kSandboxMade = 'P';    // with the pidfd of process 1: killing it ends all
inline constexpr char kSandboxReady = 'R';   // with one descriptor per listener; the program starts
inline constexpr char kSandboxFailed = 'E';  // and why, as text
inline constexpr char kSandboxExited = 'X';  // and the wait status, four bytes in host order
inline constexpr char kSandboxCompanionExited = 'C';  // its number and the wait status, four each
inline constexpr char kSandboxDialled = 'D';  // with a connected socket, or without: nobody listens
// To the sandbox. Where no cgroup freezes:
inline constexpr char kSandboxFreeze = 'F';
inline constexpr char kSandboxThaw = 'T';
// With companions: the program may start, which it does not before.
inline constexpr char kSandboxStart = 'S';
// Connect to 127.0.0.1 inside, at the port of the next two bytes in host order.
inline constexpr char kSandboxDial = 'L';
inline constexpr std::size_t kSandboxMessageMax = 4096;
inline constexpr std::size_t kSandboxListenersMax = 64;

// Descriptors that leeward-sandbox finds open.
inline constexpr int kSandboxControlFd = 3;
inline constexpr int kSandboxPlanFd = 4;
inline constexpr int kSandboxCompanionOutputFd = 5;
inline constexpr std::size_t kSandboxCompanionsMax = 10;  // AWS: 10 extensions

}  // namespace leeward::functions

// What the tests of this room share: temporary directories, waiting with a deadline, and finding
// processes by an argument that only this test uses.
#pragma once

#include <dirent.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/time.h"

namespace leeward::compute {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "leeward.XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// True as soon as `condition` holds, false when it does not within `limit`.
inline bool eventually(Duration limit, const std::function<bool()>& condition) {
  BootTime end = BootClock::now() + limit;
  while (!condition()) {
    if (BootClock::now() >= end) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

// Living processes (zombies have no command line) with `argument` among their arguments.
inline std::vector<pid_t> processes_with_argument(const std::string& argument) {
  std::vector<pid_t> found;
  DIR* dir = ::opendir("/proc");
  while (const dirent* entry = ::readdir(dir)) {
    pid_t pid = std::atoi(entry->d_name);
    if (pid <= 0 || pid == ::getpid()) continue;
    auto line = read_file(fmt::format("/proc/{}/cmdline", pid));
    std::string wanted = '\0' + argument + '\0';
    if (line && line->find(wanted) != std::string::npos) found.push_back(pid);
  }
  ::closedir(dir);
  return found;
}

// An argument that no other process has; whatever still carries it at the end is killed, and the
// test has failed.
class Marker {
 public:
  Marker()
      : text_(
            fmt::format("marker-{}-{}", ::getpid(), BootClock::now().time_since_epoch().count())) {}
  ~Marker() {
    bool left = false;
    while (!processes().empty()) {
      left = true;
      for (pid_t pid : processes()) ::kill(pid, SIGKILL);
    }
    EXPECT_FALSE(left) << "the test left processes behind";
  }
  Marker(const Marker&) = delete;
  Marker& operator=(const Marker&) = delete;
  const std::string& text() const { return text_; }
  std::vector<pid_t> processes() const { return processes_with_argument(text_); }

 private:
  std::string text_;
};

// Programs for `python3 -c PROGRAM MARKER`. Each ends by itself after a minute, should all else
// fail.

// Twenty daemons that double-fork, leave the session and ignore SIGTERM; the parent stays.
inline constexpr const char* kDaemons = R"(
import os, signal, time
end = time.time() + 60
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(20):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(60)
        os._exit(0)
print("daemons run", flush=True)
time.sleep(60)
)";

// A process that changes its pid all the time and its session with it, so that whoever looks finds
// it gone already; while it also leaves a sleeper behind every few hops.
inline constexpr const char* kHopper = R"(
import os, signal, time
end = time.time() + 60
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    hops = 0
    while time.time() < end:
        if os.fork():
            os._exit(0)
        os.setsid()
        hops += 1
        if hops % 50 == 0 and hops < 1000 and os.fork() == 0:
            time.sleep(60)
            os._exit(0)
print("hopper runs", flush=True)
time.sleep(60)
)";

}  // namespace leeward::compute

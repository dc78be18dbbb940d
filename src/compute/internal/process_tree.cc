#include "compute/internal/process_tree.h"

#include <dirent.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <charconv>

#include "base/file.h"

namespace leeward::compute {
namespace {

// Names in `directory` that are numbers: pids in /proc, thread ids in /proc/PID/task.
std::vector<pid_t> numbers_in(const std::string& directory) {
  std::vector<pid_t> numbers;
  DIR* dir = ::opendir(directory.c_str());
  if (dir == nullptr) return numbers;
  while (const dirent* entry = ::readdir(dir)) {
    std::string_view name = entry->d_name;
    pid_t number = 0;
    auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error == std::errc{} && end == name.data() + name.size()) numbers.push_back(number);
  }
  ::closedir(dir);
  return numbers;
}

std::string children_file(pid_t pid, pid_t thread) {
  return fmt::format("/proc/{}/task/{}/children", pid, thread);
}

bool has_entry(std::string_view environment, std::string_view entry) {
  while (!environment.empty()) {
    std::size_t end = environment.find('\0');
    if (environment.substr(0, end) == entry) return true;
    if (end == std::string_view::npos) return false;
    environment.remove_prefix(end + 1);
  }
  return false;
}

}  // namespace

bool kernel_lists_children() {
  return ::access(children_file(::getpid(), ::getpid()).c_str(), R_OK) == 0;
}

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> children;
  for (pid_t thread : numbers_in(fmt::format("/proc/{}/task", pid))) {
    auto text = read_file(children_file(pid, thread));
    if (!text) continue;  // the thread has ended
    const char* at = text->data();
    const char* end = at + text->size();
    while (at < end) {
      pid_t child = 0;
      auto [rest, error] = std::from_chars(at, end, child);
      if (error == std::errc{}) children.push_back(child);
      at = error == std::errc{} ? rest : at + 1;
    }
  }
  return children;
}

void signal_descendants(int signal) {
  std::vector<pid_t> found = children_of(::getpid());
  for (std::size_t i = 0; i < found.size(); ++i) {
    ::kill(found[i], signal);
    // A killed process keeps its children listed until it is dead; then they are our own children,
    // and the caller's next round finds them.
    for (pid_t child : children_of(found[i])) found.push_back(child);
  }
}

std::vector<pid_t> processes_with_environment(std::string_view entry) {
  std::vector<pid_t> found;
  for (pid_t pid : numbers_in("/proc")) {
    if (pid == ::getpid()) continue;
    auto environment = read_file(fmt::format("/proc/{}/environ", pid));
    if (environment && has_entry(*environment, entry)) found.push_back(pid);
  }
  return found;
}

}  // namespace leeward::compute

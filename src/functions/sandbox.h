// One sandbox: a process tree that can reach nothing but what it is given.
//
// Of the host it sees a root file system of its own, read-only (/usr of the host or a directory,
// and what is bound), a /tmp of bounded size, its own processes, and a loopback on which nothing
// answers but the listeners that it is granted. It has no capabilities, cannot gain any
// (no_new_privs), may make only the system calls of an allow-list (internal/seccomp_filter.h), runs
// under a user id that no other sandbox has (when the host process is root; otherwise its own), and
// is held by limits of memory, processor, processes and files, by cgroups where there are some and
// by rlimits where there are none (SandboxLimits).
//
// Needs user namespaces: root has them; for other users the kernel must allow them
// (user.max_user_namespaces), otherwise start() reports so through `ended`.
//
// The processes are made by `leeward-sandbox` (sandbox_main.cc). For the loop's thread. The thread
// that calls start() must live as long as the sandbox: the kernel kills it with that thread.
#pragma once

#include <sys/types.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/cgroup.h"
#include "base/error.h"
#include "base/file.h"
#include "base/time.h"
#include "functions/internal/sandbox_plan.h"
#include "net/loop.h"

namespace leeward::functions {

struct SandboxLimits {
  std::uint64_t memory_bytes = 128u << 20;
  std::uint64_t cpu_millis = 1000;  // thousandths of one processor
  std::uint64_t processes = 1024;   // with threads; AWS: 1,024
  std::uint64_t open_files = 1024;  // AWS: 1,024
  std::uint64_t tmp_bytes = 512u << 20;
};

struct SandboxSpec {
  std::string name;  // of its cgroup; unique on this host
  std::vector<std::string> argv;
  // Programs that run beside it, by their paths inside. They are started first, and the program
  // only by start_program(); when it ends, they go on until kill().
  std::vector<std::string> companions;
  std::map<std::string, std::string> environment;
  std::string directory = "/";
  std::string root;  // empty: /usr of this host, and of /etc what programs need to start
  std::vector<SandboxPlan::Bind> binds;
  std::vector<SandboxPlan::File> files;  // made in its own root; REQUIRES: `root` is empty
  std::vector<SandboxPlan::Listener> listeners;
  SandboxLimits limits;
  std::uint32_t outside_id = 0;  // user and group outside; ignored when this process is not root
};

struct SandboxEnd {
  std::optional<Error> failure;  // it could not be made; the program did not run
  std::optional<int> status;     // wait status of the program; nullopt: killed with its sandbox
  bool out_of_memory = false;    // the kernel killed for memory in it
  std::uint64_t memory_peak_bytes = 0;  // 0 where no cgroup counts
};

class Sandbox {
 public:
  // On the loop's thread, never from inside a member function. After `ended`, nothing of it is
  // left; destroy it then.
  struct Events {
    std::function<void(std::vector<UniqueFd> listeners)> ready;  // as in the spec, in order
    std::function<void(std::string_view bytes)> output;          // standard output and error
    // With companions: their output, the end of one by its place in the spec, and the end of the
    // program, both with the wait status.
    std::function<void(std::string_view bytes)> companion_output = {};
    std::function<void(std::size_t companion, int status)> companion_ended = {};
    std::function<void(int status)> program_ended = {};
    std::function<void(SandboxEnd)> ended;
  };

  // `executable`: the path of leeward-sandbox. kIo when that cannot be started; what fails later
  // comes by `ended`.
  static Result<std::unique_ptr<Sandbox>> start(net::EventLoop& loop, const std::string& executable,
                                                const CgroupTree& cgroups, const SandboxSpec& spec,
                                                Events events);
  // Kills what still runs and waits for its end, which takes milliseconds; `ended` is not called.
  ~Sandbox();
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;

  // All processes stop getting the processor, and keep their memory. Idempotent.
  Status freeze();
  Status thaw();
  void kill();             // `ended` follows
  Status start_program();  // see SandboxSpec::companions
  // Connects to a port of its loopback. `done` gets a connected, or still connecting, socket, or
  // none when nobody listens there; not called when the sandbox ends before. An answer waits as
  // long as the sandbox is frozen.
  void dial(std::uint16_t port, std::function<void(UniqueFd)> done);
  // Hands out what of the output is there already: what was written before an answer came by
  // another way belongs before it.
  void drain_output();
  std::uint64_t memory_peak_bytes() const;

 private:
  Sandbox(net::EventLoop& loop, Cgroup cgroup, Events events)
      : loop_(loop), cgroup_(std::move(cgroup)), events_(std::move(events)) {}
  Status set_frozen(bool frozen, char command);
  Status spawn(const std::string& executable, const SandboxPlan& plan);
  Status watch();
  void read_control();
  bool read_output();  // whether there may be more
  void read_companion_output();
  void on_message(char kind, std::string_view text, std::vector<UniqueFd> descriptors);
  void on_exit();
  void stop_watching();
  Status send(char command) { return send(std::string_view(&command, 1)); }
  Status send(std::string_view message);

  net::EventLoop& loop_;
  Cgroup cgroup_;
  Events events_;
  pid_t pid_ = -1;  // of leeward-sandbox; -1 when reaped
  UniqueFd pidfd_, init_, control_, output_, companion_output_;
  net::WatchId exit_watch_, control_watch_, output_watch_, companion_watch_;
  std::deque<std::function<void(UniqueFd)>> dials_;  // in the order of their questions
  bool killed_ = false;
  std::uint64_t kills_before_ = 0;
  SandboxEnd end_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace leeward::functions

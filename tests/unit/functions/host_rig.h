// A FunctionHost on a loop of the test, with code on disk. For tests of this folder.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "functions/function_host.h"
#include "functions/runtimes.h"

namespace leeward::functions {

class HostRig {
 public:
  explicit HostRig(HostRule rule = {.environments_max = 8, .starts_max = 4, .family_max = 4},
                   Duration freeze_after = 50ms, Duration reap_after = 300s,
                   std::size_t prepared = 0) {
    char name[] = "/tmp/leeward-functions-test-XXXXXX";
    path_ = ::mkdtemp(name);
    ::chmod(path_.c_str(), 0755);
    std::filesystem::create_directory(path_ + "/log");
    FunctionHostOptions options;
    options.sandbox_executable = LEEWARD_SANDBOX;
    options.log_directory = path_ + "/log";
    options.cgroup_name = "leeward-test-" + std::to_string(::getpid());
    options.rule = rule;
    options.freeze_after = freeze_after;
    options.reap_after = reap_after;
    options.prepared = prepared;
    host = std::make_unique<FunctionHost>(loop, options);
  }
  ~HostRig() {
    host.reset();
    std::filesystem::remove_all(path_);
  }

  // A version whose code is one file. `runtime` as in runtimes.h.
  FunctionVersion version(const std::string& name, const std::string& file, const std::string& text,
                          const std::string& runtime = "python3.11") const {
    const std::string folder = path_ + "/" + name;
    std::filesystem::create_directory(folder);
    std::ofstream(folder + "/" + file) << text;
    ::chmod((folder + "/" + file).c_str(), 0755);
    FunctionVersion v;
    v.name = name;
    v.runtime = runtime;
    v.handler = "app.handler";
    v.code_directory = folder;
    if (Status applied = apply_runtime(v, {}); !applied) ADD_FAILURE() << applied.error().message;
    return v;
  }
  FunctionVersion python(const std::string& name, const std::string& text) const {
    return version(name, "app.py", text);
  }

  // Invokes and runs the loop until the result is there.
  InvocationResult invoke(PoolId pool, const std::string& payload = "{}") {
    InvocationResult result;
    bool done = false;
    InvocationCaller caller;
    caller.done = [&](InvocationResult r) {
      result = std::move(r);
      done = true;
      loop.stop();
    };
    host->invoke(pool, next_invocation(payload), std::move(caller));
    run_until([&] { return done; });
    EXPECT_TRUE(done) << "no result";
    return result;
  }
  Invocation next_invocation(const std::string& payload) {
    Invocation invocation;
    invocation.request_id = "request-" + std::to_string(++requests_);
    invocation.function_arn = "arn:aws:lambda:local:000000000000:function:f";
    invocation.payload = payload;
    return invocation;
  }
  void run_until(const std::function<bool()>& done, Duration limit = 30s) {
    const BootTime end = BootClock::now() + limit;
    while (!done() && BootClock::now() < end) {
      const auto timer = loop.call_after(10ms, [this] { loop.stop(); });
      loop.run();
      loop.cancel(timer);
    }
  }
  std::string log_of(const std::string& name) const {
    return read_file(path_ + "/log/" + name + ".log").value_or("");
  }
  const std::string& path() const { return path_; }

  net::EventLoop loop;
  std::unique_ptr<FunctionHost> host;

 private:
  std::string path_;
  int requests_ = 0;
};

}  // namespace leeward::functions

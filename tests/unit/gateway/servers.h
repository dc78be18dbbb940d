// Real servers for the gateway's tests, on free loopback ports, in directories that go away with
// them, ended by pid.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/time.h"
#include "model/platform.h"

namespace leeward::gateway::testing {

std::uint16_t free_port();

// True as soon as `condition` is; false when `limit` has passed.
bool eventually(const std::function<bool()>& condition, Duration limit = 10s);

class TempDir {
 public:
  TempDir();
  ~TempDir();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

class Process {
 public:
  Process() = default;
  explicit Process(const std::vector<std::string>& argv);
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process();
  void signal(int number) const;
  void stop();  // SIGKILL: the data is thrown away anyway

 private:
  pid_t pid_ = -1;
};

// A MariaDB with the account app/secret (all rights on database "app") and the tables app.t (id, v)
// and app.who, whose one row is the server's name.
class MariadbServer {
 public:
  explicit MariadbServer(const std::string& name);
  Endpoint endpoint() const { return {"127.0.0.1", port_}; }
  Process& process() { return process_; }

 private:
  TempDir directory_;
  std::uint16_t port_;
  Process process_;
};

class RedisServer {
 public:
  RedisServer();
  Endpoint endpoint() const { return {"127.0.0.1", port_}; }

 private:
  TempDir directory_;
  std::uint16_t port_;
  Process process_;
};

}  // namespace leeward::gateway::testing

// Real servers for tests: each in a directory of its own, on a free loopback port,
// ended by pid when the object goes, and killed by the kernel if the test itself dies.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "model/platform.h"
#include "mysql/sql.h"

namespace leeward::testing {

// A directory under the system's temporary one, removed with all that is in it.
class TempDirectory {
 public:
  TempDirectory();
  ~TempDirectory();
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::uint16_t free_port();

// Polls `condition` every few milliseconds; false when `limit` passes first.
bool eventually(Duration limit, const std::function<bool()>& condition);

// A child process that does not outlive the test.
class Process {
 public:
  explicit Process(const std::vector<std::string>& arguments);
  ~Process() { end(9); }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  void signal(int number) const;  // SIGSTOP: until it has stopped
  int end(int number);            // sends it and waits for the end; exit status or -1

 private:
  pid_t pid_ = -1;
};

class MariadbServer {
 public:
  static constexpr const char* kUser = "leeward_admin";
  static constexpr const char* kPassword = "admin-Pa55'word";

  explicit MariadbServer(unsigned server_id, std::vector<std::string> options = {});

  void start();             // and waits until it answers
  void kill();              // SIGKILL, as a crash
  void signal(int number);  // SIGSTOP, SIGCONT
  Endpoint endpoint() const { return {"127.0.0.1", port_}; }
  // Encrypted, but believing any certificate, when the server takes nothing else.
  mysql::SqlTarget admin() const;

  // A new connection; the test fails when there is none.
  mysql::SqlConnection connect(const std::string& user = kUser,
                               const std::string& password = kPassword);
  void run(const std::string& sql);  // on one connection kept for this; failure fails the test
  std::string scalar(const std::string& sql);  // first cell of the answer
  // Text of all rows of all user tables: equal for equal data.
  std::string contents(const std::string& schema);

 private:
  mysql::SqlRows query(const std::string& sql);

  unsigned server_id_;
  std::uint16_t port_;
  std::vector<std::string> options_;
  TempDirectory directory_;
  std::optional<Process> process_;
  std::optional<mysql::SqlConnection> sql_;
};

}  // namespace leeward::testing

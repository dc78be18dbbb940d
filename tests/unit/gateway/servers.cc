#include "servers.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <mysql.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <thread>

#include "base/check.h"

namespace leeward::gateway::testing {

std::uint16_t free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  LEEWARD_CHECK(bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

bool eventually(const std::function<bool()>& condition, Duration limit) {
  const BootTime end = BootClock::now() + limit;
  while (!condition()) {
    if (BootClock::now() >= end) return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

TempDir::TempDir() {
  std::string pattern = std::filesystem::temp_directory_path() / "leeward-gateway-XXXXXX";
  LEEWARD_CHECK(mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Process::Process(const std::vector<std::string>& argv) {
  std::vector<char*> arguments;
  for (const std::string& a : argv) arguments.push_back(const_cast<char*>(a.c_str()));
  arguments.push_back(nullptr);
  pid_ = fork();
  if (pid_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // nothing survives a test that crashes
  const int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
  execvp(arguments[0], arguments.data());
  _exit(127);
}

Process::Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}

Process& Process::operator=(Process&& other) noexcept {
  std::swap(pid_, other.pid_);
  return *this;
}

Process::~Process() { stop(); }

void Process::signal(int number) const { kill(pid_, number); }

void Process::stop() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(std::exchange(pid_, -1), nullptr, 0);
}

namespace {

// Runs a shell command to its end; its output, kept in `log`, is shown when it fails.
void run(const std::string& command, const std::string& log) {
  if (std::system((command + " >" + log + " 2>&1").c_str()) == 0) return;
  std::ifstream in(log);
  std::cerr << command << '\n' << in.rdbuf();
  std::abort();
}

// As root: MariaDB's first account, without a password.
bool set_up(const Endpoint& server, const std::string& name) {
  MYSQL* m = mysql_init(nullptr);
  const bool connected = mysql_real_connect(m, server.host.c_str(), "root", "", nullptr,
                                            server.port, nullptr, 0) != nullptr;
  const std::string statements[] = {
      "CREATE DATABASE app",
      "CREATE USER app@'%' IDENTIFIED BY 'secret'",
      "GRANT ALL ON *.* TO app@'%'",
      "CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT, v INT NOT NULL)",
      "CREATE TABLE app.who (name VARCHAR(32))",
      "INSERT INTO app.who VALUES ('" + name + "')",
  };
  bool ok = connected;
  for (const std::string& s : statements) ok = ok && mysql_query(m, s.c_str()) == 0;
  mysql_close(m);
  LEEWARD_CHECK(!connected || ok);
  return connected;
}

}  // namespace

MariadbServer::MariadbServer(const std::string& name) : port_(free_port()) {
  const std::string data = directory_.path() / "data";
  const std::string user = geteuid() == 0 ? " --user=root" : "";
  run("mariadb-install-db --no-defaults --auth-root-authentication-method=normal --skip-test-db "
      "--innodb-log-file-size=8M --innodb-buffer-pool-size=16M --innodb-use-native-aio=0 "
      "--datadir=" +
          data + " --tmpdir=" + directory_.path().string() + user,
      directory_.path() / "install.log");
  std::vector<std::string> argv{
      "mariadbd", "--no-defaults", "--datadir=" + data,
      // A starting server deletes every "#sql" file in a shared one.
      "--tmpdir=" + directory_.path().string(), "--port=" + std::to_string(port_),
      "--bind-address=127.0.0.1", "--socket=" + (directory_.path() / "s").string(),
      "--pid-file=" + (directory_.path() / "pid").string(), "--skip-name-resolve",
      "--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M",
      "--innodb-use-native-aio=0",  // a bounded resource of the host
      "--innodb-flush-log-at-trx-commit=0", "--performance-schema=0", "--max-allowed-packet=64M"};
  if (geteuid() == 0) argv.push_back("--user=root");
  process_ = Process(argv);
  LEEWARD_CHECK(eventually([&] { return set_up(endpoint(), name); }, 60s));
}

RedisServer::RedisServer() : port_(free_port()) {
  // Debian's redis-tools has the server under the name of its checking tool.
  const std::filesystem::path binary = directory_.path() / "redis-server";
  std::filesystem::create_symlink("/usr/bin/redis-check-rdb", binary);
  process_ = Process({binary, "--port", std::to_string(port_), "--bind", "127.0.0.1", "--save", "",
                      "--dir", directory_.path()});
}

}  // namespace leeward::gateway::testing

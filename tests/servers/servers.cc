#include "servers/servers.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/check.h"
#include "base/file.h"

namespace leeward::testing {
namespace {

constexpr Duration kStartLimit = 60s;

// An initialised data directory, made once a test program and copied for each server.
const std::string& pristine_data() {
  static TempDirectory directory;
  static const std::string path = [] {
    std::string data = directory.path() + "/data";
    Process install({"mariadb-install-db", "--no-defaults",
                     "--auth-root-authentication-method=normal", "--skip-test-db", "--user=root",
                     "--datadir=" + data, "--tmpdir=" + directory.path()});
    LEEWARD_CHECK(install.end(0) == 0);
    return data;
  }();
  return path;
}

}  // namespace

TempDirectory::TempDirectory() {
  std::string pattern = std::filesystem::temp_directory_path() / "leeward-database-XXXXXX";
  LEEWARD_CHECK(::mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
}

TempDirectory::~TempDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::uint16_t free_port() {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  LEEWARD_CHECK(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  LEEWARD_CHECK(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return ntohs(address.sin_port);
}

bool eventually(Duration limit, const std::function<bool()>& condition) {
  for (BootTime deadline = BootClock::now() + limit; BootClock::now() < deadline;) {
    if (condition()) return true;
    std::this_thread::sleep_for(5ms);
  }
  return condition();
}

Process::Process(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ != 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (!std::freopen("/dev/null", "r", stdin) || !std::freopen("/dev/null", "w", stdout) ||
      !std::freopen("/dev/null", "w", stderr))
    ::_exit(127);
  ::execvp(argv[0], argv.data());
  // Debian's redis-tools ships the server as redis-check-rdb; argv[0] tells it what to be.
  if (arguments[0] == "redis-server") ::execvp("redis-check-rdb", argv.data());
  ::_exit(127);
}

void Process::signal(int number) const {
  ::kill(pid_, number);
  // Stopped is a process once its last thread is: until then it may still answer.
  siginfo_t how{};
  if (number == SIGSTOP) ::waitid(P_PID, static_cast<id_t>(pid_), &how, WSTOPPED);
}

int Process::end(int number) {
  if (pid_ < 0) return -1;
  ::kill(pid_, number);
  if (number != 0) ::kill(pid_, SIGCONT);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

MariadbServer::MariadbServer(unsigned server_id, std::vector<std::string> options)
    : server_id_(server_id), port_(free_port()), options_(std::move(options)) {
  std::filesystem::copy(pristine_data(), directory_.path() + "/data",
                        std::filesystem::copy_options::recursive);
  // Logged on purpose: that is how servers are set up by hand, so both start with transactions of
  // their own.
  std::ofstream(directory_.path() + "/init.sql")
      << "CREATE USER IF NOT EXISTS " << kUser << "@'%' IDENTIFIED BY 'admin-Pa55\\'word';\n"
      << "GRANT ALL ON *.* TO " << kUser << "@'%' WITH GRANT OPTION;\n";
  start();
}

void MariadbServer::start() {
  std::string d = directory_.path();
  bool first = !std::filesystem::exists(d + "/data/binlog.index");
  std::vector<std::string> arguments{
      "mariadbd", "--no-defaults", "--user=root", "--datadir=" + d + "/data",
      // A starting server deletes every "#sql" file in a shared one.
      "--tmpdir=" + d, "--socket=" + d + "/m.sock", "--pid-file=" + d + "/m.pid",
      "--log-error=" + d + "/error.log", "--port=" + std::to_string(port_),
      "--bind-address=127.0.0.1", "--server-id=" + std::to_string(server_id_), "--log-bin=binlog",
      "--sync-binlog=1", "--binlog-format=ROW", "--binlog-row-image=FULL",
      "--binlog-row-metadata=FULL", "--log-slave-updates=1", "--gtid-strict-mode=1",
      "--skip-name-resolve", "--skip-slave-start", "--innodb-buffer-pool-size=64M",
      "--innodb-log-file-size=16M", "--max-connections=50"};
  if (first)
    arguments.push_back("--init-file=" + d + "/init.sql");
  else
    arguments.push_back("--read-only=1");
  arguments.insert(arguments.end(), options_.begin(), options_.end());
  sql_.reset();
  process_.emplace(arguments);
  bool up = eventually(kStartLimit, [&] {
    auto sql = mysql::SqlConnection::open(admin(), BootClock::now() + 2s);
    return sql.has_value();
  });
  ASSERT_TRUE(up) << "mariadbd did not start";
}

mysql::SqlTarget MariadbServer::admin() const {
  mysql::SqlTarget target{endpoint(), kUser, kPassword};
  bool encrypted = std::find(options_.begin(), options_.end(), "--require-secure-transport=ON") !=
                   options_.end();
  if (encrypted) target.tls.mode = mysql::TlsMode::kRequired;
  return target;
}

void MariadbServer::kill() {
  sql_.reset();
  process_.reset();
}

void MariadbServer::signal(int number) { process_->signal(number); }

mysql::SqlConnection MariadbServer::connect(const std::string& user, const std::string& password) {
  mysql::SqlTarget target = admin();
  target.user = user;
  target.password = password;
  auto sql = mysql::SqlConnection::open(target, BootClock::now() + 20s);
  LEEWARD_CHECK(sql.has_value());
  return std::move(*sql);
}

mysql::SqlRows MariadbServer::query(const std::string& sql) {
  if (!sql_ || !sql_->usable()) sql_.emplace(connect());
  auto rows = sql_->query(sql, BootClock::now() + 30s);
  if (!rows && !sql_->usable()) {  // a fence ends sessions; this one was only waiting
    sql_.emplace(connect());
    rows = sql_->query(sql, BootClock::now() + 30s);
  }
  EXPECT_TRUE(rows) << sql << ": " << rows.error().message;
  return rows ? std::move(*rows) : mysql::SqlRows{};
}

void MariadbServer::run(const std::string& sql) { query(sql); }

std::string MariadbServer::scalar(const std::string& sql) { return query(sql).scalar(); }

std::string MariadbServer::contents(const std::string& schema) {
  std::string text;
  auto tables = query("SELECT table_name FROM information_schema.tables WHERE table_schema = '" +
                      schema + "' ORDER BY table_name");
  for (const auto& table : tables.rows) {
    text += "== " + *table[0] + "\n";
    for (const auto& row :
         query("SELECT * FROM " + schema + "." + *table[0] + " ORDER BY 1").rows) {
      for (const auto& cell : row) text += cell.value_or("NULL") + "|";
      text += "\n";
    }
  }
  return text;
}

}  // namespace leeward::testing

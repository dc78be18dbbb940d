// An application: libmariadb as a client of the gateway, and gateways with a test's settings.
#pragma once

#include <mysql.h>

#include <memory>
#include <string>

#include "gateway/gateway.h"
#include "servers.h"

namespace leeward::gateway::testing {

class Client {
 public:
  // Connects as app/secret to database "app". connect() false: see error() and code().
  explicit Client(const Endpoint& gateway, std::string user = "app",
                  std::string password = "secret");
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  bool connect();
  // The first column of the first row; "ok" for a statement without rows; "error CODE" if it fails.
  std::string query(const std::string& sql);
  std::string error() const { return mysql_error(mysql_); }
  unsigned code() const { return mysql_errno(mysql_); }
  MYSQL* raw() { return mysql_; }

 private:
  Endpoint gateway_;
  std::string user_, password_;
  MYSQL* mysql_;
};

// The verifier of app/secret for every lookup.
AccountLookup app_account();

// A gateway before `server`, with a peer listener, on free ports.
Options options_for(const Endpoint& server, std::string site);
std::unique_ptr<Gateway> start(Options options);

inline BootTime in(Duration d) { return BootClock::now() + d; }

}  // namespace leeward::gateway::testing

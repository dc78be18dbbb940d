#include "client.h"

#include <utility>

#include "base/check.h"
#include "gateway/internal/mysql_wire.h"

namespace leeward::gateway::testing {

Client::Client(const Endpoint& gateway, std::string user, std::string password)
    : gateway_(gateway),
      user_(std::move(user)),
      password_(std::move(password)),
      mysql_(mysql_init(nullptr)) {
  const unsigned limit = 20;  // no test hangs
  mysql_options(mysql_, MYSQL_OPT_CONNECT_TIMEOUT, &limit);
  mysql_options(mysql_, MYSQL_OPT_READ_TIMEOUT, &limit);
}

Client::~Client() { mysql_close(mysql_); }

bool Client::connect() {
  return mysql_real_connect(mysql_, gateway_.host.c_str(), user_.c_str(), password_.c_str(), "app",
                            gateway_.port, nullptr, CLIENT_MULTI_STATEMENTS) != nullptr;
}

std::string Client::query(const std::string& sql) {
  if (mysql_real_query(mysql_, sql.data(), sql.size()) != 0)
    return "error " + std::to_string(mysql_errno(mysql_));
  std::string value = "ok";
  do {
    MYSQL_RES* result = mysql_store_result(mysql_);
    if (result == nullptr) continue;
    const MYSQL_ROW row = mysql_fetch_row(result);
    value = row == nullptr ? "none" : row[0] == nullptr ? "null" : row[0];
    mysql_free_result(result);
  } while (mysql_next_result(mysql_) == 0);
  return mysql_errno(mysql_) == 0 ? value : "error " + std::to_string(mysql_errno(mysql_));
}

AccountLookup app_account() {
  return [](std::string_view user, std::string_view) -> std::optional<AccountVerifier> {
    if (user != "app") return std::nullopt;
    const wire::Digest once = wire::sha1("secret");
    return wire::sha1({reinterpret_cast<const char*>(once.data()), once.size()});
  };
}

Options options_for(const Endpoint& server, std::string site) {
  Options o;
  o.name = "shop";
  o.site_name = std::move(site);
  o.listen = {"127.0.0.1", 0};
  o.peer_listen = {"127.0.0.1", 0};
  o.local_database = server;
  o.account_lookup = app_account();
  return o;
}

std::unique_ptr<Gateway> start(Options options) {
  auto gateway = Gateway::start(std::move(options));
  LEEWARD_CHECK(gateway.has_value());
  return std::move(*gateway);
}

}  // namespace leeward::gateway::testing

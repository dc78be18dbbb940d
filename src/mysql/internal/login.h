// The connection phase of the client protocol, as a core: packets in, packets out, no socket.
// Log-in by mysql_native_password, caching_sha2_password and client_ed25519; other plugins are
// refused, those that send the password as it is among them. Fuzzed by tests/fuzz/login_fuzz.cc.
//
// Sources: MariaDB Knowledge Base "Connecting"; MySQL source documentation "Connection Phase" and
// "Caching_sha2_password information"; MariaDB plugin/auth_ed25519 for its use of ref10.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace leeward::mysql::internal {

// An error packet's number and text.
struct ServerError {
  std::uint16_t number = 0;
  std::string message;
};
// nullopt when the payload is not an error packet.
std::optional<ServerError> parse_server_error(std::string_view payload);
// With the code that fits its number; "server: message (number)".
Error to_error(const ServerError& error);

struct Credentials {
  std::string user;
  std::string password;
};

class Login {
 public:
  struct Step {
    std::optional<std::string> send;  // payload, which may be empty
    bool start_tls = false;           // after sending; then call encrypted()
    bool done = false;
  };

  Login(Credentials credentials, bool want_tls)
      : credentials_(std::move(credentials)), want_tls_(want_tls) {}
  ~Login();  // wipes the password
  Login(const Login&) = delete;
  Login& operator=(const Login&) = delete;

  // Takes the server's next packet. Errors: as replication_client.h lists them.
  Result<Step> take(std::string_view payload);
  // The connection is encrypted now: the log-in itself.
  Result<Step> encrypted();

  const std::string& server_version() const { return version_; }
  bool mariadb() const { return mariadb_; }

 private:
  enum class State { kGreeting, kTls, kAnswer, kPublicKey };
  Result<Step> greeting(std::string_view payload);
  Result<Step> switched(std::string_view payload);
  Result<Step> more(std::string_view payload);
  Result<Step> public_key(std::string_view pem);
  Result<std::string> response() const;
  std::uint32_t capabilities() const;
  std::string preamble() const;

  Credentials credentials_;
  bool want_tls_;
  bool encrypted_ = false;
  State state_ = State::kGreeting;
  std::string version_;
  bool mariadb_ = false;
  std::string plugin_;
  std::string salt_;
  unsigned steps_ = 0;
};

// The answers of the plugins, for tests with known vectors. Empty password: empty answer, but for
// ed25519.
std::string native_answer(std::string_view password, std::string_view salt);
std::string sha2_answer(std::string_view password, std::string_view salt);
Result<std::string> ed25519_answer(std::string_view password, std::string_view message);

}  // namespace leeward::mysql::internal

// One MariaDB session as the gateway sees it: bytes of both sides in, and out what may pass,
// whether the session is busy, in a transaction or idle, whether it can move, and the bytes that
// log it in and restore it on another server. Pure: no socket, no clock.
//
// Phases of a session:
//   kGreeting → kLogin → kAuth → kCommand            the client's own login is relayed and watched
//   kCommand → kDetached                             its server is gone or left; the client stays
//   kDetached → kReGreeting → kReAuth → kReplay → kCommand    on another server
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "gateway/gateway.h"
#include "gateway/internal/buffer.h"
#include "gateway/internal/mysql_wire.h"
#include "gateway/internal/response.h"
#include "gateway/internal/secret.h"
#include "gateway/internal/session_state.h"
#include "gateway/internal/statement.h"

namespace leeward::gateway {

// SQLSTATE by which one gateway tells the other that it held a command back and dropped it, so that
// the other may send it elsewhere. A database never uses it.
inline constexpr std::string_view kNotExecutedState = "LW001";

class SessionCore {
 public:
  static constexpr std::size_t kOutstandingMax = 64;
  static constexpr std::size_t kKeptMax = 64u << 10;  // longest command that is kept for a retry

  enum class Phase : std::uint8_t {
    kGreeting,
    kLogin,
    kAuth,
    kCommand,
    kDetached,
    kReGreeting,
    kReAuth,
    kReplay,
  };
  enum class FromClient : std::uint8_t {
    kMore,    // all that can be passed is passed
    kParked,  // a command waits until it may start
    kQuit,    // the client says good-bye
    kBroken,  // cannot be followed; problem() says why; close
  };
  enum class FromServer : std::uint8_t {
    kMore,
    kReady,        // restored: commands may start
    kRefused,      // the server refused the login: server_error()
    kGone,         // the server announced its end while the session was idle
    kNotExecuted,  // the other gateway held the command back: take_back() it
    kBroken,
  };

  // `lookup` and `vault` must outlive the core.
  SessionCore(const AccountLookup& lookup, SecretVault& vault) : lookup_(lookup), vault_(vault) {}

  // Examines pending bytes and passes what may go on. `may_start`: whether a new command may begin;
  // one that has begun always goes on. `keep`: keep a copy of the command for take_back().
  FromClient from_client(Buffer& in, bool may_start, bool keep);
  // The same for the server's bytes. Consumes answers that are not for the client; appends the
  // gateway's own words to `to_server`.
  FromServer from_server(Buffer& in, std::string& to_server);

  // The server connection is closed by either side; the session waits for another.
  // REQUIRES cannot_move() to be empty.
  void detach();
  // A new connection to a server is open: it will greet. Of a first connection too.
  void attach(std::string_view local_host);
  // Puts the command that was not executed back to the front of the client's bytes.
  void take_back(Buffer& in);

  Phase phase() const { return phase_; }
  // Before the client got the greeting of any server, so that there is nothing to restore.
  bool fresh() const { return phase_ == Phase::kGreeting; }
  bool in_flight() const { return !outstanding_.empty() || client_left_ > 0 || client_continues_; }
  bool in_transaction() const { return in_transaction_; }
  bool idle() const { return phase_ == Phase::kCommand && !in_flight() && !in_transaction_; }
  // Why this session could not go on at another server, even when idle; empty: it could.
  std::string_view cannot_move() const;

  std::string_view problem() const { return problem_; }
  const wire::ErrorPacket& server_error() const { return server_error_; }
  // An error packet that the client can read at this point of the session.
  std::string error_packet(std::uint16_t code, std::string_view state, std::string_view text) const;

 private:
  struct Outstanding {
    std::uint8_t command = 0;
    StatementTraits traits;
    std::string text;  // of SET, USE, COM_INIT_DB, COM_STMT_PREPARE
    bool text_whole = true;
  };

  FromClient broken_client(std::string_view why);
  FromServer broken_server(std::string_view why);

  // client side (session_core_client.cc)
  FromClient login(Buffer& in);
  FromClient auth_data(Buffer& in);
  FromClient start_command(Buffer& in, std::uint32_t length, bool keep);
  FromClient rewrite_statement(Buffer& in, std::uint32_t& length, std::size_t& head);
  FromClient rewrite_execute(Buffer& in, PreparedStatement& statement, std::uint32_t& length,
                             std::size_t& head);
  bool looks_back(std::span<const std::uint8_t> command);
  void continue_packet(Buffer& in, std::uint32_t length);
  void body(Buffer& in);
  void end_packet();
  void keep_bytes(std::span<const std::uint8_t> bytes);

  // server side (session_core_server.cc)
  FromServer login_packet(Buffer& in, std::string& to_server);
  FromServer greeting(std::span<std::uint8_t> payload, std::string& to_server);
  FromServer auth(std::span<const std::uint8_t> payload);
  FromServer re_auth(std::span<const std::uint8_t> payload, std::uint8_t sequence,
                     std::string& to_server);
  FromServer restored();
  std::string response_to(std::string_view salt) const;
  void learn_password();
  FromServer answer_packet(Buffer& in);
  FromServer command_packet(std::span<std::uint8_t> payload, std::uint32_t length);
  FromServer replay_packet(std::span<const std::uint8_t> payload, std::uint32_t length);
  void complete();
  void note_effect(Outstanding& done);
  void note_status();
  void assign_statement_id(std::span<std::uint8_t> payload);

  const AccountLookup& lookup_;
  SecretVault& vault_;
  Phase phase_ = Phase::kGreeting;
  std::string problem_;
  wire::ErrorPacket server_error_;

  // login
  std::string local_host_;
  std::string salt_;
  std::string auth_plugin_;
  std::string auth_response_;
  wire::Login login_;            // as the client gave it, without the response
  bool password_known_ = false;  // with no secret: an empty password
  Secret password_;

  // client to server
  std::uint32_t client_left_ = 0;  // bytes of the current packet that have not passed
  bool client_continues_ = false;  // the current command goes on in the next packet
  bool data_wanted_ = false;       // the server asked for packets that are no commands
  bool answered_early_ = false;    // the server answered before the command was whole
  std::uint8_t command_ = 0;
  StatementScanner scanner_;
  std::string capture_;
  bool capture_whole_ = true;
  std::string kept_;
  bool kept_valid_ = false;
  bool first_after_move_ = false;
  bool prepared_since_move_ = true;

  // server to client
  std::uint32_t server_left_ = 0;
  bool server_continues_ = false;
  bool swallow_ = false;  // the rest of the current packet is not for the client
  ResponseTracker tracker_;
  std::deque<Outstanding> outstanding_;
  std::deque<ReplayCommand> replay_;
  bool in_transaction_ = false;

  SessionState state_;
  std::string_view pinned_;  // why; a literal
};

}  // namespace leeward::gateway

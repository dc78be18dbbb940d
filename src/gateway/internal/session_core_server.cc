// SessionCore, the server's side: greeting and login, answers to commands, restoring a session.
#include <openssl/crypto.h>

#include <algorithm>

#include "gateway/internal/session_core.h"

namespace leeward::gateway {
namespace {

using wire::kHeader;

constexpr std::string_view kNative = "mysql_native_password";

}  // namespace

SessionCore::FromServer SessionCore::broken_server(std::string_view why) {
  problem_ = why;
  return FromServer::kBroken;
}

std::string_view SessionCore::cannot_move() const {
  if (phase_ == Phase::kGreeting) return {};
  if (phase_ == Phase::kLogin || phase_ == Phase::kAuth) return "its login is not complete";
  if (!pinned_.empty()) return pinned_;
  if (!password_known_) return "its account's verifier is not known";
  if (!state_.replayable()) return "it has more state than is remembered";
  return {};
}

std::string SessionCore::error_packet(std::uint16_t code, std::string_view state,
                                      std::string_view text) const {
  const std::uint8_t sequence = phase_ == Phase::kGreeting                          ? 0
                                : phase_ == Phase::kLogin || phase_ == Phase::kAuth ? 2
                                                                                    : 1;
  return wire::error_packet(sequence, code, state, text);
}

void SessionCore::attach(std::string_view local_host) {
  local_host_ = local_host;
  if (phase_ == Phase::kDetached) phase_ = Phase::kReGreeting;
}

void SessionCore::detach() {
  if (phase_ != Phase::kGreeting) phase_ = Phase::kDetached;
  outstanding_.clear();
  replay_.clear();
  client_left_ = 0;
  client_continues_ = data_wanted_ = false;
  server_left_ = 0;
  server_continues_ = false;
  in_transaction_ = false;
}

SessionCore::FromServer SessionCore::from_server(Buffer& in, std::string& to_server) {
  for (;;) {
    const bool login = phase_ != Phase::kCommand && phase_ != Phase::kReplay;
    const std::size_t before = in.pending().size();
    if (before == 0) return FromServer::kMore;
    const FromServer result =
        login && server_left_ == 0 ? login_packet(in, to_server) : answer_packet(in);
    if (result != FromServer::kMore || in.pending().size() == before) return result;
  }
}

SessionCore::FromServer SessionCore::login_packet(Buffer& in, std::string& to_server) {
  const auto pending = in.pending();
  if (pending.size() < kHeader) return FromServer::kMore;
  const std::uint32_t length = wire::u24(pending.data());
  if (length == 0 || length > wire::kHandshakeMax) return broken_server("not a login packet");
  if (pending.size() < kHeader + length) return FromServer::kMore;
  const auto payload = pending.subspan(kHeader, length);
  const std::uint8_t sequence = pending[3];
  FromServer result;
  const bool relayed = phase_ == Phase::kGreeting || phase_ == Phase::kAuth;
  switch (phase_) {
    case Phase::kGreeting:
    case Phase::kReGreeting:
      result = greeting(payload, to_server);
      break;
    case Phase::kAuth:
      result = auth(payload);
      break;
    case Phase::kReAuth:
      result = re_auth(payload, sequence, to_server);
      break;
    default:
      return broken_server("the server spoke out of turn");
  }
  relayed&& result == FromServer::kMore ? in.pass(kHeader + length)
                                        : in.drop_pending(kHeader + length);
  return result;
}

SessionCore::FromServer SessionCore::greeting(std::span<std::uint8_t> payload,
                                              std::string& to_server) {
  if (auto error = wire::parse_error(payload)) {
    server_error_ = std::move(*error);
    return FromServer::kRefused;
  }
  auto parsed = wire::parse_greeting(payload);
  if (!parsed) return broken_server(parsed.error().message);
  salt_ = parsed->salt;
  if (phase_ == Phase::kGreeting) {
    wire::strip_greeting(payload);
    phase_ = Phase::kLogin;
    return FromServer::kMore;
  }
  wire::Login login = login_;
  login.response = response_to(salt_);
  login.plugin = kNative;
  login.database = state_.database;
  to_server += wire::packet(1, wire::build_login(login));
  phase_ = Phase::kReAuth;
  return FromServer::kMore;
}

// The client's own login. 0x00: accepted; 0xfe: another plugin and salt; else plugin data.
SessionCore::FromServer SessionCore::auth(std::span<const std::uint8_t> payload) {
  if (payload[0] == 0x00) {
    learn_password();
    phase_ = Phase::kCommand;
    tracker_.expect(wire::kQuery);
    if (tracker_.packet(static_cast<std::uint32_t>(payload.size()),
                        payload.first(std::min(payload.size(), ResponseTracker::kPrefix))) ==
        ResponseTracker::Result::kMalformed)
      return broken_server("malformed end of the login");
    note_status();
  } else if (payload[0] == 0xfe) {
    wire::Reader r(payload.subspan(1));
    auth_plugin_ = r.zero_terminated();
    salt_ = r.text(std::min<std::size_t>(r.left(), 20));
  }
  return FromServer::kMore;
}

void SessionCore::learn_password() {
  if (auth_plugin_ != kNative) return;
  if (auth_response_.empty()) {
    password_known_ = true;
    return;
  }
  const auto verifier = lookup_ ? lookup_(login_.user, local_host_) : std::nullopt;
  if (!verifier) return;
  auto password_sha1 = wire::recover_password_sha1(auth_response_, salt_, *verifier);
  if (!password_sha1) return;
  password_ = Secret(&vault_, *password_sha1);
  OPENSSL_cleanse(password_sha1->data(), password_sha1->size());
  password_known_ = password_.get() != nullptr;
}

std::string SessionCore::response_to(std::string_view salt) const {
  if (password_.get() == nullptr) return {};
  const wire::Digest response = wire::native_response(*password_.get(), salt);
  return {response.begin(), response.end()};
}

// The gateway's login in the client's name.
SessionCore::FromServer SessionCore::re_auth(std::span<const std::uint8_t> payload,
                                             std::uint8_t sequence, std::string& to_server) {
  if (auto error = wire::parse_error(payload)) {
    server_error_ = std::move(*error);
    return FromServer::kRefused;
  }
  if (payload[0] == 0xfe) {
    wire::Reader r(payload.subspan(1));
    if (r.zero_terminated() != kNative || r.left() < 20)
      return broken_server("the account has another authentication plugin here");
    const std::string_view salt = r.text(20);
    to_server += wire::packet(static_cast<std::uint8_t>(sequence + 1), response_to(salt));
    return FromServer::kMore;
  }
  if (payload[0] != 0x00) return broken_server("the login could not be repeated");
  for (ReplayCommand& command : state_.replay()) {
    to_server += command.packet;
    replay_.push_back(std::move(command));
  }
  if (replay_.empty()) return restored();
  phase_ = Phase::kReplay;
  tracker_.expect(replay_.front().command);
  return FromServer::kMore;
}

SessionCore::FromServer SessionCore::restored() {
  phase_ = Phase::kCommand;
  first_after_move_ = true;
  prepared_since_move_ = false;
  return FromServer::kReady;
}

// One packet, or the next part of one, of an answer to a command of the client or of a replay.
SessionCore::FromServer SessionCore::answer_packet(Buffer& in) {
  const auto pending = in.pending();
  if (server_left_ > 0) {
    const auto n = std::min<std::size_t>(pending.size(), server_left_);
    server_left_ -= static_cast<std::uint32_t>(n);
    swallow_ ? in.drop_pending(n) : in.pass(n);
    return FromServer::kMore;
  }
  if (pending.size() < kHeader) return FromServer::kMore;
  const std::uint32_t length = wire::u24(pending.data());
  const std::size_t prefix = std::min<std::size_t>(length, ResponseTracker::kPrefix);
  if (pending.size() < kHeader + prefix) return FromServer::kMore;
  const bool continued = std::exchange(server_continues_, length == wire::kPayloadMax);
  server_left_ = length - static_cast<std::uint32_t>(prefix);
  swallow_ = phase_ == Phase::kReplay;
  FromServer result = FromServer::kMore;
  if (!continued) {
    const auto payload = pending.subspan(kHeader, prefix);
    result = swallow_ ? replay_packet(payload, length) : command_packet(payload, length);
  }
  const bool for_client = !swallow_ && result == FromServer::kMore;
  for_client ? in.pass(kHeader + prefix) : in.drop_pending(kHeader + prefix);
  return result;
}

SessionCore::FromServer SessionCore::command_packet(std::span<std::uint8_t> payload,
                                                    std::uint32_t length) {
  if (outstanding_.empty())  // unasked: the server says why it closes the connection
    return payload.empty() || payload[0] != 0xff ? broken_server("an answer without a command")
                                                 : FromServer::kGone;
  const auto error = wire::parse_error(payload);
  if (error && error->state == kNotExecutedState && kept_valid_ && outstanding_.size() == 1)
    return FromServer::kNotExecuted;
  const bool was_prepared = tracker_.prepared().has_value();
  switch (tracker_.packet(length, payload)) {
    case ResponseTracker::Result::kMalformed:
      return broken_server("an answer that does not fit its command");
    case ResponseTracker::Result::kWantsData:
      data_wanted_ = true;
      break;
    case ResponseTracker::Result::kMore:
      if (!was_prepared && tracker_.prepared()) assign_statement_id(payload);
      break;
    case ResponseTracker::Result::kDone:
      if (!was_prepared && tracker_.prepared()) assign_statement_id(payload);
      complete();
      break;
  }
  kept_valid_ = false;  // it has been executed
  return FromServer::kMore;
}

// The client gets an id that stays valid when the session moves.
void SessionCore::assign_statement_id(std::span<std::uint8_t> payload) {
  Outstanding& command = outstanding_.front();
  PreparedStatement statement;
  statement.backend_id = tracker_.prepared()->id;
  statement.parameters = tracker_.prepared()->parameters;
  if (command.text_whole) statement.text = std::move(command.text);
  statement.database = state_.database;
  statement.traits = command.traits;
  wire::put_u32(&payload[1], state_.add_prepared(std::move(statement)));
  prepared_since_move_ = true;
}

void SessionCore::note_status() {
  in_transaction_ = (tracker_.status() & wire::kInTransaction) != 0;
  // An error carries no status. Without autocommit a transaction may be open now.
  if (tracker_.failed() && (tracker_.status() & wire::kAutocommit) == 0) in_transaction_ = true;
}

// The answer to the oldest command is complete.
void SessionCore::complete() {
  Outstanding done = std::move(outstanding_.front());
  outstanding_.pop_front();
  if (outstanding_.empty() && (client_left_ > 0 || client_continues_)) {
    answered_early_ = true;
    pinned_ = "a command answered before it was sent";
  }
  data_wanted_ = false;
  note_status();
  if (tracker_.status() & wire::kCursorExists) pinned_ = "an open cursor";
  if (tracker_.last_insert_id() != 0) state_.last_insert_id = tracker_.last_insert_id();
  if (!tracker_.failed()) note_effect(done);
  if (!outstanding_.empty()) tracker_.expect(outstanding_.front().command);
}

void SessionCore::note_effect(Outstanding& done) {
  if (done.command == wire::kResetConnection) {
    state_.reset();
    pinned_ = {};
  } else if (done.command == wire::kInitDb) {
    state_.database = done.text;
  } else if (done.command == wire::kSetOption && !done.text.empty()) {
    state_.record_option(static_cast<std::uint8_t>(done.text[0]));
  } else if (done.command == wire::kStmtExecute) {
    state_.statement_ran();
  } else if (done.command == wire::kQuery) {
    if (!done.traits.sets) state_.statement_ran();
    if ((done.traits.sets || done.traits.uses) && !done.text_whole)
      pinned_ = "a SET statement that is too long";
    else if (done.traits.sets)
      state_.record_set(std::move(done.text), done.traits);
    else if (done.traits.uses)
      state_.database = database_of_use(done.text);
    if (done.traits.uses && state_.database.empty()) pinned_ = "a USE statement in no plain form";
  }
}

SessionCore::FromServer SessionCore::replay_packet(std::span<const std::uint8_t> payload,
                                                   std::uint32_t length) {
  const bool was_prepared = tracker_.prepared().has_value();
  const auto result = tracker_.packet(length, payload);
  if (tracker_.failed()) {
    const auto error = wire::parse_error(payload);
    problem_ = fmt::format("the session could not be restored: the server answered with error {}",
                           error ? error->code : 0);
    return FromServer::kBroken;
  }
  if (result == ResponseTracker::Result::kMalformed ||
      result == ResponseTracker::Result::kWantsData)
    return broken_server("the session could not be restored: unexpected answer");
  if (!was_prepared && tracker_.prepared())
    if (PreparedStatement* s = state_.find_prepared(replay_.front().client_id))
      s->backend_id = tracker_.prepared()->id;
  if (result == ResponseTracker::Result::kMore) return FromServer::kMore;
  replay_.pop_front();
  if (!replay_.empty()) {
    tracker_.expect(replay_.front().command);
    return FromServer::kMore;
  }
  note_status();
  return restored();
}

}  // namespace leeward::gateway

// SessionCore, the client's side: its login, and its commands.
#include <algorithm>
#include <utility>

#include "gateway/internal/session_core.h"

namespace leeward::gateway {
namespace {

using wire::kHeader;

constexpr std::size_t kCaptureQueryMax = SessionState::kSetBytesMax;
constexpr std::size_t kCapturePrepareMax = 64u << 10;
constexpr std::uint32_t kLastPrepared = 0xffffffff;  // MariaDB: "the statement prepared last"
constexpr std::uint32_t kNoStatement = 0xfffffffe;   // an id that no server gives out

bool has_answer(std::uint8_t command) {
  return command != wire::kQuit && command != wire::kStmtClose &&
         command != wire::kStmtSendLongData;
}

bool names_statement(std::uint8_t command) {
  switch (command) {
    case wire::kStmtExecute:
    case wire::kStmtSendLongData:
    case wire::kStmtClose:
    case wire::kStmtReset:
    case wire::kStmtFetch:
    case wire::kStmtBulkExecute:
      return true;
    default:
      return false;
  }
}

}  // namespace

SessionCore::FromClient SessionCore::broken_client(std::string_view why) {
  problem_ = why;
  return FromClient::kBroken;
}

SessionCore::FromClient SessionCore::from_client(Buffer& in, bool may_start, bool keep) {
  for (;;) {
    const auto pending = in.pending();
    if (pending.empty()) return FromClient::kMore;
    if (client_left_ > 0) {
      body(in);
      continue;
    }
    if (pending.size() < kHeader) return FromClient::kMore;
    const std::uint32_t length = wire::u24(pending.data());
    if (client_continues_) {
      continue_packet(in, length);
      continue;
    }
    FromClient result = FromClient::kMore;
    switch (phase_) {
      case Phase::kGreeting:
        return FromClient::kMore;  // it must not speak first; wait for the greeting
      case Phase::kLogin:
      case Phase::kAuth: {
        const std::size_t before = pending.size();
        result = phase_ == Phase::kLogin ? login(in) : auth_data(in);
        if (result == FromClient::kMore && in.pending().size() == before) return result;
        break;
      }
      case Phase::kCommand:
        if (data_wanted_) {
          // The empty packet ends a file; a password is one packet.
          if (length == 0 || command_ == wire::kChangeUser) data_wanted_ = false;
          in.pass(kHeader);
          client_left_ = length;
          break;
        }
        [[fallthrough]];
      default:
        if (length == 0) return broken_client("empty command");
        if (pending.size() <= kHeader) return FromClient::kMore;
        if (pending[kHeader] == wire::kQuit && outstanding_.empty()) return FromClient::kQuit;
        if (phase_ != Phase::kCommand || !may_start) return FromClient::kParked;
        if (outstanding_.size() >= kOutstandingMax) return FromClient::kMore;
        result = start_command(in, length, keep);
        if (result == FromClient::kMore && client_left_ == 0 &&
            in.pending().size() == pending.size())
          return result;  // needs more of this packet
    }
    if (result != FromClient::kMore) return result;
  }
}

SessionCore::FromClient SessionCore::login(Buffer& in) {
  const auto pending = in.pending();
  const std::uint32_t length = wire::u24(pending.data());
  if (length > wire::kHandshakeMax) return broken_client("client's handshake is too long");
  if (pending.size() < kHeader + length) return FromClient::kMore;
  const auto payload = pending.subspan(kHeader, length);
  auto parsed = wire::parse_login(payload);
  if (!parsed) return broken_client(parsed.error().message);
  wire::strip_login(payload);
  login_ = std::move(*parsed);
  auth_response_ = std::move(login_.response);
  login_.response.clear();
  auth_plugin_ = login_.plugin.empty() ? "mysql_native_password" : login_.plugin;
  state_.database = login_.database;
  phase_ = Phase::kAuth;
  in.pass(kHeader + length);
  return FromClient::kMore;
}

SessionCore::FromClient SessionCore::auth_data(Buffer& in) {
  const auto pending = in.pending();
  const std::uint32_t length = wire::u24(pending.data());
  if (length > wire::kHandshakeMax) return broken_client("client's authentication is too long");
  if (pending.size() < kHeader + length) return FromClient::kMore;
  auth_response_.assign(pending.begin() + kHeader, pending.begin() + kHeader + length);
  in.pass(kHeader + length);
  return FromClient::kMore;
}

SessionCore::FromClient SessionCore::start_command(Buffer& in, std::uint32_t length, bool keep) {
  const std::uint8_t command = in.pending()[kHeader];
  if (first_after_move_) {
    if (looks_back(in.pending()))
      return broken_client("the command asks about a statement that ran on another server");
    first_after_move_ = false;
  }
  kept_.clear();
  kept_valid_ = keep && outstanding_.empty() && has_answer(command);
  std::size_t head = kHeader + 1;  // bytes that pass at once
  if (names_statement(command)) {
    const FromClient result = rewrite_statement(in, length, head);
    if (result != FromClient::kMore || head == 0) return result;
  } else {
    keep_bytes(in.pending().first(head));
  }
  command_ = command;
  scanner_ = StatementScanner((tracker_.status() & wire::kNoBackslashEscapes) == 0);
  capture_.clear();
  capture_whole_ = true;
  if (command == wire::kChangeUser) pinned_ = "COM_CHANGE_USER";
  if (command == wire::kBinlogDump || command == wire::kTableDump) pinned_ = "replication client";
  if (has_answer(command)) {
    if (outstanding_.empty()) tracker_.expect(command);
    outstanding_.push_back({.command = command, .traits = {}, .text = {}, .text_whole = true});
  }
  in.pass(head);
  client_left_ = length - static_cast<std::uint32_t>(head - kHeader);
  client_continues_ = length == wire::kPayloadMax;
  if (client_left_ == 0 && !client_continues_) end_packet();
  return FromClient::kMore;
}

// Puts the server's id of the statement in place of the client's. `head` 0: more bytes are needed.
SessionCore::FromClient SessionCore::rewrite_statement(Buffer& in, std::uint32_t& length,
                                                       std::size_t& head) {
  const auto pending = in.pending();
  const std::uint8_t command = pending[kHeader];
  if (length < 5) return broken_client("statement command is cut short");
  head = kHeader + 5;
  if (pending.size() < head) {
    head = 0;
    return FromClient::kMore;
  }
  const std::uint32_t id = wire::u32(&pending[kHeader + 1]);
  if (id == kLastPrepared && !prepared_since_move_)
    return broken_client("the statement prepared last is on another server");
  PreparedStatement* statement = state_.find_prepared(id);
  if (command == wire::kStmtExecute && statement != nullptr) {
    const FromClient result = rewrite_execute(in, *statement, length, head);
    if (result != FromClient::kMore || head == 0) return result;
  } else {
    keep_bytes(pending.first(head));
  }
  if (id == kLastPrepared) return FromClient::kMore;
  wire::put_u32(&in.pending()[kHeader + 1], statement ? statement->backend_id : kNoStatement);
  if (statement == nullptr) return FromClient::kMore;
  if (command == wire::kStmtClose) {
    state_.close_prepared(id);
    return FromClient::kMore;
  }
  if (command == wire::kStmtBulkExecute && statement->types_lost)
    return broken_client("bulk execution of a statement that has moved");
  if (statement->long_data) kept_valid_ = false;
  statement->long_data = command == wire::kStmtSendLongData;
  if (statement->traits.pins || statement->traits.sets || statement->traits.uses)
    pinned_ = "a prepared statement that changes the session";
  return FromClient::kMore;
}

// The server remembers parameter types from one execution to the next; so must the gateway, to send
// them along with the first execution on another server.
// Payload: command, id (4), flags, iterations (4), null bitmap, new-types flag, types (2 each).
SessionCore::FromClient SessionCore::rewrite_execute(Buffer& in, PreparedStatement& statement,
                                                     std::uint32_t& length, std::size_t& head) {
  const auto pending = in.pending();
  const std::size_t parameters = statement.parameters;
  if (parameters == 0 || parameters > SessionState::kParametersMax) {
    keep_bytes(pending.first(head));
    return FromClient::kMore;
  }
  const std::size_t flag_at = kHeader + 10 + (parameters + 7) / 8;
  const std::size_t types_size = parameters * 2;
  if (length + kHeader < flag_at + 1) return broken_client("execute command is cut short");
  head = flag_at + 1;
  const bool has_types = pending.size() >= head && pending[flag_at] == 1;
  if (has_types) head += types_size;
  if (has_types && length + kHeader < head) return broken_client("parameter types are cut short");
  if (pending.size() < head) {
    head = 0;
    return FromClient::kMore;
  }
  keep_bytes(pending.first(head));
  if (has_types) {
    statement.types.assign(pending.begin() + static_cast<std::ptrdiff_t>(flag_at) + 1,
                           pending.begin() + static_cast<std::ptrdiff_t>(head));
  } else if (statement.types_lost && statement.types.size() == types_size) {
    if (length + types_size >= wire::kPayloadMax)
      return broken_client("execute command is too long to be moved");
    in.pending()[flag_at] = 1;
    in.insert(head, statement.types);
    head += types_size;
    length += static_cast<std::uint32_t>(types_size);
    for (int i = 0; i < 3; ++i) in.pending()[i] = static_cast<std::uint8_t>(length >> 8 * i);
  }
  statement.types_lost = false;
  return FromClient::kMore;
}

// Of the first command after a move, as far as it has arrived.
bool SessionCore::looks_back(std::span<const std::uint8_t> command) {
  const std::size_t end =
      std::min<std::size_t>(command.size(), kHeader + wire::u24(command.data()));
  if (command[kHeader] == wire::kQuery || command[kHeader] == wire::kStmtPrepare) {
    StatementScanner scanner((tracker_.status() & wire::kNoBackslashEscapes) == 0);
    scanner.feed(command.subspan(kHeader + 1, end - kHeader - 1));
    return scanner.finish().looks_back;
  }
  if (command[kHeader] != wire::kStmtExecute || end < kHeader + 5) return false;
  const PreparedStatement* s = state_.find_prepared(wire::u32(&command[kHeader + 1]));
  return s != nullptr && s->traits.looks_back;
}

void SessionCore::continue_packet(Buffer& in, std::uint32_t length) {
  keep_bytes(in.pending().first(kHeader));
  in.pass(kHeader);
  client_left_ = length;
  client_continues_ = length == wire::kPayloadMax;
  if (length == 0) end_packet();
}

void SessionCore::body(Buffer& in) {
  const auto pending = in.pending();
  const auto bytes = pending.first(std::min<std::size_t>(pending.size(), client_left_));
  const bool text = command_ == wire::kQuery || command_ == wire::kStmtPrepare;
  const bool infile = !outstanding_.empty() && data_wanted_;
  if (!infile) {
    keep_bytes(bytes);
    if (text) scanner_.feed(bytes);
    const std::size_t max = command_ == wire::kStmtPrepare ? kCapturePrepareMax : kCaptureQueryMax;
    const bool wanted = command_ == wire::kQuery
                            ? scanner_.wants_text()
                            : text || command_ == wire::kInitDb || command_ == wire::kSetOption;
    if (wanted && capture_.size() + bytes.size() <= max)
      capture_.append(bytes.begin(), bytes.end());
    else if (wanted)
      capture_whole_ = false;
  }
  client_left_ -= static_cast<std::uint32_t>(bytes.size());
  in.pass(bytes.size());
  if (client_left_ == 0 && !client_continues_ && !infile) end_packet();
}

void SessionCore::end_packet() {
  if (!has_answer(command_)) return;
  if (std::exchange(answered_early_, false)) return;
  if (outstanding_.empty()) return;  // the password packet of COM_CHANGE_USER
  Outstanding& last = outstanding_.back();
  if (command_ == wire::kQuery || command_ == wire::kStmtPrepare) last.traits = scanner_.finish();
  if (command_ == wire::kQuery && last.traits.pins) pinned_ = "state that only its server holds";
  if (last.traits.sets || last.traits.uses || command_ != wire::kQuery) {
    last.text = std::move(capture_);
    last.text_whole = capture_whole_;
  }
  capture_ = {};
}

void SessionCore::keep_bytes(std::span<const std::uint8_t> bytes) {
  if (!kept_valid_) return;
  if (kept_.size() + bytes.size() > kKeptMax) {
    kept_valid_ = false;
    kept_ = {};
    return;
  }
  kept_.append(bytes.begin(), bytes.end());
}

void SessionCore::take_back(Buffer& in) {
  // Part of the command may still be on its way out.
  in.drop_ready();
  in.insert(0, kept_);
  kept_ = {};
  kept_valid_ = false;
  client_left_ = 0;
  client_continues_ = false;
  outstanding_.clear();
}

}  // namespace leeward::gateway

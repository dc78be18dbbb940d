// A MariaDB session, packet by packet, without a server.
#include "gateway/internal/session_core.h"

#include <gtest/gtest.h>

namespace leeward::gateway {
namespace {

using namespace std::string_literals;
using From = SessionCore::FromClient;
using To = SessionCore::FromServer;

constexpr std::string_view kSalt = "abcdefghijklmnopqrst";

std::string ok(std::uint8_t sequence, std::uint16_t status = wire::kAutocommit) {
  return wire::packet(
      sequence, "\0\0\0"s + static_cast<char>(status) + static_cast<char>(status >> 8) + "\0\0"s);
}
std::string eof(std::uint8_t sequence, std::uint16_t status) {
  return wire::packet(sequence,
                      "\xfe\0\0"s + static_cast<char>(status) + static_cast<char>(status >> 8));
}
std::string query(std::string_view sql) { return wire::packet(0, "\x03" + std::string(sql)); }

struct Core : ::testing::Test {
  std::unique_ptr<SecretVault> vault = std::move(*SecretVault::create(4));
  AccountLookup lookup = [](std::string_view, std::string_view) {
    const wire::Digest once = wire::sha1("secret");
    return std::optional(wire::sha1({reinterpret_cast<const char*>(once.data()), once.size()}));
  };
  SessionCore core{lookup, *vault};
  Buffer client, server;
  std::string own;

  static void arrive(Buffer& b, std::string_view bytes) {
    while (!bytes.empty()) {
      const auto room = b.writable();
      ASSERT_FALSE(room.empty());
      const std::size_t n = std::min(room.size(), bytes.size());
      std::copy_n(bytes.begin(), n, room.begin());
      b.filled(n);
      bytes.remove_prefix(n);
    }
  }
  static std::string leave(Buffer& b) {
    const std::string out(b.ready().begin(), b.ready().end());
    b.sent(out.size());
    return out;
  }
  From say(std::string_view bytes, bool may_start = true) {
    arrive(client, bytes);
    return core.from_client(client, may_start, true);
  }
  To answer(std::string_view bytes) {
    arrive(server, bytes);
    return core.from_server(server, own);
  }
  static std::string greeting() {
    std::string p =
        "\x0a"
        "10.11\0\1\0\0\0"s;
    p.append(kSalt.substr(0, 8)).push_back('\0');
    p += "\xfe\xff\x21\2\0\xff\xff\x15"s + std::string(6, '\0') + "\x1f\0\0\0"s;
    p.append(kSalt.substr(8)).push_back('\0');
    return wire::packet(0, p + "mysql_native_password\0"s);
  }
  void log_in() {
    core.attach("127.0.0.1");
    ASSERT_EQ(answer(greeting()), To::kMore);
    const std::string seen = leave(server);
    const auto offered = wire::parse_greeting(
        {reinterpret_cast<const std::uint8_t*>(seen.data()) + 4, seen.size() - 4});
    ASSERT_TRUE(offered.has_value());
    EXPECT_EQ(offered->capabilities & wire::kStripped, 0u);
    EXPECT_EQ(offered->extended, 0x0cu);
    wire::Login login;
    login.capabilities = wire::kProtocol41 | wire::kSecureConnection;
    login.user = "app";
    login.database = "shop";
    login.plugin = "mysql_native_password";
    const wire::Digest response = wire::native_response(wire::sha1("secret"), kSalt);
    login.response.assign(response.begin(), response.end());
    ASSERT_EQ(say(wire::packet(1, wire::build_login(login))), From::kMore);
    ASSERT_EQ(answer(ok(2)), To::kMore);
    leave(client);
    leave(server);
    ASSERT_EQ(core.phase(), SessionCore::Phase::kCommand);
    ASSERT_EQ(core.cannot_move(), "");
  }
};

TEST_F(Core, FollowsTransactionsAndResultSets) {
  log_in();
  say(query("BEGIN"));
  EXPECT_TRUE(core.in_flight());
  answer(ok(1, wire::kAutocommit | wire::kInTransaction));
  EXPECT_TRUE(core.in_transaction());
  EXPECT_FALSE(core.in_flight());
  say(query("SELECT 1"));
  const std::uint16_t status = wire::kAutocommit | wire::kInTransaction;
  const std::string rows = wire::packet(1, "\1") + wire::packet(2, "\3def column") +
                           eof(3, status) + wire::packet(4, "\1x") +
                           wire::packet(5, "\xfe" + std::string(20, 'x'));
  for (const char byte : rows) answer({&byte, 1});
  EXPECT_TRUE(core.in_flight());
  answer(eof(6, wire::kAutocommit | wire::kMoreResults));
  EXPECT_TRUE(core.in_flight());
  answer(ok(7));
  EXPECT_TRUE(core.idle());
  EXPECT_EQ(leave(server).size(), 11 + rows.size() + 9 + 11);
}

TEST_F(Core, ParksAtACommandBoundaryOnly) {
  log_in();
  const std::string command = query("SELECT 'long enough to be cut in two'");
  EXPECT_EQ(say(command.substr(0, 20)), From::kMore);
  EXPECT_EQ(say(command.substr(20), false), From::kMore);  // begun: goes on
  EXPECT_EQ(leave(client), command);
  EXPECT_EQ(say(command, false), From::kParked);
  EXPECT_EQ(leave(client), "");
}

TEST_F(Core, RestoresTheSessionElsewhere) {
  log_in();
  say(query("SET NAMES utf8mb4"));
  answer(ok(1));
  say(query("SET a=1"));
  answer(wire::error_packet(1, 1193, "HY000", "unknown variable"));  // not remembered
  leave(client);
  leave(server);
  core.detach();
  EXPECT_EQ(say(query("SELECT 1")), From::kParked);
  core.attach("127.0.0.1");
  answer(greeting());
  const std::string login = std::exchange(own, "");
  const auto parsed = wire::parse_login(
      {reinterpret_cast<const std::uint8_t*>(login.data()) + 4, login.size() - 4});
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->user, "app");
  EXPECT_EQ(parsed->database, "shop");
  EXPECT_EQ(answer(ok(2)), To::kMore);
  EXPECT_EQ(own, query("SET NAMES utf8mb4"));
  EXPECT_EQ(answer(ok(1)), To::kReady);
  EXPECT_EQ(leave(server), "");  // none of this was for the client
  EXPECT_EQ(core.from_client(client, true, true), From::kMore);
  EXPECT_EQ(leave(client), query("SELECT 1"));
}

TEST_F(Core, TakesBackWhatWasNotExecuted) {
  log_in();
  say(query("INSERT 1"));
  EXPECT_EQ(answer(wire::error_packet(1, 1290, kNotExecutedState, "held")), To::kNotExecuted);
  core.take_back(client);
  core.detach();
  EXPECT_EQ(core.from_client(client, true, true), From::kParked);
  EXPECT_EQ(client.pending().size(), query("INSERT 1").size());
  EXPECT_EQ(leave(server), "");
}

TEST_F(Core, ErrorWithoutAutocommitMayLeaveATransaction) {
  log_in();
  say(query("SET autocommit=0"));
  answer(ok(1, 0));
  say(query("INSERT INTO t VALUES (1)"));
  answer(wire::error_packet(1, 1062, "23000", "duplicate"));
  EXPECT_TRUE(core.in_transaction());
  say(query("ROLLBACK"));
  answer(ok(1, 0));
  EXPECT_TRUE(core.idle());
}

TEST_F(Core, ForgetsTooManySetsByNotMoving) {
  log_in();
  for (int i = 0; i < 100; ++i) {  // repeated constants take one place
    say(query(i % 2 ? "SET autocommit=0" : "SET autocommit=1"));
    answer(ok(1));
  }
  EXPECT_EQ(core.cannot_move(), "");
  for (int i = 0; i < 65; ++i) {
    say(query("SET @a" + std::to_string(i) + "=1"));
    answer(ok(1));
  }
  EXPECT_NE(core.cannot_move(), "");
  say(wire::packet(0, "\x1f"));  // COM_RESET_CONNECTION
  answer(ok(1));
  EXPECT_EQ(core.cannot_move(), "");
}

TEST_F(Core, WrongVerifierIsNoticed) {
  lookup = [](std::string_view, std::string_view) { return std::optional(AccountVerifier{}); };
  core.attach("127.0.0.1");
  answer(greeting());
  wire::Login login;
  login.capabilities = wire::kProtocol41 | wire::kSecureConnection;
  login.user = "app";
  login.plugin = "mysql_native_password";
  login.response = std::string(20, 'x');
  say(wire::packet(1, wire::build_login(login)));
  answer(ok(2));
  EXPECT_NE(core.cannot_move(), "");
}

}  // namespace
}  // namespace leeward::gateway

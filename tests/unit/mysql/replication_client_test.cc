// The replication client against a real MariaDB, and through a proxy that damages the stream.
#include "mysql/replication_client.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "mysql/binlog.h"
#include "servers/certificates.h"
#include "servers/proxy.h"
#include "servers/servers.h"

namespace leeward::mysql {
namespace {

using testing::Proxy;

BootTime soon() { return BootClock::now() + 20s; }

class ReplicationClientTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new testing::TempDirectory;
    authority_ = new testing::Authority(directory_->path(), "authority");
    stranger_ = new testing::Authority(directory_->path(), "stranger");
    testing::CertificateFiles server = authority_->issue("server", "127.0.0.1");
    server_ = new testing::MariadbServer(
        1, {"--ssl-cert=" + server.certificate, "--ssl-key=" + server.key,
            "--ssl-ca=" + authority_->certificate(), "--binlog-checksum=CRC32",
            "--max-allowed-packet=64M"});
    server_->run("CREATE USER repl@'%' IDENTIFIED BY 'pw'");
    server_->run("GRANT REPLICATION SLAVE ON *.* TO repl@'%'");
    server_->run("CREATE DATABASE app");
    server_->run("CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT, v LONGBLOB)");
  }
  static void TearDownTestSuite() {
    delete server_;
    delete stranger_;
    delete authority_;
    delete directory_;
  }

  ReplicationSource source() { return {server_->endpoint(), "repl", "pw", {}}; }

  static StreamPosition position() {
    StreamPosition at;
    at.gtids = *parse_gtid_position(server_->scalar("SELECT @@gtid_binlog_pos"));
    return at;
  }

  // Connects and starts; the end of the log ends the stream.
  static Result<std::unique_ptr<ReplicationClient>> stream(const ReplicationSource& source,
                                                           StreamPosition from,
                                                           bool stop_at_end = true) {
    auto client = ReplicationClient::connect(source, soon());
    if (!client) return client;
    DumpRequest request;
    request.server_id = 4000;
    request.from = std::move(from);
    request.stop_at_end = stop_at_end;
    if (auto started = (*client)->start(request, soon()); !started)
      return fail(std::move(started.error()));
    return client;
  }

  // Reads to the end or the first error; counts events by type.
  static Status read_all(ReplicationClient& client, std::map<EventType, int>& counts) {
    for (;;) {
      auto received = client.next(soon());
      if (!received) return fail(std::move(received.error()));
      if (!*received) return {};
      if ((*received)->last) ++counts[(*received)->event.type];
    }
  }

  static testing::TempDirectory* directory_;
  static testing::Authority* authority_;
  static testing::Authority* stranger_;
  static testing::MariadbServer* server_;
};

testing::TempDirectory* ReplicationClientTest::directory_ = nullptr;
testing::Authority* ReplicationClientTest::authority_ = nullptr;
testing::Authority* ReplicationClientTest::stranger_ = nullptr;
testing::MariadbServer* ReplicationClientTest::server_ = nullptr;

TEST_F(ReplicationClientTest, StreamsFromAPositionToTheEnd) {
  StreamPosition from = position();
  for (int i = 0; i < 5; ++i) server_->run("INSERT INTO app.t (v) VALUES ('x')");
  auto client = stream(source(), from);
  ASSERT_TRUE(client) << client.error().message;
  EXPECT_EQ((*client)->flavor(), Flavor::kMariadb);
  EXPECT_FALSE((*client)->encrypted());
  std::map<EventType, int> counts;
  Status read = read_all(**client, counts);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(counts[EventType::kGtid], 5);
  EXPECT_EQ(counts[EventType::kWriteRowsV1], 5);
  EXPECT_EQ(counts[EventType::kXid], 5);
  EXPECT_EQ((*client)->tracker().position().gtids, position().gtids);
}

TEST_F(ReplicationClientTest, EventsLargerThanTheBufferComeInPartsAndWhole) {
  for (std::size_t mib : {5, 17, 33}) {
    StreamPosition from = position();
    server_->run(
        fmt::format("INSERT INTO app.t (v) VALUES (REPEAT('abcdefgh', {}))", (mib << 20) / 8));
    auto client = stream(source(), from);
    ASSERT_TRUE(client) << client.error().message;
    std::size_t parts = 0, bytes = 0, size = 0;
    for (;;) {
      auto received = (*client)->next(soon());
      ASSERT_TRUE(received) << received.error().message;
      if (!*received) break;
      EXPECT_LE((*received)->part.size(), ReplicationClient::kBufferBytes);
      if ((*received)->event.type != EventType::kWriteRowsV1) continue;
      ++parts;
      bytes += (*received)->part.size();
      size = (*received)->size;
    }
    EXPECT_GT(parts, 1u);
    EXPECT_EQ(bytes, size);
    EXPECT_GT(size, mib << 20);
    EXPECT_EQ((*client)->tracker().position().gtids, position().gtids);
  }
}

TEST_F(ReplicationClientTest, FollowsByLogPositionAsWell) {
  auto client = ReplicationClient::connect(source(), soon());
  ASSERT_TRUE(client);
  DumpRequest request;
  request.server_id = 4000;
  request.by_gtid = false;
  request.from.log = {"binlog.000001", 4};
  request.stop_at_end = true;
  ASSERT_TRUE((*client)->start(request, soon()));
  std::map<EventType, int> counts;
  Status read = read_all(**client, counts);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ((*client)->tracker().position().gtids, position().gtids);
  EXPECT_EQ((*client)->tracker().log().file, server_->scalar("SHOW MASTER STATUS"));
}

TEST_F(ReplicationClientTest, AnIdleSourceSendsHeartbeatsAndATimeoutLeavesTheClientUsable) {
  auto client = ReplicationClient::connect(source(), soon());
  ASSERT_TRUE(client);
  DumpRequest request;
  request.server_id = 4000;
  request.from = position();
  request.heartbeat = 300ms;
  ASSERT_TRUE((*client)->start(request, soon()));
  int heartbeats = 0, timeouts = 0;
  while (heartbeats < 2 || timeouts == 0) {
    auto received = (*client)->next(BootClock::now() + 100ms);
    if (!received) {
      ASSERT_EQ(received.error().code, Code::kTimeout) << received.error().message;
      ++timeouts;
    } else if ((*received)->event.type == EventType::kHeartbeat) {
      ++heartbeats;
    }
  }
  server_->run("INSERT INTO app.t (v) VALUES ('after')");
  auto received = (*client)->next(soon());
  while (received && (*received)->event.type == EventType::kHeartbeat)
    received = (*client)->next(soon());
  ASSERT_TRUE(received) << received.error().message;
  EXPECT_EQ((*received)->event.type, EventType::kGtid);
}

TEST_F(ReplicationClientTest, TheSourceWaitsForTheAcknowledgementAndNotForTheReceipt) {
  server_->run("SET GLOBAL rpl_semi_sync_master_enabled = 1");
  server_->run("SET GLOBAL rpl_semi_sync_master_timeout = 20000");
  auto client = ReplicationClient::connect(source(), soon());
  ASSERT_TRUE(client);
  DumpRequest request;
  request.server_id = 4000;
  request.from = position();
  request.semi_sync = true;
  ASSERT_TRUE((*client)->start(request, soon()));
  ASSERT_TRUE((*client)->next(soon()));  // registered
  bool acknowledged = false;
  std::atomic<bool> committed{false};
  std::thread writer([&] {
    auto sql = server_->connect();
    committed = sql.execute("INSERT INTO app.t (v) VALUES ('semi')", soon()).has_value();
  });
  for (bool wanted = false; !wanted;) {
    auto received = (*client)->next(soon());
    ASSERT_TRUE(received) << received.error().message;
    wanted = (*received)->wants_acknowledgement && (*received)->event.type == EventType::kXid;
  }
  auto waiting = [&] {
    return server_->scalar(
               "SELECT variable_value FROM information_schema.global_status WHERE variable_name = "
               "'Rpl_semi_sync_master_wait_sessions'") == "1";
  };
  EXPECT_TRUE(testing::eventually(10s, waiting));
  EXPECT_FALSE(committed);
  acknowledged = (*client)->acknowledge((*client)->tracker().log(), soon()).has_value();
  writer.join();
  EXPECT_TRUE(acknowledged);
  EXPECT_TRUE(committed);
  EXPECT_EQ(server_->scalar("SELECT variable_value FROM information_schema.global_status WHERE "
                            "variable_name = 'Rpl_semi_sync_master_no_tx'"),
            "0");
  server_->run("SET GLOBAL rpl_semi_sync_master_enabled = 0");
}

TEST_F(ReplicationClientTest, ASourceWithoutChecksumsAndOneThatTurnsThemOn) {
  server_->run("SET GLOBAL binlog_checksum = NONE");
  StreamPosition from = position();
  server_->run("INSERT INTO app.t (v) VALUES ('none')");
  server_->run("SET GLOBAL binlog_checksum = CRC32");
  server_->run("INSERT INTO app.t (v) VALUES ('crc')");
  auto client = stream(source(), from);
  ASSERT_TRUE(client) << client.error().message;
  std::map<EventType, int> counts;
  Status read = read_all(**client, counts);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(counts[EventType::kXid], 2);
  EXPECT_EQ((*client)->tracker().position().gtids, position().gtids);
}

TEST_F(ReplicationClientTest, TlsProvesTheServerAndTheClient) {
  server_->run("CREATE OR REPLACE USER safe@'%' IDENTIFIED BY 'pw' REQUIRE X509");
  server_->run("GRANT REPLICATION SLAVE ON *.* TO safe@'%'");
  testing::CertificateFiles own = authority_->issue("client", "client.example");
  ReplicationSource safe = source();
  safe.user = "safe";
  safe.tls = {TlsMode::kVerifyIdentity, authority_->certificate(), own.certificate, own.key, ""};
  StreamPosition from = position();
  server_->run("INSERT INTO app.t (v) VALUES ('tls')");
  auto client = stream(safe, from);
  ASSERT_TRUE(client) << client.error().message;
  EXPECT_TRUE((*client)->encrypted());
  std::map<EventType, int> counts;
  ASSERT_TRUE(read_all(**client, counts));
  EXPECT_EQ(counts[EventType::kXid], 1);

  // Without a certificate of our own the account does not open.
  ReplicationSource bare = safe;
  bare.tls.certificate_file.clear();
  bare.tls.key_file.clear();
  auto refused = ReplicationClient::connect(bare, soon());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnauthorized) << refused.error().message;

  ReplicationSource wrong_authority = safe;
  wrong_authority.tls.authority_file = stranger_->certificate();
  ReplicationSource wrong_name = safe;
  wrong_name.tls.server_name = "other.example";
  for (const auto& [bad, word] :
       {std::pair(wrong_authority, "certificate"), std::pair(wrong_name, "mismatch")}) {
    auto connected = ReplicationClient::connect(bad, soon());
    ASSERT_FALSE(connected);
    EXPECT_EQ(connected.error().code, Code::kRefused) << connected.error().message;
    EXPECT_NE(connected.error().message.find(word), std::string::npos) << connected.error().message;
  }
}

TEST_F(ReplicationClientTest, AnExpiredCertificateIsSaidAndReplacedIsAccepted) {
  ReplicationSource safe = source();
  safe.tls = {TlsMode::kVerifyCa, authority_->certificate(), "", "", ""};
  authority_->issue("server", "127.0.0.1", -1h);
  server_->run("FLUSH SSL");
  auto expired = ReplicationClient::connect(safe, soon());
  ASSERT_FALSE(expired);
  EXPECT_EQ(expired.error().code, Code::kRefused);
  EXPECT_NE(expired.error().message.find("expired"), std::string::npos) << expired.error().message;
  authority_->issue("server", "127.0.0.1");
  server_->run("FLUSH SSL");
  auto mended = ReplicationClient::connect(safe, soon());
  EXPECT_TRUE(mended) << mended.error().message;
}

TEST_F(ReplicationClientTest, LogsInWithEd25519) {
  auto sql = server_->connect();
  if (!sql.execute("INSTALL SONAME 'auth_ed25519'", soon()))
    GTEST_SKIP() << "the plugin comes with the package mariadb-server";
  server_->run(
      "CREATE OR REPLACE USER ed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('a longer one')");
  server_->run("GRANT REPLICATION SLAVE ON *.* TO ed@'%'");
  ReplicationSource ed = source();
  ed.user = "ed";
  ed.password = "a longer one";
  auto client = ReplicationClient::connect(ed, soon());
  EXPECT_TRUE(client) << client.error().message;
  ed.password = "a longer two";
  auto wrong = ReplicationClient::connect(ed, soon());
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Code::kUnauthorized);
}

TEST_F(ReplicationClientTest, SaysWhatIsWrongWithAccountPositionOrAddress) {
  ReplicationSource wrong = source();
  wrong.password = "not it";
  auto refused = ReplicationClient::connect(wrong, soon());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnauthorized);
  EXPECT_EQ(refused.error().message.find("not it"), std::string::npos);

  server_->run("CREATE OR REPLACE USER weak@'%' IDENTIFIED BY 'pw'");
  ReplicationSource weak = source();
  weak.user = "weak";
  auto unprivileged = stream(weak, position());
  if (unprivileged) {
    auto received = (*unprivileged)->next(soon());
    ASSERT_FALSE(received);
    EXPECT_EQ(received.error().code, Code::kUnauthorized) << received.error().message;
  } else {
    EXPECT_EQ(unprivileged.error().code, Code::kUnauthorized) << unprivileged.error().message;
  }

  ReplicationSource nobody = source();
  nobody.endpoint.port = testing::free_port();
  auto none = ReplicationClient::connect(nobody, soon());
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Code::kUnavailable);

  // Purged at the source, and never there.
  StreamPosition old = position();
  server_->run("INSERT INTO app.t (v) VALUES ('purged')");
  server_->run("FLUSH BINARY LOGS");
  server_->run("INSERT INTO app.t (v) VALUES ('kept')");
  std::string current = server_->scalar("SHOW MASTER STATUS");
  auto purged = [&] {
    server_->run("PURGE BINARY LOGS TO '" + current + "'");
    return server_->scalar("SHOW BINARY LOGS") == current;
  };
  ASSERT_TRUE(testing::eventually(10s, purged));
  StreamPosition future;
  future.gtids = *parse_gtid_position("0-1-999999");
  for (const StreamPosition& from : {old, future}) {
    auto client = stream(source(), from);
    ASSERT_TRUE(client) << client.error().message;
    auto received = (*client)->next(soon());
    while (received && *received) received = (*client)->next(soon());
    ASSERT_FALSE(received);
    EXPECT_EQ(received.error().code, Code::kNotFound) << received.error().message;
    EXPECT_NE(received.error().message.find(to_string(from)), std::string::npos)
        << received.error().message;
  }
}

// Damage anywhere in the stream is an error, never a wrong event; behind it nothing has been
// counted as passed, and a new connection from there gets everything.
TEST_F(ReplicationClientTest, DamageIsFoundNothingIsSkippedAndTheStreamResumes) {
  StreamPosition from = position();
  for (int i = 0; i < 20; ++i) server_->run("INSERT INTO app.t (v) VALUES (REPEAT('damage', 20))");
  std::string last = to_string(position());
  Proxy proxy(server_->endpoint());
  ReplicationSource through = source();
  through.endpoint = proxy.endpoint();

  std::map<EventType, int> whole;
  auto clean = stream(through, from);
  ASSERT_TRUE(clean) << clean.error().message;
  ASSERT_TRUE(read_all(**clean, whole));
  ASSERT_EQ(whole[EventType::kXid], 20);
  std::uint64_t total = proxy.passed();
  constexpr std::uint64_t kStreamBytes = 4000;  // the end of what is sent is surely events
  ASSERT_GT(total, kStreamBytes);

  int found = 0;
  for (std::uint64_t at = total - kStreamBytes; at + 20 < total; at += 131) {
    for (Proxy::Fault fault : {Proxy::Fault::kFlipBit, Proxy::Fault::kEnd}) {
      proxy.set(fault, at);
      auto client = stream(through, from);
      ASSERT_TRUE(client) << client.error().message;
      std::map<EventType, int> counts;
      Status read = read_all(**client, counts);
      // A bit of a packet's sequence number is the one that nobody misses.
      if (read && fault == Proxy::Fault::kFlipBit) {
        EXPECT_EQ(counts, whole);
        continue;
      }
      ASSERT_FALSE(read) << at;
      ++found;
      EXPECT_EQ(read.error().code,
                fault == Proxy::Fault::kEnd ? Code::kUnavailable : Code::kCorrupt)
          << read.error().message;
      EXPECT_NE(read.error().message.find("source 127.0.0.1:"), std::string::npos);
      StreamPosition kept = (*client)->tracker().position();
      EXPECT_EQ(counts[EventType::kXid] + from.gtids.domains[0].sequence,
                kept.gtids.domains[0].sequence);
      proxy.set(Proxy::Fault::kNone, 0);
      auto again = stream(through, kept);
      ASSERT_TRUE(again) << again.error().message;
      std::map<EventType, int> rest;
      ASSERT_TRUE(read_all(**again, rest));
      EXPECT_EQ(counts[EventType::kXid] + rest[EventType::kXid], 20);
    }
  }
  EXPECT_GT(found, 40);
  proxy.set(Proxy::Fault::kSilence, total - 500);
  auto client = stream(through, from);
  ASSERT_TRUE(client);
  Result<std::optional<Received>> received = (*client)->next(soon());
  while (received && *received) received = (*client)->next(BootClock::now() + 200ms);
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code, Code::kTimeout);
}

}  // namespace
}  // namespace leeward::mysql

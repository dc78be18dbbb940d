#include "database/mariadb.h"

#include <signal.h>

#include <thread>

#include "pair.h"

namespace leeward::database {
namespace {

using MariadbPair = Pair;

TEST(Mariadb, PrecheckNamesEveryWrongSettingAndItsCure) {
  MariadbServer server(
      1, {"--binlog-format=MIXED", "--binlog-row-image=MINIMAL", "--gtid-strict-mode=0"});
  MariadbServer twin(1);
  MariadbOptions options;
  options.local = server.endpoint();
  options.admin_user = MariadbServer::kUser;
  options.admin_password = MariadbServer::kPassword;
  options.site = SiteId{0};
  options.site_name = [](SiteId) { return "aws"; };
  options.peers = {{SiteId{0}, {server.endpoint()}}, {SiteId{1}, {twin.endpoint()}}};
  options.control_timeout = 20s;
  auto fit = Mariadb(options).precheck();
  ASSERT_FALSE(fit);
  EXPECT_EQ(fit.error().code, Code::kInvalid);
  for (const char* text :
       {"SET GLOBAL binlog_format = 'ROW'", "SET GLOBAL binlog_row_image = 'FULL'",
        "SET GLOBAL gtid_strict_mode = 1", "server_id is 1 here and at site aws"})
    EXPECT_NE(fit.error().message.find(text), std::string::npos) << fit.error().message;
  EXPECT_EQ(fit.error().message.find("row_metadata"), std::string::npos);
}

TEST_F(MariadbPair, StandbyIsLoadedFollowsAndShowsTheWritersHeartbeat) {
  bootstrap();
  expect_equal();
  Mariadb gcp = driver(kGcp), aws = driver(kAws);
  auto first = aws.status();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->heartbeat_age, kNever);  // nothing has been seen to move yet
  ASSERT_TRUE(gcp.heartbeat(Epoch{1}, SystemClock().now().wall));
  ASSERT_TRUE(eventually(10s, [&] { return aws.status()->lag != kNever; }));
  ASSERT_TRUE(gcp.heartbeat(Epoch{1}, SystemClock().now().wall));
  DatabaseStatus status;
  ASSERT_TRUE(eventually(10s, [&] {
    status = *aws.status();
    return status.heartbeat_age != kNever;
  }));
  EXPECT_LT(status.heartbeat_age, 10s);
  EXPECT_LT(status.lag, 10s);
  EXPECT_TRUE(status.reachable);
  EXPECT_TRUE(status.read_only);
  EXPECT_EQ(status.epoch, Epoch{1});
  EXPECT_EQ(status.source, kGcp);
  EXPECT_EQ(status.replication, ReplicationState::kStreaming);
  EXPECT_EQ(status.applied, status.written);
  EXPECT_GE(status.received, status.applied);
  EXPECT_FALSE(status.diverged);
  auto writer = gcp.status();
  ASSERT_TRUE(writer);
  EXPECT_FALSE(writer->read_only);
  EXPECT_EQ(writer->source, kNoSite);
  EXPECT_EQ(writer->replication, ReplicationState::kNone);
  EXPECT_EQ(writer->written, status.written);

  EXPECT_EQ(follow(kAws, kGcp, 1).kind, FollowOutcome::Kind::kStreaming);  // idempotent
  EXPECT_FALSE(gcp.heartbeat(Epoch{2}, SystemClock().now().wall));
  EXPECT_FALSE(aws.heartbeat(Epoch{1}, SystemClock().now().wall));
}

TEST_F(MariadbPair, FenceDoesNotWaitForOpenTransactionsOrHungClients) {
  bootstrap();
  gcp_server.run("CREATE USER app@'%' IDENTIFIED BY 'app'");
  gcp_server.run("GRANT ALL ON app.* TO app@'%'");
  gcp_server.run("CREATE TABLE app.u (id INT PRIMARY KEY)");
  auto open = gcp_server.connect("app", "app");
  ASSERT_TRUE(open.execute("START TRANSACTION", BootClock::now() + 10s));
  ASSERT_TRUE(open.execute("UPDATE app.t SET n = n + 1000", BootClock::now() + 10s));
  auto hung = gcp_server.connect("app", "app");
  std::thread waiting([&] {
    EXPECT_FALSE(
        hung.execute("UPDATE app.t SET n = 0", BootClock::now() + 60s));  // waits for `open`
  });
  auto admin = gcp_server.connect();
  ASSERT_TRUE(admin.execute("START TRANSACTION", BootClock::now() + 10s));
  ASSERT_TRUE(admin.execute("INSERT INTO app.u VALUES (1)", BootClock::now() + 10s));
  Mariadb gcp = driver(kGcp);
  auto before = gcp.status();
  auto position = gcp.fence();
  waiting.join();
  ASSERT_TRUE(position) << position.error().message;
  auto after = gcp.status();
  ASSERT_TRUE(after);
  EXPECT_TRUE(after->read_only);
  EXPECT_EQ(after->written, *position);
  EXPECT_EQ(gcp_server.scalar("SELECT SUM(n) FROM app.t"), "6");
  EXPECT_EQ(gcp_server.scalar("SELECT COUNT(*) FROM app.u"), "0");
  ASSERT_TRUE(gcp.fence());

  catch_up(kAws, kGcp);                    // replication was left alone
  ASSERT_TRUE(gcp.promote(Epoch{1}, 5s));  // un-fence: an aborted drain
  EXPECT_FALSE(gcp.status()->read_only);
  EXPECT_EQ(gcp_server.scalar("SELECT COUNT(*) FROM leeward.epoch"), "1");
}

TEST_F(MariadbPair, PromotionAppliesWhatWasReceivedAndRefusesAnOldEpoch) {
  bootstrap();
  aws_server.run("STOP SLAVE SQL_THREAD");
  gcp_server.run("INSERT INTO app.t (v) VALUES ('received, not applied')");
  std::string position = gcp_server.scalar("SELECT @@gtid_binlog_pos");
  Mariadb aws = driver(kAws);
  ASSERT_TRUE(eventually(10s, [&] { return aws.status()->received > aws.status()->applied; }));
  gcp_server.kill();
  auto promoted = aws.promote(Epoch{2}, 20s);
  ASSERT_TRUE(promoted) << promoted.error().message;
  EXPECT_EQ(aws_server.scalar("SELECT COUNT(*) FROM app.t"), "4");
  EXPECT_EQ(aws_server.scalar("SELECT promoted_gtid FROM leeward.epoch WHERE epoch = 2"), position);
  auto status = aws.status();
  ASSERT_TRUE(status);
  EXPECT_FALSE(status->read_only);
  EXPECT_EQ(status->source, kNoSite);
  EXPECT_EQ(status->epoch, Epoch{2});
  auto refused = aws.promote(Epoch{1}, 1s);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kRefused);
}

TEST_F(MariadbPair, StoppedServerCostsTheTimeoutAndNothingOpensLater) {
  bootstrap();
  MariadbOptions options;
  options.local = gcp_server.endpoint();
  options.admin_user = MariadbServer::kUser;
  options.admin_password = MariadbServer::kPassword;
  options.site = kGcp;
  options.site_name = [](SiteId) { return "gcp"; };
  options.control_timeout = 1s;
  Mariadb gcp(options);
  ASSERT_TRUE(eventually(10s, [&] { return gcp.status().has_value(); }));
  ASSERT_TRUE(gcp.fence());
  gcp_server.signal(SIGSTOP);
  for (int i = 0; i < 2; ++i) {  // on a connection that was open, then on a new one
    BootTime begun = BootClock::now();
    auto status = gcp.status();
    Duration took = BootClock::now() - begun;
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, Code::kTimeout) << status.error().message;
    EXPECT_GE(took, 900ms);
    EXPECT_LT(took, 4s);
  }
  auto promoted = gcp.promote(Epoch{1}, 1s);
  ASSERT_FALSE(promoted);
  gcp_server.signal(SIGCONT);
  ASSERT_TRUE(eventually(10s, [&] { return gcp.status().has_value(); }));
  EXPECT_TRUE(gcp.status()->read_only);
}

TEST_F(MariadbPair, DeadLinkIsNoticed) {
  bootstrap();
  Mariadb aws = driver(kAws);
  gcp_server.signal(SIGSTOP);
  EXPECT_TRUE(
      eventually(20s, [&] { return aws.status()->replication == ReplicationState::kConnecting; }));
  gcp_server.signal(SIGCONT);
  EXPECT_TRUE(
      eventually(20s, [&] { return aws.status()->replication == ReplicationState::kStreaming; }));
}

TEST_F(MariadbPair, PasswordHashesAreThoseOfTheWireProtocol) {
  gcp_server.run("CREATE USER app@'%' IDENTIFIED BY 'secret'");
  gcp_server.run("CREATE USER locked@'%' IDENTIFIED BY 'secret' ACCOUNT LOCK");
  gcp_server.run("CREATE USER open@'%'");
  auto hashes = driver(kGcp).native_password_hashes();
  ASSERT_TRUE(hashes) << hashes.error().message;
  ASSERT_TRUE(hashes->contains("app"));
  // SHA1(SHA1("secret"))
  EXPECT_EQ((*hashes)["app"][0], 0x14);
  EXPECT_EQ((*hashes)["app"][19], 0xe7);
  EXPECT_FALSE(hashes->contains("locked"));
  EXPECT_FALSE(hashes->contains("open"));
}

}  // namespace
}  // namespace leeward::database

// The native driver between two real servers: precheck, the whole life of a link, and TLS.
#include "replication/native.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "every_type.h"
#include "replication/native_check.h"
#include "replication/native_driver.h"
#include "servers/certificates.h"
#include "servers/servers.h"

namespace leeward::replication {
namespace {

using leeward::testing::Authority;
using leeward::testing::CertificateFiles;
using leeward::testing::eventually;
using leeward::testing::MariadbServer;
using leeward::testing::TempDirectory;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kUser = "leeward_repl";
constexpr const char* kPassword = "repl-\\Pa55'";

BootTime in(Duration d) { return BootClock::now() + d; }

std::string texts(const std::vector<Finding>& findings, Severity severity) {
  std::string text;
  for (const Finding& f : findings)
    if (f.severity == severity)
      text += fmt::format("[{}] {}: {}: {}\n", f.code, f.where, f.what, f.cure);
  return text;
}

void add_account(MariadbServer& server) {
  auto sql = server.connect();
  for (const std::string& statement :
       {std::string("SET sql_log_bin = 0"),
        fmt::format("CREATE USER {} IDENTIFIED BY {}", kUser, sql.quote(kPassword)),
        fmt::format("GRANT REPLICATION SLAVE ON *.* TO {}", kUser)})
    ASSERT_TRUE(sql.execute(statement, in(10s))) << statement;
}

NativeOptions options(MariadbServer& source, MariadbServer& target) {
  NativeOptions o;
  o.task = "shop";
  o.source = source.admin();
  o.target = target.admin();
  o.replication_user = kUser;
  o.replication_password = kPassword;
  return o;
}

TEST(NativePrecheck, SaysEverythingThatIsWrongAtOnceAndHowToMendIt) {
  MariadbServer source(1, {"--binlog-format=MIXED", "--binlog-row-image=MINIMAL", "--sync-binlog=0",
                           "--max-allowed-packet=32M", "--gtid-strict-mode=0"});
  MariadbServer target(
      1, {"--replicate-ignore-db=secret", "--max-allowed-packet=16M", "--log-slave-updates=0"});
  source.run("CREATE DATABASE app");
  source.run("CREATE TABLE app.keyless (v INT)");
  source.run("CREATE TABLE app.old (id INT PRIMARY KEY) ENGINE=MyISAM");
  source.run("CREATE USER weak IDENTIFIED BY 'weak'");
  source.run("GRANT SELECT, PROCESS ON *.* TO weak");
  NativeOptions o = options(source, target);
  o.source.user = o.source.password = "weak";
  o.policy.mode = ReplicationMode::kSemiSync;
  o.policy.tls.ca = "/nowhere/ca.pem";
  auto findings = NativeDriver(o, {}).precheck(in(30s));
  ASSERT_TRUE(findings) << findings.error().message;
  std::string errors = texts(*findings, Severity::kError);
  for (const char* text :
       {"[binlog_format] source: binlog_format is MIXED, must be ROW: SET GLOBAL binlog_format = "
        "'ROW'",
        "SET GLOBAL binlog_row_image = 'FULL'", "SET GLOBAL sync_binlog = 1",
        "SET GLOBAL gtid_strict_mode = 1", "[log_slave_updates] target",
        "[replication_filter] target: replicate_ignore_db is secret",
        "[server_id] source and target: server_id is 1 at both ends",
        "SET GLOBAL max_allowed_packet = 33554432 at the target", "[tls] source", "[tls] target",
        "[replication_account] source", "[privileges] source: account weak@% lacks INSERT",
        "GRANT ALL PRIVILEGES ON *.* TO 'weak'@'%'"})
    EXPECT_THAT(errors, HasSubstr(text));
  EXPECT_THAT(errors, ::testing::Not(HasSubstr("[privileges] target")));
  std::string warnings = texts(*findings, Severity::kWarning);
  for (const char* text :
       {"[no_primary_key] source: table app.keyless", "[no_transactions] source: table app.old",
        "ALTER TABLE `app`.`old` ENGINE = InnoDB", "[read_only_at_start] source",
        "put read_only = 1 and skip-slave-start into its configuration"})
    EXPECT_THAT(warnings, HasSubstr(text));
  EXPECT_EQ(NativeDriver(o, {}).start(in(30s)).error().code, Code::kRefused);
}

class NativePair : public ::testing::Test {
 protected:
  // Both empty and equal: the target can follow from the source's first transaction on.
  void SetUp() override {
    for (MariadbServer* server : {&source, &target}) {
      server->run("SET GLOBAL read_only = 0");
      add_account(*server);
      server->run("RESET MASTER");
    }
    source.run("CREATE DATABASE app");
    source.run("CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(40))");
    target.run("SET GLOBAL gtid_slave_pos = '0-1-2'");
    target.run("SET SESSION sql_log_bin = 0");
    target.run("CREATE DATABASE app");
    target.run("CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(40))");
    target.run("SET SESSION sql_log_bin = 1");
  }
  MariadbServer source{1}, target{2};
};

TEST_F(NativePair, CarriesEveryType) {
  NativeDriver driver(options(source, target), {});
  auto started = driver.start(in(30s));
  ASSERT_TRUE(started) << started.error().message;
  testing::change_all_types(source, "types");
  ASSERT_TRUE(driver.drain({}, in(60s)));
  testing::compare_all_types(source, target, "types");
}

TEST_F(NativePair, FollowsPausesMovesTheWriterAndTurnsRound) {
  NativeOptions o = options(source, target);
  o.policy.mode = ReplicationMode::kSemiSync;
  o.policy.semi_sync_timeout = 200ms;
  NativeDriver driver(o, {});
  auto started = driver.start(in(30s));
  ASSERT_TRUE(started) << started.error().message;
  source.run("INSERT INTO app.t (v) VALUES ('one'), ('two')");
  ASSERT_TRUE(driver.drain({}, in(20s)));
  EXPECT_EQ(target.scalar("SELECT COUNT(*) FROM app.t"), "2");
  EXPECT_EQ(target.scalar("SELECT @@global.read_only"), "1");
  EXPECT_TRUE(eventually(20s,
                         [&] {
                           LinkStatus s = driver.status();
                           return s.state == LinkState::kStreaming &&
                                  s.semi_sync == SemiSync::kOn && s.lag < 10s &&
                                  s.durable.position() >= Position{3};
                         }))
      << name(driver.status().state) << driver.status().error;

  // Paused it receives, so that copies stay durable, and applies nothing.
  ASSERT_TRUE(driver.pause(in(10s)));
  source.run("INSERT INTO app.t (v) VALUES ('three')");
  EXPECT_TRUE(eventually(20s, [&] {
    LinkStatus s = driver.status();
    return s.state == LinkState::kPaused && s.behind > 0 &&
           s.received.position() > s.applied.position();
  })) << name(driver.status().state);
  EXPECT_EQ(target.scalar("SELECT COUNT(*) FROM app.t"), "2");
  EXPECT_EQ(driver.drain({}, in(1s)).error().code, Code::kTimeout);
  ASSERT_TRUE(driver.resume(in(10s)));
  ASSERT_TRUE(driver.drain({}, in(20s)));

  // A target that is lost makes the source give up waiting, which is counted.
  std::uint64_t before = driver.status().semi_sync_fallbacks;
  target.kill();
  source.run("INSERT INTO app.t (v) VALUES ('alone')");
  EXPECT_TRUE(eventually(20s, [&] {
    LinkStatus s = driver.status();
    return s.semi_sync == SemiSync::kFallen && s.semi_sync_fallbacks > before &&
           s.state == LinkState::kConnecting;
  })) << name(driver.status().semi_sync);
  target.start();
  EXPECT_TRUE(driver.start(in(30s)));
  EXPECT_TRUE(eventually(30s, [&] { return driver.status().semi_sync == SemiSync::kOn; }));

  auto last = driver.fence(in(20s));
  ASSERT_TRUE(last) << last.error().message;
  EXPECT_EQ(source.scalar("SELECT @@global.read_only"), "1");
  ASSERT_TRUE(driver.drain(*last, in(20s)));
  ASSERT_TRUE(driver.promote(in(20s)));
  EXPECT_EQ(target.scalar("SELECT @@global.read_only"), "0");
  EXPECT_EQ(target.scalar("SELECT GROUP_CONCAT(v ORDER BY id) FROM app.t"), "one,two,three,alone");
  ASSERT_TRUE(driver.reverse(in(20s)));
  target.run("INSERT INTO app.t (v) VALUES ('back')");
  started = driver.start(in(30s));
  ASSERT_TRUE(started) << started.error().message;
  ASSERT_TRUE(driver.drain({}, in(20s)));
  EXPECT_EQ(source.scalar("SELECT COUNT(*) FROM app.t"), "5");
  EXPECT_TRUE(driver.status().reversed);
  ASSERT_TRUE(driver.stop(in(20s)));
  EXPECT_EQ(driver.status().state, LinkState::kStopped);
  target.run("INSERT INTO app.t (v) VALUES ('nobody waits for a copy')");
}

TEST_F(NativePair, AnErrorThatDoesNotPassStopsTheLinkAndNothingIsSkipped) {
  NativeDriver driver(options(source, target), {});
  ASSERT_TRUE(driver.start(in(30s)));
  target.run("SET SESSION sql_log_bin = 0");
  target.run("INSERT INTO app.t VALUES (1, 'in the way')");
  source.run("INSERT INTO app.t VALUES (1, 'one')");
  source.run("INSERT INTO app.t VALUES (2, 'two')");
  ASSERT_TRUE(eventually(20s, [&] { return driver.status().state == LinkState::kBroken; }));
  EXPECT_THAT(driver.status().error, HasSubstr("Duplicate entry"));
  EXPECT_EQ(target.scalar("SELECT COUNT(*) FROM app.t WHERE id = 2"), "0");
  target.run("DELETE FROM app.t");
  ASSERT_TRUE(driver.start(in(30s)));
  ASSERT_TRUE(driver.drain({}, in(20s)));
  EXPECT_EQ(target.scalar("SELECT GROUP_CONCAT(v ORDER BY id) FROM app.t"), "one,two");
}

}  // namespace
}  // namespace leeward::replication

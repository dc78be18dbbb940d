// A comparison of a primary and its replica under MariaDB's own replication, while writes go on.
#include "replication/verify.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "replication/native.h"
#include "stream_rig.h"

namespace leeward::replication::testing {
namespace {

using ::testing::ElementsAre;

std::string replica_state(MariadbServer& replica) {
  auto rows = replica.connect().query("SHOW SLAVE STATUS", soon());
  return rows ? rows->cell(0, "Slave_SQL_Running").value_or("") : "";
}

class Verify : public ::testing::Test {
 protected:
  // The second server follows the first; shop.t has 4,000 rows.
  static void SetUpTestSuite() {
    MariadbServer &source = pair().source, &replica = pair().target;
    // Each server logged the making of its own accounts.
    std::string position = source.scalar("SELECT @@gtid_binlog_pos");
    replica.run("RESET MASTER");
    replica.run("SET GLOBAL gtid_slave_pos = '" + position + "'");
    source.run("CREATE DATABASE shop");
    source.run("CREATE TABLE shop.t (id INT PRIMARY KEY, v INT, note TEXT)");
    source.run("INSERT INTO shop.t SELECT seq, seq, 'x' FROM shop.seq_1_to_4000");
    replica.run(
        fmt::format("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={}, MASTER_USER='{}', "
                    "MASTER_PASSWORD={}, MASTER_USE_GTID=slave_pos",
                    source.endpoint().port, MariadbServer::kUser,
                    replica.connect().quote(MariadbServer::kPassword)));
    replica.run("START SLAVE");
    ASSERT_TRUE(eventually(kLimit, [&] {
      return replica.scalar(
                 "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 't' "
                 "AND table_schema = 'shop'") == "1" &&
             replica.scalar("SELECT COUNT(*) FROM shop.t") == "4000";
    }));
  }
};

TEST_F(Verify, ComparesAReplicaAtOnePositionAndLetsItGoOn) {
  MariadbServer &source = pair().source, &replica = pair().target;
  std::atomic<bool> end = false;
  std::thread writer([&] {
    auto sql = source.connect();
    for (int i = 0; !end; ++i)
      EXPECT_TRUE(sql.execute(
          fmt::format("UPDATE shop.t SET v = v + 1 WHERE id = {}", i * 7919 % 4000 + 1), soon()));
  });
  auto compare = [&](bool repair) {
    auto standstill = replica_standstill(replica.admin());
    VerifyOptions options;
    options.chunk_rows = 500;
    options.repair = repair;
    auto report = verify({source.admin(), replica.admin(), {}, standstill.get()}, options, {});
    EXPECT_TRUE(report) << report.error().message;
    return report.value_or(VerifyReport{});
  };
  EXPECT_EQ(compare(false).different, 0u);
  EXPECT_EQ(replica_state(replica), "Yes");
  {
    auto sql = replica.connect();
    for (const char* statement :
         {"SET SESSION sql_log_bin = 0", "UPDATE shop.t SET note = 'y' WHERE id = 9",
          "INSERT INTO shop.t VALUES (5000, 0, '')"})
      ASSERT_TRUE(sql.execute(statement, soon()));
  }
  VerifyReport found = compare(true);
  end = true;
  writer.join();
  ASSERT_EQ(found.differences.size(), 2u);
  EXPECT_EQ(found.differences[0].key, "id=9");
  EXPECT_THAT(found.differences[0].columns, ElementsAre("note"));
  EXPECT_EQ(found.differences[1].kind, DifferenceKind::kExtra);
  EXPECT_EQ(found.repaired, 2u);
  VerifyReport mended = compare(false);
  EXPECT_EQ(mended.different, 0u);
  EXPECT_EQ(mended.rows, 4000u);
  // The repair left no transaction of its own, which strict mode would stumble over.
  EXPECT_EQ(replica_state(replica), "Yes");
  source.run("INSERT INTO shop.t VALUES (6000, 0, '')");
  EXPECT_TRUE(eventually(kLimit, [&] {
    return replica.scalar("SELECT COUNT(*) FROM shop.t WHERE id = 6000") == "1";
  }));
}

// The order that would cost what was received: the comparison stops the applying thread, a
// promotion lets it apply and stops the receiving one, and the comparison "lets it go on".
TEST_F(Verify, APromotionTakesTheThreadsFromAComparison) {
  MariadbServer &source = pair().source, &replica = pair().target;
  ASSERT_EQ(replica_state(replica), "Yes");
  auto comparison = replica_standstill(replica.admin());
  ASSERT_TRUE(comparison->hold(soon()));
  EXPECT_EQ(replica_state(replica), "No");
  auto admin = replica.connect();
  auto seen = read_native_link(admin, soon());
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->state, ReplicationState::kStreaming);  // nothing for an agent to mend
  auto other = replica_standstill(replica.admin());
  auto second = other->hold(BootClock::now() + 200ms);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kConflict);

  source.run("INSERT INTO shop.t VALUES (7000, 0, '')");
  std::string last = source.scalar("SELECT @@gtid_binlog_pos");
  ASSERT_TRUE(eventually(kLimit, [&] {
    auto link = read_native_link(admin, soon());
    return link && to_string(link->received) == last;
  }));
  auto threads = ThreadsLock::seize(admin, soon());
  ASSERT_TRUE(threads) << threads.error().message;
  auto applied = apply_received(admin, soon());
  ASSERT_TRUE(applied) << applied.error().message;
  EXPECT_EQ(replica.scalar("SELECT COUNT(*) FROM shop.t WHERE id = 7000"), "1");
  EXPECT_FALSE(comparison->advance({}, soon()));
  comparison->release();
  EXPECT_TRUE(threads->held());
  auto after = read_native_link(admin, soon());
  ASSERT_TRUE(after);
  EXPECT_FALSE(after->receiving);
  EXPECT_TRUE(after->applying);
  ASSERT_TRUE(admin.execute("START SLAVE", soon()));
}

// Whoever stopped the thread starts it again, also over another connection.
TEST_F(Verify, AComparisonThatLostItsConnectionLetsTheReplicaGoOn) {
  MariadbServer& replica = pair().target;
  ASSERT_EQ(replica_state(replica), "Yes");
  auto comparison = replica_standstill(replica.admin());
  ASSERT_TRUE(comparison->hold(soon()));
  std::string id = replica.scalar("SELECT IS_USED_LOCK('leeward.replication')");
  replica.run("KILL HARD CONNECTION " + id);
  comparison->release();
  EXPECT_EQ(replica_state(replica), "Yes");
}

}  // namespace
}  // namespace leeward::replication::testing

// A task between two real servers: precheck, first copy, stream, comparison under writes, repair.
#include "replication/task_driver.h"

#include <gmock/gmock.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "replication/internal/verify_sql.h"
#include "stream_rig.h"

namespace leeward::replication::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Task make_task(const std::string& name, const std::string& state_dir) {
  ::setenv("LEEWARD_TEST_PASSWORD", MariadbServer::kPassword, 1);
  Task task;
  task.name = name;
  auto end = [](MariadbServer& server) {
    TaskEnd e;
    e.host = server.endpoint().host;
    e.port = server.endpoint().port;
    e.user = MariadbServer::kUser;
    e.password = {SecretRef::Kind::kEnv, "LEEWARD_TEST_PASSWORD"};
    return e;
  };
  task.source = end(pair().source);
  task.target = end(pair().target);
  task.server_id = 4100;
  task.mapping.include = {{name, "%"}};
  task.state_dir = state_dir;
  task.heartbeat = 100ms;
  return task;
}

// A task's driver, seeded and streaming.
std::unique_ptr<Driver> running(const Task& task) {
  auto driver = make_driver(task, {}, nullptr);
  EXPECT_TRUE(driver) << driver.error().message;
  auto seeded = (*driver)->seed({});
  EXPECT_TRUE(seeded) << seeded.error().message;
  auto started = (*driver)->start(soon());
  EXPECT_TRUE(started) << started.error().message;
  return std::move(*driver);
}

// Writes that go on until the object goes.
class Writers {
 public:
  explicit Writers(std::function<std::vector<std::string>(int)> statements)
      : thread_([this, statements = std::move(statements)] {
          auto sql = pair().source.connect();
          for (int i = 0; !end_; ++i)
            for (const std::string& each : statements(i)) EXPECT_TRUE(sql.execute(each, soon()));
        }) {}
  ~Writers() {
    end_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> end_{false};
  std::thread thread_;
};

TEST(TaskDriver, ComparesUnderWritesAtOnePositionAndRepairs) {
  MariadbServer &source = pair().source, &target = pair().target;
  source.run("CREATE DATABASE compared");
  source.run(
      "CREATE TABLE compared.t (id INT PRIMARY KEY, v INT, f FLOAT, note VARCHAR(50) CHARACTER SET "
      "utf8mb4, raw VARBINARY(20), kind ENUM('a','b'), at TIMESTAMP(3) NULL)");
  source.run(
      "INSERT INTO compared.t SELECT seq, seq, seq/7, CONCAT('n#', seq), UNHEX(HEX(seq)), 1 + seq "
      "MOD 2, '2024-05-06 07:08:09.123' FROM compared.seq_1_to_5000");
  source.run("CREATE TABLE compared.by_text (a VARCHAR(20), b DATE, v INT, PRIMARY KEY (a, b))");
  source.run(
      "INSERT INTO compared.by_text SELECT CONCAT('Ä', seq), '2024-01-01' + INTERVAL seq DAY, seq "
      "FROM compared.seq_1_to_2000");
  source.run("CREATE TABLE compared.bare (v INT)");
  source.run("INSERT INTO compared.bare VALUES (1), (1), (2)");
  TempDirectory state;
  auto driver = running(make_task("compared", state.path()));
  Writers writers([](int i) {
    return std::vector<std::string>{
        fmt::format("UPDATE compared.t SET v = v + 1 WHERE id = {}", i * 7919 % 5000 + 1),
        fmt::format("REPLACE INTO compared.by_text VALUES ('x{}', '2024-01-01', {})", i % 50, i)};
  });
  VerifyOptions options;
  options.chunk_rows = 400;
  auto equal = driver->verify(options, {});
  ASSERT_TRUE(equal) << equal.error().message;
  EXPECT_EQ(equal->tables, 3u);
  EXPECT_GT(equal->rows, 7000u);
  EXPECT_TRUE(equal->equal()) << equal->differences.front().key;

  // Somebody else writes to the target; NULL against '', and a border that moved, count as well.
  target.run("UPDATE compared.t SET note = '' WHERE id = 77");
  source.run("UPDATE compared.t SET note = NULL WHERE id = 78");
  target.run("DELETE FROM compared.t WHERE id = 4444");
  target.run("INSERT INTO compared.by_text VALUES ('Ü', '2024-02-02', 5)");
  ASSERT_TRUE(eventually(kLimit, [&] {
    return target.scalar("SELECT note IS NULL FROM compared.t WHERE id = 78") == "1";
  }));
  target.run("UPDATE compared.t SET note = '' WHERE id = 78");
  target.run("DELETE FROM compared.bare LIMIT 1");
  auto found = driver->verify(options, {});
  ASSERT_TRUE(found) << found.error().message;
  std::vector<std::string> shown;
  for (const RowDifference& each : found->differences)
    shown.push_back(fmt::format("{} {} {}", each.table, name(each.kind), each.key));
  EXPECT_THAT(shown, ElementsAre("bare changed (some row; the table has no primary key)",
                                 "by_text extra a=Ü, b=2024-02-02", "t changed id=77",
                                 "t changed id=78", "t missing id=4444"));
  EXPECT_THAT(found->differences[2].columns, ElementsAre("note"));

  options.tables = {"compared.t", "compared.by_text"};
  options.repair = true;
  auto repaired = driver->verify(options, {});
  ASSERT_TRUE(repaired) << repaired.error().message;
  EXPECT_EQ(repaired->different, 4u);
  EXPECT_EQ(repaired->repaired, 4u);
  options.repair = false;
  auto mended = driver->verify(options, {});
  ASSERT_TRUE(mended) << mended.error().message;
  EXPECT_TRUE(mended->equal());
  EXPECT_TRUE(driver->status().error.empty()) << driver->status().error;
  options.tables = {"compared.none"};
  EXPECT_EQ(driver->verify(options, {}).error().code, Code::kInvalid);
}

TEST(TaskDriver, ComparesAStoppedTaskOnlyWhenBothEndsStandAtOnePosition) {
  MariadbServer& source = pair().source;
  source.run("CREATE DATABASE stood");
  source.run("CREATE TABLE stood.t (id INT PRIMARY KEY)");
  source.run("INSERT INTO stood.t VALUES (1), (2)");
  TempDirectory state;
  Task task = make_task("stood", state.path());
  {
    auto driver = running(task);
    ASSERT_TRUE(driver->drain({}, soon()));
    ASSERT_TRUE(driver->stop(soon()));
  }
  auto position = [&] { return source.scalar("SELECT @@gtid_binlog_pos"); };
  // The last heartbeats may not have been applied; they are changes like any other.
  auto driver = make_driver(task, {}, nullptr);
  source.run("INSERT INTO stood.t VALUES (3)");
  auto refused = verify_stopped(task, {}, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kRefused);
  EXPECT_THAT(refused.error().message, HasSubstr(position()));
  pair().target.run("INSERT INTO stood.t VALUES (3)");
  pair().target.run("UPDATE leeward.stream_checkpoint SET gtid = '" + position() +
                    "' WHERE task = 'stood'");
  auto report = verify_stopped(task, {}, {});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_TRUE(report->equal());
  EXPECT_EQ(report->rows, 3u);
}

TEST(TaskDriver, TellsHowFarEachPositionIsBehind) {
  MariadbServer& source = pair().source;
  source.run("CREATE DATABASE lagging");
  source.run("CREATE TABLE lagging.t (id INT PRIMARY KEY)");
  TempDirectory state;
  auto driver = running(make_task("lagging", state.path()));
  ASSERT_TRUE(eventually(kLimit, [&] {
    auto now = driver->status();
    return now.state == LinkState::kStreaming && now.lag != kNever && now.durable_lag.time < 2s;
  }));
  ASSERT_TRUE(driver->pause(soon()));
  for (int i = 0; i < 40; ++i) source.run(fmt::format("INSERT INTO lagging.t VALUES ({})", i));
  ASSERT_TRUE(eventually(kLimit, [&] {
    auto now = driver->status();
    return now.behind >= 40 && now.lag > 2s && now.durable_lag.time < 1s &&
           now.durable_lag.transactions < now.behind;
  })) << driver->status().behind;
  EXPECT_EQ(driver->status().state, LinkState::kPaused);
  ASSERT_TRUE(driver->resume(soon()));
  EXPECT_TRUE(eventually(kLimit, [&] { return driver->status().lag < 1s; }));
}

TEST(TaskDriver, APrecheckOfRealServersNamesWhatIsWrongWithThem) {
  MariadbServer &source = pair().source, &target = pair().target;
  source.run("CREATE DATABASE checked");
  source.run("CREATE TABLE checked.keyless (v INT) ENGINE=Aria");
  source.run("CREATE TABLE checked.sound (id INT PRIMARY KEY)");
  source.run("CREATE SEQUENCE checked.numbers");
  source.run("CREATE USER checker IDENTIFIED BY 'Pa55-word'");
  source.run("GRANT SELECT ON checked.* TO checker");
  target.run("CREATE DATABASE checked");
  target.run("CREATE TABLE checked.sound (id INT PRIMARY KEY, extra INT)");
  target.run("INSERT INTO checked.sound VALUES (1, 1)");
  ::setenv("LEEWARD_TEST_CHECKER", "Pa55-word", 1);
  TempDirectory state;
  Task task = make_task("checked", state.path());
  task.source.user = "checker";
  task.source.password = {SecretRef::Kind::kEnv, "LEEWARD_TEST_CHECKER"};
  task.server_id = 2;  // the target's
  source.run("SET GLOBAL binlog_row_metadata = 'MINIMAL'");
  auto driver = make_driver(task, {}, nullptr);
  ASSERT_TRUE(driver);
  auto findings = (*driver)->precheck(soon());
  source.run("SET GLOBAL binlog_row_metadata = 'FULL'");
  ASSERT_TRUE(findings) << findings.error().message;
  std::vector<std::string> errors, warnings;
  for (const Finding& each : *findings) {
    if (each.severity == Severity::kError) errors.push_back(each.code + " " + each.where);
    if (each.severity == Severity::kWarning) warnings.push_back(each.code + " " + each.where);
    if (each.code == "privileges") {
      EXPECT_THAT(each.what, HasSubstr("REPLICATION SLAVE"));
      // The cure is a statement that the server takes.
      source.run(each.cure.substr(0, each.cure.size() - 1));
    }
  }
  EXPECT_THAT(errors, ElementsAre("binlog_row_metadata source", "privileges source",
                                  "server_id target", "engine source checked.keyless",
                                  "target_not_empty target checked.sound"));
  EXPECT_THAT(warnings, ElementsAre("no_primary_key source checked.keyless", "sequence source"));
  task.server_id = 4100;
  source.run("ALTER TABLE checked.keyless ENGINE=InnoDB");
  source.run("DROP TABLE checked.sound");
  driver = make_driver(task, {}, nullptr);
  findings = (*driver)->precheck(soon());
  ASSERT_TRUE(findings);
  EXPECT_FALSE(has_errors(*findings)) << findings->front().what;
}

TEST(TaskDriver, SeedsAgainFromNothingWhenAsked) {
  MariadbServer &source = pair().source, &target = pair().target;
  source.run("CREATE DATABASE anew");
  source.run("CREATE TABLE anew.t (id INT PRIMARY KEY)");
  source.run("INSERT INTO anew.t VALUES (1)");
  TempDirectory state;
  Task task = make_task("anew", state.path());
  running(task)->stop(soon()).has_value();
  target.run("DELETE FROM anew.t");
  ASSERT_TRUE(forget_task(task));
  EXPECT_EQ(target.scalar("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = "
                          "'anew'"),
            "0");
  auto driver = running(task);
  EXPECT_EQ(target.scalar("SELECT COUNT(*) FROM anew.t"), "1");
}

}  // namespace
}  // namespace leeward::replication::testing

// Two servers that both take writes, a stream in each direction, and rows that both change.
#include <gmock/gmock.h>

#include "stream_rig.h"

namespace leeward::replication::testing {
namespace {

using ::testing::HasSubstr;

ConflictSettings rules(ConflictPolicy policy, std::string last_writer_column = "",
                       std::vector<std::string> delta_columns = {}) {
  return {true, policy, true, std::move(last_writer_column), std::move(delta_columns)};
}

// Both directions of one schema. The first server is the one that wins.
class TwoWays {
 public:
  TwoWays(const std::string& schema, const ConflictSettings& settings) : schema_(schema) {
    for (MariadbServer* end : {&pair().source, &pair().target}) {
      end->run("CREATE DATABASE " + schema);
      end->run("CREATE TABLE " + schema +
               ".t (id INT PRIMARY KEY, v VARCHAR(20), n INT UNSIGNED NOT NULL DEFAULT 0, at "
               "DATETIME(6) NULL, UNIQUE KEY (v))");
      end->run("INSERT INTO " + schema +
               ".t VALUES (1, 'one', 10, '2024-01-01'), (2, 'two', 20, "
               "'2024-01-01'), (3, 'three', 30, '2024-01-01')");
    }
    StreamOptions there = stream_options(pair(), schema, there_state_.path());
    there.mapping.include = {{schema, "%"}};
    there.conflicts = settings;
    StreamOptions back = there;
    back.task = schema + "_back";
    back.state_dir = back_state_.path();
    back.source.endpoint = pair().target.endpoint();
    std::swap(back.source_sql, back.target);
    back.server_id = 4002;
    back.conflicts.source_wins = !settings.source_wins;
    there_ = std::make_unique<StreamDriver>(there, StreamParts{});
    back_ = std::make_unique<StreamDriver>(back, StreamParts{});
    begin(*there_, pair().source);
    begin(*back_, pair().target);
  }

  void on_first(const std::string& sql) { pair().source.run(named(sql)); }
  void on_second(const std::string& sql) { pair().target.run(named(sql)); }
  // From here on each end hears of what the other has done meanwhile.
  void connect() {
    ASSERT_TRUE(there_->start(soon()));
    ASSERT_TRUE(back_->start(soon()));
  }
  void settle() {
    for (StreamDriver* driver : {there_.get(), back_.get()}) {
      auto drained = driver->drain({}, soon());
      EXPECT_TRUE(drained) << drained.error().message;
    }
    expect_equal(pair(), schema_ + ".t", schema_ + ".t");
  }
  std::string row(int id) {
    return pair().target.scalar(
        fmt::format("SELECT CONCAT_WS(' ', v, n) FROM {}.t WHERE id = {}", schema_, id));
  }
  // What an end wrote down: "kind resolution", oldest first.
  std::string log(MariadbServer& end, const std::string& task) {
    return end.scalar(
        "SELECT GROUP_CONCAT(kind, ' ', resolution ORDER BY id) FROM "
        "leeward.conflicts WHERE task = '" +
        task + "'");
  }
  std::string log_at_second() { return log(pair().target, schema_); }
  std::string log_at_first() { return log(pair().source, schema_ + "_back"); }
  StreamDriver& there() { return *there_; }
  StreamDriver& back() { return *back_; }

 private:
  static void begin(StreamDriver& driver, MariadbServer& at) {
    auto position = mysql::parse_gtid_position(at.scalar("SELECT @@gtid_binlog_pos"));
    ASSERT_TRUE(driver.begin_at(*position, soon()));
  }
  std::string named(std::string sql) const {
    for (std::size_t at; (at = sql.find("@t")) != std::string::npos;)
      sql.replace(at, 2, schema_ + ".t");
    return sql;
  }

  const std::string schema_;
  TempDirectory there_state_;
  TempDirectory back_state_;
  std::unique_ptr<StreamDriver> there_;
  std::unique_ptr<StreamDriver> back_;
};

TEST(Conflict, TheSiteWithPriorityWinsAtBothEnds) {
  TwoWays ways("by_site", rules(ConflictPolicy::kSitePriority));
  ways.on_first("UPDATE @t SET v = 'first' WHERE id = 1");
  ways.on_second("UPDATE @t SET v = 'second' WHERE id = 1");
  ways.on_first("DELETE FROM @t WHERE id = 2");
  ways.on_second("UPDATE @t SET n = 21 WHERE id = 2");
  ways.on_first("UPDATE @t SET n = 31 WHERE id = 3");
  ways.on_second("DELETE FROM @t WHERE id = 3");
  ways.on_first("INSERT INTO @t VALUES (4, 'four', 1, NULL)");
  ways.on_second("INSERT INTO @t VALUES (4, 'FOUR', 2, NULL)");
  ways.connect();
  ways.settle();
  EXPECT_EQ(ways.row(1), "first 10");
  EXPECT_EQ(ways.row(2), "");
  EXPECT_EQ(ways.row(3), "three 31");
  EXPECT_EQ(ways.row(4), "four 1");
  EXPECT_EQ(ways.log_at_second(),
            "update_differs source,delete_differs source,update_missing source,insert_exists "
            "source");
  EXPECT_EQ(ways.log_at_first(),
            "update_differs target,update_missing target,delete_differs target,insert_exists "
            "target");
  EXPECT_EQ(ways.there().status().conflicts, 4u);
  EXPECT_EQ(ways.back().status().conflicts, 4u);
}

TEST(Conflict, TheLastWriterWinsAtBothEnds) {
  TwoWays ways("by_time", rules(ConflictPolicy::kLastWriter, "at"));
  ways.on_first("UPDATE @t SET v = 'early', at = '2024-02-01' WHERE id = 1");
  ways.on_second("UPDATE @t SET v = 'late', at = '2024-02-01 00:00:00.000001' WHERE id = 1");
  ways.on_first("UPDATE @t SET v = 'same', at = '2024-03-01' WHERE id = 2");
  ways.on_second("UPDATE @t SET v = 'SAME', at = '2024-03-01' WHERE id = 2");
  ways.on_first("DELETE FROM @t WHERE id = 3");
  ways.on_second("UPDATE @t SET v = 'kept', at = '2024-02-01' WHERE id = 3");
  ways.connect();
  ways.settle();
  EXPECT_EQ(ways.row(1), "late 10");
  EXPECT_EQ(ways.row(2), "same 20");
  EXPECT_EQ(ways.row(3), "kept 30");
}

TEST(Conflict, DifferencesOfCountersAddUp) {
  TwoWays ways("by_delta", rules(ConflictPolicy::kSitePriority, "", {"by_delta.t.n"}));
  ways.on_first("UPDATE @t SET n = n + 5 WHERE id = 1");
  ways.on_second("UPDATE @t SET n = n - 9 WHERE id = 1");
  ways.on_first("UPDATE @t SET n = n + 1, v = 'first' WHERE id = 2");
  ways.on_second("UPDATE @t SET n = n + 2, v = 'second' WHERE id = 2");
  ways.connect();
  ways.settle();
  EXPECT_EQ(ways.row(1), "one 6");
  EXPECT_EQ(ways.row(2), "first 23");
  EXPECT_EQ(ways.log_at_second(), "update_differs source") << "row 1 is no conflict";
}

TEST(Conflict, EqualChangesAreOnlyWrittenDown) {
  TwoWays ways("alike", rules(ConflictPolicy::kStop));
  for (const char* sql : {"UPDATE @t SET v = 'both' WHERE id = 1", "DELETE FROM @t WHERE id = 2",
                          "INSERT INTO @t VALUES (9, 'nine', 9, NULL)"}) {
    ways.on_first(sql);
    ways.on_second(sql);
  }
  ways.connect();
  ways.settle();
  EXPECT_EQ(ways.log_at_second(), "update_differs same,delete_missing same,insert_exists same");
}

TEST(Conflict, WithoutAPolicyTheStreamStopsAndGoesOnWhenDecided) {
  TwoWays ways("undecided", rules(ConflictPolicy::kStop));
  ways.on_first("UPDATE @t SET v = 'first' WHERE id = 1");
  ways.on_second("UPDATE @t SET v = 'ONE' WHERE id = 1");  // equal to 'one' for the collation
  ways.on_first("UPDATE @t SET v = 'after' WHERE id = 2");
  ASSERT_TRUE(ways.there().start(soon()));
  ASSERT_TRUE(
      eventually(kLimit, [&] { return ways.there().status().state == LinkState::kBroken; }));
  EXPECT_THAT(ways.there().status().error, HasSubstr("conflict, UPDATE of undecided.t"));
  EXPECT_EQ(ways.row(1), "ONE 10");
  EXPECT_EQ(ways.row(2), "two 20") << "nothing is skipped";
  ways.on_second("UPDATE @t SET v = 'one' WHERE id = 1");
  ASSERT_TRUE(eventually(kLimit, [&] { return ways.row(2) == "after 20"; }));
  EXPECT_EQ(ways.row(1), "first 10");
}

TEST(Conflict, BothDirectionsUnderLoadComeToTheSameRows) {
  TwoWays ways("busy", rules(ConflictPolicy::kSitePriority, "", {"busy.t.n"}));
  ways.connect();
  for (int i = 0; i < 100; ++i) {
    ways.on_first(
        fmt::format("UPDATE @t SET n = n + 1, v = 'f{0}-{1}' WHERE id = {0}", i % 3 + 1, i));
    ways.on_second(
        fmt::format("UPDATE @t SET n = n + 1, v = 's{0}-{1}' WHERE id = {0}", i % 2 + 1, i));
  }
  ways.settle();
  EXPECT_EQ(pair().target.scalar("SELECT SUM(n) FROM busy.t"), "260");
}

}  // namespace
}  // namespace leeward::replication::testing

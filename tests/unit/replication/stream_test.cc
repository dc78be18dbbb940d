// The stream driver between two real servers.
#include <gmock/gmock.h>

#include <thread>

#include "every_type.h"
#include "stream_rig.h"

namespace leeward::replication::testing {
namespace {

using ::testing::HasSubstr;

TEST(Stream, CarriesEveryTypeAsRowEvents) {
  Link link(pair(), "types");
  link.start();
  change_all_types(pair().source, "types");
  link.drain();
  compare_all_types(pair().source, pair().target, "types");
}

TEST(Stream, CarriesEveryTypeAsStatements) {
  Link link(pair(), "types_sql", [](StreamOptions& options) { options.always_sql = true; });
  link.start();
  change_all_types(pair().source, "types_sql");
  link.drain();
  compare_all_types(pair().source, pair().target, "types_sql");
}

TEST(Stream, ComparesEveryTypeWithItsBeforeImage) {
  Link link(pair(), "types_compared",
            [](StreamOptions& options) { options.conflicts.bidirectional = true; });
  link.start();
  change_all_types(pair().source, "types_compared");
  link.drain();
  compare_all_types(pair().source, pair().target, "types_compared");
  EXPECT_EQ(link.driver().status().conflicts, 0u);
}

TEST(Stream, FollowsDefinitionsInOrderWithRows) {
  Link link(pair(), "ddl");
  link.start();
  MariadbServer& source = pair().source;
  source.run("CREATE DATABASE ddl");
  source.run("CREATE TABLE ddl.a (id INT PRIMARY KEY, v INT)");
  source.run("INSERT INTO ddl.a VALUES (1, 1), (2, 2)");
  source.run("ALTER TABLE ddl.a ADD COLUMN w VARCHAR(9) DEFAULT 'w'");
  source.run("INSERT INTO ddl.a VALUES (3, 3, 'x')");
  source.run("CREATE TABLE ddl.b AS SELECT * FROM ddl.a");
  source.run("RENAME TABLE ddl.b TO ddl.c");
  source.run("UPDATE ddl.c SET v = v + 1");
  source.run("CREATE INDEX iv ON ddl.a (v)");
  source.run("CREATE VIEW ddl.seen AS SELECT id FROM ddl.a");
  source.run("TRUNCATE TABLE ddl.a");
  source.run("INSERT INTO ddl.a VALUES (9, 9, 'z')");
  link.drain();
  expect_equal(pair(), "ddl.a", "ddl.a");
  expect_equal(pair(), "ddl.c", "ddl.c");
  EXPECT_EQ(pair().target.scalar("SELECT COUNT(*) FROM ddl.seen"), "1");
}

TEST(Stream, ChoosesAndRenames) {
  pair().target.run("CREATE DATABASE shop2");
  pair().target.run("CREATE TABLE shop2.orders2 (id INT PRIMARY KEY, total INT)");
  pair().target.run("CREATE TABLE shop2.same (id INT PRIMARY KEY, v VARCHAR(9))");
  pair().source.run("CREATE DATABASE shop");
  pair().source.run("CREATE TABLE shop.orders (id INT PRIMARY KEY, note TEXT, amount INT)");
  pair().source.run("CREATE TABLE shop.same (id INT PRIMARY KEY, v VARCHAR(9))");
  pair().source.run("CREATE TABLE shop.hidden (id INT PRIMARY KEY)");
  Link link(pair(), "shop", [](StreamOptions& options) {
    Mapping& mapping = options.mapping;
    mapping.exclude = {{"shop", "hidden"}};
    mapping.renames = {
        {NameOf::kSchema, {"shop", "%"}, "%", {NameChange::Action::kRename, "shop2", ""}},
        {NameOf::kTable, {"shop", "orders"}, "%", {NameChange::Action::kRename, "orders2", ""}},
        {NameOf::kColumn,
         {"shop", "orders"},
         "amount",
         {NameChange::Action::kRename, "total", ""}}};
    mapping.columns = {{{"shop", "orders"}, "note", true}};
    mapping.filters = {{{"shop", "orders"}, *parse_filter("amount >= 10")}};
  });
  link.start();
  pair().source.run("INSERT INTO shop.orders VALUES (1, 'a', 10), (2, 'b', 9), (3, 'c', 30)");
  pair().source.run("UPDATE shop.orders SET amount = amount + 1");
  pair().source.run("UPDATE shop.orders SET amount = 1 WHERE id = 3");
  pair().source.run("INSERT INTO shop.hidden VALUES (1)");
  pair().source.run("INSERT INTO shop.same VALUES (1, 'x')");
  link.drain();
  EXPECT_EQ(pair().target.scalar("SELECT GROUP_CONCAT(id, ':', total ORDER BY id) FROM "
                                 "shop2.orders2"),
            "1:11,2:10");
  expect_equal(pair(), "shop.same", "shop2.same");
}

TEST(Stream, StopsAtAChangeThatDoesNotFitAndGoesOnWhenMended) {
  pair().source.run("CREATE DATABASE strict");
  pair().source.run("CREATE TABLE strict.t (id INT PRIMARY KEY, v INT)");
  pair().target.run("CREATE DATABASE strict");
  pair().target.run("CREATE TABLE strict.t (id INT PRIMARY KEY, v INT)");
  pair().target.run("INSERT INTO strict.t VALUES (2, 99)");
  Link link(pair(), "strict");
  link.start();
  pair().source.run("INSERT INTO strict.t VALUES (1, 1)");
  pair().source.run("INSERT INTO strict.t VALUES (2, 2)");
  pair().source.run("INSERT INTO strict.t VALUES (3, 3)");
  ASSERT_TRUE(
      eventually(kLimit, [&] { return link.driver().status().state == LinkState::kBroken; }));
  EXPECT_THAT(link.driver().status().error, HasSubstr("1062"));
  EXPECT_EQ(pair().target.scalar("SELECT COUNT(*) FROM strict.t WHERE id = 3"), "0");
  pair().target.run("DELETE FROM strict.t WHERE id = 2");
  ASSERT_TRUE(eventually(
      kLimit, [&] { return pair().target.scalar("SELECT COUNT(*) FROM strict.t") == "3"; }));
  expect_equal(pair(), "strict.t", "strict.t");
}

TEST(Stream, NothingThatArrivesAfterAPauseIsApplied) {
  pair().source.run("CREATE DATABASE paused");
  pair().source.run("CREATE TABLE paused.t (id INT PRIMARY KEY)");
  pair().target.run("CREATE DATABASE paused");
  pair().target.run("CREATE TABLE paused.t (id INT PRIMARY KEY)");
  Link link(pair(), "paused");
  link.start();
  for (int i = 0; i < 5; ++i) {
    link.drain();  // so the stream waits for something to come
    ASSERT_TRUE(link.driver().pause(soon()));
    pair().source.run(fmt::format("INSERT INTO paused.t VALUES ({})", i));
    std::this_thread::sleep_for(200ms);
    EXPECT_EQ(pair().target.scalar("SELECT COUNT(*) FROM paused.t"), std::to_string(i));
    ASSERT_TRUE(link.driver().resume(soon()));
  }
  link.drain();
  expect_equal(pair(), "paused.t", "paused.t");
}

TEST(Stream, CarriesAHugeTransactionInPieces) {
  pair().source.run("CREATE DATABASE huge");
  pair().source.run("CREATE TABLE huge.t (id INT PRIMARY KEY, v CHAR(200))");
  pair().target.run("CREATE DATABASE huge");
  pair().target.run("CREATE TABLE huge.t (id INT PRIMARY KEY, v CHAR(200))");
  Link link(pair(), "huge", [](StreamOptions& options) { options.large_bytes = 1 << 20; });
  link.start();
  pair().source.run("INSERT INTO huge.t SELECT seq, REPEAT('x', 200) FROM huge.seq_1_to_40000");
  pair().source.run("INSERT INTO huge.t VALUES (100000, 'after')");
  link.drain();
  expect_equal(pair(), "huge.t", "huge.t");
}

TEST(Stream, BothDirectionsDoNotLoop) {
  pair().source.run("CREATE DATABASE both_ways");
  pair().source.run("CREATE TABLE both_ways.t (id INT PRIMARY KEY, v INT)");
  pair().target.run("CREATE DATABASE both_ways");
  pair().target.run("CREATE TABLE both_ways.t (id INT PRIMARY KEY, v INT)");
  Link there(pair(), "both_ways");
  TempDirectory state;
  StreamOptions options = stream_options(pair(), "both_ways_back", state.path());
  options.source.endpoint = pair().target.endpoint();
  std::swap(options.source_sql, options.target);
  options.server_id = 4002;
  options.mapping.include = {{"both_ways", "%"}};
  StreamDriver back(options, {});
  auto at = mysql::parse_gtid_position(pair().target.scalar("SELECT @@gtid_binlog_pos"));
  ASSERT_TRUE(back.begin_at(*at, soon()));
  there.start();
  ASSERT_TRUE(back.start(soon()));
  for (int i = 0; i < 20; ++i) {
    pair().source.run(fmt::format("INSERT INTO both_ways.t VALUES ({}, 1)", i));
    pair().target.run(fmt::format("INSERT INTO both_ways.t VALUES ({}, 2)", 1000 + i));
  }
  there.drain();
  ASSERT_TRUE(eventually(
      kLimit, [&] { return pair().source.scalar("SELECT COUNT(*) FROM both_ways.t") == "40"; }));
  EXPECT_EQ(there.driver().status().error, "");
  EXPECT_EQ(back.status().error, "");
  expect_equal(pair(), "both_ways.t", "both_ways.t");
}

TEST(Stream, WrongPasswordIsSaidAndMended) {
  pair().source.run("CREATE DATABASE locked_out");
  pair().target.run("CREATE DATABASE locked_out");
  pair().source.run("CREATE USER late@'%' IDENTIFIED BY 'old'");
  pair().source.run("GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO late@'%'");
  Link link(pair(), "locked_out", [](StreamOptions& options) {
    options.source.user = "late";
    options.source.password = "new";
  });
  link.start();
  ASSERT_TRUE(
      eventually(kLimit, [&] { return link.driver().status().state == LinkState::kBroken; }));
  EXPECT_THAT(link.driver().status().error, HasSubstr("late"));
  EXPECT_THAT(link.driver().status().error, Not(HasSubstr("new'")));
  pair().source.run("CREATE TABLE locked_out.t (id INT PRIMARY KEY)");
  pair().source.run("ALTER USER late@'%' IDENTIFIED BY 'new'");
  link.drain_when_mended();
  expect_equal(pair(), "locked_out.t", "locked_out.t");
}

// InnoDB's one tablespace may not grow, and is what a full disk is to the target.
TEST(Stream, AFullTargetIsSaidAndTheStreamGoesOnWhenThereIsRoom) {
  Pair servers{MariadbServer{1},
               MariadbServer{2,
                             {"--innodb-file-per-table=0",
                              "--innodb-data-file-path=ibdata1:12M:autoextend:max:24M"}}};
  for (const char* sql : {"CREATE DATABASE full", "CREATE DATABASE ballast"}) {
    servers.source.run(sql);
    servers.target.run(sql);
  }
  servers.target.run("CREATE TABLE ballast.t (id INT PRIMARY KEY, pad CHAR(250))");
  servers.target.run("INSERT INTO ballast.t SELECT seq, 'x' FROM ballast.seq_1_to_16000");
  Link link(servers, "full");
  link.start();
  servers.source.run("CREATE TABLE full.t (id INT PRIMARY KEY, pad CHAR(250))");
  for (int i = 0; i < 40; ++i)
    servers.source.run(
        fmt::format("INSERT INTO full.t SELECT seq + {}, 'y' FROM full.seq_1_to_500", i * 500));
  ASSERT_TRUE(eventually(kLimit, [&] {
    return link.driver().status().error.find("is full") != std::string::npos;
  })) << link.driver().status().error;
  EXPECT_NE(servers.target.scalar("SELECT COUNT(*) FROM full.t"), "20000");
  servers.target.run("DROP TABLE ballast.t");
  link.drain_when_mended();
  expect_equal(servers, "full.t", "full.t");
}

}  // namespace
}  // namespace leeward::replication::testing

// Planned moves of the writer, as an application with a connection pool sees them. One process
// starts two real servers once; each story uses them in its own way.
#include <gtest/gtest.h>

#include <cstring>
#include <future>

#include "client.h"

namespace leeward::gateway {
namespace {

using namespace testing;

struct Move : ::testing::Test {
  MariadbServer a{"a"}, b{"b"};
  std::unique_ptr<Gateway> at_a = start(options_for(a.endpoint(), "gcp"));
  std::unique_ptr<Gateway> at_b = start(options_for(b.endpoint(), "aws"));

  // Site b takes over: its gateway serves, a's follows.
  void move_to_b() {
    at_b->serve_local(Epoch{2}, in(60s));
    at_a->serve_remote(at_b->peer_listen_endpoint());
  }
};

TEST_F(Move, PooledConnectionGoesOnAtTheOtherSite) {
  at_a->serve_local(Epoch{1}, in(60s));
  Client c(at_a->listen_endpoint());
  ASSERT_TRUE(c.connect()) << c.error();
  EXPECT_EQ(c.query("SELECT name FROM who"), "a");
  EXPECT_EQ(c.query("SET SESSION group_concat_max_len=4321"), "ok");
  EXPECT_EQ(c.query("SET @greeting='hello'"), "ok");
  EXPECT_EQ(c.query("SET autocommit=0"), "ok");
  EXPECT_EQ(c.query("SET autocommit=1"), "ok");
  EXPECT_EQ(c.query("INSERT INTO t VALUES (77, 1)"), "ok");
  EXPECT_EQ(c.query("USE mysql"), "ok");

  at_a->hold();
  EXPECT_TRUE(eventually([&] { return at_a->drained(); }));
  auto parked = std::async(std::launch::async, [&] { return c.query("SELECT name FROM app.who"); });
  EXPECT_TRUE(eventually([&] { return at_a->stats().parked == 1; }));
  move_to_b();
  EXPECT_EQ(parked.get(), "b");
  EXPECT_EQ(c.query("SELECT DATABASE()"), "mysql");
  EXPECT_EQ(c.query("SELECT @@group_concat_max_len"), "4321");
  EXPECT_EQ(c.query("SELECT @greeting"), "hello");
  EXPECT_EQ(c.query("SELECT @@autocommit"), "1");
  EXPECT_EQ(c.query("SELECT LAST_INSERT_ID()"), "77");
  EXPECT_EQ(at_a->stats().moved, 1u);
  EXPECT_EQ(at_a->stats().closed_by_move, 0u);

  // And home again, from remote to local.
  at_a->hold();
  at_b->hold();
  EXPECT_TRUE(eventually([&] { return at_a->drained() && at_b->drained(); }));
  at_a->serve_local(Epoch{3}, in(60s));
  at_b->serve_remote(at_a->peer_listen_endpoint());
  EXPECT_EQ(c.query("SELECT name FROM app.who"), "a");
  EXPECT_EQ(c.query("SELECT @greeting"), "hello");
}

TEST_F(Move, TransactionFinishesWhileOthersWait) {
  at_a->serve_local(Epoch{1}, in(60s));
  Client busy(at_a->listen_endpoint()), other(at_a->listen_endpoint());
  ASSERT_TRUE(busy.connect() && other.connect());
  EXPECT_EQ(busy.query("BEGIN"), "ok");
  EXPECT_EQ(busy.query("INSERT INTO t VALUES (1, 10)"), "ok");
  at_a->hold();
  EXPECT_FALSE(at_a->drained());
  auto parked = std::async(std::launch::async, [&] { return other.query("SELECT name FROM who"); });
  Client late(at_a->listen_endpoint());
  auto connecting = std::async(std::launch::async, [&] { return late.connect(); });
  EXPECT_TRUE(eventually([&] { return at_a->stats().parked == 2; }));
  EXPECT_EQ(busy.query("UPDATE t SET v=11 WHERE id=1"), "ok");
  EXPECT_FALSE(at_a->drained());
  EXPECT_EQ(busy.query("COMMIT"), "ok");
  EXPECT_TRUE(eventually([&] { return at_a->drained(); }));
  move_to_b();
  EXPECT_EQ(parked.get(), "b");
  EXPECT_TRUE(connecting.get()) << late.error();
  EXPECT_EQ(busy.query("SELECT name FROM who"), "b");
  Client direct(a.endpoint());
  ASSERT_TRUE(direct.connect());
  EXPECT_EQ(direct.query("SELECT v FROM t WHERE id=1"), "11");
}

TEST_F(Move, CommandAtALostWriterNeitherHangsNorHoldsUpTheNextMove) {
  at_a->serve_local(Epoch{1}, in(60s));
  at_b->serve_remote(at_a->peer_listen_endpoint());
  Client c(at_b->listen_endpoint());
  ASSERT_TRUE(c.connect()) << c.error();
  auto running = std::async(std::launch::async, [&] { return c.query("SELECT SLEEP(60)"); });
  EXPECT_TRUE(eventually([&] { return at_a->stats().in_flight == 1; }));
  at_b->serve_local(Epoch{2}, in(60s));
  at_b->hold();
  EXPECT_TRUE(at_b->drained());
  EXPECT_EQ(running.wait_for(5s), std::future_status::ready);  // sooner than hold_timeout
  EXPECT_NE(running.get(), "0");
}

TEST_F(Move, UndoneMoveKeepsEverySession) {
  at_a->serve_local(Epoch{1}, in(60s));
  Client c(at_a->listen_endpoint());
  ASSERT_TRUE(c.connect());
  EXPECT_EQ(c.query("CREATE TEMPORARY TABLE scratch (x INT)"), "ok");
  at_a->hold();
  auto parked =
      std::async(std::launch::async, [&] { return c.query("SELECT COUNT(*) FROM scratch"); });
  EXPECT_TRUE(eventually([&] { return at_a->stats().parked == 1; }));
  at_a->serve_local(Epoch{1}, in(60s));
  EXPECT_EQ(parked.get(), "0");
  EXPECT_EQ(at_a->stats().moved, 0u);
}

TEST_F(Move, SessionWithHiddenStateIsClosedNotCorrupted) {
  at_a->serve_local(Epoch{1}, in(60s));
  Client temporary(at_a->listen_endpoint()), open(at_a->listen_endpoint());
  ASSERT_TRUE(temporary.connect() && open.connect());
  EXPECT_EQ(temporary.query("CREATE TEMPORARY TABLE scratch (x INT)"), "ok");
  EXPECT_EQ(open.query("BEGIN"), "ok");
  EXPECT_EQ(open.query("INSERT INTO t VALUES (2, 20)"), "ok");
  at_a->hold();
  at_a->end_transactions("it takes too long");
  EXPECT_TRUE(at_a->drained());
  move_to_b();
  EXPECT_EQ(temporary.query("SELECT 1"), "error 2013");
  EXPECT_EQ(open.query("COMMIT"), "error 2013");
  EXPECT_EQ(at_a->stats().closed_by_move, 2u);
}

TEST_F(Move, HoldTimeoutSaysSo) {
  Options o = options_for(a.endpoint(), "gcp");
  o.hold_timeout = 200ms;
  at_a = start(std::move(o));
  at_a->serve_local(Epoch{1}, in(60s));
  Client c(at_a->listen_endpoint());
  ASSERT_TRUE(c.connect());
  at_a->hold();
  EXPECT_EQ(c.query("SELECT 1"), "error 1290");
  EXPECT_EQ(c.error(), "leeward: site gcp found no writer within 200ms");
  Client fresh(at_a->listen_endpoint());
  EXPECT_FALSE(fresh.connect());
  EXPECT_EQ(fresh.code(), 1290u);
}

// The standby's gateway did not hold, so its client's command reached the held writer. It is sent
// to the new writer, once.
TEST_F(Move, CommandHeldAtTheOldWriterRunsAtTheNewOne) {
  at_a->serve_local(Epoch{1}, in(60s));
  at_b->serve_remote(at_a->peer_listen_endpoint());
  Client c(at_b->listen_endpoint());
  ASSERT_TRUE(c.connect()) << c.error();
  EXPECT_EQ(c.query("SELECT name FROM who"), "a");
  at_a->hold();
  auto parked = std::async(std::launch::async,
                           [&] { return c.query("INSERT INTO t (v) SELECT 5 FROM who"); });
  EXPECT_TRUE(eventually([&] { return at_a->stats().parked == 1; }));
  move_to_b();
  EXPECT_EQ(parked.get(), "ok");
  EXPECT_EQ(c.query("SELECT COUNT(*) FROM t WHERE v=5"), "1");
  EXPECT_EQ(c.query("SELECT name FROM who"), "b");
  Client direct(a.endpoint());
  ASSERT_TRUE(direct.connect());
  EXPECT_EQ(direct.query("SELECT COUNT(*) FROM t WHERE v=5"), "0");
}

TEST_F(Move, PreparedStatementsMoveWithTheirParameterTypes) {
  at_a->serve_local(Epoch{1}, in(60s));
  Client c(at_a->listen_endpoint());
  ASSERT_TRUE(c.connect());
  MYSQL_STMT* first = mysql_stmt_init(c.raw());
  MYSQL_STMT* s = mysql_stmt_init(c.raw());
  const char* text = "INSERT INTO t VALUES (?, ?)";
  ASSERT_EQ(mysql_stmt_prepare(first, "SELECT 1", 8), 0);
  ASSERT_EQ(mysql_stmt_prepare(s, text, std::strlen(text)), 0);
  int id = 100, v = 1;
  MYSQL_BIND bind[2]{};
  bind[0].buffer_type = bind[1].buffer_type = MYSQL_TYPE_LONG;
  bind[0].buffer = &id;
  bind[1].buffer = &v;
  ASSERT_EQ(mysql_stmt_bind_param(s, bind), 0);
  ASSERT_EQ(mysql_stmt_execute(s), 0) << mysql_stmt_error(s);
  mysql_stmt_close(first);  // so that ids differ at the new server
  at_a->hold();
  EXPECT_TRUE(eventually([&] { return at_a->drained(); }));
  move_to_b();
  id = 101;
  EXPECT_EQ(mysql_stmt_execute(s), 0) << mysql_stmt_error(s);
  id = 102;
  EXPECT_EQ(mysql_stmt_execute(s), 0) << mysql_stmt_error(s);
  mysql_stmt_close(s);
  EXPECT_EQ(c.query("SELECT GROUP_CONCAT(id ORDER BY id) FROM t"), "101,102");
  EXPECT_EQ(c.query("SELECT name FROM who"), "b");
}

TEST_F(Move, UnknownAccountIsServedButNotMoved) {
  Options o = options_for(a.endpoint(), "gcp");
  o.account_lookup = {};
  at_a = start(std::move(o));
  at_a->serve_local(Epoch{1}, in(60s));
  Client c(at_a->listen_endpoint());
  ASSERT_TRUE(c.connect());
  EXPECT_EQ(c.query("SELECT name FROM who"), "a");
  at_a->hold();
  move_to_b();
  EXPECT_EQ(c.query("SELECT name FROM who"), "error 2013");
}

TEST_F(Move, IdleSessionOutlivesARestartOfItsDatabase) {
  at_a->serve_local(Epoch{1}, in(60s));
  Client c(at_a->listen_endpoint()), running(at_a->listen_endpoint());
  ASSERT_TRUE(c.connect() && running.connect());
  EXPECT_EQ(c.query("SET @x=9"), "ok");
  const std::string id = c.query("SELECT CONNECTION_ID()");
  const std::string running_id = running.query("SELECT CONNECTION_ID()");
  Client admin(a.endpoint());
  ASSERT_TRUE(admin.connect());
  auto sleeping = std::async(std::launch::async, [&] { return running.query("SELECT SLEEP(30)"); });
  EXPECT_TRUE(eventually([&] { return at_a->stats().in_flight == 1; }));
  EXPECT_EQ(admin.query("KILL " + id), "ok");
  EXPECT_EQ(admin.query("KILL " + running_id), "ok");
  EXPECT_EQ(c.query("SELECT @x"), "9");
  EXPECT_NE(sleeping.get(), "0");  // it may have run: never again
  EXPECT_EQ(at_a->stats().moved, 1u);
}

}  // namespace
}  // namespace leeward::gateway

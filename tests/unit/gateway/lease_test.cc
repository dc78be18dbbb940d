// No lease, no path: what the gateway lets through around the end of a lease.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <future>

#include "client.h"
#include "gateway/internal/socket.h"

namespace leeward::gateway {
namespace {

using namespace testing;

TEST(Refuse, TellsSiteAndReason) {
  auto g = start(options_for({"127.0.0.1", 1}, "gcp"));
  Client before(g->listen_endpoint());
  EXPECT_FALSE(before.connect());
  EXPECT_EQ(before.code(), 1290u);
  g->refuse("it is fenced");
  Client c(g->listen_endpoint()), peer(g->peer_listen_endpoint());
  EXPECT_FALSE(c.connect());
  EXPECT_STREQ(mysql_sqlstate(c.raw()), "HY000");
  EXPECT_EQ(c.error(), "leeward: site gcp may not write: it is fenced");
  EXPECT_FALSE(peer.connect());
  EXPECT_EQ(peer.code(), 1290u);
  EXPECT_EQ(g->stats().refused, 3u);
}

TEST(Start, SaysWhatIsWrong) {
  Options o = options_for({"127.0.0.1", 1}, "gcp");
  o.listen = {"not an address", 0};
  EXPECT_FALSE(Gateway::start(o).has_value());
  o = options_for({"127.0.0.1", 1}, "gcp");
  o.connections_max = 0;
  EXPECT_EQ(Gateway::start(o).error().code, Code::kInvalid);
}

struct Lease : ::testing::Test {
  MariadbServer server{"a"};
  std::unique_ptr<Gateway> g = start(options_for(server.endpoint(), "gcp"));
};

TEST_F(Lease, DeadlineDropsEverythingByItself) {
  g->serve_local(Epoch{1}, in(600ms));
  Client idle(g->listen_endpoint()), running(g->listen_endpoint());
  ASSERT_TRUE(idle.connect() && running.connect());
  EXPECT_EQ(idle.query("SELECT name FROM who"), "a");
  // Commits in the database after the deadline; the client must not hear of it.
  EXPECT_EQ(running.query("INSERT INTO t SELECT 1, SLEEP(1.5)"), "error 2013");
  EXPECT_EQ(idle.query("SELECT 1"), "error 2013");
  EXPECT_EQ(g->stats().mode, GatewayMode::kRefuse);
  EXPECT_EQ(g->stats().fenced, 2u);
  Client late(g->listen_endpoint());
  EXPECT_FALSE(late.connect());
  EXPECT_EQ(late.error(), "leeward: site gcp may not write: its writer lease ended");
  EXPECT_FALSE(g->extend(Epoch{1}, in(60s)));  // too late: only a new grant opens it again
  EXPECT_EQ(g->stats().mode, GatewayMode::kRefuse);
  g->serve_local(Epoch{2}, in(60s));
  Client again(g->listen_endpoint());
  EXPECT_TRUE(again.connect());
}

TEST_F(Lease, ExtendedLeaseGoesOn) {
  const BootTime first = in(500ms);
  g->serve_local(Epoch{1}, first);
  Client c(g->listen_endpoint());
  ASSERT_TRUE(c.connect());
  EXPECT_FALSE(g->extend(Epoch{7}, in(90s)));  // of another grant
  EXPECT_TRUE(g->extend(Epoch{1}, in(60s)));
  EXPECT_EQ(c.query("SELECT SLEEP(0.7)"), "0");
  EXPECT_GT(BootClock::now(), first);
  EXPECT_TRUE(g->extend(Epoch{1}, in(-1s)));  // never shorter
  EXPECT_EQ(c.query("SELECT name FROM who"), "a");
  g->refuse("no more");
  EXPECT_EQ(c.query("SELECT 1"), "error 2013");
}

TEST_F(Lease, DeadlineInThePastForwardsNothing) {
  g->serve_local(Epoch{1}, in(-1s));
  Client c(g->listen_endpoint());
  EXPECT_FALSE(c.connect());
  EXPECT_EQ(g->stats().bytes_to_clients, 0u);
  EXPECT_EQ(g->stats().bytes_to_database, 0u);
}

TEST_F(Lease, EndsInHoldToo) {
  g->serve_local(Epoch{1}, in(700ms));
  Client idle(g->listen_endpoint()), open(g->listen_endpoint());
  ASSERT_TRUE(idle.connect() && open.connect());
  EXPECT_EQ(open.query("BEGIN"), "ok");
  EXPECT_EQ(open.query("INSERT INTO t VALUES (1, 1)"), "ok");
  g->hold();
  EXPECT_TRUE(eventually([&] { return g->stats().fenced == 1; }));
  EXPECT_EQ(open.query("COMMIT"), "error 2013");
  auto parked =
      std::async(std::launch::async, [&] { return idle.query("SELECT COUNT(*) FROM t"); });
  EXPECT_TRUE(eventually([&] { return g->stats().parked == 1; }));
  EXPECT_TRUE(g->drained());
  g->serve_local(Epoch{2}, in(60s));
  EXPECT_EQ(parked.get(), "0");
}

// A gateway process that is stopped with an acknowledgement on its way, and resumed past its
// deadline, must not deliver it.
TEST_F(Lease, ResumedProcessForwardsNothingOfThePast) {
  g.reset();
  int port_pipe[2];
  ASSERT_EQ(pipe(port_pipe), 0);
  const BootTime deadline = in(1500ms);
  const pid_t child = fork();
  if (child == 0) {
    auto stopped = start(options_for(server.endpoint(), "gcp"));
    stopped->serve_local(Epoch{1}, deadline);
    const std::uint16_t port = stopped->listen_endpoint().port;
    if (write(port_pipe[1], &port, sizeof port) != sizeof port) _exit(1);
    for (;;) pause();
  }
  std::uint16_t port = 0;
  ASSERT_EQ(read(port_pipe[0], &port, sizeof port), static_cast<ssize_t>(sizeof port));
  Client c({"127.0.0.1", port}), direct(server.endpoint());
  ASSERT_TRUE(c.connect() && direct.connect());
  const char* sql = "INSERT INTO t SELECT 5, SLEEP(0.3)";
  ASSERT_EQ(mysql_send_query(c.raw(), sql, std::strlen(sql)), 0);
  EXPECT_TRUE(eventually([&] {
    return direct.query(
               "SELECT COUNT(*) FROM information_schema.processlist "
               "WHERE info LIKE 'INSERT INTO t%'") == "1";
  }));
  kill(child, SIGSTOP);
  EXPECT_TRUE(eventually([&] { return direct.query("SELECT COUNT(*) FROM t") == "1"; }));
  EXPECT_TRUE(eventually([&] { return BootClock::now() > deadline; }));
  kill(child, SIGCONT);
  EXPECT_NE(mysql_read_query_result(c.raw()), 0);
  EXPECT_EQ(c.code(), 2013u);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(port_pipe[0]);
  close(port_pipe[1]);
}

TEST_F(Lease, PeersAreServedOnlyByTheWriter) {
  g->serve_local(Epoch{1}, in(60s));
  Client peer(g->peer_listen_endpoint());
  ASSERT_TRUE(peer.connect()) << peer.error();
  EXPECT_EQ(peer.query("SELECT name FROM who"), "a");
  EXPECT_EQ(g->stats().peers, 1u);
  auto other = start(options_for(server.endpoint(), "aws"));
  g->serve_remote(other->peer_listen_endpoint());
  EXPECT_EQ(peer.query("SELECT 1"), "error 2013");
  Client again(g->peer_listen_endpoint());
  EXPECT_FALSE(again.connect());
  EXPECT_EQ(again.error(), "leeward: site gcp may not write: the writer is the other site");
}

}  // namespace
}  // namespace leeward::gateway

// Much data, slow clients, many clients.
#include <gtest/gtest.h>

#include <future>
#include <list>

#include "client.h"

namespace leeward::gateway {
namespace {

using namespace testing;

struct Traffic : ::testing::Test {
  MariadbServer server{"a"};
};

TEST_F(Traffic, StreamsWhatIsLargerThanItsBuffers) {
  auto g = start(options_for(server.endpoint(), "gcp"));
  g->serve_local(Epoch{1}, in(120s));
  Client slow(g->listen_endpoint()), other(g->listen_endpoint());
  ASSERT_TRUE(slow.connect() && other.connect());
  // 50 rows of 1 MiB, read only when the other client has had its answer.
  ASSERT_EQ(mysql_query(slow.raw(), "SELECT REPEAT('x', 1048576) FROM seq_1_to_50"), 0)
      << slow.error();
  EXPECT_EQ(other.query("SELECT name FROM who"), "a");
  MYSQL_RES* rows = mysql_use_result(slow.raw());
  ASSERT_NE(rows, nullptr);
  std::size_t bytes = 0;
  while (mysql_fetch_row(rows) != nullptr) bytes += mysql_fetch_lengths(rows)[0];
  mysql_free_result(rows);
  EXPECT_EQ(bytes, 50u << 20);
  // One value longer than a packet (16 MiB), there and back.
  const std::string value(20u << 20, 'y');
  EXPECT_EQ(other.query("SELECT LENGTH('" + value + "')"), std::to_string(value.size()));
  EXPECT_EQ(other.query("SELECT REPEAT('z', 20971520)").size(), 20u << 20);
  EXPECT_EQ(slow.query("SELECT name FROM who"), "a");
  EXPECT_EQ(g->stats().in_flight, 0u);
}

TEST_F(Traffic, RefusesTooManyClientsClearly) {
  Options o = options_for(server.endpoint(), "gcp");
  o.connections_max = 3;
  auto g = start(std::move(o));
  g->serve_local(Epoch{1}, in(60s));
  std::list<Client> clients;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(clients.emplace_back(g->listen_endpoint()).connect());
  Client fourth(g->listen_endpoint());
  EXPECT_FALSE(fourth.connect());
  EXPECT_EQ(fourth.code(), 1040u);
  clients.pop_back();
  EXPECT_TRUE(eventually([&] { return g->stats().clients == 2; }));
  Client fifth(g->listen_endpoint());
  EXPECT_TRUE(fifth.connect()) << fifth.error();
}

TEST_F(Traffic, WaitsForADatabaseThatIsNotThereYet) {
  server.process().stop();
  Options o = options_for(server.endpoint(), "gcp");
  o.hold_timeout = 300ms;
  auto g = start(std::move(o));
  g->serve_local(Epoch{1}, in(60s));
  Client c(g->listen_endpoint());
  EXPECT_FALSE(c.connect());
  EXPECT_EQ(c.error(), "leeward: site gcp found no writer within 300ms");
}

TEST_F(Traffic, WrongPasswordIsTheDatabasesAnswer) {
  auto g = start(options_for(server.endpoint(), "gcp"));
  g->serve_local(Epoch{1}, in(60s));
  Client c(g->listen_endpoint(), "app", "wrong");
  EXPECT_FALSE(c.connect());
  EXPECT_EQ(c.code(), 1045u);
}

TEST_F(Traffic, ManyClientsAreMovedTogether) {
  MariadbServer b("b");
  auto g = start(options_for(server.endpoint(), "gcp"));
  auto other = start(options_for(b.endpoint(), "aws"));
  g->serve_local(Epoch{1}, in(60s));
  constexpr int kClients = 24;
  std::atomic<bool> stop{false};
  std::vector<std::future<std::string>> results;
  for (int i = 0; i < kClients; ++i)
    results.push_back(std::async(std::launch::async, [&] {
      Client c(g->listen_endpoint());
      if (!c.connect()) return "connect: " + c.error();
      while (!stop) {
        for (const char* sql : {"BEGIN", "INSERT INTO t (v) VALUES (1)", "COMMIT", "SELECT 1"})
          if (c.query(sql).starts_with("error")) return sql + (": " + c.error());
      }
      return c.query("SELECT name FROM who");
    }));
  EXPECT_TRUE(eventually([&] { return g->stats().bytes_to_database > 20'000; }));
  g->hold();
  EXPECT_TRUE(eventually([&] { return g->drained(); }));
  other->serve_local(Epoch{2}, in(60s));
  g->serve_remote(other->peer_listen_endpoint());
  EXPECT_TRUE(eventually([&] { return g->stats().moved == kClients; }));
  stop = true;
  for (auto& r : results) EXPECT_EQ(r.get(), "b");
}

}  // namespace
}  // namespace leeward::gateway

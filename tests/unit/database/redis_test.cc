#include "database/redis.h"

#include <gtest/gtest.h>
#include <signal.h>

#include "servers/servers.h"

namespace leeward::database {
namespace {

using testing::eventually;
using testing::free_port;
using testing::Process;
using testing::TempDirectory;

struct RedisServer {
  explicit RedisServer(const std::string& password = "")
      : endpoint{"127.0.0.1", free_port()},
        process({"redis-server", "--port", std::to_string(endpoint.port), "--bind", "127.0.0.1",
                 "--dir", directory.path(), "--save", "", "--repl-diskless-sync-delay", "0",
                 "--requirepass", password}),
        driver({endpoint, password, 3s}) {
    EXPECT_TRUE(eventually(30s, [&] { return driver.status().has_value(); }));
  }

  TempDirectory directory;
  Endpoint endpoint;
  Process process;
  Redis driver;
};

TEST(Redis, PairFollowsIsPromotedAndTurnsRound) {
  RedisServer gcp("pass word"), aws("pass word");
  ASSERT_TRUE(aws.driver.follow(gcp.endpoint));
  ASSERT_TRUE(eventually(30s, [&] { return aws.driver.status()->link_up; }));
  auto standby = aws.driver.status();
  EXPECT_FALSE(standby->primary);
  EXPECT_EQ(standby->source, gcp.endpoint);
  EXPECT_EQ(gcp.driver.status()->replicas, 1u);
  EXPECT_TRUE(
      eventually(10s, [&] { return aws.driver.status()->offset == gcp.driver.status()->offset; }));
  ASSERT_TRUE(aws.driver.follow(gcp.endpoint));
  EXPECT_TRUE(aws.driver.status()->link_up);  // no new copy

  gcp.process.end(SIGKILL);
  EXPECT_TRUE(eventually(20s, [&] { return !aws.driver.status()->link_up; }));
  ASSERT_TRUE(aws.driver.promote({Epoch{6}, Term{1}}));
  ASSERT_TRUE(aws.driver.promote({Epoch{6}, Term{1}}));
  EXPECT_TRUE(aws.driver.status()->primary);
  EXPECT_EQ(aws.driver.status()->promotion, (Promotion{Epoch{6}, Term{1}}));
  auto dead = gcp.driver.status();
  ASSERT_FALSE(dead);
  EXPECT_EQ(dead.error().code, Code::kUnavailable);
}

TEST(Redis, AnAclUserReplicatesAndPromotionClearsTheReplicaFence) {
  RedisServer gcp, aws;
  for (RedisServer* server : {&gcp, &aws}) {
    Redis admin({server->endpoint, "", 3s});
    ASSERT_TRUE(admin.run({"ACL", "SETUSER", "agent", "on", ">se cret", "~*", "&*", "+@all"}));
  }
  Redis agent_at_aws({aws.endpoint, "se cret", 3s, "agent"});
  ASSERT_TRUE(agent_at_aws.follow(gcp.endpoint));
  ASSERT_TRUE(eventually(30s, [&] { return agent_at_aws.status()->link_up; }));
  ASSERT_TRUE(agent_at_aws.run({"CONFIG", "SET", "min-replicas-to-write", "1"}));
  ASSERT_TRUE(agent_at_aws.promote({Epoch{1}, {}}));
  EXPECT_TRUE(agent_at_aws.run({"SET", "key", "value"}));
}

// What a failover loses is exact once the old primary is seen again: both name the history and how
// far it reached.
TEST(Redis, TheOldPrimaryAndTheNewTellWhereTheyParted) {
  RedisServer gcp("pass"), aws("pass");
  ASSERT_TRUE(gcp.driver.promote({Epoch{1}, {}}));
  ASSERT_TRUE(aws.driver.follow(gcp.endpoint));
  ASSERT_TRUE(eventually(30s, [&] { return aws.driver.status()->link_up; }));
  EXPECT_TRUE(eventually(10s, [&] { return aws.driver.status()->promotion.epoch == Epoch{1}; }));
  EXPECT_EQ(aws.driver.status()->history, gcp.driver.status()->history);
  ASSERT_TRUE(aws.driver.promote({Epoch{2}, {}}));  // gcp goes on alone
  ASSERT_TRUE(gcp.driver.run({"SET", "only", "here"}));
  auto old = gcp.driver.status();
  auto fresh = aws.driver.status();
  EXPECT_EQ(fresh->history_before, old->history);
  EXPECT_NE(fresh->history, old->history);
  EXPECT_GT(old->offset, fresh->parted_at);
  ASSERT_TRUE(gcp.driver.follow(aws.endpoint));  // masterauth towards a server that was a replica
  ASSERT_TRUE(eventually(30s, [&] { return gcp.driver.status()->link_up; }));
  EXPECT_EQ(gcp.driver.status()->promotion, (Promotion{Epoch{2}, {}}));
  EXPECT_EQ(gcp.driver.run({"GET", "only"}), "");
}

TEST(Redis, AFencedPrimaryTakesNoWritesAndItsReplicaHasEverything) {
  RedisServer gcp("pass"), aws("pass");
  ASSERT_TRUE(gcp.driver.promote({Epoch{1}, {}}));
  ASSERT_TRUE(aws.driver.follow(gcp.endpoint));
  ASSERT_TRUE(eventually(30s, [&] { return aws.driver.status()->link_up; }));
  ASSERT_TRUE(gcp.driver.run({"SET", "last", "write"}));
  ASSERT_TRUE(eventually(10s, [&] { return gcp.driver.fence(true).has_value(); }));
  EXPECT_TRUE(gcp.driver.status()->fenced);
  EXPECT_EQ(aws.driver.run({"GET", "last"}), "write");
  auto refused = gcp.driver.run({"SET", "k", "v"});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("NOREPLICAS"), std::string::npos);
  // A replica that hangs is waited for, but not for long, and it is fenced all the same.
  ASSERT_TRUE(gcp.driver.promote({Epoch{1}, {}}));
  aws.process.signal(SIGSTOP);
  ASSERT_TRUE(gcp.driver.run({"SET", "k", "v"}));
  auto late = gcp.driver.fence(true);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::kTimeout);
  EXPECT_TRUE(gcp.driver.status()->fenced);
  aws.process.signal(SIGCONT);
  EXPECT_TRUE(eventually(10s, [&] { return gcp.driver.fence(true).has_value(); }));
  EXPECT_TRUE(gcp.driver.status()->fenced);
}

TEST(Redis, StoppedServerCostsTheTimeoutAndAWrongPasswordIsSaid) {
  RedisServer server("right");
  Redis stranger({server.endpoint, "wrong", 1s});
  auto refused = stranger.status();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnauthorized);
  server.process.signal(SIGSTOP);
  BootTime begun = BootClock::now();
  auto late = server.driver.status();
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::kTimeout);
  EXPECT_LT(BootClock::now() - begun, 8s);
  server.process.signal(SIGCONT);
  EXPECT_TRUE(eventually(10s, [&] { return server.driver.status().has_value(); }));
}

}  // namespace
}  // namespace leeward::database

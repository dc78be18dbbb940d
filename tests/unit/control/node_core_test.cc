// Stories of a site's two nodes, told directly to the core that chooses the primary.
#include "control/node_core.h"

#include <gtest/gtest.h>

namespace leeward::control {
namespace {

class NodePair : public ::testing::Test {
 protected:
  NodePair() {
    config_.self = SiteId{0};
    config_.nodes = 2;
    config_.site_nodes = {{SiteId{0}, 2}, {SiteId{1}, 2}};
    restart({});
    site_ = {true, Epoch{5}, true, false, false, false};
  }

  Now now() const { return Now{BootTime(100s + since_), WallTime{}}; }
  void restart(const NodeMemory& memory) {
    core_.emplace(config_);
    core_->start(now(), memory);
  }
  NodeCore::Step step() { return core_->step(now(), site_); }

  DatabaseStatus writable(std::uint64_t written, bool strict) {
    DatabaseStatus s;
    s.reachable = true;
    s.read_only = false;
    s.epoch = Epoch{5};
    s.term = core_->memory().term;
    s.written = Position{written};
    s.strict = strict;
    return s;
  }
  DatabaseStatus replica(std::uint64_t received, bool kept = true) {
    DatabaseStatus s;
    s.reachable = true;
    s.epoch = Epoch{5};
    s.source = SiteId{0};
    s.source_node = core_->primary();
    s.replication = ReplicationState::kStreaming;
    s.received = s.applied = Position{received};
    s.keeps_received = kept;
    return s;
  }
  // One round of looks, 200 ms after the one before.
  NodeCore::Step look(const DatabaseStatus& first, const DatabaseStatus& second) {
    since_ += 200ms;
    core_->on_look(now(), kFirstNode, first);
    core_->on_look(now(), kSecondNode, second);
    return step();
  }
  // Node 1 is the primary of epoch 5, and node 2 is in sync with it.
  void in_sync() {
    ASSERT_TRUE(core_->begin(Epoch{5}));
    since_ += config_.settle;
    for (int i = 0; i < 4; ++i) look(writable(10, true), replica(10));
    ASSERT_TRUE(core_->memory().in_sync);
  }
  DatabaseStatus gone() {
    DatabaseStatus s;
    s.refused = true;
    return s;
  }
  bool moves_within(int rounds, const DatabaseStatus& second) {
    for (int i = 0; i < rounds; ++i)
      if (look(gone(), second).moved) return true;
    return false;
  }

  Duration since_{};
  NodeConfig config_;
  NodeCore::Site site_;
  std::optional<NodeCore> core_;
};

TEST_F(NodePair, ADeadPrimaryIsReplacedUnderTheNextTerm) {
  in_sync();
  EXPECT_TRUE(moves_within(6, replica(10)));
  EXPECT_EQ(core_->primary(), kSecondNode);
  EXPECT_EQ(core_->memory().term, Term{1});
  EXPECT_FALSE(core_->memory().in_sync);
  EXPECT_EQ(core_->memory().epoch, Epoch{5});
}

// The replica is restarted between the choice and its promotion: it may have lost what it had
// received, so it is not promoted, and the former primary has everything.
TEST_F(NodePair, TheChoiceGoesBackWhenTheReplicaForgotBeforeItWasPromoted) {
  in_sync();
  ASSERT_TRUE(moves_within(6, replica(10)));
  DatabaseStatus forgot = replica(10, false);
  forgot.source_node = kFirstNode;
  EXPECT_FALSE(look(gone(), forgot).moved);
  DatabaseStatus former = writable(12, false);
  former.read_only = true;  // as a server starts
  former.term = Term{};
  EXPECT_TRUE(look(former, forgot).moved);
  EXPECT_EQ(core_->primary(), kFirstNode);
  EXPECT_EQ(core_->memory().term, Term{2});
  EXPECT_FALSE(look(former, forgot).moved);  // and stays
}

TEST_F(NodePair, TheChoiceNeverGoesBackOnceClientsWereLetIn) {
  in_sync();
  ASSERT_TRUE(moves_within(6, replica(10)));
  core_->opened();
  DatabaseStatus former = writable(12, false);
  former.read_only = true;
  former.term = Term{};
  for (int i = 0; i < 30; ++i) EXPECT_FALSE(look(former, gone()).moved);
}

TEST_F(NodePair, ALookOrTwoThatFailAreNoDeath) {
  in_sync();
  EXPECT_FALSE(moves_within(2, replica(10)));
  look(writable(10, true), replica(10));
  EXPECT_FALSE(moves_within(2, replica(10)));
}

TEST_F(NodePair, AReplicaThatMissesAcknowledgedWritesNeverTakesOver) {
  ASSERT_TRUE(core_->begin(Epoch{5}));
  since_ += config_.settle;
  for (int i = 0; i < 6; ++i) look(writable(100, false), replica(10));
  EXPECT_FALSE(moves_within(30, replica(10)));
}

TEST_F(NodePair, ARestartedReplicaLosesTheRightAtOnce) {
  in_sync();
  look(writable(10, true), replica(10, false));
  EXPECT_FALSE(core_->memory().in_sync);
  EXPECT_FALSE(moves_within(30, replica(10)));
}

TEST_F(NodePair, TheLossOfSyncComesBeforeThePrimaryGoesOnAlone) {
  in_sync();
  DatabaseStatus silent;
  NodeCore::Step last;
  for (int i = 0; i < 20 && last.ops.empty(); ++i) {
    EXPECT_TRUE(core_->memory().in_sync || i > 0);
    last = look(writable(10, true), silent);
  }
  ASSERT_EQ(last.ops.size(), 1u);
  EXPECT_EQ(last.ops[0].op, DatabaseOp::kProtect);
  EXPECT_TRUE(last.ops[0].alone);
  EXPECT_FALSE(core_->memory().in_sync);
}

TEST_F(NodePair, WithoutTheLeaseNobodyIsReplaced) {
  in_sync();
  site_.lease = false;
  EXPECT_FALSE(moves_within(30, replica(10)));
}

TEST_F(NodePair, AnAgentThatForgotTheTermWaitsForBothNodes) {
  DatabaseStatus stale = writable(10, false);  // term 0; the other one was promoted after it
  core_->on_look(now(), kFirstNode, stale);
  EXPECT_FALSE(core_->begin(Epoch{5}));
  DatabaseStatus newer = writable(20, false);
  newer.term = Term{1};
  core_->on_look(now(), kSecondNode, newer);
  EXPECT_FALSE(core_->begin(Epoch{5}));
  EXPECT_TRUE(step().moved);
  EXPECT_EQ(core_->primary(), kSecondNode);
  EXPECT_TRUE(core_->begin(Epoch{5}));
  EXPECT_EQ(core_->memory().term, Term{2});
}

TEST_F(NodePair, FailoversInOneSiteAreBounded) {
  in_sync();
  for (int i = 0; i < config_.moves_max; ++i) {
    NodeMemory memory = core_->memory();
    bool first = core_->primary() == kFirstNode;
    bool moved = false;
    for (int k = 0; k < 6 && !moved; ++k)
      moved = first ? look(gone(), replica(10)).moved : look(replica(10), gone()).moved;
    ASSERT_TRUE(moved);
    EXPECT_EQ(core_->memory().term.value, memory.term.value + 1);
    for (int k = 0; k < 4; ++k)
      first ? look(replica(10), writable(10, true)) : look(writable(10, true), replica(10));
    ASSERT_TRUE(core_->memory().in_sync);
  }
  for (int k = 0; k < 30; ++k)
    EXPECT_FALSE(core_->primary() == kFirstNode ? look(gone(), replica(10)).moved
                                                : look(replica(10), gone()).moved);
}

TEST_F(NodePair, TheStandbyFollowsTheNewestWritableNode) {
  SiteId writer{1};
  EXPECT_FALSE(core_->source_at(writer, Epoch{5}));
  core_->on_remote_look(writer, kFirstNode, {true, false, {Epoch{5}, Term{0}}});
  EXPECT_EQ(core_->source_at(writer, Epoch{5}), kFirstNode);
  core_->on_remote_look(writer, kSecondNode, {true, false, {Epoch{5}, Term{1}}});
  core_->on_remote_look(writer, kFirstNode, {true, false, {Epoch{5}, Term{0}}});  // it woke up
  EXPECT_EQ(core_->source_at(writer, Epoch{5}), kSecondNode);
  EXPECT_FALSE(core_->source_at(writer, Epoch{6}));
}

}  // namespace
}  // namespace leeward::control

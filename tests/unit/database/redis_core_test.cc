// Stories of a site's Redis servers, told directly to the core.
#include "database/redis_core.h"

#include <gtest/gtest.h>

namespace leeward::database {
namespace {

using Kind = RedisCore::Kind;
constexpr SiteId kGcp{0}, kAws{1};

class RedisPair : public ::testing::Test {
 protected:
  RedisPair() {
    config_.self = kGcp;
    config_.servers = {{kGcp, {{"10.0.1.1", 6379}, {"10.0.1.2", 6379}}},
                       {kAws, {{"10.0.2.1", 6379}, {"10.0.2.2", 6379}}}};
    core_.emplace(config_);
  }
  Now now() const { return Now{BootTime(100s + since_), WallTime{}}; }
  static RedisLook server(bool primary, std::uint64_t offset, Promotion promotion,
                          const std::string& history = "h1") {
    RedisLook look;
    look.reachable = true;
    look.status.primary = primary;
    look.status.offset = offset;
    look.status.promotion = promotion;
    look.status.history = history;
    if (!primary) {
      look.status.source = {"10.0.1.1", 6379};
      look.status.link_up = true;
    }
    return look;
  }
  static RedisLook refused() {
    RedisLook look;
    look.refused = true;
    return look;
  }
  // One round of looks at this site's servers, 200 ms after the one before.
  RedisCore::Step look(const RedisLook& first, const RedisLook& second) {
    since_ += 200ms;
    core_->on_look(now(), kGcp, kFirstNode, first);
    core_->on_look(now(), kGcp, kSecondNode, second);
    return core_->step(now(), wanted_);
  }
  void write_at(std::uint64_t epoch) {
    wanted_ = {GatewayMode::kLocal, Epoch{epoch}, kNoSite, false};
  }
  // Node 1 is the primary at (5, 0) and open.
  void open() {
    write_at(5);
    Promotion p{Epoch{5}, {}};
    look(server(true, 1000, p), server(false, 1000, p));
    ASSERT_TRUE(core_->open());
    ASSERT_EQ(core_->primary(), kFirstNode);
  }
  std::optional<RedisCore::Step> until_moved(const RedisLook& first, const RedisLook& second) {
    for (int i = 0; i < 15; ++i) {
      auto step = look(first, second);
      if (core_->primary() == kSecondNode) return step;
    }
    return std::nullopt;
  }

  Duration since_{};
  RedisConfig config_;
  RedisCore::Wanted wanted_;
  std::optional<RedisCore> core_;
};

TEST_F(RedisPair, TheReplicaWithMostIsPromotedForTheEpoch) {
  write_at(6);
  Promotion old{Epoch{5}, {}};
  auto step = look(server(false, 900, old), server(false, 1000, old));
  ASSERT_EQ(step.ops.size(), 1u);
  EXPECT_EQ(step.ops[0], (RedisCore::Op{kSecondNode, Kind::kPromote, {Epoch{6}, {}}, {}}));
  EXPECT_FALSE(core_->open());  // not before it is seen to be promoted
  core_->on_done(now(), kSecondNode, true);
  step = look(server(false, 900, old), server(true, 1010, {Epoch{6}, {}}, "h2"));
  EXPECT_TRUE(core_->open());
  ASSERT_EQ(step.ops.size(), 1u);
  EXPECT_EQ(step.ops[0], (RedisCore::Op{kFirstNode, Kind::kFollow, {}, {"10.0.1.2", 6379}}));
}

TEST_F(RedisPair, AnEmptyServerIsNotChosenForItsOffset) {
  write_at(6);
  auto step = look(server(true, 5000, {}, "restarted"), server(false, 10, {Epoch{5}, {}}));
  ASSERT_EQ(step.ops.size(), 1u);
  EXPECT_EQ(step.ops[0].node, kSecondNode);
}

TEST_F(RedisPair, TheChoiceWaitsForAServerThatIsSlowToAnswer) {
  write_at(6);
  since_ += 200ms;
  core_->on_look(now(), kGcp, kFirstNode, server(false, 900, {Epoch{5}, {}}));
  EXPECT_TRUE(core_->step(now(), wanted_).ops.empty());
  since_ += config_.choose_within;
  core_->on_look(now(), kGcp, kFirstNode, server(false, 900, {Epoch{5}, {}}));
  EXPECT_EQ(core_->step(now(), wanted_).ops.size(), 1u);
}

TEST_F(RedisPair, ADeadPrimaryIsReplacedAndTheLossIsSaid) {
  open();
  auto moved = until_moved(refused(), server(false, 940, {Epoch{5}, {}}));
  ASSERT_TRUE(moved);
  ASSERT_EQ(moved->lost.size(), 1u);
  EXPECT_EQ(moved->lost[0].bytes, 60u);  // 1000 was seen of the primary
  EXPECT_FALSE(moved->lost[0].exact);
  ASSERT_EQ(moved->ops.size(), 1u);
  EXPECT_EQ(moved->ops[0], (RedisCore::Op{kSecondNode, Kind::kPromote, {Epoch{5}, Term{1}}, {}}));
  EXPECT_FALSE(core_->open());

  // It was only frozen, and had acknowledged 25 bytes more. Before it follows, that is said
  // exactly.
  core_->on_done(now(), kSecondNode, true);
  auto back =
      look(server(true, 1025, {Epoch{5}, {}}), server(true, 970, {Epoch{5}, Term{1}}, "h2"));
  EXPECT_TRUE(core_->open());
  ASSERT_EQ(back.ops.size(), 1u);
  EXPECT_EQ(back.ops[0], (RedisCore::Op{kFirstNode, Kind::kFollow, {}, {"10.0.1.2", 6379}}));
  ASSERT_EQ(back.lost.size(), 1u);
  EXPECT_EQ(back.lost[0].bytes, 25u);
  EXPECT_TRUE(back.lost[0].exact);
}

TEST_F(RedisPair, OneFailedLookIsNoDeath) {
  open();
  look(refused(), server(false, 1000, {Epoch{5}, {}}));
  look(server(true, 1000, {Epoch{5}, {}}), server(false, 1000, {Epoch{5}, {}}));
  EXPECT_EQ(core_->primary(), kFirstNode);
  EXPECT_TRUE(core_->open());
}

TEST_F(RedisPair, APrimaryThatCameBackEmptyIsReplacedAtOnce) {
  open();
  auto step = look(server(true, 0, {}, "restarted"), server(false, 1000, {Epoch{5}, {}}));
  EXPECT_EQ(core_->primary(), kSecondNode);
  ASSERT_EQ(step.ops.size(), 1u);
  EXPECT_EQ(step.ops[0].promotion, (Promotion{Epoch{5}, Term{1}}));
}

TEST_F(RedisPair, FlushallIsNoRestart) {
  open();
  auto step = look(server(true, 1100, {}), server(false, 1100, {}));
  EXPECT_EQ(core_->primary(), kFirstNode);
  EXPECT_TRUE(core_->open());
  ASSERT_EQ(step.ops.size(), 1u);  // the mark is written again
  EXPECT_EQ(step.ops[0], (RedisCore::Op{kFirstNode, Kind::kPromote, {Epoch{5}, {}}, {}}));
}

TEST_F(RedisPair, FailoversInOneSiteAreBounded) {
  open();
  std::uint64_t term = 0;
  int moves = 0;
  for (int i = 0; i < 80; ++i) {
    Promotion p{Epoch{5}, Term{term}};
    bool first = core_->primary() == kFirstNode;
    NodeId before = core_->primary();
    first ? look(refused(), server(false, 1000, p)) : look(server(false, 1000, p), refused());
    if (core_->primary() == before) continue;
    ++moves;
    ++term;
    core_->on_done(now(), core_->primary(), true);
    // Promoted, and the dead one is back as its replica.
    RedisLook primary = server(true, 1000, {Epoch{5}, Term{term}});
    RedisLook replica = server(false, 1000, {Epoch{5}, Term{term}});
    replica.status.source =
        core_->primary() == kFirstNode ? Endpoint{"10.0.1.1", 6379} : Endpoint{"10.0.1.2", 6379};
    core_->primary() == kFirstNode ? look(primary, replica) : look(replica, primary);
  }
  EXPECT_EQ(moves, config_.moves_max);
}

TEST_F(RedisPair, AStandbySiteFollowsTheNewestPrimaryAndChainsItsSecondNode) {
  wanted_ = {GatewayMode::kRemote, {}, kAws, false};
  Promotion here{Epoch{5}, {}};
  since_ += 200ms;
  core_->on_look(now(), kAws, kFirstNode,
                 server(true, 2000, {Epoch{6}, {}}, "h2"));  // woke up again
  core_->on_look(now(), kAws, kSecondNode, server(true, 2100, {Epoch{6}, Term{1}}, "h3"));
  auto step = look(server(true, 1000, here), server(false, 1000, here));
  ASSERT_EQ(step.ops.size(), 1u);
  EXPECT_EQ(step.ops[0], (RedisCore::Op{kFirstNode, Kind::kFollow, {}, {"10.0.2.2", 6379}}));
  core_->on_done(now(), kFirstNode, true);
  core_->on_look(now(), kAws, kSecondNode, server(true, 2100, {Epoch{6}, Term{1}}, "h3"));
  RedisLook first = server(false, 2050, {Epoch{6}, Term{1}}, "h3");
  first.status.source = {"10.0.2.2", 6379};
  RedisLook second = server(false, 1000, here);
  second.status.source = {"10.0.2.1", 6379};
  step = look(first, second);
  ASSERT_EQ(step.ops.size(), 1u);
  EXPECT_EQ(step.ops[0], (RedisCore::Op{kSecondNode, Kind::kFollow, {}, {"10.0.1.1", 6379}}));
  EXPECT_EQ(core_->lag(), 50u);
}

TEST_F(RedisPair, AStandbyNeverFollowsAnOlderOrAnEmptyPrimary) {
  wanted_ = {GatewayMode::kRemote, {}, kAws, false};
  for (Promotion older : {Promotion{Epoch{4}, {}}, Promotion{}}) {
    since_ += 200ms;
    core_->on_look(now(), kAws, kFirstNode, server(true, 9000, older, "h2"));
    auto step = look(server(false, 1000, {Epoch{5}, {}}), server(false, 1000, {Epoch{5}, {}}));
    EXPECT_TRUE(step.ops.empty());
  }
}

TEST_F(RedisPair, ATakeoverBetweenSitesSaysWhatTheOldSiteHadMore) {
  wanted_ = {GatewayMode::kRemote, {}, kAws, false};
  since_ += 200ms;
  core_->on_look(now(), kAws, kFirstNode, server(true, 1500, {Epoch{5}, {}}));
  look(server(false, 1440, {Epoch{5}, {}}), server(false, 1400, {Epoch{5}, {}}));
  write_at(6);
  auto step = look(server(false, 1440, {Epoch{5}, {}}), server(false, 1400, {Epoch{5}, {}}));
  ASSERT_EQ(step.lost.size(), 1u);
  EXPECT_EQ(step.lost[0].bytes, 60u);
  EXPECT_EQ(step.lost[0].site, kAws);
  EXPECT_FALSE(step.lost[0].exact);
}

TEST_F(RedisPair, ADrainedSiteFencesAndWaitsForTheReplicas) {
  open();
  wanted_ = {GatewayMode::kHold, Epoch{5}, kNoSite, false};
  Promotion p{Epoch{5}, {}};
  EXPECT_TRUE(look(server(true, 1000, p), server(false, 1000, p)).ops.empty());
  wanted_.drained = true;
  auto step = look(server(true, 1000, p), server(false, 1000, p));
  ASSERT_EQ(step.ops.size(), 1u);
  EXPECT_EQ(step.ops[0], (RedisCore::Op{kFirstNode, Kind::kFence, {}, {}, true}));
  EXPECT_FALSE(core_->settled());
  core_->on_done(now(), kFirstNode, true);
  RedisLook fenced = server(true, 1000, p);
  fenced.status.fenced = true;
  look(fenced, server(false, 1000, p));
  EXPECT_TRUE(core_->settled());
  write_at(5);  // the move is undone: open again, once the fence is taken away
  step = look(fenced, server(false, 1000, p));
  EXPECT_FALSE(core_->open());
  ASSERT_EQ(step.ops.size(), 1u);
  EXPECT_EQ(step.ops[0].kind, Kind::kPromote);
}

TEST_F(RedisPair, WithoutALeaseAPrimaryIsFencedAfterAWhile) {
  open();
  wanted_ = {GatewayMode::kRefuse, {}, kNoSite, false};
  Promotion p{Epoch{5}, {}};
  int rounds = 0;
  while (rounds < 20 && look(server(true, 1000, p), server(false, 1000, p)).ops.empty()) ++rounds;
  EXPECT_EQ(rounds, 5);  // a second
  EXPECT_FALSE(core_->open());
}

}  // namespace
}  // namespace leeward::database

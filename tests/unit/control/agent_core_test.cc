// Stories of one agent, told directly to its core. The site under test is 0, its peer is 1.
#include "control/agent_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leeward::control {
namespace {

constexpr SiteId kSelf{0};
constexpr SiteId kPeer{1};

class LeaseHolder : public ::testing::Test {
 protected:
  LeaseHolder() {
    config_.self = kSelf;
    config_.peers = {kPeer};
    restart();
  }

  Now now() const { return Now{BootTime(100s + since_), WallTime(Duration(since_))}; }
  void pass(Duration d) { since_ += d; }

  void restart() {
    core_.emplace(config_);
    core_->start(now(), disk_, take());
  }

  // Collects what the next call emits; what is to be durable reaches the disk in order.
  AgentEffects& take() {
    settle();
    effects_.clear();
    return effects_;
  }
  void settle() {
    for (const AgentEffect& e : effects_)
      if (const auto* persist = std::get_if<Persist>(&e)) disk_ = persist->memory;
  }
  template <typename Effect>
  const Effect* emitted() {
    settle();
    const Effect* last = nullptr;
    for (const AgentEffect& e : effects_)
      if (const auto* found = std::get_if<Effect>(&e)) last = found;
    return last;
  }

  void record(SiteId writer, std::uint64_t epoch, PlanId drain = {}) {
    ServiceRecord r;
    r.version = ++version_;
    r.intent = Intent{writer, Epoch{epoch}, drain, {}};
    r.active = writer;
    r.active_epoch = Epoch{epoch};
    core_->on_record(now(), r, take());
  }
  void database(bool read_only, std::uint64_t epoch) {
    DatabaseStatus s;
    s.reachable = true;
    s.read_only = read_only;
    s.epoch = Epoch{epoch};
    core_->on_database(now(), kFirstNode, s, take());
  }
  // Named as writer at epoch 1, granted `answer_after` later, promoted and open.
  void open(Duration answer_after = 0ms) {
    database(true, 0);
    record(kSelf, 1);
    const auto* asked = emitted<SendLease>();
    ASSERT_NE(asked, nullptr);
    RequestId request = asked->request;
    pass(answer_after);
    core_->on_lease_reply(now(), request, LeaseOutcome::kGranted, take());
    const auto* promote = emitted<StartDatabase>();
    ASSERT_NE(promote, nullptr);
    ASSERT_EQ(promote->op, DatabaseOp::kPromote);
    core_->on_database_done(now(), promote->request, true, Position{1}, take());
    database(false, 1);
    ASSERT_NE(emitted<SetGateway>(), nullptr);
    ASSERT_EQ(emitted<SetGateway>()->mode, GatewayMode::kLocal);
  }
  bool promises(std::uint64_t epoch) {
    core_->on_promise_request(now(), kPeer, Epoch{epoch}, RequestId{7}, take());
    const auto* reply = emitted<SendPromiseReply>();
    return reply != nullptr && reply->granted;
  }

  Duration since_{};
  AgentConfig config_;
  AgentMemory disk_;
  std::optional<AgentCore> core_;
  AgentEffects effects_;
  std::uint64_t version_ = 0;
};

TEST_F(LeaseHolder, StopsWritingBeforeTheLeaseCanBeTaken) {
  Now sent = now();
  open(600ms);
  // The store changed the lease at `sent` at the earliest and gives it away a takeover later, on a
  // clock that may run fast while ours runs slow.
  EXPECT_EQ(core_->deadline(), sent.boot + config_.lease.duration);
  EXPECT_TRUE(config_.lease.safe());
  since_ = sent.boot - BootTime(100s) + config_.lease.duration;
  core_->tick(now(), take());
  EXPECT_FALSE(core_->holds_lease(now()));
  ASSERT_NE(emitted<SetGateway>(), nullptr);
  EXPECT_NE(emitted<SetGateway>()->mode, GatewayMode::kLocal);
  EXPECT_EQ(emitted<SetGateway>()->epoch, Epoch{});  // drops what is in flight
  database(false, 1);
  ASSERT_NE(emitted<StartDatabase>(), nullptr);
  EXPECT_EQ(emitted<StartDatabase>()->op, DatabaseOp::kFence);
}

TEST_F(LeaseHolder, IgnoresTheAnswerToARequestItGaveUp) {
  database(true, 0);
  record(kSelf, 1);
  RequestId first = emitted<SendLease>()->request;
  pass(config_.request_timeout);
  core_->tick(now(), take());  // gives it up, and asks again
  ASSERT_NE(emitted<SendLease>(), nullptr);
  core_->on_lease_reply(now(), first, LeaseOutcome::kGranted, take());
  EXPECT_FALSE(core_->holds_lease(now()));
}

TEST_F(LeaseHolder, ReleasesTheLeaseOnlyAfterItsGatewayIsClosed) {
  open();
  record(kPeer, 2);
  std::optional<std::size_t> closed;
  std::optional<std::size_t> released;
  for (std::size_t i = 0; i < effects_.size(); ++i) {
    if (std::holds_alternative<SetGateway>(effects_[i])) closed = i;
    if (const auto* lease = std::get_if<SendLease>(&effects_[i]);
        lease != nullptr && lease->op == LeaseOp::kRelease)
      released = i;
  }
  pass(config_.lease.renew_every);
  if (!released) {  // a renewal was due first
    ASSERT_TRUE(closed);
    core_->tick(now(), take());
    EXPECT_EQ(emitted<SendLease>()->op, LeaseOp::kRelease);
  } else {
    ASSERT_TRUE(closed);
    EXPECT_LT(*closed, *released);
  }
}

TEST_F(LeaseHolder, GatewayOpensOnlyToADatabaseOfItsEpoch) {
  database(true, 0);
  record(kSelf, 2);
  RequestId asked = emitted<SendLease>()->request;
  core_->on_lease_reply(now(), asked, LeaseOutcome::kGranted, take());
  RequestId promote = emitted<StartDatabase>()->request;
  core_->on_database_done(now(), promote, true, Position{1}, take());
  database(false, 1);  // writable, but by an older promotion
  EXPECT_EQ(emitted<SetGateway>(), nullptr);
  EXPECT_NE(core_->report(now()).gateway, GatewayMode::kLocal);
}

TEST_F(LeaseHolder, AnOlderRecordTurnsNothingBack) {
  record(kPeer, 3);
  ServiceRecord old;
  old.version = 1;
  old.intent = Intent{kSelf, Epoch{2}, {}, {}};
  core_->on_record(now(), old, take());
  EXPECT_EQ(core_->memory().intent.writer, kPeer);
  EXPECT_EQ(emitted<SendLease>(), nullptr);
}

TEST_F(LeaseHolder, GoesOnByPromiseOfEveryPeerWhileTheStoreIsSilent) {
  open();
  BootTime asked{};
  RequestId request{};
  while (asked == BootTime{} && since_ < 10s) {
    pass(100ms);
    core_->tick(now(), take());
    if (const auto* ask = emitted<SendPromiseRequest>()) {
      asked = now().boot;
      request = ask->request;
    }
  }
  ASSERT_NE(asked, BootTime{});
  pass(200ms);
  core_->on_promise_reply(now(), kPeer, request, true, take());
  EXPECT_EQ(core_->deadline(), asked + config_.lease.duration);
}

TEST_F(LeaseHolder, PromiseIsRefusedWhileAsking) {
  database(true, 0);
  record(kSelf, 2);
  ASSERT_NE(emitted<SendLease>(), nullptr);
  EXPECT_FALSE(promises(1));
  EXPECT_FALSE(promises(2));
}

TEST_F(LeaseHolder, PromiseIsRefusedBelowAKnownEpoch) {
  record(kSelf, 2);
  restart();
  EXPECT_FALSE(promises(1));
}

TEST_F(LeaseHolder, PromiseSurvivesARestart) {
  record(kPeer, 1);
  ASSERT_TRUE(promises(1));
  settle();
  restart();
  record(kSelf, 2);
  database(true, 1);
  EXPECT_EQ(emitted<SendLease>(), nullptr);
  pass(config_.lease.takeover - 1ms);
  database(true, 1);
  EXPECT_EQ(emitted<SendLease>(), nullptr);
  pass(1ms);
  core_->tick(now(), take());
  ASSERT_NE(emitted<SendLease>(), nullptr);
  EXPECT_EQ(emitted<SendLease>()->op, LeaseOp::kAcquire);
}

TEST_F(LeaseHolder, PromiseIsDurableBeforeItIsGiven) {
  record(kPeer, 1);
  core_->on_promise_request(now(), kPeer, Epoch{1}, RequestId{7}, take());
  ASSERT_GE(effects_.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<Persist>(effects_[0]));
  EXPECT_TRUE(std::holds_alternative<SendPromiseReply>(effects_[1]));
}

TEST_F(LeaseHolder, DrainsBeforeItFences) {
  open();
  record(kSelf, 1, PlanId{5});
  ASSERT_NE(emitted<SetGateway>(), nullptr);
  EXPECT_EQ(emitted<SetGateway>()->mode, GatewayMode::kHold);
  EXPECT_EQ(emitted<SetGateway>()->epoch, Epoch{1});  // what is in flight may finish
  EXPECT_EQ(emitted<StartDatabase>(), nullptr);
  core_->on_gateway(now(), true, take());
  const auto* fence = emitted<StartDatabase>();
  ASSERT_NE(fence, nullptr);
  EXPECT_EQ(fence->op, DatabaseOp::kFence);
  core_->on_database_done(now(), fence->request, true, Position{42}, take());
  EXPECT_EQ(core_->report(now()).drained_plan, PlanId{5});
  EXPECT_EQ(core_->report(now()).drained_position, Position{42});
}

TEST_F(LeaseHolder, AReportAfterAPauseDoesNotOfferTheStandby) {
  record(kPeer, 1);
  auto look = [&](Duration heartbeat_age) {
    DatabaseStatus s;
    s.reachable = true;
    s.epoch = Epoch{1};
    s.source = kPeer;
    s.replication = ReplicationState::kStreaming;
    s.heartbeat_age = heartbeat_age;
    core_->on_database(now(), kFirstNode, s, take());
  };
  for (int i = 0; i < 8; ++i) {
    look(100ms);
    pass(200ms);
  }
  EXPECT_EQ(core_->report(now()).problem, "");
  pass(3s);
  EXPECT_NE(core_->report(now()).problem, "");
  look(3s);  // dated back to the look before the pause
  EXPECT_NE(core_->report(now()).problem, "");
  for (int i = 0; i < 6; ++i) {
    pass(200ms);
    look(100ms);
  }
  EXPECT_EQ(core_->report(now()).problem, "");
}

// A standby that follows the open writer at site 1, as control said just now.
class Standby : public LeaseHolder {
 protected:
  Standby() {
    record(kPeer, 3);
    seen({});
  }
  struct Seen {
    ReplicationState replication = ReplicationState::kStreaming;
    bool diverged = false;
  };
  void seen(const Seen& seen) {
    DatabaseStatus s;
    s.reachable = true;
    s.epoch = Epoch{3};
    s.source = kPeer;
    s.replication = seen.replication;
    s.diverged = seen.diverged;
    core_->on_database(now(), kFirstNode, s, take());
  }
  Status ask(Rejoin how) { return core_->on_rejoin_request(now(), how, take()); }
};

TEST_F(Standby, ComparesItselfOnlyWhileItDoesNothingElse) {
  auto followed = core_->only_follows(now());
  ASSERT_TRUE(followed);
  EXPECT_EQ(followed->node, kFirstNode);
  EXPECT_EQ(followed->source, kPeer);
  seen({.replication = ReplicationState::kConnecting});
  EXPECT_FALSE(core_->only_follows(now()));
  seen({.diverged = true});
  EXPECT_FALSE(core_->only_follows(now()));  // and begins to rejoin
  core_->on_database_done(now(), emitted<StartDatabase>()->request, true, {}, take());
  EXPECT_FALSE(core_->only_follows(now()));  // until it was looked at
  seen({});
  EXPECT_TRUE(core_->only_follows(now()));
  pass(config_.database_stale);
  EXPECT_FALSE(core_->only_follows(now()));
  seen({});
  record(kSelf, 4);  // it is to take over
  EXPECT_FALSE(core_->only_follows(now()));
}

TEST_F(Standby, IsReseededWhenAnOperatorAsks) {
  ASSERT_TRUE(ask(Rejoin::kReseed));
  const auto* op = emitted<StartDatabase>();
  ASSERT_NE(op, nullptr);
  EXPECT_EQ(op->op, DatabaseOp::kFollow);
  EXPECT_EQ(op->site, kPeer);
  EXPECT_EQ(op->epoch, Epoch{3});
  EXPECT_TRUE(op->reseed);
  EXPECT_TRUE(core_->report(now()).rejoining);
  EXPECT_EQ(core_->report(now()).problem, "rejoining");  // so that nobody fails over to it

  RequestId request = op->request;
  EXPECT_EQ(ask(Rejoin::kReseed).error().code, Code::kConflict);
  // Named as the writer meanwhile, it takes no lease: what it has is half a copy.
  record(kSelf, 4);
  EXPECT_EQ(emitted<SendLease>(), nullptr);
  core_->on_database_done(now(), request, true, {}, take());
  seen({});
  ASSERT_NE(emitted<SendLease>(), nullptr);
  EXPECT_EQ(emitted<SendLease>()->op, LeaseOp::kAcquire);
}

TEST_F(Standby, IsRewoundOnlyWhenThereIsSomethingToUndo) {
  EXPECT_EQ(ask(Rejoin::kRewind).error().code, Code::kRefused);
  EXPECT_EQ(emitted<StartDatabase>(), nullptr);
  seen({.diverged = true});
  const auto* own = emitted<StartDatabase>();  // it sees to it by itself
  ASSERT_NE(own, nullptr);
  core_->on_database_done(now(), own->request, false, {}, take());
  seen({.diverged = true});
  ASSERT_TRUE(ask(Rejoin::kRewind));  // without waiting for its next try
  ASSERT_NE(emitted<StartDatabase>(), nullptr);
  EXPECT_FALSE(emitted<StartDatabase>()->reseed);
}

TEST_F(Standby, DropsNothingBesideTheLeaseOrOnOldNews) {
  record(kPeer, 3, PlanId{9});
  EXPECT_EQ(ask(Rejoin::kReseed).error().code, Code::kRefused) << "a planned move runs";
  record(kPeer, 3);
  pass(config_.contact_fresh);
  seen({});
  EXPECT_EQ(ask(Rejoin::kReseed).error().code, Code::kRefused) << "control was not heard of lately";
  record(kSelf, 4);
  EXPECT_EQ(ask(Rejoin::kReseed).error().code, Code::kRefused) << "this site is to be the writer";
  for (const auto& e : effects_) EXPECT_FALSE(std::holds_alternative<StartDatabase>(e));
}

TEST_F(LeaseHolder, IsNeverReseeded) {
  open();
  EXPECT_EQ(core_->on_rejoin_request(now(), Rejoin::kReseed, take()).error().code, Code::kRefused);
  EXPECT_EQ(emitted<StartDatabase>(), nullptr);
}

}  // namespace
}  // namespace leeward::control

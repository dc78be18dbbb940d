// Stories of the deciding core: two workload sites, the writer 0 and the standby 1, and a
// witness 2.
#include "control/control_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leeward::control {
namespace {

using ::testing::HasSubstr;

constexpr SiteId kWriter{0};
constexpr SiteId kStandby{1};
constexpr SiteId kWitness{2};

class Deciding : public ::testing::Test {
 protected:
  Deciding() {
    config_.vantages = {kWriter, kStandby, kWitness};
    config_.workloads = {kWriter, kStandby};
    config_.preferred = kWriter;
    config_.failover.rpo = 2s;
    config_.failover.block_window = 60s;
    store_.version = 1;
    store_.intent = Intent{kWriter, Epoch{1}, {}, {}};
    store_.active = kWriter;
    store_.active_epoch = Epoch{1};
    lease_ = LeaseValue{kWriter, Epoch{1}, 0};
    restart();
  }

  Now now() const { return Now{BootTime(100s + since_), WallTime(Duration(since_))}; }

  void restart() {
    core_.emplace(config_);
    effects_.clear();
    core_->load(now(), store_, lease_, lease_version_, effects_);
    carry_out();
  }

  // The store accepts every swap: this process is alone.
  void carry_out() {
    for (std::size_t i = 0; i < effects_.size(); ++i) {
      ControlEffects more;
      if (auto* save = std::get_if<SaveRecord>(&effects_[i])) {
        store_ = save->record;
        core_->on_record_saved(now(), true, ++store_.version, more);
      } else if (auto* lease = std::get_if<SaveLease>(&effects_[i])) {
        lease_ = lease->value;
        core_->on_lease_saved(now(), true, ++lease_version_, more);
      } else if (auto* answer = std::get_if<LeaseReply>(&effects_[i])) {
        outcome_ = answer->outcome;
      } else if (auto* reply = std::get_if<OperatorReply>(&effects_[i])) {
        reply_ = *reply;
      }
      for (auto& m : more) effects_.push_back(std::move(m));
    }
    effects_.clear();
  }

  struct Seen {
    std::vector<SiteId> down = {};    // vantages that see the writer down
    std::vector<SiteId> silent = {};  // vantages that say nothing
    Duration heartbeat_age = 100ms;   // at the standby
    Duration heartbeat_grows = 0ms;   // a second
    bool writer_reports = true;
    bool standby_reports = true;
  };

  // Lets `lasts` pass with what is seen reported twice a second.
  void observe(const Seen& seen, Duration lasts) {
    Duration age = seen.heartbeat_age;
    for (Duration t{}; t < lasts; t += 500ms) {
      since_ += 500ms;
      age += seen.heartbeat_grows / 2;
      for (SiteId v : config_.vantages) {
        if (contains(seen.silent, v)) continue;
        VantageReport report;
        report.vantage = v;
        report.health[kWriter.value] = contains(seen.down, v) ? Health::kDown : Health::kUp;
        report.health[kStandby.value] = Health::kUp;
        core_->on_vantage(now(), report, effects_);
        carry_out();
      }
      if (seen.writer_reports) agent(kWriter, writer_);
      standby_.database.heartbeat_age = age;
      if (seen.standby_reports) agent(kStandby, standby_);
      core_->tick(now(), effects_);
      carry_out();
    }
  }
  void agent(SiteId site, AgentReport report) {
    report.site = site;
    core_->on_agent(now(), report, effects_);
    carry_out();
  }
  void ask(OperatorRequest::Kind kind, bool accept_loss = false) {
    reply_ = {};
    core_->on_operator(now(), {1, kind, kNoSite, accept_loss, false, "test"}, effects_);
    carry_out();
  }
  LeaseOutcome acquire(SiteId from, std::uint64_t epoch, LeaseOp op = LeaseOp::kAcquire) {
    core_->on_lease_request(now(), from, op, Epoch{epoch}, RequestId{1}, effects_);
    carry_out();
    return outcome_;
  }
  static bool contains(const std::vector<SiteId>& list, SiteId site) {
    return std::find(list.begin(), list.end(), site) != list.end();
  }
  static AgentReport healthy_writer() {
    AgentReport r;
    r.highest_epoch = r.lease_epoch = r.writing_epoch = Epoch{1};
    r.gateway = GatewayMode::kLocal;
    r.database.reachable = true;
    r.database.read_only = false;
    r.database.epoch = Epoch{1};
    return r;
  }
  static AgentReport healthy_standby() {
    AgentReport r;
    r.highest_epoch = Epoch{1};
    r.gateway = GatewayMode::kRemote;
    r.database.reachable = true;
    r.database.epoch = Epoch{1};
    r.database.source = kWriter;
    r.database.replication = ReplicationState::kStreaming;
    return r;
  }

  Seen healthy() const { return {}; }
  Seen dead() const {
    return {.down = {kStandby, kWitness},
            .silent = {kWriter},
            .heartbeat_age = 1s,
            .heartbeat_grows = 1s,
            .writer_reports = false};
  }

  // The agent of the writer reports, no heartbeat comes, and little would be lost.
  Seen dead_by_votes() const {
    Seen seen = dead();
    seen.writer_reports = true;
    seen.heartbeat_age = 1500ms;
    seen.heartbeat_grows = 0ms;
    return seen;
  }

  Duration since_{};
  ControlConfig config_;
  std::optional<ControlCore> core_;
  ControlEffects effects_;
  ServiceRecord store_;
  LeaseValue lease_;
  std::uint64_t lease_version_ = 1;
  LeaseOutcome outcome_{};
  OperatorReply reply_{};
  AgentReport writer_ = healthy_writer();
  AgentReport standby_ = healthy_standby();
};

TEST_F(Deciding, FailsOverWhenAQuorumSeesTheWriterDown) {
  observe(healthy(), 3s);
  observe(dead(), 2s);
  EXPECT_EQ(store_.intent.writer, kStandby);
  EXPECT_EQ(store_.intent.epoch, Epoch{2});
  EXPECT_TRUE(store_.blocked);
  ASSERT_TRUE(store_.plan);
  EXPECT_TRUE(store_.plan->automatic);
}

TEST_F(Deciding, NoFailoverWithoutQuorum) {
  observe(healthy(), 3s);
  Seen seen = dead();
  seen.down = {kWitness};
  observe(seen, 20s);
  EXPECT_EQ(store_.intent.writer, kWriter);
}

TEST_F(Deciding, OldOpinionsDoNotMakeAQuorum) {
  observe(healthy(), 3s);
  observe({.down = {kStandby}}, 1s);
  observe({.silent = {kStandby}}, 3s);  // its prober is heard no more
  Seen seen = dead();
  seen.down = {kWitness};
  seen.silent = {kWriter, kStandby};
  observe(seen, 20s);
  EXPECT_EQ(store_.intent.writer, kWriter);
}

TEST_F(Deciding, HeartbeatVetoes) {
  observe(healthy(), 3s);
  Seen overloaded = dead();
  overloaded.heartbeat_age = 400ms;
  overloaded.heartbeat_grows = 0ms;
  observe(overloaded, 20s);
  EXPECT_EQ(store_.intent.writer, kWriter);
  EXPECT_TRUE(core_->degraded(now(), kWriter));
  EXPECT_FALSE(store_.proposal);
}

TEST_F(Deciding, ControlThatIsCutOffDoesNotTakeItsOwnSilenceForTheWriters) {
  observe(healthy(), 3s);
  observe({.down = {kStandby, kWitness}}, 500ms);  // vetoed by the heartbeat
  Seen alone{.down = {kWitness},
             .silent = {kWriter, kStandby},
             .writer_reports = false,
             .standby_reports = false};
  observe(alone, 20s);
  EXPECT_EQ(store_.intent.writer, kWriter);
}

TEST_F(Deciding, RpoGateLeavesAProposal) {
  observe(healthy(), 3s);
  Seen lagging = dead();
  lagging.heartbeat_age = 9s;
  observe(lagging, config_.proposal_after + 3s);
  EXPECT_EQ(store_.intent.writer, kWriter);
  ASSERT_TRUE(store_.proposal);
  EXPECT_THAT(store_.proposal->why_not_automatic, HasSubstr("more than the RPO"));
  ask(OperatorRequest::Kind::kFailover);
  EXPECT_FALSE(reply_.ok);
  ask(OperatorRequest::Kind::kFailover, true);
  EXPECT_TRUE(reply_.ok);
  EXPECT_EQ(store_.intent.writer, kStandby);
}

TEST_F(Deciding, RowsThatCameLateAreOld) {
  standby_.heartbeat_late = 5s;
  observe(healthy(), 3s);
  observe(dead(), 10s);
  EXPECT_EQ(store_.intent.writer, kWriter);
  ASSERT_TRUE(store_.proposal);
  EXPECT_THAT(store_.proposal->why_not_automatic, HasSubstr("more than the RPO"));
}

TEST_F(Deciding, HowLateRowsCameMustBeKnown) {
  standby_.heartbeat_late = kNever;
  observe(healthy(), 3s);
  observe(dead(), 10s);
  EXPECT_EQ(store_.intent.writer, kWriter);
  ASSERT_TRUE(store_.proposal);
  EXPECT_THAT(store_.proposal->why_not_automatic, HasSubstr("unknown"));
}

// What the writer wrote last is remembered when its own database does not answer any more.
TEST_F(Deciding, AStandbyThatLacksRowsOfTheWritersLastReportIsBehind) {
  writer_.database.heartbeat_written = WallTime(90s);
  standby_.database.heartbeat_written = WallTime(80s);
  observe(healthy(), 3s);
  writer_.writing_epoch = Epoch{};
  writer_.database = DatabaseStatus{};
  Seen seen = dead_by_votes();
  observe(seen, 10s);
  EXPECT_EQ(store_.intent.writer, kWriter);
  EXPECT_TRUE(store_.proposal);
}

TEST_F(Deciding, ANewWriterIsNotLeftForVotesFromBeforeItOpened) {
  config_.failover.startup_timeout = 6s;
  restart();
  Seen starting = dead_by_votes();
  observe(starting, 5s);
  EXPECT_EQ(store_.intent.writer, kWriter);
  observe(healthy(), 1s);
  EXPECT_EQ(store_.up_epoch, Epoch{1});
  restart();  // it is written down
  observe(healthy(), config_.reopen_patience);
  observe(starting, 2s);
  EXPECT_EQ(store_.intent.writer, kStandby);
}

TEST_F(Deciding, ANewWriterThatNeverComesUpIsLeftInTheEnd) {
  config_.failover.startup_timeout = 6s;
  restart();
  Seen starting = dead_by_votes();
  observe(starting, 8s);
  EXPECT_EQ(store_.intent.writer, kStandby);
}

TEST_F(Deciding, ASiteThatHasJustChangedItsNodeIsProbedOnceMore) {
  observe(healthy(), 3s);
  Seen moving = dead_by_votes();
  writer_.node_moving = true;
  writer_.writing_epoch = Epoch{};
  observe(moving, 1500ms);
  writer_.node_moving = false;
  writer_.writing_epoch = Epoch{1};
  writer_.database.term = Term{2};
  observe(moving, 2s);  // the votes are old ones still
  EXPECT_EQ(store_.intent.writer, kWriter);
  observe(moving, config_.reopen_patience);
  EXPECT_EQ(store_.intent.writer, kStandby);
}

TEST_F(Deciding, AProposalGoesAwayWhenTheWriterIsBack) {
  observe(healthy(), 3s);
  Seen lagging = dead();
  lagging.heartbeat_age = 9s;
  observe(lagging, config_.proposal_after + 3s);
  ASSERT_TRUE(store_.proposal);
  observe(healthy(), 3s);
  EXPECT_FALSE(store_.proposal);
}

TEST_F(Deciding, BlockWindow) {
  store_.blocked = true;
  restart();
  observe(healthy(), 3s);
  observe(dead(), 10s);
  EXPECT_EQ(store_.intent.writer, kWriter);
  ASSERT_TRUE(store_.proposal);
  EXPECT_THAT(store_.proposal->why_not_automatic, HasSubstr("automatic failover happened"));
  observe(healthy(), config_.failover.block_window);
  EXPECT_FALSE(store_.blocked);
  observe(dead(), 2s);
  EXPECT_EQ(store_.intent.writer, kStandby);
}

TEST_F(Deciding, AStandbyThatHasNotFollowedTheEpochIsNoTarget) {
  standby_.database.epoch = Epoch{0};
  observe(healthy(), 3s);
  observe(dead(), 10s);
  EXPECT_EQ(store_.intent.writer, kWriter);
  EXPECT_TRUE(store_.proposal);
}

TEST_F(Deciding, AfterAPauseOldReportsCountForNothing) {
  observe(healthy(), 3s);
  since_ += 8s;
  Seen queued = dead();  // arrives at once, and is eight seconds old
  queued.heartbeat_age = 1600ms;
  queued.heartbeat_grows = 0ms;
  observe(queued, 500ms);
  EXPECT_EQ(store_.intent.writer, kWriter);
  EXPECT_EQ(core_->verdict(now(), kWriter), Health::kUnknown);
}

TEST_F(Deciding, LeaseIsGrantedOnlyToWhomTheRecordNames) {
  EXPECT_EQ(acquire(kStandby, 2), LeaseOutcome::kNotYet);
  EXPECT_EQ(acquire(kStandby, 1), LeaseOutcome::kSuperseded);
  EXPECT_EQ(acquire(kWriter, 1, LeaseOp::kRenew), LeaseOutcome::kGranted);
}

TEST_F(Deciding, LeaseIsTakenOverOnlyAfterTheTakeoverTime) {
  observe(healthy(), 3s);
  observe(dead(), 2s);
  ASSERT_EQ(store_.intent.epoch, Epoch{2});
  restart();  // a new process has seen nothing yet
  EXPECT_EQ(acquire(kStandby, 2), LeaseOutcome::kNotYet);
  since_ += config_.lease.takeover - 1ms;
  EXPECT_EQ(acquire(kStandby, 2), LeaseOutcome::kNotYet);
  since_ += 1ms;
  EXPECT_EQ(acquire(kStandby, 2), LeaseOutcome::kGranted);
  EXPECT_EQ(acquire(kWriter, 1, LeaseOp::kRenew), LeaseOutcome::kSuperseded);
}

TEST_F(Deciding, AReleasedLeaseIsFreeAtOnce) {
  observe(healthy(), 3s);
  observe(dead(), 2s);
  EXPECT_EQ(acquire(kWriter, 1, LeaseOp::kRelease), LeaseOutcome::kGranted);
  EXPECT_EQ(acquire(kStandby, 2), LeaseOutcome::kGranted);
}

TEST_F(Deciding, SwitchoverMovesStepByStep) {
  observe(healthy(), 3s);
  ask(OperatorRequest::Kind::kSwitchover);
  ASSERT_TRUE(reply_.ok) << reply_.message;
  observe(healthy(), 500ms);
  ASSERT_EQ(store_.plan->step, PlanStep::kDrain);
  ASSERT_EQ(store_.intent.drain, store_.plan->id);
  writer_.writing_epoch = {};
  writer_.drained_plan = store_.plan->id;
  writer_.drained_position = Position{10};
  standby_.database.applied = Position{9};
  observe(healthy(), 500ms);
  ASSERT_EQ(store_.plan->step, PlanStep::kCatchUp);
  EXPECT_EQ(store_.intent.writer, kWriter);
  standby_.database.applied = Position{10};
  observe(healthy(), 500ms);
  ASSERT_EQ(store_.plan->step, PlanStep::kTransfer);
  EXPECT_EQ(store_.intent.writer, kStandby);
  EXPECT_EQ(store_.intent.required, Position{10});
  standby_.lease_epoch = standby_.writing_epoch = standby_.highest_epoch = store_.intent.epoch;
  observe(healthy(), 500ms);
  EXPECT_EQ(store_.active, kStandby);
  for (SiteId s : config_.workloads) core_->on_dns(now(), s, store_.active_epoch, effects_);
  carry_out();
  EXPECT_EQ(store_.plan->step, PlanStep::kDone);
}

TEST_F(Deciding, SwitchoverUndoneWhenDrainStalls) {
  observe(healthy(), 3s);
  ask(OperatorRequest::Kind::kSwitchover);
  observe(healthy(), config_.failover.drain_timeout + 2s);
  EXPECT_EQ(store_.plan->step, PlanStep::kAborted);
  EXPECT_FALSE(store_.intent.draining());
  EXPECT_EQ(store_.intent.writer, kWriter);
  EXPECT_EQ(store_.intent.epoch, Epoch{1});
}

TEST_F(Deciding, ProbesThatHangBecauseTheWriterDrainsDoNotUndoTheMove) {
  observe(healthy(), 3s);
  ask(OperatorRequest::Kind::kSwitchover);
  observe(healthy(), 500ms);
  ASSERT_EQ(store_.plan->step, PlanStep::kDrain);
  Seen hanging = healthy();
  hanging.down = {kWriter, kStandby, kWitness};
  hanging.heartbeat_age = 2s;  // a database that drains is written no more
  observe(hanging, 3s);
  EXPECT_EQ(store_.plan->step, PlanStep::kDrain);

  writer_.database.reachable = false;  // but this is no drain
  observe(hanging, 1s);
  EXPECT_EQ(store_.plan->step, PlanStep::kAborted);
  EXPECT_THAT(store_.plan->outcome, HasSubstr("the writer went down"));
}

TEST_F(Deciding, AnAnswerToAnUndonePlanDoesNotCount) {
  writer_.drained_plan = PlanId{1};  // still on its way from the plan before
  store_.last_plan = PlanId{1};
  restart();
  observe(healthy(), 3s);
  ask(OperatorRequest::Kind::kSwitchover);
  observe(healthy(), 2s);
  EXPECT_EQ(store_.plan->id, PlanId{2});
  EXPECT_EQ(store_.plan->step, PlanStep::kDrain);
}

TEST_F(Deciding, AStuckMoveMayBeOvertakenByAPerson) {
  store_ = ServiceRecord{};
  lease_ = LeaseValue{};
  restart();
  writer_ = standby_ = AgentReport{};
  writer_.database.reachable = standby_.database.reachable = true;
  observe(healthy(), 1s);
  ASSERT_EQ(store_.plan->kind, PlanKind::kBootstrap);
  observe(dead(), 5s);  // the first writer is lost before it opens
  ask(OperatorRequest::Kind::kFailover, true);
  EXPECT_FALSE(reply_.ok);
  observe(dead(), config_.transfer_timeout);
  EXPECT_TRUE(store_.proposal);
  ask(OperatorRequest::Kind::kFailover, true);
  EXPECT_TRUE(reply_.ok) << reply_.message;
  EXPECT_EQ(store_.intent.writer, kStandby);
}

TEST_F(Deciding, ASuccessorGoesOnFromTheRecord) {
  observe(healthy(), 3s);
  ask(OperatorRequest::Kind::kSwitchover);
  observe(healthy(), 500ms);
  ASSERT_EQ(store_.plan->step, PlanStep::kDrain);
  restart();
  writer_.writing_epoch = {};
  writer_.drained_plan = store_.plan->id;
  observe(healthy(), 1s);
  EXPECT_EQ(store_.plan->step, PlanStep::kTransfer);
}

TEST_F(Deciding, NobodyFailsOverToHalfACopyWhateverLossIsAccepted) {
  standby_.database.incomplete = standby_.database.diverged = true;
  standby_.problem = "diverged";  // as its agent says
  observe(dead(), 10s);
  EXPECT_EQ(store_.intent.writer, kWriter);
  ask(OperatorRequest::Kind::kFailover, true);
  EXPECT_FALSE(reply_.ok);
  EXPECT_THAT(reply_.message, HasSubstr("incomplete"));
  standby_.database.incomplete = false;  // whole, but with a history of its own: a person may
  observe(dead(), 1s);
  ask(OperatorRequest::Kind::kFailover, true);
  EXPECT_TRUE(reply_.ok) << reply_.message;
}

// Lossless mode: the standby acknowledges, and protection is on.
class Lossless : public Deciding {
 protected:
  Lossless() {
    config_.lossless = true;
    standby_.database.acknowledges = true;
    standby_.database.link = 5;
    writer_.database.strict = true;
    restart();
    observe(healthy(), 1s);  // arming
    writer_.protection = store_.protection.number;
    observe(healthy(), 1s);
  }
};

TEST_F(Lossless, AFailoverUnderProtectionIsNotAskedForItsLoss) {
  ASSERT_EQ(store_.protection.state, ProtectionState::kOn);
  EXPECT_TRUE(core_->protects(now(), kStandby));
  Seen gone = dead();
  gone.heartbeat_age = 30s;  // an estimate far above the RPO
  observe(gone, 3s);
  EXPECT_EQ(store_.intent.writer, kStandby);
  EXPECT_TRUE(store_.intent.complete);
  EXPECT_EQ(store_.intent.link, 5u);
}

TEST_F(Lossless, AnOperatorLetsTheWriterGoOnWithoutALostStandbyAndOnlyThen) {
  ASSERT_EQ(store_.protection.state, ProtectionState::kOn);
  ask(OperatorRequest::Kind::kDegrade);
  EXPECT_FALSE(reply_.ok);
  EXPECT_EQ(reply_.code, Code::kRefused);
  standby_.database.replication = ReplicationState::kConnecting;
  observe(healthy(), 20s);
  EXPECT_EQ(store_.protection.state, ProtectionState::kOn) << "without degrade_after it waits";
  std::uint64_t number = store_.protection.number;
  ask(OperatorRequest::Kind::kDegrade);
  EXPECT_TRUE(reply_.ok) << reply_.message;
  EXPECT_EQ(store_.protection.state, ProtectionState::kOff);
  EXPECT_GT(store_.protection.number, number);
  EXPECT_FALSE(core_->protects(now(), kStandby));
  ask(OperatorRequest::Kind::kDegrade);
  EXPECT_EQ(reply_.code, Code::kRefused) << "nothing waits any more";
  standby_.database.replication = ReplicationState::kStreaming;
  observe(healthy(), 1s);
  EXPECT_EQ(store_.protection.state, ProtectionState::kArming) << "it comes back by itself";
}

// What was written during its absence must be received first, and no commit waits for that.
TEST_F(Lossless, AStandbyThatComesBackIsArmedOnceItIsNear) {
  standby_.database.replication = ReplicationState::kConnecting;
  observe(healthy(), 20s);
  ask(OperatorRequest::Kind::kDegrade);
  ASSERT_EQ(store_.protection.state, ProtectionState::kOff);
  auto both_move = [&](int seconds, std::uint64_t written, std::uint64_t received) {
    for (int i = 0; i < seconds * 2; ++i) {
      writer_.database.written = Position{writer_.database.written.value + written / 2};
      standby_.database.durable = Position{standby_.database.durable.value + received / 2};
      observe(healthy(), 500ms);
    }
  };
  writer_.database.written = Position{standby_.database.durable.value + 100'000};
  standby_.database.replication = ReplicationState::kStreaming;
  both_move(90, 400, 1400);
  EXPECT_EQ(store_.protection.state, ProtectionState::kOff) << "10,000 behind, and 10 s to go";
  both_move(11, 400, 1400);
  EXPECT_NE(store_.protection.state, ProtectionState::kOff);
}

TEST_F(Lossless, AStandbyThatComesNoNearerIsWaitedFor) {
  standby_.database.replication = ReplicationState::kConnecting;
  observe(healthy(), 20s);
  ask(OperatorRequest::Kind::kDegrade);
  standby_.database.replication = ReplicationState::kStreaming;
  for (std::uint64_t i = 0; i < 2 * 29; ++i) {
    writer_.database.written = Position{standby_.database.durable.value + 10'000 + 10 * i};
    observe(healthy(), 500ms);
  }
  EXPECT_EQ(store_.protection.state, ProtectionState::kOff);
  writer_.database.written = Position{standby_.database.durable.value + 20'000};
  observe(healthy(), 2s);
  EXPECT_NE(store_.protection.state, ProtectionState::kOff);
}

TEST_F(Lossless, AStandbyWhoseCopiesMayBeGoneProtectsNothing) {
  standby_.database.link = 6;
  observe(healthy(), 500ms);
  EXPECT_FALSE(core_->protects(now(), kStandby));
  EXPECT_EQ(store_.protection.state, ProtectionState::kArming);
}

// Each once, however many reports tell of it.
TEST_F(Deciding, AWriterThatGivesUpWaitingForCopiesIsAnRpoEvent) {
  std::vector<Note> notes;
  auto report = [&](SemiSync state, std::uint64_t fallbacks, std::uint64_t alone) {
    writer_.database.semi_sync = state;
    writer_.database.fallbacks = fallbacks;
    writer_.database.alone = alone;
    ++writer_.sequence;
    AgentReport r = writer_;
    r.site = kWriter;
    core_->on_agent(now(), r, effects_);
    for (const ControlEffect& e : effects_)
      if (const auto* told = std::get_if<Notes>(&e))
        notes.insert(notes.end(), told->notes.begin(), told->notes.end());
    carry_out();
  };
  report(SemiSync::kOn, 0, 10);
  notes.clear();
  report(SemiSync::kFallen, 1, 12);
  report(SemiSync::kFallen, 1, 200);
  report(SemiSync::kFallen, 1, 300);
  report(SemiSync::kOn, 1, 310);
  report(SemiSync::kOn, 1, 310);
  report(SemiSync::kOn, 2, 315);  // down and up again in between
  ASSERT_EQ(notes.size(), 4u);
  EXPECT_EQ(notes[0].kind, NoteKind::kSemiSyncFallen);
  EXPECT_EQ(notes[1].kind, NoteKind::kSemiSyncBack);
  EXPECT_EQ(notes[1].number, 300);
  EXPECT_EQ(notes[2].kind, NoteKind::kSemiSyncFallen);
  EXPECT_EQ(notes[3].number, 5);
}

}  // namespace
}  // namespace leeward::control

// The machinery of a world: an event queue, and what each event does to the State. The parts are in
//   world.cc            set-up, the network, the loop, who gets which event
//   world_processes.cc  agents and control: the cores' effects carried out, crashes and restarts
//   world_database.cc   the model database
//   world_clients.cc    probes, and clients that write
//   world_faults.cc     faults, healing, and the operator
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sim/checker.h"
#include "sim/random.h"
#include "sim/state.h"

namespace leeward::sim {

enum class Kind : std::uint8_t {
  kAgentTick,
  kControlTick,
  kAgentReport,
  kVantage,
  kProbe,
  kRecordPoll,
  kRecord,
  kLeaseRequest,
  kLeaseReply,
  kPromiseRequest,
  kPromiseReply,
  kDatabaseStatus,
  kDatabaseOp,
  kDatabaseDone,
  kReplicate,
  kHeartbeat,
  kClientWrite,
  kPeerWrite,
  kCommit,
  kAwaitCopy,
  kAck,
  kAckWritten,
  kDnsPoll,
  kDnsRecord,
  kDnsSeen,
  kRestartAgent,
  kRestartControl,
  kRestartDatabase,
  kThawDatabase,
  kFault,
  kHeal,
  kOperator,
  kReportArrives,
  kVantageArrives,
  kSettled,
  kCopied,
  kLinkHeals,
  kWatch,
  kRemoteLook,
  kSwitchNode,
  kPairHeals,
};

struct Event {
  Kind kind;
  std::uint8_t node;  // whom it concerns
  std::uint8_t from;
  std::uint32_t life;  // of the process it belongs to; 0: any
  std::uint64_t a = 0, b = 0, c = 0;
  std::shared_ptr<const void> body;
};

enum class Fault : std::uint8_t {
  kOneWayCut,
  kCut,
  kSiteCutOff,
  kControlCutOff,
  kLinksHeal,
  kAgentCrash,
  kAgentBlinks,  // dies and is back at once
  kDatabaseCrash,
  kDatabaseFreeze,
  kControlCrash,
  kControlPause,
  kAgentPause,
  kSlowReplication,
  kWallJump,
  kOverload,  // too slow for probes, but commits go on
  kSiteDies,
  kSiteIsLost,  // and does not come back
  kOtherNodeCrash,
  kPairCut,
  kCount,
};

// Whom a fault hits, found when it happens.
enum class Role : std::uint8_t { kWriter, kStandby, kThird, kWitness, kAnySite, kAnyNode };

enum class Story : std::uint8_t {
  kNone,
  kStoreLost,
  kOnePeerLeft,
  kSwitchovers,
  kOverload,
  kBothDie,
  kStallThenDie,
  kControlStops,
  kStaleOpinion,
  kYoungEpoch,
  kLateAnswer,
  kStaysDead,
  kLateRows,
  kCount,
};

// Events in the order of their time, and of scheduling within the same instant. The heap holds
// small keys; the events lie still in slots that are used again.
class EventQueue {
 public:
  void push(TrueTime at, Event event);
  bool empty() const { return heap_.empty(); }
  TrueTime next_at() const { return heap_.front().at; }
  Event pop();

 private:
  struct Key {
    TrueTime at;
    std::uint32_t order;
    std::uint32_t slot;
    bool operator>(const Key& other) const {
      return at != other.at ? at > other.at : order > other.order;
    }
  };
  std::vector<Key> heap_;
  std::vector<Event> slots_;
  std::vector<std::uint32_t> free_;
  std::uint32_t order_ = 0;
};

class World {
 public:
  explicit World(const Options& options)
      : options_(options),
        random_(options.seed),
        pair_random_(options.seed ^ 0x5bd1e995u),
        checker_(state_, outcome_, [this](const std::string& line) { say(line); }) {}
  Outcome run();

 private:
  void set_up();
  void schedule(TrueTime at, Kind kind, int node, std::uint32_t life = 0, std::uint64_t a = 0,
                std::uint64_t b = 0, std::uint64_t c = 0, std::shared_ptr<const void> body = {},
                int from = 0);
  void send(int from, int to, Kind kind, std::uint32_t life, std::uint64_t a, std::uint64_t b,
            std::uint64_t c = 0, std::shared_ptr<const void> body = {});
  void handle(Event& e);
  bool defer(Event& e);
  void look_whether_settled();

  void agent_effects(int site, control::AgentEffects& effects);
  void crash_agent(int site, TrueTime down = 0);  // 0: by chance
  void restart_agent(int site);
  void wake_agent(int site);
  void set_gateway(int site, const control::SetGateway& g);
  void maybe_drained(int site);
  void control_effects(control::ControlEffects& effects);
  void crash_control();
  void restart_control();

  DatabaseStatus database_status(int site, int node);
  void look_at_databases(int site);
  void look_at_remote(int site);
  void begin_copy(int site, const control::StartDatabase& op, std::uint32_t life);
  void copied(const Event& e);
  void execute(int site, const control::StartDatabase& op, std::uint32_t life, TrueTime until);
  bool promote(Database& db, const control::StartDatabase& op);
  void done(int site, std::uint64_t request, std::uint32_t life, bool ok, Position position);
  bool follow(int site, const control::StartDatabase& op);
  void replicate(int site, int node);
  void receive(int site, Database& db, Database& up);
  void apply_relay(Database& db);
  void await_copy(Event& e);
  void end_waiting(int site, Database& db, bool answered);
  void stop_database(int site, int node);
  void restart_database(int site, int node);
  void plan_pairs();

  bool service_answers(int site) const;
  void probe(int vantage);
  void client_write(Event& e);
  void commit(Event& e);
  void acknowledge(Event& e);
  void acknowledged(const Event& e);

  int who(Role role);
  void cut(int from, int to, TrueTime lasts);
  void inflict(Fault fault, int a, int b, TrueTime lasts);
  void random_fault();
  void fault(const Event& e);
  void fault_at(TrueTime at, Fault fault, Role a, Role b, TrueTime lasts);
  void operator_at(TrueTime at, bool forced);
  void tell(Story story);
  void heal();
  void operate(bool forced);
  void ask_for_rejoin();

  void say(const std::string& line);
  void mix(std::uint64_t value) { hash_ = (hash_ ^ value) * 0x100000001b3u; }

  Options options_;
  Random random_;
  Random pair_random_;  // of sites with two nodes, so that worlds without any stay as they were
  Outcome outcome_;
  State state_;
  Checker checker_;
  std::uint64_t hash_ = 0xcbf29ce484222325u;
  TrueTime faults_end_ = 0;
  TrueTime end_ = 0;
  EventQueue queue_;
  TrueTime settled_since_ = -1;
  control::ControlConfig control_config_;
  double loss_ = 0, duplicate_ = 0, slow_ = 0, late_ = 0, crash_ = 0, crash_after_promise_ = 0;
  bool quiet_ = false;  // faults are over
  std::uint64_t next_transaction_ = 1;
};

}  // namespace leeward::sim

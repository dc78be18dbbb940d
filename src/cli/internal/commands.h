// One function a command: does it, prints, returns the exit status. cli.cc parses the arguments.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/cli.h"
#include "cli/internal/api.h"

namespace leeward::cli {

// cli::run with streams of the caller's choice; `args` does not hold the program's name.
int run_with(std::vector<std::string> args, const Roles& roles, Io& io);

// files.cc
struct InitOptions {
  std::string file = "leeward.yaml";
  std::string name = "shop";
  bool force = false;
};
int init(const InitOptions& options, Io& io);
int validate(const Globals& globals, const std::string& file, Io& io);
int schema(bool markdown, Io& io);

// observe.cc
struct EventOptions {
  std::uint64_t after = 0;
  std::uint64_t limit = 50;  // newest ones
  bool follow = false;
};
int status(const Globals& globals, bool check, Io& io);
int events(const Globals& globals, const EventOptions& options, Io& io);
int maintenance(const Globals& globals, bool on, Io& io);

// moves.cc
struct MoveOptions {
  std::string to;
  std::string reason;
  bool accept_loss = false;
  bool override_block = false;
  bool yes = false;
  bool wait = true;
  Duration timeout = 60s;
};
enum class Move { kFailover, kSwitchover, kFailback };
int move(const Globals& globals, Move kind, const MoveOptions& options, Io& io);

// db.cc
struct RejoinOptions {
  std::string site;  // empty: the only standby
  bool yes = false;
  bool wait = true;
};
enum class Rejoining { kRewind, kReseed };
int db_status(const Globals& globals, Io& io);
int db_lag(const Globals& globals, std::uint64_t last, Io& io);
// A switchover while the writer works, else a failover.
int db_promote(const Globals& globals, const MoveOptions& options, Io& io);
int db_rejoin(const Globals& globals, Rejoining how, const RejoinOptions& options, Io& io);
int db_degrade(const Globals& globals, bool yes, Io& io);

// ledger.cc
struct LedgerOptions {
  std::string id;
  std::string site;  // empty: all workload sites
  bool force = false;
  bool yes = false;
};
enum class LedgerAction { kReplay, kDiscard };
int ledger_list(const Globals& globals, const LedgerOptions& options, Io& io);
int ledger_show(const Globals& globals, const LedgerOptions& options, Io& io);
int ledger_act(const Globals& globals, LedgerAction action, const LedgerOptions& options, Io& io);

// replication.cc
struct ReplicationOptions {
  std::string file;
  std::vector<std::string> tables;  // verify: SCHEMA.TABLE; empty: all
  bool repair = false;
  bool yes = false;
  bool check = false;
  std::string history;  // status: how far back
  std::uint64_t limit = 50;
};
int replication_precheck(const Globals& globals, const ReplicationOptions& options, Io& io);
int replication_start(const ReplicateOptions& start, const ReplicationOptions& options,
                      const Roles& roles, Io& io);
int replication_status(const Globals& globals, const ReplicationOptions& options, Io& io);
int replication_pause(const Globals& globals, bool pause, const ReplicationOptions& options,
                      Io& io);
int replication_verify(const Globals& globals, const ReplicationOptions& options, Io& io);
int replication_conflicts(const Globals& globals, const ReplicationOptions& options, Io& io);
int replication_reference(Io& io);

// db_verify.cc
struct DbVerifyOptions {
  std::string database;  // empty: the only one
  std::string site;      // the standby; empty: the only one
  std::vector<std::string> tables;
  bool repair = false;
  bool yes = false;
};
int db_verify(const Globals& globals, const DbVerifyOptions& options, Io& io);

// edge.cc
struct EdgeOptions {
  std::vector<std::string> urls;  // or prefixes, or surrogate keys
  std::string site;               // empty: all workload sites
  std::string from;               // warm: the site whose cache is the model
  std::string kind = "url";       // purge: url, prefix, key, all
  std::size_t count = 1000;       // warm: URLs taken over from there
  bool soft = false;
  bool once = false;
  Duration interval = 1s;
  Duration timeout = 5min;
  std::string client;                // explain: the address that asks; empty: none is known
  std::vector<std::string> clients;  // unban: addresses
  bool all = false;                  // unban: every client
};
int edge_top(const Globals& globals, const EdgeOptions& options, Io& io);
int edge_explain(const Globals& globals, const EdgeOptions& options, Io& io);
int edge_purge(const Globals& globals, const EdgeOptions& options, Io& io);
int edge_warm(const Globals& globals, const EdgeOptions& options, Io& io);
int edge_bans(const Globals& globals, const EdgeOptions& options, Io& io);
int edge_unban(const Globals& globals, const EdgeOptions& options, Io& io);
// leeward waf status
int edge_firewall_status(const Globals& globals, const EdgeOptions& options, Io& io);

// waf.cc
struct WafOptions {
  std::vector<std::string> requests;  // files; "-": standard input
  std::string rules;                  // SecLang; empty: those of the platform
  std::string from = "127.0.0.1";     // the client's address
};
int waf_rules(const Globals& globals, Io& io);
// kRefused's exit status when one of the requests would be refused.
int waf_test(const Globals& globals, const WafOptions& options, Io& io);

// waf_tune.cc
struct WafTuneOptions {
  std::vector<std::string> logs;  // of an edge, as JSON; "-": standard input
  std::size_t clients = 3;        // that must have set a rule off at a place
};
int waf_tune(const Globals& globals, const WafTuneOptions& options, Io& io);

// edge_sign.cc
struct SignOptions {
  std::string url;
  Duration expires = 1h;
  bool prefix = false;         // whatever begins like the URL
  std::string key;             // empty: the first one of the URL's route
  std::string client_network;  // empty: anybody
};
int edge_sign(const Globals& globals, const SignOptions& options, Io& io);

// scale.cc
struct ScaleOptions {
  std::string tier;  // protect: TIER-NUMBER
  std::string site;  // empty: all workload sites; set, protect: the one that serves
  std::optional<int> count;
  std::optional<int> min;
  std::optional<int> max;
  Duration duration = 1h;
  bool clear = false;
  bool off = false;
  std::uint64_t limit = 20;
};
int scale_status(const Globals& globals, const ScaleOptions& options, Io& io);
int scale_set(const Globals& globals, const ScaleOptions& options, Io& io);
int scale_protect(const Globals& globals, const ScaleOptions& options, Io& io);
int scale_history(const Globals& globals, const ScaleOptions& options, Io& io);

// deploy.cc
struct DeployOptions {
  std::string tier;
  std::string site;  // empty: all workload sites
  bool wait = true;
  Duration timeout = 10min;
};
int deploy_start(const Globals& globals, const DeployOptions& options, Io& io);
int deploy_status(const Globals& globals, const DeployOptions& options, Io& io);
int deploy_rollback(const Globals& globals, const DeployOptions& options, Io& io);

// cost.cc
struct CostOptions {
  std::string prices;                 // file; empty: the shipped prices
  std::string plot;                   // file to write the SVG to; empty: none
  std::vector<std::string> measured;  // reports of the demo
  bool print_prices = false;
};
int cost_of_standby(const Globals& globals, const CostOptions& options, Io& io);

// speed.cc
struct SpeedOptions {
  std::vector<std::string> urls;
  std::string edge;    // [SCHEME://]HOST:PORT; empty: as configured
  std::string direct;  // the same; empty: what the URL says
  std::string ca;      // file with the authorities to trust; empty: the system's
  int count = 20;      // requests each way
  Duration timeout = 30s;
};
int speed(const Globals& globals, const SpeedOptions& options, Io& io);

// functions.cc
struct FnOptions {
  std::string address = "127.0.0.1:9001";  // of `leeward functions`
  std::string name;
  std::string code;  // a directory or a zip archive
  std::string runtime, handler;
  std::uint32_t memory = 0, timeout = 0;  // megabytes, seconds; 0: as it is, or the default
  std::vector<std::string> environment;   // NAME=VALUE
  std::string payload, payload_file;
  bool event = false;
  bool logs = false;
};
int fn_deploy(const Globals& globals, const FnOptions& options, Io& io);
int fn_invoke(const Globals& globals, const FnOptions& options, Io& io);
int fn_list(const Globals& globals, const FnOptions& options, Io& io);
int fn_logs(const Globals& globals, const FnOptions& options, Io& io);
int fn_delete(const Globals& globals, const FnOptions& options, Io& io);

}  // namespace leeward::cli

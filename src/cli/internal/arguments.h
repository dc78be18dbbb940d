// What the parts of the command line share: all that arguments can set, and how a command is added.
// Only the files that declare commands include this.
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <string>
#include <string_view>

#include "cli/internal/commands.h"

namespace leeward::cli {

// All that the arguments can set, and the command that they chose.
struct Arguments {
  Globals globals;
  std::string output = "table";
  bool no_color = false;
  RoleOptions role;
  std::string log_level = "info";
  std::string log_format = "text";
  InitOptions init;
  EventOptions events;
  MoveOptions move;
  std::string timeout = "60s";
  LedgerOptions ledger;
  ReplicationOptions replication;
  DbVerifyOptions db_verify;
  ReplicateOptions replicate;
  std::string replicate_format = "auto";
  RejoinOptions rejoin;
  std::uint64_t lag_samples = 60;
  EdgeOptions edge;
  bool purge_prefix = false, purge_key = false, purge_all = false;
  SignOptions sign;
  std::string sign_expires = "1h";
  SpeedOptions speed;
  FnOptions fn;
  FunctionsOptions functions;
  FunctionServeOptions serve;
  std::string prepared_for = "30m", keep_idle = "5m";
  WafOptions waf;
  WafServeOptions waf_serve;
  WafTuneOptions waf_tune;
  std::string waf_http, waf_spoe;
  ScaleOptions scale;
  std::string scale_for = "1h";
  DeployOptions deploy;
  std::string deploy_timeout = "10m";
  CostOptions cost;
  std::string validate_file;
  std::string maintenance;
  bool check = false;
  bool markdown = false;
  std::function<int(Io&)> command;
};

// `examples` are told by --help. Without `command` it is a group.
CLI::App* add(CLI::App& app, Arguments& a, const std::string& name, const std::string& description,
              std::string_view examples, std::function<int(Io&)> command);
void add_log_level(CLI::App* sub, Arguments& a);
void add_log_options(CLI::App* sub, Arguments& a);
LogLevel log_level(const Arguments& a);
LogFormat log_format(const Arguments& a);

// cli_compute.cc
void add_scale(CLI::App& app, Arguments& a);
void add_deploy(CLI::App& app, Arguments& a);
void add_cost(CLI::App& app, Arguments& a);

// cli_functions.cc
void add_functions(CLI::App& app, Arguments& a, const Roles& roles);
void add_fn(CLI::App& app, Arguments& a, const Roles& roles);

// cli_waf.cc
void add_waf(CLI::App& app, Arguments& a, const Roles& roles);
void add_edge_firewall(CLI::App& edge, Arguments& a);

}  // namespace leeward::cli

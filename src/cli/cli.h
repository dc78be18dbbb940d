// The `leeward` command line: parses arguments, talks to the control API and to the agents, prints.
//
// Data goes to stdout, progress and errors to stderr. Exit status: 0 done, 1 failure, 2 usage or
// configuration, 4 unhealthy, 5 refused by a safety rule, 6 no quorum or timed out (base/error.h).
// Settings come from flags, then environment (LEEWARD_CONFIG, LEEWARD_ADDRESS, LEEWARD_TOKEN,
// LEEWARD_SITE, NO_COLOR), then the configuration file. No secret is taken from the arguments.
//
// Single-threaded; blocks until the command is done.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "model/platform.h"

namespace leeward::cli {

// What each daemon gets from its command line.
struct RoleOptions {
  std::string config_path = "leeward.yaml";
  std::string site;
  bool takeover = false;  // edge only: take the place of the one that serves
  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;
};

// What `leeward replication start` gets.
struct ReplicateOptions {
  std::string task_path;
  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;
  bool terminal = false;  // a person watches stderr: show a line that is rewritten
  bool again = false;     // drop what the first copy made, and copy again
  std::string from;       // a GTID position of the source, or "now": begin there, copy nothing
};

// What a function host keeps when nothing is asked of it.
struct FunctionWarmth {
  std::uint32_t prepared = 1;  // environments of a function that was used lately
  Duration prepared_for = std::chrono::minutes(30);
  Duration keep_idle = std::chrono::minutes(5);
};

// What `leeward functions` gets.
struct FunctionsOptions {
  std::string listen = "127.0.0.1:9001";
  std::string state = "functions-state";
  std::vector<std::string> connect;      // servers that functions may be granted, ADDRESS:PORT
  std::string node_client;               // a folder with aws-lambda-ric in node_modules
  std::vector<std::string> access_keys;  // ID=file:PATH or ID=env:NAME
  std::uint32_t environments_max = 64;
  std::uint32_t concurrency = 10;  // of a function without a limit of its own
  FunctionWarmth warmth;
  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;
};

// What `leeward fn serve` gets: one HTTP application as a function, at an address.
struct FunctionServeOptions {
  std::string name;                  // of its log; empty: the directory's
  std::string listen;                // ADDRESS:PORT that requests come to
  std::vector<std::string> command;  // of the application
  std::string directory = ".";       // visible to it under its own path, read-only
  std::uint16_t port = 8080;         // that the application listens on, inside
  std::vector<std::string> connect;  // ADDRESS:PORT, or ADDRESS:PORT=ADDRESS:PORT (inside=outside)
  std::vector<std::string> files;    // copied in under their own paths
  std::vector<std::string> pass;     // variables of this process's environment that it gets
  std::vector<std::string> idle_paths;
  std::string
      follow;  // a file of orders (app/function_orders.h) in place of the command; empty: none
  std::uint32_t memory = 512, timeout = 30, concurrency = 8;  // megabytes, seconds, environments
  FunctionWarmth warmth;
  std::string log_directory;
  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;
};

struct WafServeOptions {
  std::string config_path = "leeward.yaml";
  std::string rules;             // SecLang, instead of the configuration's
  bool detect = false;           // refuse nothing, whatever the configuration says
  std::optional<Endpoint> http;  // sub-requests, and /metrics
  std::optional<Endpoint> spoe;  // HAProxy
  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;
};

// The daemons, provided by the executable; each runs until told to stop and returns the exit
// status.
struct Roles {
  std::function<int(const RoleOptions&)> up;
  std::function<int(const RoleOptions&)> control;
  std::function<int(const RoleOptions&)> agent;
  std::function<int(const RoleOptions&)> dns;
  std::function<int(const RoleOptions&)> edge;
  std::function<int(const ReplicateOptions&)> replicate;
  std::function<int(const FunctionsOptions&)> functions;
  std::function<int(const FunctionServeOptions&)> function_serve;
  std::function<int(const WafServeOptions&)> waf_serve;
};

// Runs the command in `argv` with the process's own streams and returns the exit status.
int run(int argc, char** argv, const Roles& roles);

}  // namespace leeward::cli

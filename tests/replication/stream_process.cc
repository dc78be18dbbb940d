// A stream driver as a process of its own, for what must survive being killed: the soak test and
// the benchmarks of bench/replication.
//
//   leeward-stream-process SOURCE_PORT TARGET_PORT STATE_DIR TASK [name=value …]
//     begin=GTID      where the target is; sets the checkpoint before starting
//     include=SCHEMA  what is carried (may be repeated); default: everything
//     paused=1        receives only, until SIGUSR1 (SIGUSR2 pauses)
//     workers=N group=N heartbeat_ms=N server_id=N sql=1  as in StreamOptions
//
// Both servers are on 127.0.0.1; the account is LEEWARD_USER with LEEWARD_PASSWORD. Prints a line
// of tab-separated name=value pairs every 100 ms. Ends with SIGTERM, at a transaction boundary.
#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "replication/stream.h"

namespace {

using leeward::BootClock;
using namespace leeward::replication;
using namespace std::chrono_literals;

[[noreturn]] void die(const std::string& reason) {
  std::fprintf(stderr, "leeward-stream-process: %s\n", reason.c_str());
  std::exit(1);
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

struct Request {
  StreamOptions options;
  std::optional<std::string> begin;
  bool paused = false;
};

Request read_arguments(int argc, char** argv) {
  if (argc < 5) die("SOURCE_PORT TARGET_PORT STATE_DIR TASK [name=value …]");
  Request request;
  StreamOptions& options = request.options;
  leeward::Endpoint source{"127.0.0.1", static_cast<std::uint16_t>(std::atoi(argv[1]))};
  leeward::Endpoint target{"127.0.0.1", static_cast<std::uint16_t>(std::atoi(argv[2]))};
  std::string user = environment("LEEWARD_USER");
  std::string password = environment("LEEWARD_PASSWORD");
  options.source = {source, user, password, {}};
  options.source_sql = {source, user, password};
  options.target = {target, user, password};
  options.state_dir = argv[3];
  options.task = argv[4];
  options.server_id = 4001;
  for (int i = 5; i < argc; ++i) {
    std::string_view argument = argv[i];
    std::string_view name = argument.substr(0, argument.find('='));
    std::string value(argument.substr(std::min(argument.size(), name.size() + 1)));
    if (name == "begin")
      request.begin = value;
    else if (name == "paused")
      request.paused = value == "1";
    else if (name == "include")
      options.mapping.include.push_back({value, "%"});
    else if (name == "workers")
      options.workers = std::stoi(value);
    else if (name == "group")
      options.group = std::stoul(value);
    else if (name == "heartbeat_ms")
      options.heartbeat = std::chrono::milliseconds(std::stoi(value));
    else if (name == "server_id")
      options.server_id = static_cast<std::uint32_t>(std::stoul(value));
    else if (name == "sql")
      options.always_sql = value == "1";
    else
      die("unknown setting '" + std::string(name) + "'");
  }
  return request;
}

void print(const LinkStatus& status) {
  std::string line = fmt::format(
      "state={}\tsource={}\treceived={}\tdurable={}\tapplied={}\tbehind={}\tlag_ms={}\t"
      "transactions={}\trows={}\terror={}\n",
      name(status.state), to_string(status.source), to_string(status.received),
      to_string(status.durable), to_string(status.applied), status.behind,
      status.lag == leeward::kNever
          ? -1
          : std::chrono::duration_cast<std::chrono::milliseconds>(status.lag).count(),
      status.transactions, status.rows, status.error);
  std::fputs(line.c_str(), stdout);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  sigset_t signals;
  sigemptyset(&signals);
  for (int number : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  Request request = read_arguments(argc, argv);
  StreamDriver driver(request.options, {});
  // A server that is down or restarts is no reason to give up: the supervisor of a replicator would
  // only start it again.
  auto retried = [&](auto&& call) {
    for (;;) {
      leeward::Status done = call();
      if (done) return;
      std::fprintf(stderr, "leeward-stream-process: %s\n", done.error().message.c_str());
      timespec pause{0, 200'000'000};
      if (int number = sigtimedwait(&signals, nullptr, &pause); number == SIGTERM) std::exit(0);
    }
  };
  if (request.begin) {
    auto position = leeward::mysql::parse_gtid_position(*request.begin);
    if (!position) die(position.error().message);
    retried([&] { return driver.begin_at(*position, BootClock::now() + 30s); });
  }
  if (request.paused) (void)driver.pause(BootClock::now());
  retried([&] { return driver.start(BootClock::now() + 30s); });
  for (;;) {
    print(driver.status());
    timespec pause{0, 100'000'000};
    int number = sigtimedwait(&signals, nullptr, &pause);
    if (number == SIGUSR1) (void)driver.resume(BootClock::now());
    if (number == SIGUSR2) (void)driver.pause(BootClock::now());
    if (number == SIGTERM || number == SIGINT) break;
  }
  if (auto stopped = driver.stop(BootClock::now() + 30s); !stopped) die(stopped.error().message);
  return 0;
}

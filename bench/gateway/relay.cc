// leeward-bench-gateway: the gateway alone, without the daemons that would steer it.
//
//   serve   forwards --listen to --database until SIGTERM, as the writer's site does
//   move    two gateways (two sites) before one database, and sessions at the first: measures from
//   the
//           switch of the writer to the answer of each session's parked query, away and home again
#include <openssl/sha.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <latch>
#include <stdexcept>
#include <thread>
#include <vector>

#include "connection.h"
#include "gateway/gateway.h"

namespace {

using namespace leeward;
using gateway::Gateway;

BootTime far() { return BootClock::now() + 1h; }

std::unique_ptr<Gateway> start(const char* site, std::uint16_t listen, std::uint16_t database) {
  gateway::AccountVerifier verifier;
  SHA1(reinterpret_cast<const unsigned char*>(bench::kPassword), std::strlen(bench::kPassword),
       verifier.data());
  SHA1(verifier.data(), verifier.size(), verifier.data());
  gateway::Options options;
  options.name = "bench";
  options.site_name = site;
  options.listen = {"127.0.0.1", listen};
  options.peer_listen = {"127.0.0.1", 0};
  options.local_database = {"127.0.0.1", database};
  options.account_lookup = [verifier](std::string_view, std::string_view) { return verifier; };
  auto started = Gateway::start(std::move(options));
  if (!started) throw std::runtime_error(started.error().message);
  return std::move(*started);
}

int serve(std::uint16_t listen, std::uint16_t database) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);  // before the gateway's thread, which inherits it
  auto gateway = start("one", listen, database);
  gateway->serve_local(Epoch{1}, far());
  int number = 0;
  sigwait(&ends, &number);
  return 0;
}

template <class Condition>
void wait_for(const char* what, const Condition& condition) {
  const BootTime end = BootClock::now() + 10s;
  while (!condition()) {
    if (BootClock::now() > end) throw std::runtime_error(std::string("no end of: ") + what);
    std::this_thread::sleep_for(1ms);
  }
}

struct Sites {
  std::unique_ptr<Gateway> one, two;
  std::vector<bench::Connection> sessions;  // at site one
};

// The milliseconds from the switch to the answers of all sessions, shortest first. `turn` moves the
// writer and says when it began the call that lets the sessions go.
template <class Turn>
std::vector<double> switch_writer(Sites& sites, const Turn& turn) {
  sites.one->hold();
  sites.two->hold();
  wait_for("the drain", [&] { return sites.one->drained() && sites.two->drained(); });
  std::vector<BootTime> answered(sites.sessions.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < sites.sessions.size(); ++i) {
    threads.emplace_back([&, i] {
      try {
        sites.sessions[i].run("SELECT v FROM t WHERE id=1");
      } catch (const std::exception& error) {
        std::fprintf(stderr, "leeward-bench-gateway: %s\n", error.what());
        std::_Exit(1);
      }
      answered[i] = BootClock::now();
    });
  }
  wait_for("parking", [&] { return sites.one->stats().parked == sites.sessions.size(); });
  const BootTime begun = turn();
  for (std::thread& thread : threads) thread.join();
  std::vector<double> ms;
  for (const BootTime at : answered)
    ms.push_back(std::chrono::duration<double, std::milli>(at - begun).count());
  std::sort(ms.begin(), ms.end());
  return ms;
}

void print(const char* way, const std::vector<double>& ms) {
  std::printf("\"%s\": {\"first_ms\": %.3f, \"median_ms\": %.3f, \"last_ms\": %.3f}", way,
              ms.front(), ms[ms.size() / 2], ms.back());
}

int move(std::uint16_t database, std::size_t count) {
  Sites sites{start("one", 0, database), start("two", 0, database), {}};
  sites.one->serve_local(Epoch{1}, far());
  for (std::size_t i = 0; i < count; ++i) {
    sites.sessions.emplace_back(sites.one->listen_endpoint().port);
    sites.sessions.back().run("SELECT v FROM t WHERE id=1");
  }
  const auto away = switch_writer(sites, [&] {
    sites.two->serve_local(Epoch{2}, far());
    const BootTime begun = BootClock::now();
    sites.one->serve_remote(sites.two->peer_listen_endpoint());
    return begun;
  });
  const auto home = switch_writer(sites, [&] {
    const BootTime begun = BootClock::now();
    sites.one->serve_local(Epoch{3}, far());
    return begun;
  });
  if (sites.one->stats().moved != 2 * count)
    throw std::runtime_error("not every session has moved");
  std::printf("{");
  print("away", away);
  std::printf(", ");
  print("home", home);
  std::printf("}\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"The gateway alone, for its benchmark."};
  std::uint16_t listen = 0, database = 3306;
  std::size_t sessions = 1;
  app.require_subcommand(1);
  auto* serving = app.add_subcommand("serve", "forward until SIGTERM");
  serving->add_option("--listen", listen, "port of 127.0.0.1")->required();
  auto* moving = app.add_subcommand("move", "measure a move of the writer");
  moving->add_option("--sessions", sessions, "how many wait for the writer")
      ->check(CLI::Range(1, 256));
  for (auto* command : {serving, moving})
    command->add_option("--database", database, "port of 127.0.0.1")->required();
  CLI11_PARSE(app, argc, argv);
  try {
    return serving->parsed() ? serve(listen, database) : move(database, sessions);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "leeward-bench-gateway: %s\n", error.what());
    return 1;
  }
}

// leeward-bench-sql: connections that each run one unit of work after the other, on a thread of
// their own: a SELECT of one row by its key, or a transaction of four statements (BEGIN, SELECT,
// UPDATE, COMMIT) on one row. Prints one JSON object; latencies are of whole units.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <latch>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "connection.h"

namespace {

using Clock = std::chrono::steady_clock;
using Micros = std::chrono::duration<double, std::micro>;

void run_unit(bench::Connection& connection, bool transaction, int id) {
  const std::string key = std::to_string(id);
  if (transaction) connection.run("BEGIN");
  connection.run("SELECT v FROM t WHERE id=" + key);
  if (!transaction) return;
  connection.run("UPDATE t SET v=v+1 WHERE id=" + key);
  connection.run("COMMIT");
}

struct Work {
  bool transaction;
  std::uint16_t port;
  std::latch connected;
  std::atomic<bool> stop = false;
};

// The latencies of one connection's units.
std::vector<double> work(Work& work, unsigned seed) {
  bench::Connection connection(work.port);
  std::minstd_rand random(seed + 1);
  std::uniform_int_distribution<int> ids(1, bench::kRows);
  std::vector<double> micros;
  work.connected.arrive_and_wait();
  while (!work.stop) {
    const auto started = Clock::now();
    run_unit(connection, work.transaction, ids(random));
    micros.push_back(Micros(Clock::now() - started).count());
  }
  return micros;
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

void print(std::vector<double> micros, double elapsed) {
  std::sort(micros.begin(), micros.end());
  const auto at = [&](double part) {
    return micros[static_cast<std::size_t>(part * static_cast<double>(micros.size() - 1))];
  };
  std::printf(
      "{\"seconds\": %.6f, \"units\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f, \"cpu_seconds\": "
      "%.6f}\n",
      elapsed, micros.size(), at(0.5), at(0.99), cpu_seconds());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Puts a load of small statements on the MariaDB at 127.0.0.1."};
  std::uint16_t port = 3306;
  unsigned connections = 1;
  double seconds = 2;
  bool transaction = false;
  app.add_option("--port", port, "of the server")->capture_default_str();
  app.add_option("--connections", connections, "at once")->check(CLI::Range(1, 256));
  app.add_option("--seconds", seconds, "how long")->check(CLI::Range(0.01, 3600.0));
  app.add_flag("--transaction", transaction, "transactions instead of single SELECTs");
  CLI11_PARSE(app, argc, argv);
  mysql_library_init(0, nullptr, nullptr);
  Work shared{transaction, port, std::latch(connections + 1)};
  std::vector<std::vector<double>> results(connections);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < connections; ++i) {
    threads.emplace_back([&, i] {
      try {
        results[i] = work(shared, i);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "leeward-bench-sql: %s\n", error.what());
        std::_Exit(1);
      }
    });
  }
  shared.connected.arrive_and_wait();
  const auto started = Clock::now();
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  shared.stop = true;
  for (std::thread& thread : threads) thread.join();
  const double elapsed = std::chrono::duration<double>(Clock::now() - started).count();
  std::vector<double> all;
  for (const auto& micros : results) all.insert(all.end(), micros.begin(), micros.end());
  if (all.empty()) return 1;
  print(std::move(all), elapsed);
  return 0;
}

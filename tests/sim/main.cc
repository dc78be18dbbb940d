// leeward-sim: runs the cores in seeded worlds and reports the first violated invariant.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <mutex>
#include <thread>

#include "sim/world.h"

#ifdef LEEWARD_MUTATIONS
#include "control/guard.h"
#endif

namespace {

using leeward::sim::Options;
using leeward::sim::Outcome;
using leeward::sim::run_world;

struct Totals {
  std::uint64_t worlds = 0, events = 0, acknowledged = 0, in_ledger = 0, failovers = 0, planned = 0,
                promised = 0, waiting = 0, lossless = 0;
  void add(const Outcome& o) {
    ++worlds;
    events += o.events;
    acknowledged += o.acknowledged;
    in_ledger += o.in_ledger;
    failovers += static_cast<std::uint64_t>(o.failovers);
    planned += static_cast<std::uint64_t>(o.planned_moves);
    promised += o.promised > 0;
    waiting += o.ended_waiting;
    lossless += static_cast<std::uint64_t>(o.lossless_failovers);
  }
};

// Runs seeds [first, first + count) on `threads` threads; stops at the first violation (the lowest
// seed among those found). Progress goes to stderr.
std::vector<Outcome> search(std::uint64_t first, std::uint64_t count, unsigned threads,
                            bool progress, Totals& totals) {
  std::atomic<std::uint64_t> next{first};
  std::atomic<bool> found{false};
  std::mutex mutex;
  std::vector<Outcome> violations;
  auto started = std::chrono::steady_clock::now();
  auto work = [&] {
    while (!found) {
      std::uint64_t seed = next++;
      if (seed >= first + count) return;
      Outcome o = run_world({.seed = seed, .trace = {}});
      std::lock_guard lock(mutex);
      totals.add(o);
      if (!o.violation.empty()) {
        violations.push_back(o);
        found = true;
      }
      if (progress && totals.worlds % 10'000 == 0) {
        double s =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
        std::fprintf(
            stderr, "\r%llu of %llu worlds, %.0f/s, about %.0f s left   ",
            static_cast<unsigned long long>(totals.worlds), static_cast<unsigned long long>(count),
            static_cast<double>(totals.worlds) / s,
            static_cast<double>(count - totals.worlds) * s / static_cast<double>(totals.worlds));
      }
    }
  };
  std::vector<std::thread> pool;
  for (unsigned i = 0; i < threads; ++i) pool.emplace_back(work);
  for (std::thread& t : pool) t.join();
  // Seeds are taken in order and each world begun is finished, so the lowest of these is the
  // lowest.
  std::sort(violations.begin(), violations.end(),
            [](const Outcome& a, const Outcome& b) { return a.seed < b.seed; });
  if (progress && totals.worlds >= 10'000) std::fputc('\n', stderr);
  return violations;
}

[[maybe_unused]] void report(const Outcome& o) {
  std::printf("seed %llu: %s\n", static_cast<unsigned long long>(o.seed), o.violation.c_str());
  std::printf("replay: ./dev sim --seed %llu --trace\n", static_cast<unsigned long long>(o.seed));
}

}  // namespace

#ifdef LEEWARD_MUTATIONS

// Each guard that safety rests on; see the LEEWARD_GUARD lines of src/control.
constexpr const char* kGuards[] = {
    "answer-outstanding",
    "count-from-sending",
    "promise-not-below-known-epoch",
    "promise-durable",
    "promise-binds",
    "every-peer-promises",
    "no-older-record",
    "no-older-report",
    "fence-without-lease",
    "grant-only-to-intent",
    "takeover-wait",
    "opinions-age",
    "quorum",
    "standby-follows-epoch",
    "rpo-gate",
    "block-window",
    "heartbeat-veto",
    "drained-for-this-plan",
    "catch-up-first",
    "distrust-after-pause",
    "protected-by-record",
    "writer-waits-first",
    "copies-caught-up",
    "alone-by-record-only",
    "replica-in-sync",
    "sync-loss-durable",
    "return-before-open",
    "open-durable",
    "standby-follows-term",
    "late-rows-are-old",
    "up-since-opening",
};

int main(int argc, char** argv) {
  CLI::App app{
      "Removes one guard of the cores at a time and demands that some seed then violates an "
      "invariant."};
  std::uint64_t seeds = 200'000;
  std::string only;
  app.add_option("--seeds", seeds, "give up on a guard after this many worlds")
      ->capture_default_str();
  app.add_option("--only", only, "only this guard");
  CLI11_PARSE(app, argc, argv);
  int passed = 0;
  int failed = 0;
  for (const char* guard : kGuards) {
    if (!only.empty() && only != guard) continue;
    leeward::control::removed_guard = guard;
    Totals totals;
    auto violations = search(1, seeds, std::thread::hardware_concurrency(), false, totals);
    if (violations.empty()) {
      ++failed;
      std::printf("NOT CAUGHT %-32s in %llu worlds\n", guard,
                  static_cast<unsigned long long>(totals.worlds));
    } else {
      ++passed;
      std::printf("caught     %-32s seed %llu: %s\n", guard,
                  static_cast<unsigned long long>(violations[0].seed),
                  violations[0].violation.c_str());
    }
    std::fflush(stdout);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

#else

int main(int argc, char** argv) {
  CLI::App app{
      "Searches seeded worlds for a violated invariant.\n\nExamples:\n  leeward-sim --seeds 10000\n"
      "  leeward-sim --seed 4711 --trace\nExit status: 0 no violation, 1 violation found, 2 usage"};
  std::uint64_t seeds = 10'000, first = 1, seed = 0;
  unsigned threads = std::thread::hardware_concurrency();
  bool trace = false;
  app.add_option("--seeds", seeds, "how many worlds")->capture_default_str();
  app.add_option("--first-seed", first, "the first seed")->capture_default_str();
  app.add_option("--seed", seed, "run this one world");
  app.add_option("--threads", threads, "worlds at once")->capture_default_str();
  app.add_flag("--trace", trace, "print what happens (with --seed)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  if (app.count("--seed")) {
    Options options{.seed = seed, .trace = {}};
    if (trace) options.trace = [](const std::string& line) { std::puts(line.c_str()); };
    Outcome o = run_world(options);
    std::printf(
        "%llu events, %llu writes acknowledged, %llu in the ledger, %d failovers, %d planned "
        "moves, hash %016llx\n",
        static_cast<unsigned long long>(o.events), static_cast<unsigned long long>(o.acknowledged),
        static_cast<unsigned long long>(o.in_ledger), o.failovers, o.planned_moves,
        static_cast<unsigned long long>(o.hash));
    if (o.violation.empty()) return 0;
    report(o);
    return 1;
  }
  Totals t;
  auto started = std::chrono::steady_clock::now();
  auto violations = search(first, seeds, threads, true, t);
  double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  std::printf(
      "%llu worlds in %.1f s: %llu events, %llu writes acknowledged, %llu in the ledger, %llu "
      "failovers, "
      "%llu planned moves, %llu failovers under protection, %llu worlds with a lease by promise, "
      "%llu ended waiting for a person\n",
      static_cast<unsigned long long>(t.worlds), s, static_cast<unsigned long long>(t.events),
      static_cast<unsigned long long>(t.acknowledged), static_cast<unsigned long long>(t.in_ledger),
      static_cast<unsigned long long>(t.failovers), static_cast<unsigned long long>(t.planned),
      static_cast<unsigned long long>(t.lossless), static_cast<unsigned long long>(t.promised),
      static_cast<unsigned long long>(t.waiting));
  if (violations.empty()) {
    std::puts("no violation");
    return 0;
  }
  report(violations[0]);
  return 1;
}

#endif

// A seeded world around the real cores: sites with an agent, a database and clients each, a witness
// with control and its store, and a network between them. One seed decides everything: timings,
// delays, loss, duplication, one-way partitions, clock rates and jumps, process pauses, crashes
// between any two effects, database crashes and freezes. Time is virtual; one thread.
//
// What is real: control::ControlCore and control::AgentCore, with all their effects. What is a
// model: the database (a log of transaction ids, asynchronous replication, a read_only flag), the
// gateway (mode, epoch and deadline, checked at each forward), probes and DNS servers.
//
// The invariants I1–I10 of docs/architecture.md are checked while it runs and at its end.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "control/agent_core.h"
#include "control/control_core.h"
#include "sim/random.h"

namespace leeward::sim {

using TrueTime = std::int64_t;  // nanoseconds since the world began, on nobody's clock

struct Options {
  std::uint64_t seed = 1;
  std::function<void(const std::string&)> trace;  // one line an event; empty: no trace
};

struct Outcome {
  std::uint64_t seed = 0;
  std::string violation;  // empty: every invariant held; else "I1: …"
  std::uint64_t events = 0;
  std::uint64_t hash = 0;  // of all that happened; equal for equal seeds
  std::uint64_t acknowledged = 0;
  std::uint64_t in_ledger = 0;
  int failovers = 0;
  int planned_moves = 0;
  int promised = 0;            // times that a lease was held by promise
  int lossless_failovers = 0;  // failovers under protection
  bool ended_waiting = false;  // I10 met by a stated reason instead of a writer
};

Outcome run_world(const Options& options);

}  // namespace leeward::sim

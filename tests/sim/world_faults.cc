#include <fmt/format.h>

#include <algorithm>

#include "sim/running_world.h"

namespace leeward::sim {

// -------------------------------------------------------------------------------------- faults

void World::fault() {
  static constexpr const char* kFaults[] = {
      "one-way cut",     "cut",           "site cut off", "site cut off",
      "control cut off", "links heal",    "agent crash",  "database crash",
      "database freeze", "control crash", "pause",        "slow replication"};
  int a = static_cast<int>(random_.between(0, state_.nodes - 1));
  int b = static_cast<int>(random_.between(0, state_.nodes - 1));
  int site = static_cast<int>(random_.between(0, state_.sites - 1));
  if (random_.chance(0.6) && state_.store.record.intent.writer != kNoSite)
    site = state_.store.record.intent.writer.value;
  int what = static_cast<int>(random_.between(0, 11));
  say(fmt::format("fault: {} (nodes {} {}, site {})", kFaults[what], a, b, site));
  switch (what) {
    case 0:
      if (a != b) state_.blocked[a][b] = true;
      break;  // one way
    case 1:
      if (a != b) state_.blocked[a][b] = state_.blocked[b][a] = true;
      break;
    case 2:  // a site is cut off from all others
    case 3:
      for (int n = 0; n < state_.nodes; ++n)
        if (n != site) state_.blocked[site][n] = state_.blocked[n][site] = true;
      break;
    case 4:  // the control node is cut off
      for (int n = 0; n < state_.sites; ++n)
        state_.blocked[state_.witness][n] = state_.blocked[n][state_.witness] = true;
      break;
    case 5:
      for (auto& row : state_.blocked) row.fill(false);
      break;
    case 6:
      crash_agent(site);
      break;
    case 7:
      state_.databases[site].up = false;
      schedule(state_.time + random_.between(500, 8000) * kMs, Kind::kRestartDatabase, site);
      break;
    case 8:
      state_.databases[site].frozen = true;
      schedule(state_.time + random_.between(500, 15000) * kMs, Kind::kThawDatabase, site);
      break;
    case 9:
      crash_control();
      break;
    case 10:
      if (random_.chance(0.3))
        state_.control.paused_until = state_.time + random_.between(100, 8000) * kMs;
      else
        state_.agents[site].paused_until = state_.time + random_.between(100, 8000) * kMs;
      break;
    case 11:
      state_.databases[static_cast<int>(random_.between(0, state_.sites - 1))].stalled_until =
          state_.time + random_.between(500, 9000) * kMs;
      state_.clocks[a].wall_jump += random_.between(-100, 100) * kSecond;
      break;
  }
  if (random_.chance(0.15)) {  // the loss of a whole site
    say(fmt::format("fault: site {} dies", site));
    crash_agent(site);
    state_.databases[site].up = false;
    schedule(state_.time + random_.between(4000, 20000) * kMs, Kind::kRestartDatabase, site);
  }
}

void World::heal() {
  say("faults end");
  quiet_ = true;
  schedule(state_.time + 500 * kMs, Kind::kSettled, 0);
  for (auto& row : state_.blocked) row.fill(false);
  loss_ = duplicate_ = slow_ = 0;
  for (int s = 0; s < state_.sites; ++s) {
    state_.databases[s].stalled_until = 0;
    state_.databases[s].frozen = false;
    if (!state_.databases[s].up) schedule(state_.time + kMs, Kind::kRestartDatabase, s);
  }
}

void World::operate() {
  if (!state_.control.core || state_.control.paused_until > state_.time) return;
  control::OperatorRequest q;
  q.request = ++state_.control.operator_requests;
  switch (random_.between(0, 3)) {
    case 0:
      q.kind = control::OperatorRequest::Kind::kFailback;
      break;
    case 1:
      q.kind = control::OperatorRequest::Kind::kFailover;
      break;
    default:
      q.kind = control::OperatorRequest::Kind::kSwitchover;
      break;
  }
  q.override_block = random_.chance(0.5);
  control::ControlEffects effects;
  state_.control.core->on_operator(state_.now(state_.witness), q, effects);
  control_effects(effects);
}

}  // namespace leeward::sim

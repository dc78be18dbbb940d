// How old a heartbeat row was when it came. Rows that arrive now may tell of a writer that died
// long ago: a link that was cut or slow delivers them late, in one go. The time in a row is of the
// writer's clock, so it says nothing by itself; but clocks differ by about the same from row to
// row, and the promptest row of late came over a link without a backlog. What another row took
// longer, it was late.
//
// While a backlog is worked off, each row is the promptest so far. So nothing is known before one
// has come that is no prompter than those of a second before.
//
// Clocks drift apart, and are set: the promptest row is forgotten after 5 to 10 minutes. A backlog
// that stays as long is found by comparison with what the writer reports
// (ControlCore::rows_behind).
//
// Pure and not thread-safe, like the core that owns it.
#pragma once

#include "base/time.h"
#include "model/ids.h"
#include "model/status.h"

namespace leeward::control {

// What a restarted agent must remember, or the rows of a backlog would seem prompt to it. Delays
// are differences between this machine's boot clock and the writer's wall clock: the shell drops
// them when the machine was rebooted.
struct HeartbeatMemory {
  SiteId source = kNoSite;
  NodeId node;
  Epoch epoch;
  Duration least = kNever;  // delay of the promptest row; kNever: not known
  bool operator==(const HeartbeatMemory&) const = default;
};

class HeartbeatDelay {
 public:
  void start(Now now, const HeartbeatMemory& memory);
  // A look at the database, made at `seen`. True when memory() is worth keeping anew.
  bool on_look(BootTime seen, const DatabaseStatus& status);
  // Of the newest row; kNever: not known.
  Duration late() const { return settled_ ? late_ : kNever; }
  HeartbeatMemory memory() const;

 private:
  Duration least() const;
  void begin(BootTime now, const HeartbeatMemory& stream);

  HeartbeatMemory stream_;  // and the least delay that was known when it began
  WallTime row_{};
  Duration least_now_ = kNever;  // since window_
  Duration least_before_ = kNever;
  BootTime window_{};
  Duration fell_to_ = kNever;
  BootTime fell_at_{};
  bool settled_ = false;
  Duration late_{};
  Duration kept_ = kNever;
};

}  // namespace leeward::control

// How old a heartbeat row was when it came. Rows that arrive now may tell of a writer that died
// long ago: a link that was cut or slow delivers them late, in one go. The time in a row is of the
// writer's clock, so it says nothing by itself; but clocks differ by about the same from row to
// row, and the promptest row of late came over a link without a backlog. What another row took
// longer, it was late.
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

class HeartbeatDelay {
 public:
  // A look at the database, made at `seen`.
  void on_look(BootTime seen, const DatabaseStatus& status);
  // Of the newest row. 0 before any, and for the first one of a source.
  Duration late() const { return late_; }

 private:
  struct Stream {
    SiteId source = kNoSite;
    NodeId node;
    Epoch epoch;
    bool operator==(const Stream&) const = default;
  };
  Stream stream_;
  WallTime row_{};
  Duration least_ = kNever;         // since window_
  Duration least_before_ = kNever;  // in the window before
  BootTime window_{};
  Duration late_{};
};

}  // namespace leeward::control

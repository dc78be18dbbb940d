// What the threads of a stream tell about it, and what others ask. Thread-safe.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "base/metrics.h"
#include "replication/driver.h"
#include "replication/internal/batch.h"

namespace leeward::replication::internal {

// Who has an error; each clears its own.
enum class Part : std::uint8_t { kCapture, kApply };

class LinkBoard {
 public:
  LinkBoard(Registry* metrics, const std::string& task);

  void set_running(bool running);
  void set_paused(bool paused);
  // Holds applying at a position, whatever pause says; see StreamDriver::hold.
  void hold_at(std::optional<mysql::GtidPosition> at);
  void let_go();
  // Whether applying waits at `position`.
  bool waits(const mysql::GtidPosition& position) const;
  void set_reversed(bool reversed);
  void set_connected(Part part, bool connected);
  // `fatal`: trying again does not mend it (it is tried all the same, more slowly).
  void set_error(Part part, const Error& error, bool fatal);
  void clear_error(Part part);
  void set_throttle(std::string why);  // empty: none
  void set_source(const mysql::GtidPosition& position);
  // The source wrote a heartbeat as its transaction `gtid` at `at`.
  void beat(const mysql::Gtid& gtid, WallTime at);
  void set_semi_sync(SemiSync state, std::uint64_t fallbacks);
  void set_received(const mysql::GtidPosition& received, const mysql::GtidPosition& durable);
  void set_applied(const mysql::GtidPosition& applied);
  void committed(const Batch& batch);

  LinkStatus status() const;
  // Waits until `until` is applied; kTimeout, or the error that stands in the way.
  Status wait_applied(const mysql::GtidPosition& until, BootTime deadline) const;

 private:
  struct Trouble {
    Error error;
    WallTime at{};
    bool set = false;
    bool fatal = false;
  };
  struct Series {
    Counter* transactions;
    Counter* rows;
    Counter* conflicts;
    Counter* errors;
    Gauge* lag;
    Gauge* behind;
    Gauge* throttled;
  };
  LinkStatus status_locked() const;

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  LinkStatus status_;
  bool running_ = false;
  bool paused_ = false;
  bool connected_[2] = {false, false};
  Trouble trouble_[2];
  WallTime heartbeat_{};
  struct Beat {
    mysql::Gtid gtid;
    WallTime at;
  };
  static constexpr std::size_t kBeatsMax = 4096;  // then a lag is that of the oldest, or more
  std::deque<Beat> beats_;                        // those that `durable` has not reached, and one
  Duration lag_of(const mysql::GtidPosition& position) const;
  bool held_ = false;
  std::optional<mysql::GtidPosition> hold_at_;  // null while held: where it is
  std::optional<Series> series_;
};

// Whether `position` has everything that `until` has.
bool reached(const mysql::GtidPosition& position, const mysql::GtidPosition& until);

}  // namespace leeward::replication::internal
